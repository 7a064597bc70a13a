"""Other processes to share with, and a check after each test that nothing is left behind.

A `Peer` is an interpreter that this one has nothing to do with but two pipes for commands and answers, and
that inherits no descriptor. What it is sent is pickled by plain pickle, so vectors go there by name.
"""

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHM = "/dev/shm"

SERVE = """
import pickle, sys
import shm
names = {"shm": shm}
while True:
    try:
        code, values = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    names.update(values)
    exec(code, names)
    pickle.dump(names.pop("result", None), sys.stdout.buffer)
    sys.stdout.buffer.flush()
    values = None
"""


class Peer:
    """Another process: it executes code when asked to, in which ``result`` is what comes back."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SERVE],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, code, **values):
        pickle.dump((textwrap.dedent(code), values), self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def end(self):
        """Let it end; it must have had nothing to say."""
        out, err = self.process.communicate()
        assert (self.process.returncode, out, err.decode()) == (0, b"", "")

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def peer():
    """``peer()`` is another process, which ends with the test."""
    peers = []

    def start():
        peers.append(Peer())
        return peers[-1]

    yield start
    for one in peers:
        if one.process.returncode is None:
            one.end()


def holdings():
    """The shared memory that this process has open or mapped."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if link.startswith(SHM):
            found.append(f"fd {fd}: {link}")
    with open("/proc/self/maps") as maps:
        found += [line.strip() for line in maps if f" {SHM}/" in line]
    return found


def listing():
    """The names in the folder, save for the semaphores and segments of multiprocessing: never ours, and tests
    beside this one have them for long."""
    return {name for name in os.listdir(SHM) if not name.startswith(("sem.", "psm_"))}


def eventually(condition):
    """Whether ``condition()`` comes true; it gets half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        gc.collect()
        time.sleep(0.01)
    return True


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    if not os.path.isdir(SHM):
        yield
        return
    names, held = listing(), len(holdings())
    yield
    gc.collect()
    assert eventually(lambda: len(holdings()) <= held), holdings()
    # Others on this machine may be using the folder too; what they make is gone again in the end.
    assert eventually(lambda: listing() <= names), listing() - names
