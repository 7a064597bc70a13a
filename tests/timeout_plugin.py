"""Ends the run when one test hangs, with the stacks of all threads.

A test of a concurrent program that fails often fails by never ending, and then the stacks are
the only evidence. So each test arms `faulthandler`'s watchdog, which needs no cooperation: it is a
thread in C that Python does not see (the tests count threads), and it fires also when every
Python thread waits for a lock. It writes all stacks to the real standard error, past pytest's
capture, and ends the process. Under pytest-xdist that process is a worker: the controller names
the test as failed ("worker crashed while running ...") and goes on with a new worker, as
often as --max-worker-restart allows.

The time is `test_timeout` in the configuration, `--test-timeout` on the command line, or
`@pytest.mark.timeout(SECONDS)` on a test; 0 means no limit.
"""

import faulthandler
import os
import sys
from collections.abc import Generator
from typing import Any

import pytest

_stderr = pytest.StashKey[int]()
_default = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "seconds after which a hanging test ends the run with all stacks (0: never)"
    parser.addini("test_timeout", text, default="60")
    parser.addoption("--test-timeout", type=float, default=None, help=text)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "timeout(seconds): this test may take so long before it counts as hanging"
    )
    given = config.getoption("--test-timeout")
    config.stash[_default] = float(config.getini("test_timeout")) if given is None else given
    # pytest captures nothing while it configures: this is still the terminal's descriptor, in a
    # worker too, which inherits it.
    config.stash[_stderr] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)


def pytest_unconfigure(config: pytest.Config) -> None:
    faulthandler.cancel_dump_traceback_later()
    if _stderr in config.stash:
        os.close(config.stash[_stderr])
        del config.stash[_stderr]


def seconds_for(item: pytest.Item) -> float:
    """The limit of this test in seconds; 0 for none."""
    mark = item.get_closest_marker("timeout")
    if mark is None:
        return item.config.stash[_default]
    return float(mark.args[0] if mark.args else mark.kwargs["seconds"])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    seconds = seconds_for(item)
    if seconds > 0:
        faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_enter_pdb() -> None:
    """A person at the debugger may take as long as they like."""
    faulthandler.cancel_dump_traceback_later()
