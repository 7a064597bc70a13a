"""The standard streams of places, in the combinations of ``dynamic-place*``."""

import io
import os
import subprocess
import sys

import pytest

from rtsync import parameterize
from rtsync.place import dynamic_place, dynamic_place_star
from rtsync.ports import (
    InputPort,
    OutputPort,
    current_error_port,
    current_output_port,
    open_output,
    pipe,
)

from .conftest import ROOT, WORKERS

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.rtsync(workers=2)
async def test_output_and_error_are_the_creators_and_input_is_empty(capfd):
    print("before")
    p = dynamic_place(WORKERS, "writes_streams")
    assert await p.get() == ""
    assert await p.wait() == 0
    out, err = capfd.readouterr()
    assert out == "before\nto output\n"
    assert err == "to error\n"


@pytest.mark.rtsync(workers=2)
async def test_streams_of_the_creator_without_a_descriptor_are_pumped_to(capsys):
    p = dynamic_place(WORKERS, "writes_streams")
    assert await p.wait() == 0
    assert capsys.readouterr() == ("to output\n", "to error\n")


@pytest.mark.rtsync(workers=2)
async def test_the_current_ports_of_the_creator_are_used_if_they_were_set(capfd):
    shown, out = pipe()
    complaints, err = pipe()
    with parameterize(current_output_port, out), parameterize(current_error_port, err):
        p = dynamic_place(WORKERS, "writes_streams")
    other = dynamic_place(WORKERS, "writes_streams")
    assert await p.wait() == 0  # and all has arrived
    assert await other.wait() == 0
    out.close()
    err.close()
    assert await shown.read_all() == b"to output\n"
    assert await complaints.read_all() == b"to error\n"
    assert capfd.readouterr() == ("to output\n", "to error\n")  # of the other one


@pytest.mark.rtsync(workers=2)
async def test_what_was_written_to_a_port_comes_before_what_the_place_writes(tmp_path):
    async with open_output(tmp_path / "out") as out:
        await out.write("before\n")
        p, *_ = dynamic_place_star(WORKERS, "writes_streams", in_=io.BytesIO(), out=out)
        assert await p.wait() == 0
        await out.write("after\n")
    assert (tmp_path / "out").read_text() == "before\nto output\nafter\n"


def test_what_was_written_to_the_standard_port_comes_before_what_the_place_writes(program):
    done = program(
        f"""
        import rtsync as rt
        from rtsync.place import dynamic_place
        from rtsync.ports import current_output_port, stdout

        async def main():
            await stdout().write("before\\n")
            assert await dynamic_place({str(WORKERS)!r}, "writes_streams").wait() == 0
            current_output_port(stdout())
            await stdout().write("between\\n")
            assert await dynamic_place({str(WORKERS)!r}, "writes_streams").wait() == 0

        rt.run(main, workers=2)
        """
    )
    assert done.stdout == "before\nto output\nbetween\nto output\n"


@pytest.mark.rtsync(workers=2)
async def test_none_gives_ports_to_pipes():
    p, in_, out, err = dynamic_place_star(WORKERS, "writes_streams", in_=None, out=None, err=None)
    assert isinstance(in_, OutputPort)
    assert isinstance(out, InputPort)
    async with in_, out, err:
        await in_.write("typed in")
        await in_.aclose() if hasattr(in_, "aclose") else in_.close()
        assert await out.read_line() == "to output"
        assert await err.read_line() == "to error"
        assert await p.get() == "typed in"
        assert await p.wait() == 0
        assert await out.read_all() == b""


@pytest.mark.rtsync(workers=2)
async def test_error_may_go_where_output_goes():
    p, in_, out, err = dynamic_place_star(WORKERS, "writes_streams", in_=io.BytesIO(), out=None, err="stdout")
    assert (in_, err) == (None, None)
    async with out:
        assert await out.read_all() == b"to output\nto error\n"
    assert await p.get() == ""
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_given_files_are_shared(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("a\nb\n")
    with open(source) as in_, open(target, "w") as out:  # noqa: ASYNC230
        p, *ports = dynamic_place_star(WORKERS, "copies_input", in_=in_, out=out)
        assert ports == [None, None, None]
        assert await p.wait() == 0
    assert target.read_text() == "A\nB\n"


@pytest.mark.rtsync(workers=2)
async def test_streams_in_memory_are_pumped_from_and_to():
    out = io.StringIO()
    many = "".join(f"line {n}\n" for n in range(30_000))
    p, *ports = dynamic_place_star(WORKERS, "copies_input", in_=io.StringIO(many), out=out, err="stdout")
    assert ports == [None, None, None]
    assert await p.wait() == 0  # and all has arrived
    assert out.getvalue() == many.upper()


@pytest.mark.rtsync(workers=2)
async def test_ports_of_this_process_are_pumped_from_and_to():
    from rtsync.ports import pipe

    source, into = pipe()
    outcome, out = pipe()
    p, *_ = dynamic_place_star(WORKERS, "copies_input", in_=source, out=out)
    await into.write("abc\n")
    into.close()
    assert await outcome.read_line() == "ABC"
    assert await p.wait() == 0
    source.close()
    outcome.close()
    out.close()


@pytest.mark.parametrize("name", ["in_", "out", "err"])
def test_what_is_no_stream_is_refused(name):
    with pytest.raises(TypeError, match=f"dynamic_place_star: {name} must be"):
        dynamic_place_star(WORKERS, "returns", **{name: 5})


@pytest.mark.rtsync(workers=2)
async def test_a_place_may_close_its_streams(capfd):
    p = dynamic_place(WORKERS, "closes_streams")
    p.put("x")
    assert await p.get() == "x"
    assert await p.wait() == 1
    assert os.fstat(1)


def test_a_place_of_a_program_without_standard_streams_has_none_either(tmp_path):
    (tmp_path / "program.py").write_text(
        f"""if True:
        import os, sys
        import rtsync as rt
        from rtsync.place import dynamic_place, dynamic_place_star

        log = open({str(tmp_path / "log")!r}, "w")
        print(sys.stdin, sys.stdout, sys.stderr, file=log)

        async def main():
            p = dynamic_place({WORKERS!r}, "writes_streams")
            print(repr(await p.get()), await p.wait(), file=log)
            p, in_, out, err = dynamic_place_star({WORKERS!r}, "writes_streams")
            in_.close()
            print(repr(await p.get()), await p.wait(), out, err, file=log)

        with log:
            rt.run(main)
        """
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$1" <&- >&- 2>&-', sys.executable, tmp_path / "program.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=200,
    )
    assert (tmp_path / "log").read_text() == "None None None\n'' 0\n'' 0 None None\n"
    assert done.returncode == 0


class Tee:
    """What programs put in the place of `sys.stdout`: it takes text, and says nothing of it."""

    def __init__(self):
        self.written = []

    def write(self, text):
        self.written.append("" + text)


@pytest.mark.rtsync(workers=2)
async def test_whatever_stands_for_standard_output_is_given_text(monkeypatch):
    tee = Tee()
    monkeypatch.setattr(sys, "stdout", tee)
    p = dynamic_place(WORKERS, "writes_streams")
    assert await p.wait() == 0
    assert "".join(tee.written) == "to output\n"
