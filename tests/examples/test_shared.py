"""The examples of shared memory and of places on a Dask cluster do what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def output(program):
    done = subprocess.run(
        [sys.executable, program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_vector_of_the_page_is_squared_by_its_places(tmp_path):
    page = (ROOT / "docs" / "shared-memory.md").read_text()
    program = tmp_path / "program.py"
    program.write_text(re.findall(r"```python\n(import numpy.*?)```", page, re.DOTALL)[0])
    assert output(program) == "999998000001.0\n"


@pytest.mark.timeout(240)
def test_places_on_a_cluster_count_primes():
    pytest.importorskip("distributed", reason="distributed is not installed (extra rtsync[dask])")
    lines = output(ROOT / "examples" / "places_dask.py").splitlines()
    assert lines == ["the places wrote into our vector", "2262"]
