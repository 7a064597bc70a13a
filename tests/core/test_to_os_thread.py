"""``to_os_thread``: blocking calls off the workers, on a bounded number of OS threads."""

import threading
from contextvars import ContextVar

import pytest

from rtsync import (
    Break,
    Channel,
    ContractError,
    Custodian,
    Deadlock,
    Semaphore,
    ThreadKilled,
    atomic,
    block_on,
    current_custodian,
    current_thread,
    idle,
    sleep,
    sync,
    thread,
    to_os_thread,
    uncaught_exception_handler,
)
from rtsync.testing import run_deterministic

variable: ContextVar[str] = ContextVar("variable", default="unset")
REAL = pytest.mark.rtsync(workers=2, runs=2)


async def test_it_gives_the_result_of_the_call():
    assert await to_os_thread(divmod, 7, 2) == (3, 1)


async def test_it_gives_the_exception_of_the_call():
    with pytest.raises(ZeroDivisionError):
        await to_os_thread(divmod, 7, 0)


async def test_an_exception_that_is_taken_is_not_reported():
    reported = []
    uncaught_exception_handler(lambda t, error: reported.append(error))
    with pytest.raises(ZeroDivisionError):
        await to_os_thread(divmod, 7, 0)
    assert reported == []


@REAL
async def test_the_call_is_made_in_another_os_thread_which_is_no_worker():
    workers = {worker.os_thread for worker in current_thread().runtime.workers}
    made_in = await to_os_thread(threading.current_thread)
    assert made_in not in workers


async def test_the_call_sees_a_copy_of_the_context():
    variable.set("outer")

    def call():
        seen = variable.get()
        variable.set("inner")
        return seen

    assert await to_os_thread(call) == "outer"
    assert variable.get() == "outer"


async def test_the_call_may_block_on_our_events():
    ch = Channel()

    async def put():
        await ch.put("value")

    thread(put)
    assert await to_os_thread(lambda: block_on(ch.get())) == "value"


async def test_it_works_in_an_os_backed_thread():
    def plain():
        return block_on(to_os_thread(divmod, 9, 4))

    assert await thread(plain).join() == (2, 1)


def test_in_an_os_thread_outside_a_runtime_the_call_is_made_there():
    assert block_on(to_os_thread(threading.current_thread)) is threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        block_on(to_os_thread(divmod, 1, 0))


# -- the bound -------------------------------------------------------------------------------------


async def test_no_more_calls_are_made_at_once_than_the_limit():
    blocking = current_thread().runtime.blocking
    blocking.limit = 3
    gate, lock = Semaphore(), threading.Lock()
    now, most, begun = 0, 0, Semaphore()

    def call(n):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        begun.post()
        block_on(gate.wait())
        with lock:
            now -= 1
        return n

    waiting = [thread(to_os_thread, call, n) for n in range(12)]
    for _ in range(3):
        await begun.wait()
    await sync(idle())
    assert now == 3
    for _ in range(12):
        gate.post()
    assert [await t.join() for t in waiting] == list(range(12))
    assert most == 3


@REAL
async def test_an_os_thread_goes_on_with_the_next_call():
    blocking = current_thread().runtime.blocking
    blocking.limit = 2
    gate, begun = Semaphore(), Semaphore()

    def call():
        begun.post()
        block_on(gate.peek_evt())
        return threading.get_ident()

    waiting = [thread(to_os_thread, call) for _ in range(300)]
    await begun.wait()
    await begun.wait()
    await sync(idle())  # the others are in the queue
    gate.post()
    assert len({await t.join() for t in waiting}) == 2


@REAL
async def test_os_threads_without_work_retire(monkeypatch):
    monkeypatch.setattr("rtsync.os_threads.KEEP", 0.01)
    mine = await to_os_thread(threading.current_thread)
    while mine.is_alive():
        await sleep(0.02)
    assert mine not in current_thread().runtime.os_threads.own


# -- stopping --------------------------------------------------------------------------------------


async def in_flight(release, fn=None):
    """A thread that waits for a call which has begun and waits for ``release``; and the end of the call."""
    begun, ended = Semaphore(), Semaphore()

    def call():
        begun.post()
        block_on(release.wait())
        try:
            return fn() if fn is not None else "result"
        finally:
            ended.post()

    t = thread(to_os_thread, call)
    await begun.wait()
    return t, ended


async def test_a_break_gives_up_waiting_and_the_call_goes_on():
    release = Semaphore()
    uncaught_exception_handler(lambda t, error: None)
    t, ended = await in_flight(release)
    t.break_()
    with pytest.raises(Break):
        await t.join()
    release.post()
    await ended.wait()


async def test_a_kill_gives_up_waiting_and_the_call_goes_on():
    release = Semaphore()
    t, ended = await in_flight(release)
    t.kill()
    assert t.dead
    release.post()
    await ended.wait()


async def test_the_exception_of_a_call_that_was_given_up_is_reported():
    release, reports = Semaphore(), Channel()
    uncaught_exception_handler(lambda t, error: block_on(reports.put((t.name, type(error)))))
    t, _ = await in_flight(release, lambda: 1 / 0)
    t.kill()
    release.post()
    name, kind = await reports.get()
    assert name.endswith("call")
    assert kind is ZeroDivisionError


async def test_a_suspended_thread_has_the_result_when_it_is_resumed():
    release = Semaphore()
    t, ended = await in_flight(release)
    t.suspend()
    release.post()
    await ended.wait()
    await sync(idle())
    assert not t.dead
    t.resume()
    assert await t.join() == "result"


async def test_the_custodian_ends_calls_in_flight_and_in_the_queue():
    runtime = current_thread().runtime
    runtime.blocking.limit = 1
    made, begun = [], Semaphore()

    def first():
        begun.post()
        block_on(Channel().get())

    custodian = Custodian()
    with custodian:
        waiting = [thread(to_os_thread, first)]
        await begun.wait()
        waiting += [thread(to_os_thread, made.append, n) for n in range(3)]
        await sync(idle())
    custodian.shutdown_all()
    for t in waiting:
        await t.wait()
    assert await to_os_thread(divmod, 7, 2) == (3, 1)  # the pool is free again
    assert made == []


async def test_who_waits_for_a_call_that_its_custodian_ended_gets_thread_killed():
    custodian, begun = Custodian(), Semaphore()

    async def caller():
        current_custodian(custodian)
        await to_os_thread(lambda: (begun.post(), block_on(Channel().get())))

    uncaught_exception_handler(lambda t, error: None)
    t = thread(caller)
    await begun.wait()
    custodian.shutdown_all()
    with pytest.raises(ThreadKilled):
        await t.join()


async def test_under_a_shut_down_custodian_no_call_is_made():
    custodian, made = Custodian(), []
    custodian.shutdown_all()
    with custodian, pytest.raises(ContractError):
        await to_os_thread(made.append, 1)
    assert made == []


async def test_a_call_that_a_shutdown_finds_and_the_custodian_refuses_is_dead(monkeypatch):
    """Found by the stress run: who shut the custodian down waited for its end, and asked for it for ever."""
    found = []

    def adopt(custodian, member):
        found.append(member)
        raise ContractError("it has been shut down meanwhile")

    with monkeypatch.context() as patch:
        patch.setattr(Custodian, "adopt", adopt)
        with pytest.raises(ContractError):
            await to_os_thread(int)
    (call,) = found
    assert call.dead


async def test_a_queued_call_can_be_suspended_with_its_custodians_threads():
    runtime = current_thread().runtime
    runtime.blocking.limit = 1
    gate = Semaphore()
    first = thread(to_os_thread, lambda: block_on(gate.wait()))
    await sync(idle())
    second = thread(to_os_thread, divmod, 7, 2)
    await sync(idle())
    (call,) = [c for c in current_custodian().managed() if c.name == "divmod"]
    call.suspend()
    gate.post()
    await first.join()
    await sync(idle())
    assert not second.dead
    call.resume()
    assert await second.join() == (3, 1)


@pytest.mark.timeout(120)
def test_the_end_of_the_runtime_does_not_wait_for_calls_in_flight(script):
    done = script(
        """
        import threading
        import rtsync as rt

        release = threading.Lock()
        release.acquire()
        begun = rt.Semaphore()

        def call():
            begun.post()
            release.acquire()

        async def main():
            for _ in range(5):
                rt.thread(rt.to_os_thread, call)
            for _ in range(5):
                await begun.wait()
            return "over"

        print(rt.run(main))
        release.release()
        """
    )
    assert done.stdout == "over\n"
    assert done.stderr == ""


async def test_in_atomic_mode_no_call_is_made():
    made = []
    with pytest.raises(ContractError, match="to_os_thread: would block in atomic mode"):
        with atomic.atomic():
            await to_os_thread(made.append, 1)
    assert await to_os_thread(divmod, 7, 2) == (3, 1)
    assert made == []


# -- deadlocks -------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_no_deadlock_is_reported_while_a_call_is_in_flight(script):
    done = script(
        """
        import time
        import rtsync as rt

        async def main():
            ch = rt.Channel()
            return await rt.to_os_thread(time.sleep, 1.5), "slept"

        print(rt.run(main))
        """
    )
    assert done.stdout == "(None, 'slept')\n"


def test_calls_that_wait_for_what_can_never_happen_are_a_deadlock():
    async def main():
        await to_os_thread(lambda: block_on(Channel().get()))

    with pytest.raises(Deadlock):
        run_deterministic(main)


def test_a_full_pool_whose_calls_wait_for_a_queued_one_is_a_deadlock():
    async def main():
        current_thread().runtime.blocking.limit = 1
        ch = Channel()
        thread(to_os_thread, lambda: block_on(ch.get()))
        await sync(idle())
        await to_os_thread(lambda: block_on(ch.put(1)))

    with pytest.raises(Deadlock):
        run_deterministic(main)
