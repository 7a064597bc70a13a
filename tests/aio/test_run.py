"""``aio.run``: asyncio coroutines from our threads, on the runtime's background loop."""

import asyncio
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

import rtsync as rt
from rtsync import (
    AsyncChannel,
    Break,
    Channel,
    ContractError,
    Custodian,
    Semaphore,
    aio,
    block_on,
    sync,
    thread,
)
from rtsync.testing import run_deterministic

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def give(value):
    await asyncio.sleep(0)
    return value


async def for_ever():
    await asyncio.get_running_loop().create_future()


def quietly():
    """Threads of this test fail as they should."""
    rt.uncaught_exception_handler(lambda thread, error: None)


# -- results, exceptions, surroundings ---------------------------------------------------------------


async def test_it_gives_the_result():
    assert await aio.run(give(5)) == 5


async def test_it_gives_the_exception():
    async def fail():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await aio.run(fail())


async def test_any_awaitable_of_asyncio_will_do():
    class Late:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "late"

    assert await aio.run(Late()) == "late"


async def test_all_runs_share_one_loop_on_one_os_thread_of_its_own():
    async def where():
        return asyncio.get_running_loop(), threading.current_thread()

    first, second = await aio.run(where()), await aio.run(where())
    assert first == second
    assert first[1] not in [worker.os_thread for worker in rt.current_thread().runtime.workers]


async def test_the_coroutine_sees_a_copy_of_the_context():
    async def look():
        seen = variable.get()
        variable.set("inner")
        return seen

    variable.set("outer")
    assert await aio.run(look()) == "outer"
    assert variable.get() == "outer"


@pytest.mark.rtsync(workers=1)
def test_it_works_in_an_os_backed_thread():
    assert block_on(aio.run(give(5))) == 5


async def test_a_thread_on_every_worker_may_wait_for_a_run_at_the_same_time():
    threads = [thread(aio.run, give(n)) for n in range(200)]
    assert [await t.join() for t in threads] == list(range(200))


async def test_a_task_of_asyncio_is_an_event():
    async def start():
        return asyncio.create_task(give(7))

    assert await sync(await aio.run(start())) == 7


async def test_what_is_no_awaitable_is_refused_at_the_call():
    with pytest.raises(TypeError, match="run: coro must be a coroutine"):
        aio.run(give)


async def test_a_run_that_is_not_awaited_warns_and_nothing_runs():
    coro = give(5)
    with pytest.warns(RuntimeWarning, match="'run' was never awaited"):
        aio.run(coro)
    coro.close()


# -- our operations in asyncio code ------------------------------------------------------------------


async def test_the_coroutine_may_await_our_operations_directly():
    ch = Channel()

    async def talk():
        first = await ch.get()
        await asyncio.sleep(0)
        await ch.put(first + 1)
        return await sync(Channel(), timeout=0.001, default="over")

    t = thread(aio.run, talk())
    await ch.put(1)
    assert await ch.get() == 2
    assert await t.join() == "over"


async def test_so_may_the_tasks_that_it_makes():
    ch = Channel()

    async def talk():
        async with asyncio.TaskGroup() as group:
            group.create_task(ch.put("x"))
            other = group.create_task(ch.get(), name="getter")
            assert other.get_name() == "getter"
        return other.result()

    assert await aio.run(talk()) == "x"


async def test_the_coroutine_may_start_our_threads_under_the_callers_custodian():
    custodian = Custodian()

    async def start():
        ours = thread(give_ours, 3)
        return ours, await ours.join()

    async def give_ours(value):
        assert rt.current_custodian() is custodian
        return value

    with custodian:
        assert (await aio.run(start()))[1] == 3


async def test_a_callback_of_asyncio_may_start_our_threads():
    begun = Semaphore()

    async def begin():
        begun.post()

    async def start():
        asyncio.get_running_loop().call_soon(thread, begin)

    await aio.run(start())
    await begun.wait()


async def test_a_blocking_wait_in_an_asyncio_task_is_refused():
    async def wrong():
        block_on(Channel().get())

    with pytest.raises(ContractError, match="block_on: this is an asyncio task"):
        await aio.run(wrong())


async def test_a_callback_may_not_block_on_a_run():
    async def call():
        future = asyncio.get_running_loop().create_future()

        def callback():
            coro = give(1)
            try:
                block_on(aio.run(coro))
            except ContractError as error:
                future.set_exception(error)

        asyncio.get_running_loop().call_soon(callback)
        await future

    with pytest.raises(ContractError, match="run: this is the OS thread of the asyncio loop"):
        await aio.run(call())


async def test_a_run_within_a_run_is_a_plain_await():
    async def outer():
        return await aio.run(give(3))

    assert await aio.run(outer()) == 3


async def test_blocking_calls_can_be_made_from_there():
    async def call():
        return await rt.to_os_thread(divmod, 7, 2)

    assert await aio.run(call()) == (3, 1)


# -- cancellation, both ways -------------------------------------------------------------------------


class Watched:
    """An asyncio coroutine that says when it has begun and how it ended."""

    def __init__(self, stubborn=False):
        self.begun, self.ended, self.release = Semaphore(), AsyncChannel(), Semaphore()
        self.stubborn = stubborn

    async def __call__(self):
        self.begun.post()
        try:
            await for_ever()
        except asyncio.CancelledError:
            await self.release.wait()
            await self.ended.put("cancelled")
            if self.stubborn:
                return "all the same"
            raise


async def test_a_break_cancels_the_task_and_waits_for_its_end():
    quietly()
    watched = Watched()
    t = thread(aio.run, watched())
    await watched.begun.wait()
    t.break_()
    assert await sync(t, timeout=0.01) is None
    watched.release.post()
    with pytest.raises(Break):
        await t.join()
    assert await watched.ended.get() == "cancelled"


async def test_a_second_break_gives_up_waiting_for_the_end():
    quietly()
    watched = Watched()
    t = thread(aio.run, watched())
    await watched.begun.wait()
    t.break_()
    while not (await aio.run(cancelling())):
        await rt.sleep(0.001)
    t.break_()
    with pytest.raises(Break):
        await t.join()
    watched.release.post()
    assert await watched.ended.get() == "cancelled"


async def cancelling():
    return any(task.cancelling() for task in asyncio.all_tasks())


async def test_a_task_that_ends_by_itself_when_cancelled_has_happened_and_the_break_comes_after():
    watched = Watched(stubborn=True)
    watched.release.post()
    got = []

    async def breakable():
        try:
            got.append(await aio.run(watched()))
            while True:
                await rt.sleep(0)
        except Break:
            got.append("break")

    t = thread(breakable)
    await watched.begun.wait()
    t.break_()
    await t.join()
    assert got == ["all the same", "break"]
    await watched.ended.get()


async def test_the_kind_of_the_break_is_kept_then():
    watched = Watched(stubborn=True)
    watched.release.post()
    got = []

    async def breakable():
        try:
            got.append(await aio.run(watched()))
            await Channel().get()
        except Break as error:
            got.append(type(error))

    t = thread(breakable)
    await watched.begun.wait()
    t.break_("terminate")
    await t.join()
    assert got == ["all the same", rt.BreakTerminate]
    await watched.ended.get()


async def test_a_kill_cancels_the_task_and_does_not_wait():
    watched = Watched()
    t = thread(aio.run, watched())
    await watched.begun.wait()
    t.kill()
    assert t.dead
    watched.release.post()
    assert await watched.ended.get() == "cancelled"


async def test_a_custodian_shutdown_cancels_the_task():
    watched, custodian = Watched(), Custodian()
    with custodian:
        t = thread(aio.run, watched())
    await watched.begun.wait()
    custodian.shutdown_all()
    await t.wait()
    watched.release.post()
    assert await watched.ended.get() == "cancelled"


async def test_a_thread_with_breaks_disabled_goes_on_waiting():
    watched = Watched()
    release = Semaphore()

    async def patient():
        with rt.breaks(False):
            return await aio.run(release_then(release, watched.begun))

    t = thread(patient)
    await watched.begun.wait()
    t.break_()
    release.post()
    quietly()
    with pytest.raises(Break):
        await t.join()


async def release_then(release, begun):
    begun.post()
    await release.wait()
    return "done"


async def test_a_suspended_thread_has_the_result_when_it_is_resumed():
    begun, release, over = Semaphore(), Semaphore(), Semaphore()

    async def work():
        begun.post()
        await release.wait()
        asyncio.current_task().add_done_callback(lambda _: over.post())
        return "result"

    t = thread(aio.run, work())
    await begun.wait()
    t.suspend()
    release.post()
    await over.wait()
    assert not t.dead
    t.resume()
    assert await t.join() == "result"


async def test_a_task_cancelled_in_asyncio_raises_its_cancelled_error_here():
    async def cancel_me():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await aio.run(cancel_me())


async def test_under_a_shut_down_custodian_the_caller_is_dead_and_nothing_runs_on():
    ran = []

    async def work():
        ran.append(1)

    async def doomed():
        rt.current_thread().kill()
        await aio.run(work())

    await thread(doomed).wait()
    assert ran == []


async def test_in_atomic_mode_nothing_is_run():
    ran = []

    async def work():
        ran.append(1)

    with pytest.raises(ContractError, match="run: would block in atomic mode"):
        with rt.atomic.atomic():
            await aio.run(work())
    await aio.run(give(1))
    assert ran == []


# -- the loop's life ---------------------------------------------------------------------------------


async def test_stopping_the_loop_does_not_end_it():
    async def stop():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return "still here"

    assert await aio.run(stop()) == "still here"
    assert await aio.run(give(1)) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_an_exception_that_asyncio_lets_through_the_loop_does_not_end_it(error):
    waiting = thread(aio.run, give_after(begun := Semaphore(), gate := Semaphore()))
    await begun.wait()

    async def fail():
        raise error

    with pytest.raises(error):
        await aio.run(fail())
    gate.post()
    assert await waiting.join() == "after"


async def give_after(begun, gate):
    begun.post()
    await gate.wait()
    return "after"


async def test_when_the_loop_dies_who_waits_gets_an_error_and_the_next_run_a_new_loop():
    begun = Semaphore()

    async def wait():
        begun.post()
        await for_ever()

    quietly()
    waiting = [thread(aio.run, wait()) for _ in range(3)]
    for _ in waiting:
        await begun.wait()

    async def murder():
        # What no program should do: from within, through the back door.
        loop = asyncio.get_running_loop()

        def fail(*args):
            raise MemoryError("the loop is done for")

        loop._run_once = fail

    with pytest.raises(ContractError):
        await aio.run(murder())
    for t in waiting:
        with pytest.raises(ContractError, match="loop has ended") as caught:
            await t.join()
        assert type(caught.value.__cause__) is MemoryError
    assert await aio.run(give("new")) == "new"


def test_the_end_of_run_cancels_the_tasks_and_ends_the_os_thread():
    ended, tasks = [], []

    async def watch():
        try:
            await for_ever()
        finally:
            ended.append(threading.current_thread())

    async def main():
        async def start():
            tasks.append(asyncio.create_task(watch()))
            await asyncio.sleep(0)

        await aio.run(start())
        begun = Semaphore()

        async def wait():
            begun.post()
            await for_ever()

        thread(aio.run, wait())
        await begun.wait()

    rt.Runtime(2).run(main)
    assert len(ended) == 1
    ended[0].join(30)
    assert not ended[0].is_alive()


def test_a_runtime_that_runs_again_has_a_new_loop():
    async def where():
        return asyncio.get_running_loop()

    async def main():
        return await aio.run(where())

    runtime = rt.Runtime(1)
    first, second = runtime.run(main), runtime.run(main)
    assert first is not second
    assert first.is_closed()


def test_a_runtime_that_never_uses_asyncio_starts_no_loop():
    async def main():
        return [t.name for t in threading.enumerate() if t.name.endswith("asyncio")]

    assert rt.run(main, workers=1) == []


# -- elsewhere ---------------------------------------------------------------------------------------


def test_in_an_os_thread_outside_a_runtime_it_runs_there():
    async def where():
        ch = rt.AsyncChannel()
        await ch.put(1)
        return threading.current_thread(), await ch.get()

    assert block_on(aio.run(where())) == (threading.current_thread(), 1)


def test_the_deterministic_scheduler_refuses_it():
    async def main():
        coro = give(1)
        with pytest.raises(ContractError, match="run: asyncio has a clock of its own"):
            await aio.run(coro)

    run_deterministic(main)


def test_without_a_runtime_it_says_so():
    coro = aio.run(give(1))
    with pytest.raises(rt.NoRuntime, match="run: "):
        coro.send(None)


# -- deadlocks ---------------------------------------------------------------------------------------


def test_a_deadlock_is_reported_although_a_loop_was_started():
    async def main():
        assert await rt.aio.run(give(1)) == 1
        await rt.Semaphore().wait()

    with pytest.raises(rt.Deadlock):
        rt.run(main, workers=2)


def test_a_coroutine_of_asyncio_that_waits_for_nobody_is_a_deadlock_and_is_cancelled():
    ended = []

    async def wait(channel):
        try:
            await rt.aio.wait(channel)
        finally:
            ended.append("cancelled")

    async def main():
        await rt.aio.run(wait(rt.Channel()))

    with pytest.raises(rt.Deadlock):
        rt.run(main, workers=2)
    assert ended == ["cancelled"]


@pytest.mark.parametrize("delay", [0.0, 1.5])
def test_a_loop_with_a_timer_is_no_deadlock(delay):
    async def later(semaphore):
        asyncio.get_running_loop().call_later(delay, semaphore.post)

    async def main():
        semaphore = rt.Semaphore()
        await rt.aio.run(later(semaphore))
        await semaphore.wait()  # for longer than it takes to look again whether this is a deadlock

    rt.run(main, workers=2)


def test_a_loop_with_a_server_is_no_deadlock():
    answered = rt.Semaphore()
    servers, clients = [], []

    async def answer(reader, writer):
        answered.post()
        writer.close()

    async def listen():
        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))

    async def close():
        servers[0].close()

    def connect():
        # From a process of its own: an OS thread here would count as somebody who may do something.
        port = servers[0].sockets[0].getsockname()[1]
        clients.append(subprocess.Popen([sys.executable, "-c", CLIENT, str(port)]))

    async def main():
        await rt.aio.run(listen())
        connect()
        await answered.wait()
        await rt.aio.run(close())

    rt.run(main, workers=2)
    assert clients[0].wait(60) == 0


CLIENT = """
import socket, sys, time
time.sleep(1.5)  # longer than it takes to look again whether this is a deadlock
socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30).close()
"""


def test_what_is_handed_to_a_resting_loop_is_no_deadlock():
    """Again and again the last thread goes idle while the loop has not woken up yet."""

    async def main():
        for n in range(300):
            assert await rt.aio.run(give(n)) == n
            channel = rt.Channel()
            rt.thread(channel.put, n)
            assert await rt.aio.run(rt.aio.wait(channel)) == n

    rt.run(main, workers=2)
