"""The ordinary tests under chaos, see `tests.chaos_plugin`: windows of the library that nobody thought of,
and tests that assume who comes first. Each file of tests in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = "aio atomic control core pool ports place protocol shm".split()
# All that these do is on the deterministic scheduler, or alone, a million times.
LEFT_OUT = {"test_no_half_done.py", "test_sizes.py", "test_explore_all.py", "test_turns.py"}
FILES = sorted(
    str(path.relative_to(ROOT))
    for folder in FOLDERS
    for path in (ROOT / "tests" / folder).glob("test_*.py")
    if path.name not in LEFT_OUT
)
NO_TESTS = 5


@pytest.mark.timeout(900)
@pytest.mark.parametrize("file", FILES)
def test_a_file_of_tests_under_chaos(file):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.chaos_plugin", "--chaos=1", file]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    assert done.returncode in (0, NO_TESTS), done.stdout + done.stderr
