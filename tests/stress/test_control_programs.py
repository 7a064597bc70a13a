"""Random programs of nested threads, scopes and groups under control, for minutes instead of seconds."""

import time

import pytest

import rtsync as rt
from rtsync.testing import run_deterministic
from tests.chaos import chaos
from tests.protocol.test_control import program
from tests.protocol.test_turns import QueuedTurn, explore

SECONDS = 60


@pytest.mark.timeout(SECONDS * 10)
def test_many_seeds():
    for seed in range(5000):
        run_deterministic(program, seed, 8, seed=seed * 7919)


@pytest.mark.timeout(SECONDS * 10)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_real_workers_for_a_while(workers):
    end = time.monotonic() + SECONDS / 3
    seed = workers * 1_000_000
    while time.monotonic() < end:
        seed += 1
        rt.run(program, seed, 8, workers=workers)


@pytest.mark.timeout(SECONDS * 10)
@pytest.mark.parametrize(("pushes", "workers"), [([2, 1], 2), ([1, 1, 1], 2), ([1, 1], 3)])
def test_every_interleaving_of_a_turn(pushes, workers):
    assert explore(QueuedTurn, pushes, workers, take_back=True) > 100_000


@pytest.mark.timeout(SECONDS * 10)
def test_chaos_for_a_minute():
    end = time.monotonic() + SECONDS
    seed = 0
    while time.monotonic() < end:
        seed += 1
        with chaos(seed, rate=0.01, stalls=seed % 4):
            rt.run(program, seed, 5, workers=1 + seed % 3)
