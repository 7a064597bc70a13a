"""SPEC §3: how threads begin, end, and are waited for."""

import threading
from contextvars import ContextVar

import pytest

import rtsync
from rtsync import (
    Channel,
    ContractError,
    Semaphore,
    Thread,
    ThreadKilled,
    current_thread,
    idle,
    receive,
    sleep,
    sync,
    thread,
    uncaught_exception_handler,
)
from scheduler.safepoint import safepoints
from scheduler.worker import LOCKS


def silently(thread, error):
    """An uncaught exception handler for tests in which a thread is meant to fail."""


# -- beginning -------------------------------------------------------------------------------------


async def test_thread_returns_at_once_whatever_the_new_thread_does():
    t = thread(Channel().get)
    assert isinstance(t, Thread)
    assert not t.dead


async def test_thread_passes_the_arguments_on():
    async def f(*args):
        return args

    assert await thread(f, 1, "two", None).join() == (1, "two", None)


async def test_a_plain_function_makes_an_os_backed_thread():
    def f(a):
        return a, threading.current_thread()

    a, os_thread = await thread(f, 7).join()
    assert a == 7
    assert os_thread is not threading.current_thread()


async def test_an_object_with_an_async_call_makes_a_coroutine_thread():
    class Job:
        async def __call__(self, n):
            await sleep(0)
            return n + 1

    assert await thread(Job(), 1).join() == 2


async def test_a_partial_of_an_async_function_makes_a_coroutine_thread():
    from functools import partial

    async def f(a, b):
        await sleep(0)
        return a + b

    assert await thread(partial(f, 1), 2).join() == 3


async def test_a_method_makes_a_coroutine_thread():
    class Job:
        async def go(self, n):
            return self, n

    job = Job()
    assert await thread(job.go, 5).join() == (job, 5)


async def test_a_function_that_raises_while_it_is_called_fails_in_the_new_thread():
    def f():
        raise ValueError("inside")

    uncaught_exception_handler(silently)
    t = thread(f)
    with pytest.raises(ValueError, match="inside"):
        await t.join()


async def test_arguments_that_do_not_fit_an_async_function_are_refused_at_the_call():
    async def f():
        pass

    with pytest.raises(TypeError):
        thread(f, 1)


async def test_a_thread_starts_with_a_copy_of_its_creators_context():
    var = ContextVar("var", default="default")
    gate = Channel()

    async def child():
        first = var.get()
        var.set("child")
        await gate.get()
        return first, var.get()

    var.set("creator")
    t = thread(child)
    var.set("later")
    await gate.put(None)
    assert await t.join() == ("creator", "child")
    assert var.get() == "later"


async def test_an_os_backed_thread_starts_with_a_copy_of_its_creators_context():
    var = ContextVar("var", default="default")

    def child():
        first = var.get()
        var.set("child")
        return first, var.get()

    var.set("creator")
    assert await thread(child).join() == ("creator", "child")
    assert var.get() == "creator"


async def test_each_thread_keeps_its_context_across_parking():
    var = ContextVar("var")
    gate = Semaphore(0)

    async def child(n):
        var.set(n)
        await gate.wait()
        await sleep(0)
        return var.get()

    threads = [thread(child, n) for n in range(20)]
    for _ in threads:
        gate.post()
    assert [await t.join() for t in threads] == list(range(20))


async def test_current_thread_is_the_thread_that_runs():
    async def f():
        first = current_thread()
        await sleep(0)
        assert current_thread() is first
        return first

    t = thread(f)
    assert await t.join() is t
    assert current_thread() is not t


async def test_current_thread_in_an_os_backed_thread():
    t = thread(lambda: current_thread())
    assert await t.join() is t


def test_current_thread_outside_a_runtime_says_how_to_start_one():
    with pytest.raises(rtsync.NoRuntime, match=r"current_thread: .*rtsync\.run"):
        current_thread()


async def test_the_custodian_of_a_thread_is_the_creators_current_one():
    custodian = rtsync.Custodian()

    async def f():
        return rtsync.current_custodian()

    with custodian:
        t = thread(f)
    assert await t.join() is custodian
    assert rtsync.current_custodian() is not custodian


# -- names -----------------------------------------------------------------------------------------


async def test_a_threads_name_is_its_functions_name_unless_given():
    async def some_function():
        pass

    assert "some_function" in thread(some_function).name
    assert thread(some_function, name="Tom").name == "Tom"


async def test_a_threads_repr_shows_name_and_state():
    async def f():
        pass

    t = thread(f, name="Tom")
    await t.join()
    assert "Tom" in repr(t)
    assert "ended" in repr(t)


async def test_the_name_outlives_the_thread():
    async def some_function():
        pass

    t = thread(some_function)
    await t.join()
    assert "some_function" in t.name


async def test_an_os_backed_thread_is_named_after_its_function():
    def some_function(n):
        pass

    t = thread(some_function, 1)
    assert "some_function" in t.name
    await t.join()
    assert "some_function" in t.name


# -- ending ----------------------------------------------------------------------------------------


async def test_a_thread_is_running_then_dead():
    gate = Channel()
    t = thread(gate.get)
    assert t.running
    assert not t.dead
    await gate.put(None)
    await t.wait()
    assert not t.running
    assert t.dead


async def test_wait_gives_the_result():
    async def f():
        return 42

    assert await thread(f).wait() == 42


async def test_wait_on_an_ended_thread_gives_the_result_again_and_again():
    async def f():
        return []

    t = thread(f)
    first = await t.wait()
    assert await t.wait() is first
    assert await t.join() is first


async def test_wait_does_not_call_fail_after_a_normal_end():
    async def f():
        return 1

    assert await thread(f).wait(lambda: pytest.fail("called")) == 1


async def test_wait_gives_none_if_the_thread_failed():
    async def f():
        raise ValueError

    uncaught_exception_handler(silently)
    assert await thread(f).wait() is None


async def test_wait_calls_fail_if_the_thread_failed():
    async def f():
        raise ValueError

    uncaught_exception_handler(silently)
    assert await thread(f).wait(lambda: "failed") == "failed"


async def test_wait_awaits_an_async_fail():
    async def f():
        raise ValueError

    async def fail():
        await sleep(0)
        return "failed"

    uncaught_exception_handler(silently)
    assert await thread(f).wait(fail) == "failed"


async def test_wait_calls_fail_if_the_thread_was_killed():
    t = thread(Channel().get)
    t.kill()
    assert await t.wait(lambda: "killed") == "killed"
    assert await t.wait() is None


async def test_what_fail_raises_comes_out_of_wait():
    def fail():
        raise KeyError("from fail")

    t = thread(Channel().get)
    t.kill()
    with pytest.raises(KeyError, match="from fail"):
        await t.wait(fail)


async def test_without_keep_the_result_is_dropped():
    async def f():
        return 42

    t = thread(f, keep=False)
    assert await t.wait(lambda: pytest.fail("called")) is None
    assert await t.join() is None


async def test_without_keep_join_still_raises_the_exception():
    async def f():
        raise ValueError("mine")

    uncaught_exception_handler(silently)
    with pytest.raises(ValueError, match="mine"):
        await thread(f, keep=False).join()


async def test_join_gives_the_result():
    async def f():
        return "result"

    assert await thread(f).join() == "result"


async def test_join_raises_the_very_exception_of_the_thread():
    error = ValueError("mine")

    async def f():
        raise error

    uncaught_exception_handler(silently)
    with pytest.raises(ValueError) as caught:
        await thread(f).join()
    assert caught.value is error


async def test_join_of_a_killed_thread_raises_thread_killed():
    t = thread(Channel().get)
    t.kill()
    with pytest.raises(ThreadKilled):
        await t.join()


async def test_join_of_a_killed_thread_does_not_kill_the_joiner():
    victim = thread(Channel().get)
    victim.kill()

    async def joiner():
        try:
            await victim.join()
        except ThreadKilled:
            return "alive"

    assert await thread(joiner).join() == "alive"


async def test_many_threads_may_wait_for_one():
    gate = Channel()
    target = thread(gate.get)

    async def waiter():
        return await target.wait()

    waiters = [thread(waiter) for _ in range(10)]
    joiners = [thread(target.join) for _ in range(10)]
    await sync(idle())
    await gate.put("over")
    assert [await t.join() for t in waiters + joiners] == ["over"] * 20


async def test_an_os_backed_thread_can_be_joined_and_can_join():
    async def f():
        await sleep(0)
        return 1

    inner = thread(f)

    def joiner():
        return rtsync.block_on(inner.join()) + 1

    assert await thread(joiner).join() == 2


async def test_a_plain_function_in_tail_position_sees_the_context_of_the_thread():
    variable = ContextVar("variable", default="outside")

    async def child():
        variable.set("inside")
        return rtsync.tail(variable.get)

    assert await thread(child).join() == "inside"


@pytest.mark.rtsync(workers=2)
async def test_a_plain_function_in_tail_position_can_be_killed():
    begun = []

    def compute():
        begun.append(True)
        while True:
            pass

    async def child():
        return rtsync.tail(compute)

    t = thread(child)
    while not begun:
        await sleep(0)
    t.kill()
    await t.wait()
    assert t.dead


async def test_a_thread_that_returns_a_tail_goes_on_with_it():
    async def count(n):
        return rtsync.tail(count, n - 1) if n else "done"

    assert await thread(count, 100).join() == "done"


async def test_a_tail_to_a_plain_function():
    async def f():
        return rtsync.tail(divmod, 7, 2)

    assert await thread(f).join() == (3, 1)


async def test_a_tail_that_raises_fails_the_thread():
    async def f():
        return rtsync.tail(int, "x")

    uncaught_exception_handler(silently)
    with pytest.raises(ValueError, match="invalid literal"):
        await thread(f).join()


async def test_call_makes_the_tail_calls():
    async def count(n):
        return rtsync.tail(count, n - 1) if n else "done"

    assert await rtsync.call(count, 10) == "done"
    assert await rtsync.call(max, 1, 2) == 2


# -- uncaught exceptions ---------------------------------------------------------------------------


async def test_the_handler_is_told_the_thread_and_its_error():
    told = []
    uncaught_exception_handler(lambda *args: told.append(args))
    error = ValueError()

    async def f():
        raise error

    t = thread(f)
    await t.wait()
    await sync(idle())
    assert told == [(t, error)]


async def test_the_handler_is_inherited_and_may_differ_between_threads():
    told = []

    async def fail():
        raise ValueError

    async def other():
        uncaught_exception_handler(lambda *args: told.append("other"))
        await thread(fail).wait()

    uncaught_exception_handler(lambda *args: told.append("mine"))
    await thread(other).join()
    await thread(fail).wait()
    assert told == ["other", "mine"]


async def test_the_default_handler_writes_name_and_traceback_to_standard_error(capfd):
    uncaught_exception_handler(rtsync.runtime.report_uncaught)

    async def breaks_down():
        raise ValueError("for the log")

    await thread(breaks_down, name="Tom").wait()
    await sync(idle())
    text = capfd.readouterr().err
    assert "Tom" in text
    assert "Traceback" in text
    assert "breaks_down" in text
    assert "ValueError: for the log" in text


async def test_a_handler_that_fails_is_reported_and_the_thread_has_failed(capfd):
    def handler(thread, error):
        raise KeyError("from the handler")

    async def f():
        raise ValueError("from the thread")

    uncaught_exception_handler(handler)
    t = thread(f)
    with pytest.raises(ValueError, match="from the thread"):
        await t.join()
    await sync(idle())
    text = capfd.readouterr().err
    assert "from the thread" in text
    assert "from the handler" in text


async def test_others_go_on_after_an_uncaught_exception():
    uncaught_exception_handler(silently)
    ch = Channel()

    async def f():
        raise ValueError

    async def other():
        await ch.put("alive")

    thread(f)
    thread(other)
    assert await ch.get() == "alive"


async def test_an_uncaught_exception_of_an_os_backed_thread_goes_to_the_handler_too():
    told = []
    uncaught_exception_handler(lambda thread, error: told.append(type(error)))

    def f():
        raise ValueError

    await thread(f).wait()
    await sync(idle())
    assert told == [ValueError]


async def test_system_exit_ends_only_its_thread_and_is_not_reported():
    told = []
    uncaught_exception_handler(lambda *args: told.append(args))

    async def f():
        raise SystemExit(3)

    t = thread(f)
    await t.wait()
    await sync(idle())
    assert told == []


def test_the_handler_must_be_callable():
    with pytest.raises(TypeError, match="uncaught_exception_handler: handler must be callable"):
        uncaught_exception_handler(3)


# -- as events -------------------------------------------------------------------------------------


async def test_a_thread_is_an_event_ready_when_it_has_ended_with_itself_as_the_result():
    gate = Channel()
    t = thread(gate.get)
    assert await sync(t, timeout=0) is None
    await gate.put(1)
    assert await sync(t) is t
    assert await sync(t) is t


async def test_a_thread_that_failed_is_ready_and_raises_nothing():
    async def f():
        raise ValueError

    uncaught_exception_handler(silently)
    t = thread(f)
    assert await sync(t) is t


async def test_dead_evt_is_one_object_whose_result_is_itself():
    gate = Channel()
    t = thread(gate.get)
    evt = t.dead_evt()
    assert t.dead_evt() is evt
    assert await sync(evt, timeout=0) is None
    await gate.put(None)
    assert await sync(evt) is evt
    assert t.dead_evt() is evt


async def test_dead_evt_of_a_dead_thread_is_ready():
    async def f():
        pass

    t = thread(f)
    await t.join()
    assert await sync(t.dead_evt(), timeout=0) is t.dead_evt()


class ComesFirst:
    """In place of a thread's lock: whoever takes it finds that somebody else has had it just before."""

    def __init__(self, t, act):
        self.t, self.act, self.lock = t, act, t._lock
        t._lock = self

    def acquire(self):
        self.t._lock = self.lock
        self.act()
        return self.lock.acquire()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc):
        self.lock.release()

    def release(self):
        self.lock.release()


async def test_a_dead_evt_that_is_asked_for_in_the_moment_of_the_end_happens():
    t, asked = thread(sleep), []
    ComesFirst(t, lambda: asked.append(t.dead_evt()))
    await sync(idle())
    assert await sync(asked[0], timeout=1) is asked[0]


@pytest.mark.rtsync(workers=2)
async def test_a_break_in_the_moment_of_the_end_leaves_no_request_behind():
    t = thread(sleep)
    other = threading.Thread(target=t.break_)

    def breaks():
        other.start()
        other.join()

    ComesFirst(t, breaks)
    await sync(idle())
    assert t.dead
    assert t not in safepoints._wanted


async def test_dead_evt_happens_after_a_kill():
    t = thread(Channel().get)
    evt = t.dead_evt()
    t.kill()
    assert await sync(evt) is evt


async def test_a_thread_can_be_one_of_several_events():
    gate, ch = Channel(), Channel()
    t = thread(gate.get)

    async def opener():
        await gate.put(None)

    thread(opener)
    assert await sync(ch, t) is t


async def test_a_thread_cannot_be_copied():
    import copy

    t = thread(Channel().get)
    with pytest.raises(ContractError, match="Thread"):
        copy.copy(t)


# -- run -------------------------------------------------------------------------------------------


def test_run_gives_the_result(run):
    async def main(a, b):
        await sleep(0)
        return a + b

    assert run(main, 1, 2) == 3


def test_run_raises_the_very_exception_of_main(run):
    error = ValueError("mine")

    async def main():
        raise error

    with pytest.raises(ValueError) as caught:
        run(main)
    assert caught.value is error


def test_run_takes_a_plain_main(run):
    def main(n):
        return rtsync.block_on(thread(sleep, 0).wait()), n

    assert run(main, 1) == (None, 1)


def test_an_exception_of_main_is_not_reported_besides(run, capfd):
    async def main():
        raise ValueError

    with pytest.raises(ValueError):
        run(main)
    assert capfd.readouterr().err == ""


def test_system_exit_in_main_comes_out_of_run(run):
    async def main():
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 3


def test_run_can_be_called_again_and_again(run):
    async def main(n):
        return n

    assert [run(main, n) for n in range(20)] == list(range(20))


def test_run_within_run_is_refused(run):
    async def main():
        with pytest.raises(ContractError, match=r"run: .*already runs"):
            rtsync.run(main)
        return "still here"

    assert run(main) == "still here"


def test_run_from_an_os_backed_thread_is_refused(run):
    def main():
        with pytest.raises(ContractError, match=r"run: .*already runs"):
            rtsync.run(main)

    run(main)


def test_a_main_that_follows_tail_calls(run):
    async def main(n):
        return rtsync.tail(main, n - 1) if n else "done"

    assert run(main, 10) == "done"


def test_when_main_returns_blocked_threads_run_their_finally_blocks(run):
    log = []

    async def blocked(n):
        try:
            await Channel().get()
        finally:
            log.append(n)

    async def main():
        for n in range(10):
            thread(blocked, n)
        await sync(idle())

    run(main)
    assert sorted(log) == list(range(10))


def test_when_main_fails_other_threads_are_shut_down_too(run):
    log = []

    async def blocked():
        try:
            await Channel().get()
        finally:
            log.append("clean")

    async def main():
        thread(blocked)
        await sync(idle())
        raise ValueError

    with pytest.raises(ValueError):
        run(main)
    assert log == ["clean"]


def test_when_main_returns_sleeping_threads_are_shut_down(run):
    log = []

    async def sleeper():
        try:
            await sleep(1000)
        finally:
            log.append("clean")

    async def main():
        t = thread(sleeper)
        while not t.waiter:
            await sleep(0)

    run(main)
    assert log == ["clean"]


def test_when_main_returns_threads_that_only_yield_are_shut_down(run):
    log = []

    async def spinner():
        try:
            while True:
                await sleep(0)
        finally:
            log.append("clean")

    async def main():
        for _ in range(5):
            thread(spinner)
        for _ in range(5):
            await sleep(0)

    run(main)
    assert len(log) <= 5  # those that had begun


def test_when_main_returns_os_backed_threads_are_shut_down(run):
    log = []

    def blocked():
        try:
            rtsync.block_on(Channel().get())
        finally:
            log.append("clean")

    async def main():
        thread(blocked)
        await sync(idle())

    run(main)
    assert log == ["clean"]


def test_threads_in_subordinate_custodians_are_shut_down_too(run):
    log = []

    async def blocked():
        try:
            await Channel().get()
        finally:
            log.append("clean")

    async def main():
        with rtsync.Custodian(rtsync.Custodian()):
            thread(blocked)
        await sync(idle())

    run(main)
    assert log == ["clean"]


def test_clean_up_at_the_end_may_use_operations_that_do_not_block(run):
    sem = Semaphore(0)
    got = []

    async def holder():
        try:
            await Channel().get()
        finally:
            sem.post()
            got.append(current_thread())

    async def main():
        t = thread(holder)
        await sync(idle())
        return t

    t = run(main)
    assert got == [t]
    assert sem.count == 1


def test_clean_up_that_blocks_for_ever_does_not_keep_run_from_returning(run):
    log = []

    async def stubborn():
        try:
            await Channel().get()
        finally:
            log.append("first")
            try:
                await Channel().get()
            finally:
                log.append("second")

    async def main():
        thread(stubborn)
        await sync(idle())
        return "over"

    assert run(main) == "over"
    assert log == ["first", "second"]


def test_threads_started_during_the_shut_down_are_refused_or_stopped(run):
    async def child():
        while True:
            await sleep(0)

    async def parent():
        try:
            await Channel().get()
        finally:
            thread(child)

    async def main():
        thread(parent)
        await sync(idle())
        return "over"

    assert run(main) == "over"


def test_main_as_an_event_and_as_a_target_of_messages(run):
    async def child(main):
        main.send("hello")

    async def main():
        thread(child, current_thread())
        return await rtsync.receive()

    assert run(main) == "hello"


def test_main_arguments_that_do_not_fit_are_refused(run):
    async def main():
        pass

    with pytest.raises(TypeError):
        run(main, 1)


def test_run_leaves_no_runtime_behind(run):
    async def main():
        pass

    run(main)
    with pytest.raises(rtsync.NoRuntime):
        thread(main)


def test_the_context_of_the_caller_is_visible_in_main_and_not_changed_by_it(run):
    var = ContextVar("var", default="default")
    var.set("caller")

    async def main():
        seen = var.get()
        var.set("main")
        return seen

    assert run(main) == "caller"
    assert var.get() == "caller"


# -- threads that share a lock: see scheduler.worker.LOCKS -------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_a_sync_on_more_threads_than_a_worker_has_locks():
    gate = Semaphore()

    async def child(number):
        await gate.wait()
        return number

    async def first():
        return await sync(*threads)

    threads = [thread(child, number) for number in range(2 * LOCKS)]
    waiting = [thread(first) for _ in range(3)]
    await sync(idle())
    gate.post()
    ended = [await t.join() for t in waiting]
    assert ended[0].dead
    assert ended == [ended[0]] * 3
    for _ in range(2 * LOCKS - 1):
        gate.post()
    assert [await t.join() for t in threads] == list(range(2 * LOCKS))


@pytest.mark.rtsync(workers=1)
async def test_a_message_sent_while_another_thread_with_the_same_lock_is_busy_arrives():
    threads = [thread(receive) for _ in range(LOCKS + 1)]
    one, other = threads[0], threads[-1]
    assert one._lock is other._lock
    with one._lock:  # as if a clean-up were run in an operation on `one`
        other.send("message")
    assert await other.join() == "message"
    assert not one.dead
    for t in threads:
        t.kill()
