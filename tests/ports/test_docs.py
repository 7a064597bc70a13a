"""The program in docs/ports.md runs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_program_of_the_page_runs(script):
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ports.md").read_text(), re.DOTALL)
    assert len(programs) == 1
    done = script(programs[0])
    assert (done.stdout, done.stderr) == ("first second\n", "")
