"""Loads our own pytest plugin where the project is not installed with its entry points. Fixtures for all."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from scheduler.safepoint import safepoints

# A shell without job control starts its background jobs with Ctrl-C ignored, and programs inherit that: the
# ones that our tests start and interrupt, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
SHM = "/dev/shm"

pytest_plugins = ["pytester"]
if not entry_points(group="pytest11", name="rtsync"):
    pytest_plugins.append("rtsync.pytest_plugin")


def pytest_configure(config):
    config.addinivalue_line("markers", "undisturbed: measures who gets how many steps; not under chaos")


@pytest.fixture(autouse=True)
def _safepoints_are_off_again():
    """No test leaves threads behind that are still asked for something: while any is, all code of the process
    runs with events on, several times as slow, and so would all tests that come after."""
    yield
    deadline = time.monotonic() + 30
    while safepoints._wanted:
        assert time.monotonic() < deadline, f"still asked for at safepoints: {[*safepoints._wanted]}"
        time.sleep(0.001)


@pytest.fixture
def private_shm(tmp_path):
    """Run a program for which the shared-memory folder is one of its own, of 16 MiB: its standard output."""
    inside = f'mount -t tmpfs -o size=16m none {SHM} && exec "$@"'
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside, "sh"]
    try:
        possible = subprocess.run([*unshare, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("mount namespaces cannot be made here")

    def run(program):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(program))
        done = subprocess.run(
            [*unshare, sys.executable, "-W", "error", path],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    return run
