"""How the tests of this folder run, and programs that need a process of their own.

An ``async def`` test without a marker is run twice, as two tests: on the deterministic scheduler with a
handful of seeds, and on a real runtime with two workers. So whatever a test says holds for both.

``await sync(idle())`` is how a test waits until every other thread has come as far as it can.
"""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest

import rtsync
from rtsync.testing import run_deterministic

ROOT = Path(__file__).parents[2]

BOTH = [
    pytest.param(marks=pytest.mark.rtsync(seeds=5), id="deterministic"),
    pytest.param(marks=pytest.mark.rtsync(workers=2, runs=2), id="real"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marked = any(metafunc.definition.iter_markers("rtsync"))
    if iscoroutinefunction(metafunc.function) and not marked:
        metafunc.parametrize((), BOTH)


@pytest.fixture(params=["deterministic-0", "deterministic-1", "real"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``run(main, *args)`` for tests that are about `run` itself, on either kind of runtime."""
    kind, _, seed = request.param.partition("-")
    if kind == "real":
        return partial(rtsync.run, workers=2)
    return partial(run_deterministic, seed=int(seed))


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in a fresh interpreter, in which no OS thread is foreign: its completed process.

    Its exit status must be ``status`` unless that is ``None``. One that hangs, for ``seconds``, shows where.
    """

    def run(
        text: str, *args: str, status: int | None = 0, seconds: float = 150
    ) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "program.py"
        watchdog = f"import faulthandler; faulthandler.dump_traceback_later({seconds}, exit=True)\n"
        path.write_text(watchdog + textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, "-W", "error", path, *args],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        if status is not None and done.returncode != status:
            raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run
