"""Any tests of ours under hostile circumstances: ``pytest -p tests.chaos_plugin --chaos=SEED tests/core``.

Around each test are `tests.chaos` with lines at which threads are held up, OS threads that begin late, and a
monitor that takes a worker for stuck as soon as it can, and so starts others: as on a machine that has far
too much to do, and worse. Tests on the deterministic scheduler are left out, as nothing of this is for them.
Each test draws from SEED and its own name, so it may be repeated alone.
"""

import zlib
from collections.abc import Generator
from inspect import iscoroutinefunction
from typing import Any

import pytest

import scheduler.monitor
from tests.chaos import chaos

STALLS = 30
"""Lines at which threads are held up. There are about 4000."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", type=int, default=0, metavar="SEED", help="delays at random, from this seed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if isinstance(item, pytest.Function) and _is_real(item)]
    dropped = [item for item in items if item not in kept]
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def _is_real(item: pytest.Function) -> bool:
    """Whether it may use more than one OS thread, in any order."""
    marker = item.get_closest_marker("rtsync")
    if item.get_closest_marker("undisturbed") is not None:
        return False
    if marker is None:
        return not iscoroutinefunction(item.obj)
    return "workers" in marker.kwargs


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    seed = pyfuncitem.config.getoption("--chaos") ^ zlib.crc32(pyfuncitem.nodeid.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler.monitor, "PERIOD", 0.0002)
        with chaos(seed, rate=0.002, stalls=STALLS, late=0.03) as held:
            try:
                return (yield)
            except BaseException as error:
                error.add_note(f"chaos: threads were held up at {', '.join(held)}")
                raise
