"""SPEC §9: scopes."""

# ruff: noqa: PT012  -- the block that raises is what is tested

import threading
import weakref

import pytest

import rtsync
from rtsync import (
    Break,
    BreakHangUp,
    BreakScope,
    Channel,
    ContractError,
    Custodian,
    CustodianBox,
    NoRuntime,
    Scope,
    Semaphore,
    ThreadKilled,
    block_on,
    break_enabled,
    breaks,
    call_in_nested_thread,
    current_custodian,
    current_thread,
    idle,
    parameterize,
    sleep,
    sync,
    thread,
    uncaught_exception_handler,
)
from rtsync.testing import run_deterministic
from tests.collecting import collected


async def blocks():
    await Channel().get()


async def fails(text="failed"):
    await sleep(0)
    raise ValueError(text)


def texts(group):
    """The texts of all errors in ``group``, of groups within it too."""
    found = []
    for error in group.exceptions:
        found += texts(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return found


# -- what its threads inherit ----------------------------------------------------------------------------


async def test_its_threads_begin_with_breaks_as_other_new_threads_do():
    async def enabled():
        return break_enabled()

    with breaks(False):
        async with Scope() as scope:
            disabled = [scope.thread(enabled), scope.thread(break_enabled)]
        with breaks(True):
            async with Scope() as scope:
                break_enabled(False)
                not_disabled = scope.thread(enabled)
    assert [await t.join() for t in disabled] == [False, False]
    assert await not_disabled.join() is True


# -- waiting ---------------------------------------------------------------------------------------------


async def test_leaving_the_block_waits_for_its_threads():
    done = []

    async def work(number):
        for _ in range(number):
            await sleep(0)
        done.append(number)

    async with Scope() as scope:
        for number in (5, 0, 3):
            scope.thread(work, number)
        assert len(done) < 3
    assert sorted(done) == [0, 3, 5]


async def test_their_results_can_be_used_inside_and_after():
    async def work(number):
        await sleep(0)
        return number

    def plainly(number):
        block_on(sleep(0))
        return number

    async with Scope() as scope:
        first, second = scope.thread(work, 1), scope.thread(plainly, 2, name="plain")
        assert await first.join() == 1
    assert await second.join() == 2
    assert second.name == "plain"
    async with Scope() as scope:
        third = scope.thread(work, 3, keep=False)
    assert await third.join() is None


async def test_threads_may_start_threads():
    done = []

    async def child(depth):
        await sleep(0)
        if depth:
            scope.thread(child, depth - 1)
            thread(child, depth - 1)
        done.append(depth)

    async with Scope() as scope:
        scope.thread(child, 4)
    assert len(done) == 2**5 - 1


async def test_threads_started_otherwise_are_waited_for_too():
    done = []

    async def work():
        for _ in range(5):
            await sleep(0)
        done.append(True)

    async with Scope():
        thread(work)
        with Custodian():
            thread(work)
    assert done == [True, True]


async def test_an_empty_scope():
    async with Scope():
        pass


async def test_the_block_has_a_custodian_of_its_own_which_ends_with_it():
    outer = current_custodian()
    async with Scope() as scope:
        assert current_custodian() is scope.custodian
        assert outer.manages(scope.custodian)
        box = CustodianBox(scope.custodian, "resource")
        assert await scope.thread(current_custodian).join() is scope.custodian
    assert current_custodian() is outer
    assert scope.custodian.is_shut_down
    assert box.value is None
    assert scope.custodian not in outer.managed_list()


async def test_a_killed_thread_has_not_failed():
    async with Scope() as scope:
        t = scope.thread(blocks)
        other = scope.thread(sleep, 0.01)
        await sync(idle())
        t.kill()
    assert t.dead
    assert await other.join() is None


async def test_a_suspended_thread_is_waited_for():
    async def block():
        async with Scope() as scope:
            inside.append(scope.thread(go.wait))
            inside[0].suspend()

    inside, go = [], Semaphore()
    t = thread(block)
    await sync(idle())
    go.post()
    await sync(idle())
    assert not t.dead
    inside[0].resume()
    await t.join()


# -- failures --------------------------------------------------------------------------------------------


async def test_the_first_failure_shuts_down_the_others_and_comes_out_as_a_group():
    ended = []

    async def other():
        try:
            await Channel().get()
        finally:
            ended.append(True)

    reported = []
    with parameterize(uncaught_exception_handler, lambda *what: reported.append(what)):
        with pytest.raises(ExceptionGroup) as caught:
            async with Scope() as scope:
                others = [scope.thread(other) for _ in range(3)]
                await sync(idle())
                failing = scope.thread(fails)
    assert [str(error) for error in caught.value.exceptions] == ["failed"]
    assert all(t.dead for t in others)
    assert ended == [True] * 3
    assert failing.dead
    assert reported == []
    with pytest.raises(ThreadKilled):
        await others[0].join()
    with pytest.raises(ValueError, match="failed"):
        await failing.join()


async def test_the_body_is_broken_when_a_thread_fails():
    seen = []
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            scope.thread(fails)
            try:
                await Channel().get()
            except Break as error:
                seen.append(type(error))
                raise
    assert seen == [BreakScope]
    assert texts(caught.value) == ["failed"]


@pytest.mark.rtsync(workers=2)
async def test_a_body_that_computes_is_broken_too():
    async def block():
        async with Scope() as scope:
            scope.thread(fails)
            while True:
                pass

    with pytest.raises(ExceptionGroup) as caught:
        await thread(block).join()
    assert texts(caught.value) == ["failed"]


async def test_a_body_that_allows_no_breaks_goes_on_to_its_end():
    done = []
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            with breaks(False):
                t = scope.thread(fails)
                await t.wait()
                done.append(True)
    assert done == [True]
    assert texts(caught.value) == ["failed"]


async def test_no_break_is_left_over():
    for _ in range(5):
        with pytest.raises(ExceptionGroup):
            async with Scope() as scope:
                with breaks(False):
                    await scope.thread(fails).wait()
        for _ in range(5):
            await sleep(0)
        await sync(idle(), timeout=0.001)


async def test_the_failure_of_the_body_is_in_the_group():
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            t = scope.thread(blocks)
            await sync(idle())
            raise KeyError("body")
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert t.dead


async def test_failures_of_the_body_and_of_threads_come_together():
    async def fails_in_clean_up():
        try:
            await Channel().get()
        finally:
            raise ValueError("clean-up")

    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            scope.thread(fails_in_clean_up)
            await sync(idle())
            raise ValueError("body")
    assert texts(caught.value) == ["body", "clean-up"]


async def test_several_threads_may_fail():
    async def fails_when_killed():
        try:
            await Channel().get()
        finally:
            raise ValueError("second")

    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            scope.thread(fails_when_killed)
            await sync(idle())
            scope.thread(fails, "first")
    assert texts(caught.value) == ["first", "second"]


async def test_the_failure_of_a_thread_that_was_started_otherwise_is_only_reported():
    reported = []
    with parameterize(uncaught_exception_handler, lambda t, error: reported.append(str(error))):
        async with Scope():
            thread(fails)
    assert reported == ["failed"]


async def test_an_os_backed_thread_may_fail_too():
    def fail():
        raise ValueError("plain")

    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            scope.thread(lambda: block_on(Channel().get()))
            scope.thread(fail)
            await Channel().get()
    assert texts(caught.value) == ["plain"]


async def test_what_is_no_exception_makes_a_base_exception_group():
    async def leave():
        raise SystemExit(3)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with Scope() as scope:
            scope.thread(leave)
    assert [type(error) for error in caught.value.exceptions] == [SystemExit]
    assert not isinstance(caught.value, ExceptionGroup)


async def test_breaks_come_in_the_handler_of_the_group():
    """The group does not count as raised in the clean-up of the break that it replaces."""

    async def block():
        try:
            async with Scope() as scope:
                scope.thread(fails)
                await Channel().get()
        except ExceptionGroup as group:
            context.append(group.__context__)
            try:
                handling.post()
                await Channel().get()
            except Break:
                return "broken"

    handling, context = Semaphore(), []
    t = thread(block)
    await handling.wait()
    await sync(idle())
    t.break_()
    assert await t.join() == "broken"
    assert context == [None]


async def test_a_thread_is_refused_once_the_scope_has_ended():
    async with Scope() as scope:
        pass
    with pytest.raises(ContractError, match=r"Scope\.thread: the scope has ended"):
        scope.thread(blocks)


async def test_what_is_refused_only_because_the_scope_is_being_shut_down_is_no_failure():
    """The thread, or the body, would have been stopped a moment later."""

    async def starts():
        with breaks(False):
            while not scope.custodian.is_shut_down:
                await sleep(0)
            thread(sleep)

    for _ in range(3):
        with pytest.raises(ExceptionGroup) as caught:
            async with Scope() as scope:
                scope.thread(starts)
                scope.thread(fails)
                with breaks(False):
                    while not scope.custodian.is_shut_down:
                        await sleep(0)
                    Custodian()
        assert texts(caught.value) == ["failed"]


async def test_the_owner_that_starts_a_thread_in_a_scope_that_has_failed_gets_the_break():
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            with breaks(False):
                await scope.thread(fails).wait()
                await sync(idle())
                scope.thread(blocks)
    assert texts(caught.value) == ["failed"]


# -- breaks and kills of the owner -----------------------------------------------------------------------


async def scope_of(children, where):
    async with Scope() as scope:
        children += [scope.thread(blocks), scope.thread(lambda: block_on(Channel().get()))]
        if where == "body":
            await Channel().get()


@pytest.mark.parametrize("where", ["body", "end"])
async def test_a_break_of_the_owner_shuts_down_the_threads_and_goes_on(where):
    children = []
    owner = thread(scope_of, children, where)
    await sync(idle())
    owner.break_("hang-up")
    with pytest.raises(BreakHangUp):
        await owner.join()
    assert len(children) == 2
    assert all(t.dead for t in children)


@pytest.mark.parametrize("where", ["body", "end"])
async def test_a_kill_of_the_owner_shuts_down_the_threads(where):
    children = []
    owner = thread(scope_of, children, where)
    await sync(idle())
    owner.kill()
    assert owner.dead
    for t in children:
        await t.wait()
    assert len(children) == 2


@pytest.mark.rtsync(workers=2)
async def test_a_kill_of_the_owner_reaches_a_thread_that_computes():
    begun = []

    async def hog():
        begun.append(True)
        while True:
            pass

    async def block():
        async with Scope() as scope:
            children.append(scope.thread(hog))
            await Channel().get()

    children = []
    owner = thread(block)
    while not begun:
        await sleep(0)
    owner.kill()
    await children[0].wait()
    assert owner.dead


async def test_a_shutdown_of_the_owners_custodian_shuts_down_the_threads():
    children, custodian = [], Custodian()
    with custodian:
        owner = thread(scope_of, children, "body")
    await sync(idle())
    custodian.shutdown_all()
    assert owner.dead
    for t in children:
        await t.wait()


async def test_failures_that_a_break_hides_are_reported():
    async def fails_in_clean_up():
        try:
            await Channel().get()
        finally:
            raise ValueError("clean-up")

    async def block():
        async with Scope() as scope:
            scope.thread(fails_in_clean_up)
            await Channel().get()

    reported = []
    with parameterize(uncaught_exception_handler, lambda t, error: reported.append(str(error))):
        owner = thread(block)
        await sync(idle())
        owner.break_()
        with pytest.raises(Break):
            await owner.join()
    assert "clean-up" in reported


def test_a_deadlock_of_the_owner_comes_out():
    async def main():
        async with Scope() as scope:
            scope.thread(blocks)

    with pytest.raises(rtsync.Deadlock):
        run_deterministic(main)


# -- scopes within scopes --------------------------------------------------------------------------------


async def test_an_inner_failure_ends_the_inner_scope_only_if_it_is_handled():
    async with Scope() as outer:
        t = outer.thread(sleep, 0.01)
        with pytest.raises(ExceptionGroup):
            async with Scope() as inner:
                inner.thread(fails)
        assert not inner.custodian.manages(outer.custodian)
    assert await t.join() is None


async def test_an_inner_failure_that_is_not_handled_ends_the_outer_scope():
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as outer:
            t = outer.thread(blocks)
            await sync(idle())
            async with Scope() as inner:
                inner.thread(fails)
    assert texts(caught.value) == ["failed"]
    assert isinstance(caught.value.exceptions[0], ExceptionGroup)
    assert t.dead


async def test_an_outer_failure_ends_the_inner_scope():
    threads = []
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as outer:
            async with Scope() as inner:
                threads.append(inner.thread(blocks))
                await sync(idle())
                threads.append(outer.thread(fails))
                await Channel().get()
    assert texts(caught.value) == ["failed"]
    assert all(t.dead for t in threads)


async def test_an_outer_failure_ends_the_inner_scope_while_that_waits():
    threads = []
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as outer:
            async with Scope() as inner:
                threads.append(inner.thread(blocks))
                await sync(idle())
                threads.append(outer.thread(fails))
    assert texts(caught.value) == ["failed"]
    assert all(t.dead for t in threads)


@pytest.mark.rtsync(seeds=40)
async def test_when_both_fail_both_end():
    reached = []
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as outer:
            outer.thread(fails, "outer")
            try:
                async with Scope() as inner:
                    inner.thread(fails, "inner")
                    await Channel().get()
            except ExceptionGroup as group:
                reached.append(texts(group))
            await Channel().get()  # the outer failure comes here, at the latest
    assert texts(caught.value) == ["outer"]
    assert reached in ([], [["inner"]])


async def test_the_scope_of_a_thread_ends_with_the_scope_that_it_is_in():
    innermost = []

    async def child():
        async with Scope() as inner:
            innermost.append(inner.thread(blocks))

    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as outer:
            outer.thread(child)
            await sync(idle())
            outer.thread(fails)
    assert texts(caught.value) == ["failed"]
    assert innermost[0].dead


# -- the rest ----------------------------------------------------------------------------------------------


async def test_an_os_backed_thread_may_have_a_scope():
    def block():
        with Scope() as scope:
            t = scope.thread(sleep)
        assert t.dead
        with pytest.raises(ExceptionGroup) as caught, Scope() as scope:
            scope.thread(fails)
            block_on(Channel().get())
        return texts(caught.value)

    assert await thread(block).join() == ["failed"]
    with pytest.raises(ContractError, match="async with"), Scope():
        pass


async def test_a_nested_thread_in_the_body_is_broken():
    with pytest.raises(ExceptionGroup) as caught:
        async with Scope() as scope:
            scope.thread(fails)
            await call_in_nested_thread(blocks)
    assert texts(caught.value) == ["failed"]


async def test_a_scope_is_entered_once():
    async with Scope() as scope:
        pass
    with pytest.raises(ContractError, match="only once"):
        async with scope:
            pass
    with pytest.raises(ContractError, match="has not been entered"):
        Scope().thread(blocks)


def test_outside_a_runtime_it_says_so():
    async def block():
        async with Scope():
            pass

    with pytest.raises(NoRuntime, match="Scope"):
        block_on(block())


@pytest.mark.rtsync(workers=2)
async def test_an_os_thread_of_the_program_starts_no_thread_in_it():
    refused = []

    def outside():
        try:
            scope.thread(blocks)
        except NoRuntime as error:
            refused.append(str(error))

    async with Scope() as scope:
        other = threading.Thread(target=outside)
        other.start()
        while not refused and other.is_alive():
            await sleep(0)
        other.join()
    assert refused[0].startswith("Scope.thread: ")


async def test_a_long_lived_scope_does_not_keep_threads_that_have_ended():
    class Thing:
        pass

    async def work(thing):
        pass

    async with Scope() as scope:
        things = []
        for _ in range(20):
            thing = Thing()
            things.append(weakref.ref(thing))
            await scope.thread(work, thing).join()
        del thing
        assert collected(lambda: [r() for r in things] == [None] * 20)


async def test_breaks_and_custodian_are_as_before_after_the_block():
    before = current_custodian()
    with pytest.raises(ExceptionGroup):
        async with Scope() as scope:
            scope.thread(fails)
    assert current_custodian() is before
    assert break_enabled()
    assert current_thread()._rare.scope is None


async def random_scope(number):
    """Threads that fail, end, block and start others, at once with a break of the owner."""
    outcome = []

    async def child(depth):
        for _ in range(depth):
            await sleep(0)
        if depth == 3:
            raise ValueError("three")
        if depth == 2:
            await Channel().get()
        if depth == 1:
            scope.thread(child, 0)

    async def block():
        nonlocal scope
        try:
            async with Scope() as scope:
                begun.post()
                threads.extend(scope.thread(child, depth) for depth in range(number))
                await Channel().get()
        except ExceptionGroup as group:
            outcome.append(group)  # before anything else: a break that came too late comes now
        except Break as error:
            outcome.append(type(error))

    scope, threads, begun = None, [], Semaphore()
    with parameterize(uncaught_exception_handler, lambda t, error: None):
        owner = thread(block)
        await begun.wait()
        owner.break_()
        await owner.wait()
    outcome = [texts(o) if isinstance(o, ExceptionGroup) else o for o in outcome]
    assert outcome in ([["three"]], [Break])
    for t in threads:
        assert t.dead


@pytest.mark.rtsync(seeds=60)
async def test_whatever_comes_first_nothing_is_left():
    await random_scope(4)


@pytest.mark.rtsync(workers=2, runs=40)
async def test_the_same_on_real_workers():
    await random_scope(4)


def test_keyboard_interrupt_ends_the_threads_of_a_scope(script):
    done = script(
        """
        import os, signal
        import rtsync as rt

        async def worker():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                await rt.sleep(1000)
            finally:
                print("worker")

        async def main():
            async with rt.Scope() as scope:
                scope.thread(worker)

        try:
            rt.run(main, workers=2)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert done.stdout == "worker\ninterrupted\n"
