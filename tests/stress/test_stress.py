"""The protocol for minutes instead of seconds, and control at random against traffic of every kind."""

import itertools
import random
import time

import pytest

import rtsync as rt
from rtsync.testing import run_deterministic
from tests.chaos import chaos
from tests.protocol.programs import run_program
from tests.protocol.test_programs import swap_all

SECONDS = 60


@pytest.mark.timeout(SECONDS * 3)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_random_programs_for_a_minute(workers):
    async def main():
        end = time.monotonic() + SECONDS / 3
        seed = workers * 1_000_000
        while time.monotonic() < end:
            for program in [rt.thread(run_program, seed + n, 6, 12, n % 3) for n in range(200)]:
                await program.join()
            seed += 200

    rt.run(main, workers=workers)


@pytest.mark.timeout(SECONDS * 3)
def test_random_programs_under_chaos_for_a_minute():
    end = time.monotonic() + SECONDS
    seed = 0
    while time.monotonic() < end:
        seed += 1

        async def main(seed=seed):
            for program in [rt.thread(run_program, 100 * seed + n, 5, 8, n % 2) for n in range(20)]:
                await program.join()

        with chaos(seed):
            rt.run(main, workers=1 + seed % 4)


@pytest.mark.timeout(SECONDS * 3)
def test_many_seeds_of_the_deterministic_scheduler():
    for seed in range(5000):
        run_deterministic(run_program, seed, 1 + seed % 7, 10, seed % 3, seed=seed * 7919)


@pytest.mark.timeout(SECONDS * 3)
def test_swaps_in_both_directions():
    for _ in range(10):
        rt.run(swap_all, 8, 300, workers=2)


async def traffic_under_control(seconds: float, seed: int, many: int = 300) -> None:
    """Threads exchange values while others kill, suspend, resume and break them at random. At the end every
    value was delivered once or is still with its sender, units add up, and no waiter is left."""
    draw = random.Random(seed)
    channels = [rt.Channel() for _ in range(8)]
    buffers = [rt.AsyncChannel(4) for _ in range(4)]
    semaphores = [rt.Semaphore(2) for _ in range(4)]
    names = itertools.count(1)
    begun: set[int] = set()
    got: list[int] = []

    async def citizen(me: int, own: random.Random) -> None:
        number = 0
        with rt.breaks(False):
            while True:
                number += 1
                try:
                    with rt.breaks(True):
                        await act(me * 1_000_000 + number, own)
                except rt.Break:
                    pass

    async def act(value: int, own: random.Random) -> None:
        kind = own.randrange(6)
        if kind == 0:
            begun.add(value)
            await own.choice(channels).put(value)
        elif kind == 1:
            got.append(await own.choice(channels).get())
        elif kind == 2:
            begun.add(value)
            await rt.sync(own.choice(buffers).put_evt(value), timeout=own.random() * 0.002)
        elif kind == 3:
            v = await rt.sync(*own.sample(channels, 2), *own.sample(buffers, 2), timeout=0.002)
            if v is not None:
                got.append(v)
        elif kind == 4:
            async with own.choice(semaphores):
                await rt.sleep(0)
        else:
            sum(range(2000))

    def settle(name: int) -> rt.Thread:
        with rt.breaks(False):  # which it inherits: no break before it has begun
            return rt.thread(citizen, name, random.Random(draw.random()))

    threads = [settle(name) for name in itertools.islice(names, many)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            t = draw.choice(threads)
            what = draw.randrange(12)
            if what == 0:
                t.kill()
                threads.remove(t)
                threads.append(settle(next(names)))
            elif what < 4:
                t.suspend()
            elif what < 8:
                t.resume()
            else:
                t.break_()
        await rt.sleep(0.001)
    for t in threads:
        t.resume()
    await rt.sleep(0.01)
    for t in threads:
        t.kill()
    for t in threads:  # under chaos one may seem to sit in a call into C, which kill does not wait for
        assert await rt.sync(t, timeout=30) is t
    assert len(set(got)) == len(got)
    assert set(got) <= begun
    for owner in (*channels, *buffers):
        assert owner._getters.living() == owner._putters.living() == 0
    for semaphore in semaphores:
        assert semaphore._queue.living() == 0
        assert semaphore.count == 2
    assert rt.current_thread().runtime.stats()["timers"] == 0


@pytest.mark.timeout(SECONDS * 3)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_control_at_random_for_a_minute(workers):
    rt.run(traffic_under_control, SECONDS / 3, workers, workers=workers)


@pytest.mark.timeout(SECONDS * 3)
def test_control_at_random_under_chaos():
    with chaos(11, rate=0.005):
        rt.run(traffic_under_control, SECONDS / 2, 5, 60, workers=2)
