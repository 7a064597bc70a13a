"""The protocol for minutes instead of seconds, and control at random against traffic of every kind."""

import time

import pytest

import rtsync as rt
from rtsync.testing import run_deterministic
from tests.chaos import chaos
from tests.protocol.programs import run_program
from tests.protocol.test_programs import swap_all
from tests.stress.traffic import traffic

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


@pytest.mark.timeout(SECONDS * 5)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_thousands_of_threads_under_control_at_random_for_a_minute(workers):
    town = rt.run(traffic, SECONDS, workers, 2000, 20, workers=workers)
    assert len(town.got) > 1000


@pytest.mark.timeout(SECONDS * 5)
@pytest.mark.parametrize("seed", range(3))
def test_control_at_random_under_chaos(seed):
    with chaos(seed, rate=0.005, stalls=10 * seed):
        rt.run(traffic, SECONDS / 3, seed, 100, 5, workers=2)


@pytest.mark.timeout(SECONDS * 5)
def test_control_at_random_on_many_seeds_of_the_deterministic_scheduler():
    for seed in range(600):
        run_deterministic(traffic, 0.02, seed, 3 + seed % 30, seed % 3, 2 + seed % 9, seed=seed * 7919)
