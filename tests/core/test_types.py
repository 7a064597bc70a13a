"""What type checkers know of our interface."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rtsync as rt
from rtsync.testing import run_deterministic

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_a_type_checker_finds_the_types_and_the_mistakes_of_a_program(tmp_path):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, HERE / "typed_program.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout.startswith("Success"), done.stdout + done.stderr


def test_a_class_with_a_type_makes_the_same_objects():
    async def main():
        channel, buffered = rt.Channel[int](), rt.AsyncChannel[str](limit=1)
        rt.thread(channel.put, 3)
        await buffered.put("x")
        assert type(channel) is rt.Channel
        assert type(buffered) is rt.AsyncChannel
        assert isinstance(channel, rt.Evt)
        return await channel.get(), await buffered.get()

    assert run_deterministic(main) == (3, "x")
