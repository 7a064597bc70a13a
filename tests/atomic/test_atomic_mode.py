"""Seeds 003, SPEC §8: atomic mode as one thread sees it."""

# ruff: noqa: PT012  # what is tested is where in a block an exception arrives

import threading

import pytest

import rtsync
from rtsync import (
    AsyncChannel,
    Break,
    BreakTerminate,
    Channel,
    ContractError,
    Semaphore,
    ThreadKilled,
    block_on,
    break_enabled,
    breaks,
    current_thread,
    idle,
    never,
    sleep,
    sync,
    thread,
)
from rtsync.atomic import (
    atomic,
    call_as_atomic,
    call_as_nonatomic,
    end_atomic,
    end_breakable_atomic,
    end_uninterruptible,
    is_in_atomic_mode,
    start_atomic,
    start_breakable_atomic,
    start_uninterruptible,
    uninterruptible,
)

# -- levels ----------------------------------------------------------------------------------------


async def test_it_is_on_between_start_and_end():
    assert not is_in_atomic_mode()
    assert start_atomic() is None
    assert is_in_atomic_mode()
    assert end_atomic() is None
    assert not is_in_atomic_mode()


async def test_calls_nest():
    start_atomic()
    start_atomic()
    end_atomic()
    assert is_in_atomic_mode()
    end_atomic()
    assert not is_in_atomic_mode()


async def test_the_kinds_nest_in_each_other():
    start_uninterruptible()
    start_atomic()
    start_breakable_atomic()
    start_uninterruptible()
    end_uninterruptible()
    end_breakable_atomic()
    end_atomic()
    assert is_in_atomic_mode()
    end_uninterruptible()
    assert not is_in_atomic_mode()


async def test_the_blocks_nest_in_each_other():
    with uninterruptible(), atomic(), atomic(breakable=True), uninterruptible(), atomic():
        assert is_in_atomic_mode()
    assert not is_in_atomic_mode()


async def test_the_module_can_be_called_for_the_block():
    with rtsync.atomic():
        assert is_in_atomic_mode()
    assert not is_in_atomic_mode()


@pytest.mark.parametrize("end", [end_atomic, end_breakable_atomic, end_uninterruptible])
@pytest.mark.rtsync(seeds=1)
async def test_an_end_without_a_start_is_refused(end):
    with pytest.raises(ContractError, match=f"{end.__name__}: there was no start_"):
        end()


@pytest.mark.parametrize(
    ("start", "wrong", "right"),
    [
        (start_atomic, end_breakable_atomic, end_atomic),
        (start_atomic, end_uninterruptible, end_atomic),
        (start_breakable_atomic, end_atomic, end_breakable_atomic),
        (start_uninterruptible, end_atomic, end_uninterruptible),
    ],
)
@pytest.mark.rtsync(seeds=1)
async def test_the_end_of_another_kind_is_refused_and_changes_nothing(start, wrong, right):
    start()
    with pytest.raises(ContractError):
        wrong()
    assert is_in_atomic_mode()
    right()
    assert not is_in_atomic_mode()


async def test_a_block_that_was_left_by_hand_says_so():
    with pytest.raises(ContractError, match="left by end_atomic already"):
        with atomic():
            end_atomic()
    with pytest.raises(ContractError, match="left by end_breakable_atomic already"):
        with atomic(breakable=True):
            end_breakable_atomic()
    with pytest.raises(ContractError, match="left by end_uninterruptible already"):
        with uninterruptible():
            end_uninterruptible()


async def test_an_exception_leaves_the_block():
    for block in (atomic(), atomic(breakable=True), uninterruptible()):
        with pytest.raises(KeyError, match="mine"):
            with block:
                raise KeyError("mine")
        assert not is_in_atomic_mode()


async def test_each_thread_has_its_own_modes():
    seen = []

    async def other():
        seen.append(is_in_atomic_mode())
        with pytest.raises(ContractError):
            end_atomic()

    with atomic():
        t = thread(other)
    await t.join()
    assert seen == [False]


@pytest.mark.parametrize("arguments", [("yes",), (None,), (1,)])
def test_a_bad_argument_is_refused(arguments):
    with pytest.raises(TypeError, match="atomic: breakable must be a bool, got"):
        atomic(*arguments)


def test_outside_the_librarys_threads_nothing_happens():
    start_atomic()
    assert not is_in_atomic_mode()
    end_atomic()
    end_atomic()
    end_breakable_atomic()
    end_uninterruptible()
    with atomic(), atomic(breakable=True), uninterruptible():
        assert not is_in_atomic_mode()
    assert call_as_atomic(lambda: 1) == 1
    assert call_as_nonatomic(lambda: 1) == 1


@pytest.mark.rtsync(workers=2)
async def test_an_os_thread_of_the_program_is_not_affected_and_affects_nobody():
    inside, go_on, done = threading.Event(), threading.Event(), Semaphore()

    def foreign():
        start_atomic()
        inside.set()
        go_on.wait(30)
        block_on(sleep(0))
        end_atomic()
        done.post()

    t = threading.Thread(target=foreign)
    t.start()
    inside.wait(30)
    assert await thread(nothing).join() is None
    with atomic():
        go_on.set()
        t.join(30)
        assert not t.is_alive()
    await done.wait()


async def nothing():
    pass


# -- blocking --------------------------------------------------------------------------------------


def blocking_operations():
    """Name in the message, and a function that gives the operation."""

    async def receive_nothing():
        await rtsync.receive()

    async def inner():
        await sleep(0)

    return [
        ("sleep", lambda: sleep(0)),
        ("sleep", lambda: sleep(1)),
        ("sleep", inner),
        ("Channel.get", lambda: Channel().get()),
        ("Channel.put", lambda: Channel().put(1)),
        ("AsyncChannel.get", lambda: AsyncChannel().get()),
        ("Semaphore.wait", lambda: Semaphore().wait()),
        ("sync", lambda: sync(Channel())),
        ("sync", lambda: sync(Channel(), Semaphore())),
        ("sync", lambda: sync(never, timeout=1)),
        ("sync", lambda: sync(never)),
        ("sync", lambda: sync(idle())),
        ("Thread.join", lambda: current_thread().join()),
        ("Thread.wait", lambda: current_thread().wait()),
        ("receive", receive_nothing),
    ]


OPERATIONS = blocking_operations()
EACH = pytest.mark.parametrize(
    ("name", "operation"), OPERATIONS, ids=[f"{n}-{name}" for n, (name, _) in enumerate(OPERATIONS)]
)


@EACH
async def test_an_operation_that_would_block_is_refused_by_name_and_leaves_the_mode_as_it_was(
    name, operation
):
    for _ in range(2):
        with atomic():
            with pytest.raises(ContractError, match=f"^{name}: would block in atomic mode$"):
                await operation()
            assert is_in_atomic_mode()
        assert not is_in_atomic_mode()


@EACH
@pytest.mark.parametrize("kind", [{"seeds": 2}, {"workers": 1}], ids=["deterministic", "real"])
def test_the_same_in_an_os_backed_thread(name, operation, kind):
    if name == "receive":
        operation = rtsync.receive

    def main():
        with atomic():
            with pytest.raises(ContractError, match=f"^{name}: would block in atomic mode$"):
                block_on(operation())
            assert is_in_atomic_mode()
        return "done"

    if "seeds" in kind:
        assert rtsync.testing.run_deterministic(main) == "done"
    else:
        assert rtsync.run(main, workers=1) == "done"


@pytest.mark.rtsync(workers=1)
def test_a_coroutine_that_an_os_thread_drives_can_catch_the_refusal():
    async def inside():
        for operation in (sleep(0), Channel().get()):
            with pytest.raises(ContractError, match="would block"):
                await operation
        return "went on"

    with atomic():
        assert block_on(inside()) == "went on"


async def test_operations_that_need_not_block_work():
    ch, full, sem = Channel(), AsyncChannel(), Semaphore(1)
    with atomic():
        await sem.wait()
        sem.post()
        assert sem.try_wait()
        await full.put(1)
        assert await full.get() == 1
        assert await sync(ch, timeout=0, default="nothing") == "nothing"
        assert await sync(rtsync.always.wrap(lambda _: "wrapped")) == "wrapped"
        t = thread(nothing)
        t.send("message")
    await t.join()


async def test_a_partner_that_waits_can_be_met():
    ch = Channel()
    t = thread(ch.get)
    await sync(idle())
    with atomic():
        await ch.put("value")
        assert not t.dead
    assert await t.join() == "value"


async def test_an_operation_that_was_refused_has_left_nothing_behind():
    ch, sem = Channel(), Semaphore()
    with atomic():
        for operation in (ch.put(1), sem.wait(), sync(ch, sem)):
            with pytest.raises(ContractError):
                await operation
    assert ch.try_get() is None
    sem.post()
    assert sem.count == 1
    t = thread(ch.get)
    await ch.put("real")
    assert await t.join() == "real"


async def test_nobody_runs_between_a_refusal_and_the_end():
    ran = []

    async def other():
        ran.append(1)

    with atomic():
        threads = [thread(other) for _ in range(3)]
        for _ in range(200):  # more than the worker makes in one turn of its queue
            with pytest.raises(ContractError):
                await sleep(0)
            assert ran == []
    for t in threads:
        await t.join()
    assert ran == [1, 1, 1]


@pytest.mark.rtsync(workers=2, runs=2)
async def test_who_is_claimed_from_outside_before_it_is_refused_has_its_value():
    # The window is small; whatever happens, a value that was put is got.
    ch = Channel()
    got = []

    def putter():
        for n in range(50):
            block_on(ch.put(n))

    t = thread(putter)
    while len(got) < 50:
        with atomic():
            try:
                got.append(await ch.get())
            except ContractError:
                pass
        await sleep(0.0001)
    assert got == list(range(50))
    await t.join()


@pytest.mark.rtsync(workers=1, runs=20)
async def test_an_extra_worker_that_retires_leaves_no_owner_behind():
    stop = []

    async def hog():
        while not stop:
            pass

    t = thread(hog)
    await sleep(0)
    while not current_thread().runtime.stats()["extra"]:
        await sleep(0.001)
    stop.append(True)
    # We run on the extra worker, which retires at one of its ticks.
    for _ in range(200):
        with atomic():
            for _ in range(3):
                with pytest.raises(ContractError):
                    await sleep(0)
        await sleep(0)
    await t.join()


# -- call_as_atomic, call_as_nonatomic -------------------------------------------------------------


async def test_the_result_comes_back():
    assert call_as_atomic(lambda: (is_in_atomic_mode(), 1)) == (True, 1)
    assert not is_in_atomic_mode()


async def test_an_exception_is_raised_after_the_mode_was_left():
    def thunk():
        assert is_in_atomic_mode()
        raise KeyError("mine")

    try:
        call_as_atomic(thunk)
    except KeyError:
        assert not is_in_atomic_mode()
    else:
        pytest.fail("no exception")


async def test_within_itself_it_is_a_plain_call():
    seen = []

    def inner():
        with pytest.raises(ContractError):
            end_atomic()
        seen.append(is_in_atomic_mode())

    def outer():
        call_as_atomic(inner)
        seen.append(is_in_atomic_mode())

    call_as_atomic(outer)
    assert seen == [True, True]
    assert not is_in_atomic_mode()


async def test_its_level_cannot_be_ended_by_hand():
    with pytest.raises(ContractError):
        call_as_atomic(end_atomic)
    assert not is_in_atomic_mode()


async def test_an_async_thunk_runs_in_the_mode_when_it_is_awaited():
    sem = Semaphore(1)

    async def thunk():
        await sem.wait()
        return is_in_atomic_mode()

    made = call_as_atomic(thunk)
    assert not is_in_atomic_mode()
    assert await made is True
    assert not is_in_atomic_mode()
    assert sem.count == 0


async def test_nonatomic_reverts_for_one_call():
    seen = []

    def look():
        seen.append(is_in_atomic_mode())
        return "result"

    assert call_as_atomic(lambda: (call_as_nonatomic(look), is_in_atomic_mode())) == ("result", True)
    assert seen == [False]


async def test_nonatomic_leaves_all_levels_and_enters_them_again():
    seen = []

    def thunk():
        start_atomic()
        start_breakable_atomic()
        call_as_nonatomic(lambda: seen.append(is_in_atomic_mode()))
        end_breakable_atomic()
        end_atomic()
        seen.append(is_in_atomic_mode())

    start_atomic()
    call_as_atomic(thunk)
    assert is_in_atomic_mode()
    end_atomic()
    assert seen == [False, True]


async def test_atomic_within_nonatomic_within_atomic():
    seen = []

    def innermost():
        seen.append(is_in_atomic_mode())
        call_as_nonatomic(lambda: seen.append(is_in_atomic_mode()))

    call_as_atomic(lambda: call_as_nonatomic(lambda: call_as_atomic(innermost)))
    assert seen == [True, False]
    assert not is_in_atomic_mode()


async def test_an_exception_comes_through_nonatomic_into_the_mode():
    def thunk():
        with pytest.raises(KeyError):
            call_as_nonatomic(lambda: {}["missing"])
        return is_in_atomic_mode()

    assert call_as_atomic(thunk) is True


async def test_nonatomic_may_block_when_it_is_async():
    ch = Channel()
    t = thread(ch.put, "value")

    async def thunk():
        with pytest.raises(ContractError):
            await sleep(0)
        got = await call_as_nonatomic(ch.get)
        return got, is_in_atomic_mode()

    assert await call_as_atomic(thunk) == ("value", True)
    await t.join()


@pytest.mark.rtsync(seeds=1)
async def test_nonatomic_outside_is_refused():
    ran = []
    with pytest.raises(ContractError, match="call_as_nonatomic: not within a call_as_atomic"):
        call_as_nonatomic(lambda: ran.append(1))
    with atomic():
        with pytest.raises(ContractError, match="not within a call_as_atomic"):
            call_as_nonatomic(lambda: ran.append(1))
    with pytest.raises(ContractError):
        call_as_atomic(lambda: call_as_nonatomic(lambda: call_as_nonatomic(lambda: ran.append(1))))
    assert ran == []


@pytest.mark.parametrize("call", [call_as_atomic, call_as_nonatomic, rtsync.call_as_uninterruptible])
def test_what_cannot_be_called_is_refused(call):
    for bad in (None, 5, "function"):
        with pytest.raises(TypeError, match=f"{call.__name__}: thunk must be callable, got"):
            call(bad)


# -- what has to wait ------------------------------------------------------------------------------


async def test_a_break_waits_for_the_outermost_end():
    me = current_thread()
    log = []
    with pytest.raises(Break):
        start_atomic()
        with atomic():
            me.break_()
            log.append("inside")
        log.append("still inside")
        end_atomic()
        log.append("not reached")
    assert log == ["inside", "still inside"]
    assert not is_in_atomic_mode()


async def test_a_break_is_raised_in_the_breakable_kind():
    log = []
    with pytest.raises(Break):
        with atomic(breakable=True):
            current_thread().break_()
            log.append("not reached")
    assert log == []
    assert not is_in_atomic_mode()


async def test_within_the_other_kind_the_breakable_one_holds_breaks_back_too():
    log = []
    with pytest.raises(Break):
        with atomic():
            with atomic(breakable=True):
                current_thread().break_()
                log.append("inside")
            log.append("still inside")
    assert log == ["inside", "still inside"]


async def test_the_stronger_of_two_breaks_arrives():
    with pytest.raises(BreakTerminate):
        with atomic():
            current_thread().break_("terminate")
            current_thread().break_()


async def test_break_enabled_is_not_changed_by_the_mode():
    with atomic():
        assert break_enabled()
    with breaks(False), atomic():
        assert not break_enabled()


async def test_a_break_that_is_disabled_stays_pending():
    log = []
    with pytest.raises(Break):
        with breaks(False):
            with atomic():
                current_thread().break_()
            log.append(is_in_atomic_mode())
    assert log == [False]


async def test_a_break_does_not_replace_the_exception_that_leaves_the_block():
    log = []
    with pytest.raises(Break):
        try:
            with atomic():
                current_thread().break_()
                raise KeyError
        except KeyError:
            log.append("the exception")
        while True:  # and the break soon after, wherever that is
            await sleep(0)
    assert log == ["the exception"]


async def test_a_break_is_raised_at_an_operation_in_the_breakable_kind_when_it_is_enabled_there():
    with atomic(breakable=True):
        with pytest.raises(Break):
            with breaks(False):
                current_thread().break_()
                with pytest.raises(ContractError):
                    await sleep(0)
        assert is_in_atomic_mode()


@pytest.mark.parametrize("block", [atomic, uninterruptible])
async def test_killing_oneself_waits_for_the_end(block):
    log = []

    async def victim():
        try:
            with block():
                current_thread().kill()
                log.append("inside")
            log.append("not reached")
        finally:
            log.append(is_in_atomic_mode())

    t = thread(victim)
    with pytest.raises(ThreadKilled):
        await t.join()
    assert log == ["inside", False]


@pytest.mark.parametrize("block", [atomic, uninterruptible])
async def test_suspending_oneself_waits_for_the_end(block):
    log = []

    async def victim():
        with block():
            current_thread().suspend()
            log.append("inside")
        await sleep(0)
        log.append("resumed")

    t = thread(victim)
    await sync(t.suspend_evt())
    await sync(idle())
    assert log == ["inside"]
    t.resume()
    await t.join()
    assert log == ["inside", "resumed"]


async def test_the_strongest_request_goes_first():
    log = []

    async def victim():
        with atomic():
            current_thread().break_()
            current_thread().suspend()
            current_thread().kill()
            log.append("inside")
        log.append("not reached")

    t = thread(victim)
    with pytest.raises(ThreadKilled):
        await t.join()
    assert log == ["inside"]


async def test_after_a_suspension_the_break_is_raised():
    log = []

    async def victim():
        try:
            with atomic():
                current_thread().break_()
                current_thread().suspend()
            await sleep(0)
        except Break:
            log.append("break")

    t = thread(victim)
    await sync(idle())
    t.resume()
    await t.join()
    assert log == ["break"]


async def test_a_thread_that_ends_inside_leaves_the_mode():
    async def returns():
        start_atomic()
        start_uninterruptible()
        return 5

    async def raises():
        start_atomic()
        raise KeyError("mine")

    assert await thread(returns).join() == 5
    with rtsync.parameterize(rtsync.uncaught_exception_handler, lambda thread, error: None):
        t = thread(raises)
    with pytest.raises(KeyError):
        await t.join()
    with atomic():
        pass


async def test_an_os_backed_thread_that_ends_inside_leaves_the_mode():
    assert await thread(lambda: (start_atomic(), 5)[1]).join() == 5
    with atomic():
        pass


async def test_clean_up_of_a_killed_thread_may_use_the_modes():
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            with atomic(), uninterruptible():
                log.append(is_in_atomic_mode())
            log.append(is_in_atomic_mode())

    t = thread(victim)
    await sync(idle())
    t.kill()
    await t.wait()
    assert log == [True, False]


async def test_clean_up_that_blocks_inside_the_mode_is_over_and_leaves_it():
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            start_atomic()
            try:
                await sleep(0)
            except ContractError:
                log.append("refused")

    t = thread(victim)
    await sync(idle())
    t.kill()
    await t.wait()
    assert t.dead
    assert log == ["refused"]
    with atomic():
        pass


# -- control of others from inside -----------------------------------------------------------------


async def test_who_is_killed_from_inside_dies_when_the_mode_ends():
    log = []

    async def blocked():
        try:
            await Channel().get()
        finally:
            log.append("clean-up")

    async def never_begun():
        log.append("begun")

    t = thread(blocked)
    await sync(idle())
    with atomic():
        u = thread(never_begun)
        t.kill()
        u.kill()
        assert not t.running
        assert not u.running
        assert log == []
    assert t.dead
    assert u.dead
    assert log == ["clean-up"]


async def test_who_is_suspended_from_inside_is_suspended_at_once():
    ch = Channel()
    t = thread(ch.get)
    await sync(idle())
    with atomic():
        t.suspend()
        assert not t.running
        with pytest.raises(ContractError):
            await ch.put(1)
    assert await sync(ch.put_evt(1), idle()) is idle()
    with atomic():
        t.resume()
        assert t.running
    await ch.put(2)
    assert await t.join() == 2


async def test_a_suspended_thread_can_be_killed_from_inside():
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            log.append("clean-up")

    t = thread(victim)
    await sync(idle())
    t.suspend()
    with atomic():
        t.kill()
        assert log == []
    assert t.dead
    assert log == ["clean-up"]


async def test_an_os_backed_thread_kills_and_suspends_from_inside_too():
    ch = Channel()
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            log.append("clean-up")

    def killer(t, u):
        with atomic():
            t.kill()
            u.suspend()
            assert not t.running
            assert not u.running
            assert log == []
        assert t.dead

    t, u = thread(victim), thread(ch.get)
    await sync(idle())
    await thread(killer, t, u).join()
    assert log == ["clean-up"]
    assert await sync(ch.put_evt(1), timeout=0) is None
    u.resume()
    await ch.put("value")
    assert await u.join() == "value"
