"""How places are tested: with real processes, few of them, and an account of what is left behind.

The functions that the places run are in ``workers.py``, which they import from its file.
"""

import operator
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKERS = str(Path(__file__).with_name("workers.py"))


def wait_until(predicate, seconds=60.0):
    """Look until ``predicate()`` holds; for what happens in other processes."""
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.005)


def lives(pid):
    """Whether the process ``pid`` is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] not in "ZX"


def children():
    """The processes that this one has created and not reaped."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found.update(Path(f"/proc/self/task/{task}/children").read_text().split())
        except OSError:
            pass
    return found


@pytest.fixture
def no_leaks():
    """No process, descriptor or shared memory is left after the test."""
    import gc

    from rtsync import block_on, sync
    from rtsync.place import lending, place_channel
    from rtsync.ports import pipe  # noqa: F401 - imported before descriptors are counted

    one, other = place_channel()
    block_on(sync(other, timeout=0.001))  # now the OS thread that polls has its descriptors
    del one, other
    gc.collect()
    wait_until(lambda: not lending._lender._pages)  # what large messages of another test have used

    def account():
        gc.collect()
        segments = Path("/proc/self/maps").read_text().count("/dev/shm/#")  # shared memory, by its inode
        return len(os.listdir("/proc/self/fd")), segments, children()

    before = account()
    yield
    try:
        # What was still on its way out before may have gone since.
        wait_until(lambda: all(map(operator.le, account(), before)), 30)
    except AssertionError:
        after = account()
        raise AssertionError(f"left behind: {before} became {after}") from None


@pytest.fixture
def program(tmp_path):
    """Run a program in a fresh interpreter: its completed process. Its exit status must be ``status``."""

    def run(text, *args, status=0, seconds=150):
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
