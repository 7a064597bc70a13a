"""DESIGN §1: imports run one way, and shared memory is usable alone, without a runtime."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {"shm": {"shm"}, "scheduler": {"scheduler"}, "rtsync": {"rtsync", "scheduler", "shm"}}


def imported(path):
    """The top-level names of what a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in files
        for name in imported(path)
        if name in MAY_IMPORT and name not in MAY_IMPORT[package]
    ]
    assert wrong == []


def test_shared_memory_needs_no_runtime():
    program = """
import sys, threading
import shm
v = shm.SharedFlvector([1.0, 2.0])
assert sum(v) == 3
loaded = {name.split(".")[0] for name in sys.modules}
print(sorted(loaded & {"rtsync", "scheduler", "numpy", "multiprocessing"}))
print(threading.active_count())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "1"]


def test_everything_is_importable_from_rtsync():
    import rtsync
    import shm

    for name in ("SharedBytes", "SharedFlvector", "SharedFxvector"):
        assert getattr(rtsync, name) is getattr(shm, name)
