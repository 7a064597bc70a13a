"""The pytest plugin: ``async def`` tests run as the main thread of a runtime.

An ``async def`` test needs no marker: it runs on the deterministic scheduler, in virtual time, once for each
of a handful of seeds. The marker says otherwise:

    @pytest.mark.rtsync(seeds=200)           # deterministic, seeds 0 to 199
    @pytest.mark.rtsync(seed=17)             # deterministic, this seed only
    @pytest.mark.rtsync(workers=2)           # on a real runtime with two workers
    @pytest.mark.rtsync(workers=2, runs=50)  # the same, fifty times

A test that fails under a seed says which, in the traceback and in a section of the report, and
``--rtsync-seed=17`` runs it (and all the others) under that one. A marked plain ``def`` test runs as an
OS-backed main thread. Fixtures are resolved as usual, before the first run: all runs of a test share them,
so what must be fresh in each run is made in the test.

An assertion that fails in a thread other than the main one fails the test, if it has not failed anyway. For
other exceptions in threads see `rtsync.uncaught_exception_handler`. Tests that carry the marker of another
plugin (anyio, asyncio, trio) are left to that.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any

import pytest

from scheduler.safepoint import transparent

from .env import parameterize
from .runtime import Runtime, uncaught_exception_handler
from .testing import DeterministicRuntime

SEEDS = 5
"""How many seeds an ``async def`` test runs under if nothing else is said."""

_OTHERS = ("anyio", "asyncio", "trio")
_MARKER = (
    "rtsync(seeds=N | seed=K | workers=N[, runs=M]): run this test as the main thread of a runtime: the "
    "deterministic scheduler once for each of N seeds, or with seed K only, or a real runtime with N workers"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rtsync")
    group.addoption(
        "--rtsync-seed",
        type=int,
        metavar="K",
        help="run deterministic tests with this seed only, to repeat a failure",
    )
    group.addoption(
        "--rtsync-seeds",
        type=_positive,
        metavar="N",
        help=f"seeds for each deterministic test that does not say itself (default: {SEEDS})",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test if it is one of ours. Whether it was."""
    function = pyfuncitem.obj
    marker = pyfuncitem.get_closest_marker("rtsync")
    if marker is None and any(pyfuncitem.get_closest_marker(other) for other in _OTHERS):
        return None
    hypothesis = getattr(function, "hypothesis", None)
    # hypothesis calls the inner function once for each example; the outer one is plain.
    inner = function if hypothesis is None else hypothesis.inner_test
    if marker is None and not iscoroutinefunction(inner):
        return None
    runs = _Runs(pyfuncitem, marker)
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    if hypothesis is None:
        runs.run(partial(function, **arguments), iscoroutinefunction(function))
        return True
    hypothesis.inner_test = runs.around(inner)
    try:
        function(**arguments)
    finally:
        hypothesis.inner_test = inner  # other items have the same function: other parameters, subclasses
    return True


class _Runs:
    """In which runtimes a test runs, as its marker and the command line say."""

    def __init__(self, item: pytest.Function, marker: pytest.Mark | None) -> None:
        self.item = item
        options = dict(marker.kwargs) if marker is not None else {}
        if marker is not None and marker.args:
            raise pytest.UsageError(f"rtsync: the marker takes keywords only: {_MARKER}")
        self.seeds: range | tuple[int, ...] = ()
        self.workers = _count(options, "workers", 1)
        self.runs = 1
        if self.workers is not None:
            self.runs = _count(options, "runs", 1) or 1
        else:
            seed, seeds = _count(options, "seed", None), _count(options, "seeds", 1)
            if seed is not None and seeds is not None:
                raise pytest.UsageError("rtsync: the marker takes seed= or seeds=, not both")
            if item.config.getoption("rtsync_seed") is not None:
                seed, seeds = item.config.getoption("rtsync_seed"), None
            if seed is not None:
                self.seeds = (seed,)
            else:
                self.seeds = range(seeds or item.config.getoption("rtsync_seeds") or SEEDS)
        if options:
            raise pytest.UsageError(
                f"rtsync: the marker does not take {', '.join(options)}"
                f"{' with workers=' if self.workers else ''}: {_MARKER}"
            )

    def around(self, inner: Callable[..., Any]) -> Callable[..., None]:
        """``inner`` as a plain function that runs it in our way."""

        @wraps(inner)
        def run(*args: Any, **kwargs: Any) -> None:
            self.run(partial(inner, *args, **kwargs), iscoroutinefunction(inner))

        return run

    def run(self, test: Callable[[], Any], is_async: bool) -> None:
        """All runs, up to the first failure."""
        if self.workers is not None:
            for number in range(self.runs):
                where = f"{self.workers} worker(s), run {number + 1} of {self.runs}"
                self._run(Runtime(self.workers, name="test"), test, is_async, where)
        for seed in self.seeds:
            where = f"seed {seed}; repeat with --rtsync-seed={seed}"
            self._run(DeterministicRuntime(seed), test, is_async, where)

    def _run(self, runtime: Runtime, test: Callable[[], Any], is_async: bool, where: str) -> None:
        failures: list[BaseException] = []

        def uncaught(thread: Any, error: BaseException) -> None:
            if isinstance(error, (AssertionError, pytest.fail.Exception)):
                error.add_note(f"rtsync: in thread {thread.name}")
                failures.append(error)
            else:
                report(thread, error)

        @transparent
        async def in_coroutine() -> None:
            await test()

        @transparent
        def in_os_thread() -> None:
            test()

        in_coroutine.__qualname__ = in_os_thread.__qualname__ = self.item.name
        report = uncaught_exception_handler()
        try:
            with parameterize(uncaught_exception_handler, uncaught):
                runtime.run(in_coroutine if is_async else in_os_thread)
            if failures:
                raise failures[0]
        except (pytest.skip.Exception, pytest.xfail.Exception):
            raise
        except BaseException as error:
            note = f"rtsync: failed with {where}"
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            section = ("call", "rtsync", note)
            if section not in self.item._report_sections:  # hypothesis makes a test fail many times
                self.item.add_report_section(*section)
            raise


def _positive(text: str) -> int:
    """The value of an option that says how many."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"must be a positive integer, got {text}")
    return int(text)


def _count(options: dict[str, Any], name: str, least: int | None) -> int | None:
    """Take an integer of at least ``least`` out of ``options``."""
    if name not in options:
        return None
    value = options.pop(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise pytest.UsageError(f"rtsync: the marker's {name} must be an integer, got {value!r}")
    if least is not None and value < least:
        raise pytest.UsageError(f"rtsync: the marker's {name} must be at least {least}, got {value!r}")
    return value
