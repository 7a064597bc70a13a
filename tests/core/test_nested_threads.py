"""Seeds 002, ``call-in-nested-thread``."""

import gc
import weakref
from functools import partial

import pytest

from rtsync import (
    Break,
    BreakHangUp,
    BreakTerminate,
    Channel,
    ContractError,
    Custodian,
    NoRuntime,
    Parameter,
    Semaphore,
    ThreadDead,
    block_on,
    break_enabled,
    breaks,
    call_in_nested_thread,
    current_custodian,
    current_thread,
    idle,
    parameterize,
    racket,
    receive,
    sleep,
    sync,
    tail,
    thread,
    try_receive,
    uncaught_exception_handler,
)

# A nested call from an outer thread of each kind, of a function of each kind.


async def from_coroutine_thread(fn, *args, **options):
    return await thread(lambda: call_in_nested_thread(fn, *args, **options)).join()


async def from_os_backed_thread(fn, *args, **options):
    return await thread(lambda: block_on(call_in_nested_thread(fn, *args, **options))).join()


OUTER = [from_coroutine_thread, from_os_backed_thread]


async def add(a, b):
    await sleep(0)
    return a + b


def add_plainly(a, b):
    block_on(sleep(0))
    return a + b


async def fail(error):
    await sleep(0)
    raise error


def fail_plainly(error):
    raise error


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("fn", [add, add_plainly])
async def test_the_result_comes_back(outer, fn):
    assert await outer(fn, 1, 2) == 3


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("fn", [fail, fail_plainly])
async def test_the_exception_comes_back(outer, fn):
    error, reported = ValueError("from within"), []

    async def catching():
        with pytest.raises(ValueError, match="from within") as caught:
            await call_in_nested_thread(fn, error)
        assert caught.value is error

    def catching_plainly():
        with pytest.raises(ValueError, match="from within") as caught:
            block_on(call_in_nested_thread(fn, error))
        assert caught.value is error

    with parameterize(uncaught_exception_handler, lambda *what: reported.append(what)):
        await thread(catching if outer is from_coroutine_thread else catching_plainly).join()
    assert reported == []


async def test_it_runs_in_another_thread_with_a_mailbox_of_its_own():
    me = current_thread()
    me.send("for the outer one")

    async def nested():
        assert try_receive() is None
        current_thread().send("for the nested one")
        return current_thread(), await receive()

    inner, message = await call_in_nested_thread(nested)
    assert inner is not me
    assert inner.dead
    assert message == "for the nested one"
    assert await receive() == "for the outer one"


async def test_parameters_are_inherited_and_what_is_set_in_it_stays_there():
    parameter = Parameter("test", 1)
    parameter(2)

    async def nested():
        before = parameter()
        parameter(3)
        return before

    assert await call_in_nested_thread(nested) == 2
    assert parameter() == 2


@pytest.mark.parametrize("outer", OUTER)
async def test_tail_calls_are_made(outer):
    assert await outer(lambda: tail(add, 1, 2)) == 3
    assert await outer(lambda: tail(add_plainly, 1, 2)) == 3

    async def nested():
        return tail(add, 2, 3)

    assert await outer(nested) == 5


# -- death -------------------------------------------------------------------------------------------


async def blocks():
    await Channel().get()


def blocks_plainly():
    block_on(Channel().get())


async def yields():
    while True:
        await sleep(0)


async def begin(fn, *args, **options):
    """A thread that calls ``fn`` in a nested thread, and that one."""
    found = []

    async def nested():
        found.append(current_thread())
        return await fn(*args)

    def nested_plainly():
        found.append(current_thread())
        return fn(*args)

    inner = nested_plainly if fn in (blocks_plainly, computes) else nested
    outer = thread(partial(call_in_nested_thread, inner, **options))
    while not found:
        await sleep(0)
    return outer, found[0]


def computes():
    while True:
        pass


@pytest.mark.parametrize("fn", [blocks, blocks_plainly, yields])
async def test_the_death_of_the_nested_thread_is_an_error_in_the_outer_one(fn):
    async def outer():
        with pytest.raises(ThreadDead, match=r"call_in_nested_thread: .* was killed"):
            await call_in_nested_thread(nested)
        return "goes on"

    found = []

    async def nested():
        found.append(current_thread())
        result = fn()
        if result is not None:
            await result

    def nested_plainly():
        found.append(current_thread())
        fn()

    if fn is blocks_plainly:
        nested = nested_plainly
    t = thread(outer)
    while not found:
        await sleep(0)
    found[0].kill()
    assert await t.join() == "goes on"


@pytest.mark.rtsync(workers=2)
async def test_a_nested_thread_that_computes_can_be_killed():
    outer, inner = await begin(computes)
    inner.kill()
    with pytest.raises(ThreadDead):
        await outer.join()


async def test_a_suspended_nested_thread_can_be_killed():
    outer, inner = await begin(blocks)
    inner.suspend()
    inner.kill()
    with pytest.raises(ThreadDead):
        await outer.join()


async def test_it_may_kill_itself():
    async def nested():
        current_thread().kill()

    with pytest.raises(ThreadDead):
        await call_in_nested_thread(nested)


async def test_what_its_clean_up_raises_when_it_is_killed_is_not_lost():
    async def dirty():
        try:
            await Channel().get()
        finally:
            raise ValueError("in the clean-up")

    outer, inner = await begin(dirty)
    inner.kill()
    with pytest.raises(ValueError, match="in the clean-up"):
        await outer.join()


# -- the custodian -------------------------------------------------------------------------------------


async def test_a_custodian_may_be_given_that_manages_it():
    manager, seen = Custodian(), []
    mine = current_custodian()

    async def nested():
        seen.append(current_custodian())
        await Channel().get()

    outer, inner = await begin(nested, custodian=manager)
    assert inner in manager.managed_list()
    assert inner not in mine.managed_list()
    assert outer in mine.managed_list()
    await sync(idle())
    assert seen == [mine]  # its own current custodian is inherited all the same
    manager.shutdown_all()
    with pytest.raises(ThreadDead):
        await outer.join()


async def test_the_current_custodian_manages_it_by_default():
    custodian = Custodian()
    with custodian:
        outer, inner = await begin(blocks)
    assert {outer, inner} <= set(custodian.managed_list())
    custodian.shutdown_all()
    assert outer.dead
    assert inner.dead


async def test_a_custodian_that_has_been_shut_down_is_refused():
    custodian = Custodian()
    custodian.shutdown_all()
    current_thread().send("still mine")
    with pytest.raises(ContractError, match="has been shut down"):
        await call_in_nested_thread(add, 1, 2, custodian=custodian)
    with pytest.raises(Break):
        current_thread().break_()  # is not sent to a thread that does not exist


# -- the death of the outer thread ---------------------------------------------------------------------


@pytest.mark.parametrize("fn", [blocks, yields])
async def test_when_the_outer_thread_is_killed_the_nested_one_gets_a_break(fn):
    seen = []

    async def nested():
        try:
            await fn()
        except Break as error:
            seen.append(type(error))

    outer, inner = await begin(nested)
    outer.kill()
    assert outer.dead
    await inner.wait()
    assert seen == [Break]


async def test_it_may_have_breaks_disabled_and_go_on():
    gate, done = Semaphore(), []

    async def nested():
        with breaks(False):
            inside.post()
            await gate.wait()
            done.append("done")

    inside = Semaphore()
    outer, inner = await begin(nested)
    await inside.wait()
    outer.kill()
    await sync(idle())
    assert not inner.dead
    gate.post()
    await inner.wait()
    assert done == ["done"]


@pytest.mark.rtsync(workers=2)
async def test_the_same_with_an_os_backed_outer_thread():
    seen, found = [], []

    def nested():
        found.append(current_thread())
        try:
            block_on(Channel().get())
        except Break as error:
            seen.append(type(error))

    outer = thread(lambda: block_on(call_in_nested_thread(nested)))
    while not found:
        await sleep(0)
    outer.kill()
    await outer.wait()
    await found[0].wait()
    assert seen == [Break]


async def test_the_break_that_its_death_sends_is_not_reported_but_other_errors_are():
    reported = []

    async def stubborn():
        try:
            await Channel().get()
        except Break:
            raise ValueError("nobody waits for this") from None

    with parameterize(uncaught_exception_handler, lambda t, error: reported.append(error)):
        for nested in (blocks, stubborn):
            outer, inner = await begin(nested)
            outer.kill()
            await inner.wait()
    assert [str(error) for error in reported] == ["nobody waits for this"]


# -- breaks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error"), [(None, Break), ("hang-up", BreakHangUp), ("terminate", BreakTerminate)]
)
async def test_a_break_for_the_outer_thread_goes_to_the_nested_one(kind, error):
    async def nested():
        try:
            await Channel().get()
        except Break as caught:
            return type(caught)

    outer, inner = await begin(nested)
    await sync(idle())
    outer.break_(kind)
    assert await outer.join() is error
    assert inner.dead


async def test_a_break_that_it_does_not_catch_comes_back_as_its_exception():
    outer, inner = await begin(blocks)
    await sync(idle())
    outer.break_("hang-up")
    with pytest.raises(BreakHangUp):
        await outer.join()
    assert inner.dead


async def test_it_may_break_its_outer_thread_which_breaks_itself():
    me = current_thread()

    async def nested():
        with pytest.raises(Break):
            me.break_()
        return "caught"

    assert await call_in_nested_thread(nested) == "caught"


async def test_a_break_that_was_pending_moves_in():
    async def nested():
        try:
            with breaks(True):
                return "no break"
        except BreakTerminate:
            return "moved in"

    with breaks(False):
        current_thread().break_("terminate")
        assert await call_in_nested_thread(nested) == "moved in"
    # and is not here any more


async def test_a_break_that_is_still_pending_at_its_end_moves_back():
    async def nested():
        with breaks(False):
            inside.post()
            await gate.wait()

    async def outer():
        with breaks(False):
            await call_in_nested_thread(nested)
            try:
                with breaks(True):
                    return "no break"
            except BreakHangUp:
                return "moved back"

    inside, gate = Semaphore(), Semaphore()
    t = thread(outer)
    await inside.wait()
    t.break_("hang-up")
    gate.post()
    assert await t.join() == "moved back"


async def test_what_moves_back_is_raised_at_once_if_breaks_are_enabled():
    async def ends_disabled():
        break_enabled(False)
        current_thread().break_()
        return "lost"

    with pytest.raises(Break):
        await call_in_nested_thread(ends_disabled)


async def test_an_exception_comes_back_before_the_break_that_moves_back_with_it():
    async def nested():
        break_enabled(False)
        current_thread().break_()
        raise ValueError("first")

    async def outer():
        seen = []
        try:
            try:
                await call_in_nested_thread(nested)
            except ValueError as error:
                seen.append(str(error))
                while True:
                    await sleep(0)
        except Break:
            seen.append("then the break")
        return seen

    assert await thread(outer).join() == ["first", "then the break"]


async def test_the_stronger_break_wins_when_it_moves_back():
    async def nested():
        with breaks(False):
            current_thread().break_("terminate")
            break_enabled(False)
            inside.post()
            await gate.wait()

    async def outer():
        with breaks(False):
            await call_in_nested_thread(nested)
            try:
                break_enabled(True)
            except Break as error:
                return type(error)

    inside, gate = Semaphore(), Semaphore()
    t = thread(outer)
    await inside.wait()
    t.break_()
    gate.post()
    assert await t.join() is BreakTerminate


async def test_breaks_are_enabled_in_it_as_they_are_outside():
    assert await call_in_nested_thread(break_enabled) is True
    with breaks(False):
        assert await call_in_nested_thread(break_enabled) is False
        with breaks(True):
            assert await call_in_nested_thread(break_enabled) is True
            break_enabled(False)
            assert await call_in_nested_thread(break_enabled) is True  # as the block was entered
    break_enabled(False)
    assert await call_in_nested_thread(break_enabled) is True
    break_enabled(True)


async def one_break():
    """A break for the outer thread at some moment: how often it was raised anywhere."""
    seen = []

    async def nested():
        try:
            for _ in range(3):
                await sleep(0)
        except Break:
            seen.append("nested")

    async def outer():
        with breaks(False):
            begun.post()
            try:
                with breaks(True):
                    await call_in_nested_thread(nested)
                    await sleep(0)
            except Break:
                seen.append("outer")
            await over.wait()
            try:
                with breaks(True):
                    pass
            except Break:
                seen.append("after")

    begun, over = Semaphore(), Semaphore()
    t = thread(outer)
    await begun.wait()
    t.break_()
    over.post()
    await t.join()
    return seen


@pytest.mark.rtsync(seeds=150)
async def test_a_break_is_raised_once_whichever_thread_it_finds():
    assert len(await one_break()) == 1


@pytest.mark.rtsync(workers=2, runs=30)
async def test_the_same_on_real_workers():
    assert len(await one_break()) == 1


# -- nesting within nesting ------------------------------------------------------------------------------


async def test_results_come_back_through_several():
    async def nested(depth):
        if depth == 0:
            return 1
        return 1 + await call_in_nested_thread(nested, depth - 1)

    assert await nested(20) == 21


async def test_an_exception_comes_back_through_several():
    async def nested(depth):
        if depth == 0:
            raise ValueError("deep")
        await call_in_nested_thread(nested, depth - 1)

    with pytest.raises(ValueError, match="deep"):
        await nested(5)


async def test_a_break_goes_to_the_innermost():
    seen = []

    async def innermost():
        inside.post()
        try:
            await Channel().get()
        except Break:
            seen.append("innermost")

    async def middle():
        try:
            await call_in_nested_thread(innermost)
        except Break:
            seen.append("middle")
        return "done"

    inside = Semaphore()
    t = thread(call_in_nested_thread, middle)
    await inside.wait()
    await sync(idle())
    t.break_()
    assert await t.join() == "done"
    assert seen == ["innermost"]


async def begin_two(innermost):
    """An outer thread, one nested in it, one nested in that, which calls ``innermost``."""
    found = []

    async def third():
        found.append(current_thread())
        return await innermost()

    async def second():
        found.append(current_thread())
        await call_in_nested_thread(third)

    outer = thread(call_in_nested_thread, second)
    while len(found) < 2:
        await sleep(0)
    await sync(idle())
    return outer, *found


async def test_one_that_dies_in_its_own_nested_call_breaks_that_and_is_waited_for():
    seen, gate = [], Semaphore()

    async def innermost():
        try:
            await Channel().get()
        except Break:
            seen.append("broken")
        with breaks(False):
            await gate.wait()
        seen.append("complete")

    outer, second, third = await begin_two(innermost)
    second.kill()
    assert second.dead
    await sync(idle())
    assert seen == ["broken"]
    assert not third.dead
    assert not outer.dead  # the outer call waits for the innermost to complete
    gate.post()
    with pytest.raises(ThreadDead):
        await outer.join()
    assert seen == ["broken", "complete"]


async def test_breaks_pending_on_the_inner_ones_move_to_the_outermost():
    gate = Semaphore()

    async def innermost():
        with breaks(False):
            await gate.wait()
            break_enabled(False)

    seen = []

    async def outermost():
        with breaks(False):
            try:
                await call_in_nested_thread(second)
            except ThreadDead:
                seen.append("dead")
            try:
                break_enabled(True)
            except Break as error:
                seen.append(type(error))

    found = []

    async def second():
        found.append(current_thread())
        await call_in_nested_thread(innermost)

    t = thread(outermost)
    await sync(idle())
    found[0].kill()
    await sync(idle())
    t.break_("terminate")  # goes past the dead one, to the innermost
    assert not t.dead
    gate.post()
    await t.join()
    assert seen == ["dead", BreakTerminate]


@pytest.mark.parametrize("begin", OUTER)
async def test_two_that_die_together_send_no_break_to_the_outermost(begin):
    sandbox = Custodian()

    async def second():
        await call_in_nested_thread(Channel().get, custodian=sandbox)

    t = thread(partial(begin, second, custodian=sandbox))
    await sync(idle())
    sandbox.shutdown_all()
    with pytest.raises(ThreadDead):
        await t.join()


async def test_when_the_outermost_is_killed_the_innermost_is_broken():
    seen = []

    async def innermost():
        try:
            await Channel().get()
        except Break:
            seen.append("broken")

    outer, second, third = await begin_two(innermost)
    outer.kill()
    await third.wait()
    await second.wait()
    assert seen == ["broken"]


# -- suspension --------------------------------------------------------------------------------------------


async def test_a_suspended_outer_thread_gets_the_result_when_it_is_resumed():
    gate = Semaphore()

    async def nested():
        await gate.wait()
        return "result"

    outer, inner = await begin(nested)
    await sync(idle())
    outer.suspend()
    assert inner.running
    gate.post()
    await inner.wait()
    await sync(idle())
    assert not outer.dead
    outer.resume()
    assert await outer.join() == "result"


async def test_the_outer_thread_waits_for_a_suspended_nested_one():
    gate = Semaphore()

    async def nested():
        await gate.wait()
        return "result"

    outer, inner = await begin(nested)
    await sync(idle())
    inner.suspend()
    gate.post()
    await sync(idle())
    assert not outer.dead
    inner.resume()
    assert await outer.join() == "result"


# -- the rest ----------------------------------------------------------------------------------------------


async def test_outer_and_nested_thread_are_collected_when_nobody_can_reach_them():
    found = []

    async def nested():
        found.append(weakref.ref(current_thread()))
        await Channel().get()

    found.append(weakref.ref(thread(call_in_nested_thread, nested)))
    await sync(idle())
    for _ in range(10):
        gc.collect()
        await sync(idle())
        if all(r() is None for r in found):
            break
    assert [r() for r in found] == [None, None]


def test_outside_a_runtime_it_says_so():
    with pytest.raises(NoRuntime, match="call_in_nested_thread"):
        block_on(call_in_nested_thread(add, 1, 2))


async def test_under_its_racket_name():
    custodian = racket.make_custodian()
    assert await racket.call_in_nested_thread(lambda: 5) == 5
    assert await racket.call_in_nested_thread(lambda: 5, custodian) == 5


def test_keyboard_interrupt_reaches_the_nested_thread_of_main(script):
    done = script(
        """
        import os, signal
        import rtsync as rt

        async def nested():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                await rt.sleep(1000)
            except rt.Break:
                print("nested")
                raise

        async def main():
            try:
                await rt.call_in_nested_thread(nested)
            finally:
                print("main")

        try:
            rt.run(main, workers=2)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert done.stdout == "nested\nmain\ninterrupted\n"
