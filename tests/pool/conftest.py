"""An ``async def`` test without a marker runs on the deterministic scheduler and on a real runtime, as two
tests."""

from inspect import iscoroutinefunction

import pytest

BOTH = [
    pytest.param(marks=pytest.mark.rtsync(seeds=5), id="deterministic"),
    pytest.param(marks=pytest.mark.rtsync(workers=2, runs=2), id="real"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marked = any(metafunc.definition.iter_markers("rtsync"))
    if iscoroutinefunction(metafunc.function) and not marked:
        metafunc.parametrize((), BOTH)
