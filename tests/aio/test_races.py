"""Cancellations, kills and ends at every moment: nothing is lost, nothing is done twice, nothing hangs."""

import asyncio
import random
import threading

import pytest

import rtsync as rt
from rtsync import AsyncChannel, Break, Semaphore, aio, block_on, thread, to_os_thread
from rtsync.testing import wait_real
from tests.chaos import chaos


async def test_thousands_of_runs_at_once():
    async def work(n):
        await asyncio.sleep(0)
        return n

    threads = [thread(aio.run, work(n)) for n in range(2000)]
    assert sum([await t.join() for t in threads]) == sum(range(2000))


async def test_thousands_of_waits_at_once():
    gate, many = Semaphore(), 2000

    async def wait_all():
        waits = [asyncio.create_task(aio.wait(gate)) for _ in range(many)]
        thread(open_gate)
        await asyncio.gather(*waits)

    async def open_gate():
        for _ in range(many):
            gate.post()

    await aio.run(wait_all())
    assert gate.count == 0


async def cancel_at_random(seed: int, values: int) -> None:
    """Tasks of asyncio take values that our threads put, and are cancelled at random. In our thread."""
    draw = random.Random(seed)
    ch: AsyncChannel = AsyncChannel(4)
    taken: list[int] = []
    ended = Semaphore()

    async def consumer():
        while True:
            taken.append(await (aio.wait(ch) if draw.random() < 0.5 else aio.wait(rt.sync(ch, Semaphore()))))

    async def consume():
        left = {asyncio.create_task(consumer()) for _ in range(5)}
        while left:
            victim = draw.choice(sorted(left, key=id))
            if ended.count or draw.random() < 0.5:
                victim.cancel()
            done, left = await asyncio.wait(left, timeout=0.0002)
            for task in done:
                assert task.cancelled()
                if not ended.count:
                    left.add(asyncio.create_task(consumer()))

    async def produce(part):
        for n in range(part, values, 2):
            await ch.put(n)

    consuming = thread(aio.run, consume())
    for producer in [thread(produce, part) for part in range(2)]:
        await producer.join()
    while len(ch):
        await rt.sleep(0.001)
    ended.post()
    await consuming.join()
    assert sorted(taken) == list(range(values))


@pytest.mark.rtsync(workers=2, runs=2)
async def test_a_cancelled_wait_has_taken_its_value_or_not():
    await cancel_at_random(7, 600)


def test_a_cancelled_wait_has_taken_its_value_or_not_under_chaos():
    for seed in range(3):
        with chaos(seed, stalls=seed * 3):
            rt.run(cancel_at_random, seed, 80, workers=2)


async def stop_at_random(seed: int, many: int) -> None:
    """Threads run asyncio coroutines that hold units of a semaphore, and are killed, broken and suspended."""
    rt.uncaught_exception_handler(lambda thread, error: None)
    draw = random.Random(seed)
    units, results, dead = Semaphore(3), [], Semaphore()

    async def hold():
        async with units:
            for _ in range(3):
                await asyncio.sleep(0)
        return 1

    async def patient():
        try:
            results.append(await aio.run(hold()))
        except Break:
            results.append(0)
        finally:
            dead.post()

    threads = [thread(patient) for _ in range(many)]
    for t in draw.sample(threads, many):
        chance = draw.random()
        if chance < 0.3:
            t.kill()
        elif chance < 0.6:
            t.break_()
        elif chance < 0.8:
            t.suspend()
            await rt.sleep(0)
            t.resume()
        if draw.random() < 0.2:
            await rt.sleep(0.0005)
    for t in threads:
        await t.wait()
    for _ in range(3):  # those of killed threads give theirs back when they have been cancelled
        await units.wait()
    assert units.count == 0
    assert len(results) <= many


@pytest.mark.rtsync(workers=2, runs=2)
async def test_stopped_threads_leave_nothing_behind_in_asyncio():
    await stop_at_random(11, 150)


def test_stopped_threads_leave_nothing_behind_in_asyncio_under_chaos():
    for seed in range(3):
        with chaos(seed, stalls=seed * 3):
            rt.run(stop_at_random, seed, 25, workers=2)


def test_a_runtime_that_ends_in_the_middle_cancels_everything():
    begun, ended, lock = [], [], threading.Lock()

    async def work():
        with lock:
            begun.append(1)
        try:
            await asyncio.sleep(0.0001)
            await Semaphore().wait()
        finally:
            with lock:
                ended.append(1)

    async def one():
        await aio.run(work())

    async def main():
        for _ in range(300):
            thread(one)
        while len(begun) < 20:
            await rt.sleep(0.001)

    for _ in range(3):
        rt.run(main, workers=2)
    assert len(begun) == len(ended)


def test_loops_and_runtimes_that_come_and_go_leave_no_os_threads():
    async def work():
        await asyncio.sleep(0)

    async def main():
        await aio.run(work())

    before = threading.active_count()
    for _ in range(20):
        rt.run(main, workers=1)
    assert wait_real(lambda: not [t for t in threading.enumerate() if t.name.endswith("-asyncio")], 30)
    assert wait_real(lambda: threading.active_count() <= before, 30)


async def test_blocking_calls_whose_callers_are_stopped_at_random():
    rt.uncaught_exception_handler(lambda thread, error: None)
    draw, made, gate = random.Random(3), AsyncChannel(), Semaphore()

    def call(n):
        block_on(gate.wait())
        block_on(made.put(n))
        return n

    threads = [thread(to_os_thread, call, n) for n in range(200)]
    for t in draw.sample(threads, 100):
        (t.kill if draw.random() < 0.5 else t.break_)()
    for _ in threads:
        gate.post()
    results = [await t.wait() for t in threads]
    # Each call that was begun was made to its end, also those whose callers have gone.
    kept = {n for n in results if n is not None}
    got = set()
    while kept - got:
        got.add(await made.get())
