"""The programs in docs/control.md run, and print what their comments say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "control.md").read_text(), re.DOTALL)
EXPECTED = [
    r"tidied up\nTrue\n",
    r"True True\n",
    r"True {'user': 'ann'}\nTrue None\nTrue\n",
    r"it was stopped\n",
    r"\d+\n",  # about 3, unless the machine is busy
    r"3\nnumber 3 is broken True\n",
    r"(?s)runtime rtsync: 2 thread\(s\)\n.*thread Tom: waits in Channel\.get of .*",
]


def test_each_program_is_expected():
    assert len(PROGRAMS) == len(EXPECTED)


@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_a_program_of_the_page_runs(number, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAMS[number])
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(EXPECTED[number], done.stdout), (done.stdout, done.stderr)
