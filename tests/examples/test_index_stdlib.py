"""``make demo``: the index of the standard library."""

import importlib.util
import io
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import rtsync
from rtsync.testing import run_deterministic

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "index_stdlib.py"

SOURCE = b"""\
import os, os.path
import sys as system
from collections import abc
from . import sibling

class First:
    def short(self): pass

    async def longer(self, argument):
        def inner():
            return argument.attribute
        return inner
"""


def program(*options):
    return subprocess.run(
        [sys.executable, PROGRAM, *options],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def demo():
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("index_stdlib", PROGRAM)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_demo_shows_both_times_the_speed_up_and_the_index():
    done = program("--limit", "25", "--workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\r" not in done.stdout  # no display, for this is no terminal
    lines = done.stdout.splitlines()
    assert lines[0].endswith(": 25 files of its standard library")
    assert lines[1].startswith("1 worker ")
    assert lines[2].startswith("2 workers")
    assert lines[2].endswith("times as fast")
    for row in (
        "files",
        "lines",
        "tokens",
        "definitions",
        "longest function",
        "most imported",
        "identifiers",
    ):
        assert any(line.startswith(row) for line in lines[3:])


def test_one_worker_is_compared_with_nothing():
    done = program("--limit", "3", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "times as fast" not in done.stdout


@pytest.mark.parametrize("options", [["--workers", "0"], ["--limit", "-1"], ["--limit", "x"]])
def test_bad_options_are_refused(options):
    done = program(*options)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_what_is_found_in_a_file(demo):
    found = demo.analyse(Path("example.py"), SOURCE)
    assert found.parsed
    assert found.lines == 12
    assert (found.classes, found.functions) == (1, 3)
    assert found.longest == (4, "longer")
    assert found.imports == {"os", "sys", "collections"}
    assert found.identifiers["argument"] == 2
    assert found.identifiers["attribute"] == 1


def test_the_tokens_are_those_of_the_standard_tokenizer(demo):
    source = (
        SOURCE
        + b"""\
x: int = 0x_ff + 1.5e3j - .5  # a 'comment'
y = rb'\\'' if x ** 2 >= 1 else b"#" + \'\'\'one "
two\'\'\' + '' # \xc3\xbc
z = [*x[1:...]] @ y; z //= 2; name\xc3\xbc = lambda a, /, *, b: (a := b) != a << 1
def f() -> None: ...
"""
    )
    marks = {tokenize.ENCODING, tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}
    expected = [
        token.string.encode()
        for token in tokenize.tokenize(io.BytesIO(source).readline)
        if token.type not in marks | {tokenize.ENDMARKER}
    ]
    assert demo.TOKEN.findall(source) == expected
    found = demo.analyse(Path("example.py"), source)
    assert (found.tokens, found.comments) == (len(expected), 2)


def test_a_file_that_the_parser_refuses_is_counted_as_such(demo):
    found = demo.analyse(Path("bad.py"), b"def\n")
    assert not found.parsed
    index = demo.Index()
    index.add(found)
    assert (index.files, index.refused, index.lines) == (1, 1, 1)


def test_an_index_does_not_depend_on_the_workers(demo, tmp_path):
    paths = []
    for number in range(30):
        paths.append(tmp_path / f"module_{number}.py")
        paths[-1].write_bytes(SOURCE * (number + 1))
    one, three = (rtsync.run(demo.index, paths, workers, False, workers=workers) for workers in (1, 3))
    assert one == three
    assert one.files == 30
    assert one.functions == 3 * sum(range(31))


def test_the_display_shows_how_far_things_are_and_cleans_up(demo, capsys):
    async def main():
        total = demo.Index()
        rtsync.thread(demo.show_progress, total, 1000, 2)
        for total.files in (1, 500):
            await rtsync.sleep(0.1)

    run_deterministic(main)
    shown = capsys.readouterr().out.split("\r")
    assert "2 workers      1 of 1,000 files" in shown
    assert "2 workers    500 of 1,000 files" in shown
    assert shown[-1] == "\033[K"  # the main thread has ended, and with it the display
