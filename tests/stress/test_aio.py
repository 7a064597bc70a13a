"""The bridge to asyncio for minutes instead of moments."""

import time

import pytest

import rtsync as rt
from rtsync import aio, thread
from tests.aio.test_races import cancel_at_random, stop_at_random
from tests.chaos import chaos

SECONDS = 30


@pytest.mark.timeout(SECONDS * 4)
@pytest.mark.parametrize("program", [cancel_at_random, stop_at_random])
def test_races_under_chaos(program):
    end = time.monotonic() + SECONDS
    seed = 0
    while time.monotonic() < end:
        seed += 1
        with chaos(seed, stalls=seed % 10):
            rt.run(program, seed, 20 + seed % 50, workers=1 + seed % 3)


@pytest.mark.timeout(SECONDS * 4)
@pytest.mark.parametrize("program", [cancel_at_random, stop_at_random])
def test_races_at_full_speed(program):
    end = time.monotonic() + SECONDS
    seed = 0
    while time.monotonic() < end:
        seed += 1
        rt.run(program, seed, 500, workers=1 + seed % 3)


def test_a_hundred_thousand_runs():
    async def one(n):
        return n

    async def main():
        for _ in range(20):
            threads = [thread(aio.run, one(n)) for n in range(5000)]
            assert sum([await t.join() for t in threads]) == sum(range(5000))

    rt.run(main, workers=2)
