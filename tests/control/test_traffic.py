"""A short form of what `make stress` does for minutes: see `tests.stress.traffic`."""

import pytest

import rtsync as rt
from rtsync.testing import run_deterministic
from tests.chaos import chaos
from tests.stress.traffic import traffic


@pytest.mark.parametrize("seed", range(40))
def test_control_at_random_on_the_deterministic_scheduler(seed):
    run_deterministic(traffic, 0.01, seed, 3 + seed % 20, seed % 3, 1 + seed % 7, seed=seed)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_control_at_random_on_real_workers(workers):
    rt.run(traffic, 0.3, workers, 100, 5, workers=workers)


def test_control_at_random_under_chaos():
    with chaos(5, rate=0.005, stalls=10):
        rt.run(traffic, 0.3, 5, 30, 2, workers=2)
