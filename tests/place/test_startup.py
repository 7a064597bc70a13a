"""What a place imports before it begins: nothing that takes long and that it may never need."""

import subprocess
import sys

SLOW = {
    "annotationlib",
    "ast",
    "asyncio",
    "cloudpickle",
    "concurrent.futures",
    "ctypes",
    "dataclasses",
    "dis",
    "inspect",
    "logging",
    "multiprocessing",
    "numpy",
    "pickle",
    "re",
    "rtsync.aio",
    "rtsync.ports",
    "sortedcontainers",
    "ssl",
    "subprocess",
    "tempfile",
    "textwrap",
    "traceback",
}


def test_a_place_begins_without_the_modules_that_take_long_to_import():
    code = (
        "import sys; before = set(sys.modules); import rtsync.place.child; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SLOW.intersection(done.stdout.split())


def test_whoever_imports_textwrap_in_the_middle_of_our_import_gets_the_real_one():
    code = (
        "import sys, scheduler.sorted_list as ours; sys.modules['textwrap'] = ours._textwrap\n"
        "from textwrap import dedent\n"
        "import textwrap\n"
        "print(dedent('  a'), textwrap.shorten('b c', 99))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "a b c\n"
