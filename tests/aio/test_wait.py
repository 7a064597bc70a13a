"""``aio.wait``: asyncio code, on any loop, waits for our events."""

import asyncio
import gc
import threading

import pytest

import rtsync as rt
from rtsync import AsyncChannel, Channel, ContractError, Semaphore, after, aio, always, block_on, choice, sync
from rtsync.waiter import living
from tests.collecting import collected


def on_a_loop(main):
    """Run it on a loop of asyncio's own, with no runtime in sight."""
    return asyncio.run(asyncio.wait_for(main(), 50))


async def parked(queue):
    """Until somebody waits in the queue of an event."""
    while not living(queue):
        await asyncio.sleep(0)


async def turns(n=3):
    for _ in range(n):
        await asyncio.sleep(0)


# -- what can be waited for --------------------------------------------------------------------------


def test_an_event():
    async def main():
        ch = AsyncChannel()
        task = asyncio.create_task(aio.wait(ch))
        await parked(ch._getters)
        await aio.wait(ch.put_evt("value"))
        assert await task == "value"

    on_a_loop(main)


def test_an_awaitable():
    async def main():
        ch = Channel()
        getting = asyncio.create_task(aio.wait(ch.get()))
        await aio.wait(ch.put("value"))
        assert await getting == "value"

    on_a_loop(main)


def test_a_coroutine_that_awaits_ours_and_asyncios():
    async def both(ch):
        value = await ch.get()
        await asyncio.sleep(0)
        return value, await sync(choice(ch, always.wrap(lambda _: "w")))

    async def main():
        ch = AsyncChannel()
        await aio.wait(ch.put(1))
        assert await aio.wait(both(ch)) == (1, "w")

    on_a_loop(main)


def test_combinators_with_async_functions():
    async def main():
        async def double(v):
            await asyncio.sleep(0)
            return 2 * v

        ch = AsyncChannel()
        await aio.wait(ch.put(21))
        assert await aio.wait(ch.wrap(double)) == 42
        denied = []
        evt = choice(rt.nack_guard(lambda nack: denied.append(nack) or rt.never), always)
        await aio.wait(evt)
        assert await aio.wait(sync(*denied, timeout=10)) is denied[0]

    on_a_loop(main)


def test_timeouts_and_alarms():
    async def main():
        assert await aio.wait(sync(Channel(), timeout=0.002, default="over")) == "over"
        alarm = after(0.002)
        assert await aio.wait(alarm) is alarm
        await aio.wait(rt.sleep(0.002))
        await aio.wait(rt.sleep(0))

    on_a_loop(main)


def test_an_earlier_and_a_later_alarm_of_one_task():
    async def main():
        got = await aio.wait(sync(after(0.003).wrap(lambda _: "first"), after(50), timeout=60))
        assert got == "first"

    on_a_loop(main)


def test_it_raises_what_the_operation_raises():
    async def main():
        with pytest.raises(ZeroDivisionError):
            await aio.wait(always.wrap(lambda _: 1 / 0))

    on_a_loop(main)


def test_bad_input_is_refused_at_the_call():
    with pytest.raises(TypeError, match="wait: evt must be an event or an awaitable, got 3"):
        aio.wait(3)


@pytest.mark.rtsync(workers=1)
async def test_in_one_of_our_threads_it_says_what_to_use():
    ch = AsyncChannel()
    with pytest.raises(ContractError, match="wait: no asyncio loop runs here"):
        await aio.wait(ch)


def test_what_needs_a_runtime_says_so():
    async def main():
        with pytest.raises(rt.NoRuntime):
            await aio.wait(rt.receive())
        with pytest.raises(rt.NoRuntime):
            await aio.wait(rt.to_os_thread(print))

    on_a_loop(main)


def test_it_works_on_uvloop():
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed (extra: bench)")

    async def main():
        ch = AsyncChannel()
        task = asyncio.create_task(aio.wait(ch))
        await parked(ch._getters)
        await aio.wait(ch.put("value"))
        assert await task == "value"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aio.wait(ch), 0.002)

    uvloop.run(main())


def test_values_between_a_runtime_and_an_independent_loop():
    there, back = Channel(), Channel()

    async def echo():
        for _ in range(100):
            await aio.wait(back.put(await aio.wait(there)))

    async def main():
        loop = threading.Thread(target=on_a_loop, args=(echo,))
        loop.start()
        for n in range(100):
            await there.put(n)
            assert await back.get() == n
        await rt.to_os_thread(loop.join)

    rt.run(main, workers=2)


# -- cancellation: a value is taken and delivered, or not taken ----------------------------------------


def test_a_cancellation_withdraws_from_the_event():
    async def main():
        ch = AsyncChannel()
        task = asyncio.create_task(aio.wait(ch))
        await parked(ch._getters)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await aio.wait(ch.put("kept"))
        assert ch.try_get() == "kept"

    on_a_loop(main)


def test_a_cancelled_wait_is_denied():
    async def main():
        nacks = []
        evt = rt.nack_guard(lambda nack: nacks.append(nack) or rt.never)
        task = asyncio.create_task(aio.wait(evt))
        while not nacks:
            await asyncio.sleep(0)
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await aio.wait(sync(nacks[0], timeout=10)) is nacks[0]

    on_a_loop(main)


def test_a_cancellation_that_comes_after_the_value_was_taken_does_not_lose_it():
    async def main():
        ch = AsyncChannel()
        task = asyncio.create_task(aio.wait(ch))
        await parked(ch._getters)
        await aio.wait(ch.put("value"))  # claims the waiter; the loop has not been told yet
        task.cancel()
        assert await task == "value"

    on_a_loop(main)


def test_nor_does_one_that_comes_when_the_task_was_already_told():
    async def main():
        ch = AsyncChannel()
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(aio.wait(ch))
        await parked(ch._getters)
        await aio.wait(ch.put("value"))
        for _ in range(3):  # one of these falls between the future's end and the task's step
            loop.call_soon(task.cancel)
        assert await task == "value"

    on_a_loop(main)


def test_the_cancellation_comes_at_the_next_wait_then():
    async def main():
        ch, got = AsyncChannel(), []

        async def loop():
            try:
                while True:
                    got.append(await aio.wait(ch))
            except asyncio.CancelledError:
                got.append("cancelled")
                raise

        task = asyncio.create_task(loop())
        await parked(ch._getters)
        await aio.wait(ch.put("value"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert got == ["value", "cancelled"]
        assert task.cancelling() == 1

    on_a_loop(main)


def test_under_a_timeout_of_asyncio_the_value_is_delivered_and_the_timeout_forgotten():
    async def main():
        ch = AsyncChannel()

        async def limited():
            async with asyncio.timeout(None) as limit:
                limits.append(limit)
                return await aio.wait(ch), asyncio.current_task().cancelling()

        limits = []
        task = asyncio.create_task(limited())
        await parked(ch._getters)
        await aio.wait(ch.put("value"))
        limits[0].reschedule(asyncio.get_running_loop().time() - 1)
        value, _ = await task
        assert value == "value"
        assert not task.cancelling()

    on_a_loop(main)


def test_wait_for_times_out():
    async def main():
        ch = AsyncChannel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aio.wait(ch), 0.002)
        await aio.wait(ch.put(1))
        assert ch.try_get() == 1

    on_a_loop(main)


def test_the_clean_up_of_a_cancelled_coroutine_may_wait():
    async def main():
        ch, done = AsyncChannel(), AsyncChannel()

        async def work():
            try:
                await ch.get()
            finally:
                await done.get()
                await asyncio.sleep(0)

        task = asyncio.create_task(aio.wait(work()))
        await parked(ch._getters)
        task.cancel()
        await parked(done._getters)
        await aio.wait(done.put(1))
        with pytest.raises(asyncio.CancelledError):
            await task

    on_a_loop(main)


# -- loops that end ----------------------------------------------------------------------------------


def test_a_loop_that_ends_withdraws_the_waits_of_its_tasks():
    ch = AsyncChannel()
    left = []

    async def main():
        left.append(asyncio.create_task(aio.wait(ch)))
        await parked(ch._getters)

    on_a_loop(main)
    block_on(ch.put("kept"))
    assert ch.try_get() == "kept"


def test_a_task_that_nobody_can_reach_any_more_is_collected():
    ended = []

    async def wait():
        try:
            await aio.wait(AsyncChannel())
        finally:
            ended.append(True)

    loop = asyncio.new_event_loop()
    task = loop.create_task(wait())
    loop.run_until_complete(turns())
    task._log_destroy_pending = False
    loop.close()
    del task
    assert collected(lambda: ended)
    assert ended == [True]


def test_a_unit_given_to_a_closed_loop_goes_to_the_next():
    sem = Semaphore()
    loop = asyncio.new_event_loop()
    task = loop.create_task(aio.wait(sem.wait()))
    loop.run_until_complete(parked(sem._queue))
    task._log_destroy_pending = False
    loop.close()
    sem.post()
    assert block_on(sync(sem, timeout=50)) is sem
    assert sem.count == 0
    del task
    gc.collect()
    assert sem.count == 0


def test_a_put_to_a_closed_loop_does_not_fail():
    ch = Channel()
    loop = asyncio.new_event_loop()
    task = loop.create_task(aio.wait(ch))
    loop.run_until_complete(parked(ch._getters))
    task._log_destroy_pending = False
    loop.close()
    block_on(ch.put("lost, as to a thread that was killed"))
    del task
    gc.collect()
