"""What a place imports before it begins: nothing that takes long and that it may never need."""

import subprocess
import sys

SLOW = {
    "annotationlib",
    "ast",
    "asyncio",
    "cloudpickle",
    "concurrent.futures",
    "dataclasses",
    "dis",
    "inspect",
    "logging",
    "multiprocessing",
    "numpy",
    "rtsync.aio",
    "rtsync.ports",
    "ssl",
    "subprocess",
    "tempfile",
    "traceback",
}


def test_a_place_begins_without_the_modules_that_take_long_to_import():
    code = (
        "import sys; before = set(sys.modules); import rtsync.place.child; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SLOW.intersection(done.stdout.split())
