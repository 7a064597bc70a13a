"""The per-test timeout, `tests/timeout_plugin.py`: a test that hangs is shown and ends the run."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.setup.machine import ROOT

HANGING = """\
    import threading

    def test_hanging():
        threading.Lock().acquire()
        lock = threading.Lock()
        lock.acquire()
        threading.Thread(target=wait_elsewhere, args=(lock,), daemon=True).start()
        lock.acquire()

    def wait_elsewhere(lock):
        lock.acquire()
"""


def run(directory: Path, tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(textwrap.dedent(tests))
    (directory / "pytest.ini").write_text("[pytest]\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.timeout_plugin", "-q", *arguments],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
    )


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["plain", "xdist"])
def test_hanging_test_ends_the_run_with_the_stacks_of_all_threads(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    done = run(tmp_path, HANGING, "--test-timeout=3", *workers)
    assert done.returncode != 0
    assert "Timeout (0:00:03)!" in done.stderr
    assert "in test_hanging" in done.stderr
    assert "in wait_elsewhere" in done.stderr


def test_under_xdist_the_hanging_test_is_named_as_failed(tmp_path: Path) -> None:
    done = run(tmp_path, HANGING, "--test-timeout=3", "-n", "1")
    assert "crashed while running 'test_it.py::test_hanging'" in done.stdout
    assert "1 failed" in done.stdout


def test_time_is_counted_per_test(tmp_path: Path) -> None:
    tests = """\
        import time, pytest

        @pytest.mark.parametrize("n", range(8))
        def test_short(n):
            time.sleep(0.5)
    """
    assert "8 passed" in run(tmp_path, tests, "--test-timeout=3").stdout


def test_mark_overrides_the_default(tmp_path: Path) -> None:
    tests = """\
        import time, pytest

        @pytest.mark.timeout(30)
        def test_long():
            time.sleep(1)

        @pytest.mark.timeout(0)
        def test_unlimited():
            time.sleep(1)
    """
    done = run(tmp_path, tests, "--test-timeout=0.5")
    assert "2 passed" in done.stdout


def test_time_comes_from_the_configuration(tmp_path: Path) -> None:
    done = run(tmp_path, HANGING, "-o", "test_timeout=3")
    assert "in test_hanging" in done.stderr


def test_watchdog_is_no_thread_that_a_test_could_see(tmp_path: Path) -> None:
    tests = """\
        import threading

        def test_threads():
            assert threading.enumerate() == [threading.main_thread()]
    """
    assert "1 passed" in run(tmp_path, tests).stdout
