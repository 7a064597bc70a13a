"""A place on a Dask worker of another host. The hosts are made of Linux namespaces: see two_hosts.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="distributed is not installed (extra rtsync[dask])")

ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--map-root-user", "--net", "--mount"]
# All that the program needs to be allowed to do.
PROBE = (
    "mount -t tmpfs none /dev/shm && ip link add here type veth peer name there && "
    "unshare --net --pid --mount --mount-proc --fork --kill-child true"
)


@pytest.mark.timeout(240)
def test_a_place_on_another_host():
    try:
        possible = subprocess.run([*UNSHARE, "sh", "-c", PROBE], capture_output=True).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("network namespaces cannot be made here")
    program = Path(__file__).with_name("two_hosts.py")
    done = subprocess.run(
        [*UNSHARE, sys.executable, program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "a large array crosses",
        "a vector is copied",
        "ends of channels cross",
        "kill reaches it",
        "a pulled cable is its death",
    ]
