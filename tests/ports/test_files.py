"""Racket Reference 13.1.2 to 13.1.5: files, standard streams, file objects, bytes."""

import contextlib
import fcntl
import gc
import io
import os
import socket
import subprocess
import sys
import threading

import pytest

from rtsync import ContractError, Custodian, block_on, idle, parameterize, sleep, sync, thread
from rtsync.ports import (
    EOF,
    InputPort,
    OutputPort,
    PortClosed,
    current_input_port,
    current_output_port,
    open_input,
    open_output,
    pipe,
    tcp_listen,
    unix_connect,
    unix_listen,
)
from rtsync.ports import subprocess as run_program
from tests.core.conftest import ROOT


async def test_what_is_written_to_a_file_is_read_from_it(tmp_path):
    async with open_output(tmp_path / "file", "truncate") as out:
        await out.write("a\nbé\n")
    with open_input(tmp_path / "file") as inp:
        assert [line async for line in inp] == ["a", "bé"]
    assert inp.closed


async def test_what_to_do_with_a_file_that_is_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old text")
    with pytest.raises(FileExistsError):
        open_output(path)
    for exists, text in [("append", "old text new"), ("update", " newtext new"), ("truncate", " new")]:
        async with open_output(path, exists) as out:
            await out.write(" new")
        assert path.read_text() == text
    path.unlink()
    with pytest.raises(FileNotFoundError):
        open_output(path, "update")
    async with open_output(path, "can-update") as out:
        await out.write("x")
    path.unlink()


@pytest.mark.rtsync(workers=1)
async def test_a_file_that_is_slow_stops_nobody_but_its_reader():
    others_have_run = threading.Event()

    class Slow:
        def read(self, n):
            return b"read" if others_have_run.wait(40) else b"nobody came"

    async def other():
        others_have_run.set()

    thread(other)
    assert await InputPort(Slow()).read_bytes(4) == b"read"


async def test_a_file_that_is_not_there_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_input(tmp_path / "file")


async def test_a_file_is_always_ready(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    with open_input(tmp_path / "file") as inp:
        assert await sync(inp, timeout=0) is inp
        assert await sync(inp.read_all_evt(), timeout=0) == b"x" * 100_000
        assert await sync(inp.eof_evt(), timeout=0) is EOF


async def test_devices_that_are_always_ready():
    with open_input("/dev/zero") as inp, open_output("/dev/null", "update") as out:
        data = await inp.read_bytes(100_000)
        assert data == bytes(100_000)
        await out.write(data, flush=True)


async def test_a_full_device_is_an_error():
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no such device here")
    out = open_output("/dev/full", "update")
    with pytest.raises(OSError, match="No space"):
        await out.write("x", flush=True)
    out.abort()


async def test_a_pipe_of_the_system():
    read, write = os.pipe()
    inp, out = InputPort(read), OutputPort(write)
    reader = thread(inp.read_line)
    await sync(idle())
    await out.write("abc\n", flush=True)
    assert await reader.join() == "abc"
    writer = thread(out.write, b"x" * 1_000_000)
    await sync(idle())
    assert await inp.read_bytes(1_000_000) == b"x" * 1_000_000
    await writer.join()
    await out.close()
    assert await inp.read_line() is EOF
    inp.close()


async def test_bytes_are_read_from_memory():
    inp = InputPort(b"a\nb")
    assert [line async for line in inp] == ["a", "b"]


async def test_a_file_object_is_not_taken_away(tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        out = OutputPort(file)
        await out.write("text")
        await out.close()
        file.seek(0)
        assert file.read() == b"text"


async def test_a_file_object_without_a_descriptor():
    inp = InputPort(io.StringIO("a\nb\n"))
    assert await inp.read_line() == "a"
    sink = io.StringIO()
    out = OutputPort(sink)
    await out.write("abc", flush=True)
    assert sink.getvalue() == "abc"
    sink = io.BytesIO()
    await OutputPort(sink, buffer="none").write(b"abc")
    assert sink.getvalue() == b"abc"
    assert await InputPort(io.BytesIO(b"x" * 50_000)).read_all() == b"x" * 50_000


async def test_the_current_output_port_follows_what_standard_output_is():
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink):
        print("one")
        await current_output_port().write("two\n")
        print("three")
    assert sink.getvalue() == "one\ntwo\nthree\n"


async def test_it_still_does_after_another_port_was_set_for_a_while():
    with parameterize(current_output_port, pipe()[1]):
        pass
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink):
        await current_output_port().write("here\n")
    assert sink.getvalue() == "here\n"


async def test_the_current_ports_can_be_set_for_a_thread():
    inp, out = pipe()
    with parameterize(current_output_port, out), parameterize(current_input_port, inp):
        await thread(lambda: block_on(current_output_port().write("x\n"))).join()
        assert await current_input_port().read_line() == "x"
    assert current_output_port() is not out
    with pytest.raises(TypeError, match="current_output_port: port must be an output port"):
        current_output_port(inp)


PROGRAM = """
import rtsync as rt
from rtsync.ports import EOF, stderr, stdin, stdout

async def main():
    print("printed first")
    await stdout().write("then written\\n", flush=True)
    print("then printed")
    waiting = await rt.sync(stdin().read_line_evt(), timeout=0.05)
    await stderr().write(f"{waiting}\\n")
    await stdout().write("ready\\n", flush=True)
    async for line in stdin():
        await stdout().write(line.upper() + "\\n")
    await stdout().write("not flushed")

rt.run(main)
"""


@pytest.mark.parametrize("streams", ["pipes", "files"])
def test_standard_streams(tmp_path, streams):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if streams == "files":
        (tmp_path / "in").write_text("a\nb\n")
        with open(tmp_path / "in") as inp, open(tmp_path / "out", "w") as out:
            done = subprocess.run(
                [sys.executable, path], stdin=inp, stdout=out, stderr=subprocess.PIPE, env=environment
            )
        text, first = (tmp_path / "out").read_text(), "a"
        expected = ["B"]
    else:
        with subprocess.Popen(
            [sys.executable, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        ) as done:
            seen = b""
            while not seen.endswith(b"ready\n"):
                part = os.read(done.stdout.fileno(), 1000)
                assert part
                seen += part
            rest, error = done.communicate(b"a\nb\n")
        text, first = (seen + rest).decode(), "None"
        done.stderr = io.BytesIO(error)
        expected = ["A", "B"]
    assert done.returncode == 0
    assert (done.stderr if streams == "files" else done.stderr.read()).decode() == f"{first}\n"
    start = ["printed first", "then written", "then printed", "ready"]
    assert text.splitlines() == [*start, *expected, "not flushed"]


def run(program, redirect, tmp_path):
    """Run it with standard streams as a shell redirects them."""
    path = tmp_path / "program.py"
    path.write_text(program)
    return subprocess.run(
        ["sh", "-c", f'exec "$0" "$1" {redirect}', sys.executable, path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
@pytest.mark.parametrize("end", ["pass", "raise SystemExit(3)"])
def test_output_that_cannot_be_written_at_the_end_is_an_error(tmp_path, end):
    program = f"""
import rtsync as rt
from rtsync.ports import stdout

async def main():
    await stdout().write("lost")
    {end}

rt.run(main)
"""
    done = run(program, ">/dev/full", tmp_path)
    assert done.returncode == (1 if end == "pass" else 3)
    assert ("No space left" in done.stderr) == (end == "pass")


@pytest.mark.parametrize(("which", "redirect"), [("stdout", ">&-"), ("stdin", "<&-")])
def test_a_standard_stream_that_the_process_does_not_have(tmp_path, which, redirect):
    program = f"""
import errno
from rtsync import ports
try:
    ports.{which}()
except OSError as error:
    assert error.errno == errno.EBADF and "this process has none" in str(error), error
else:
    raise SystemExit("no error")
"""
    done = run(program, redirect, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_was_written_to_a_file_object_comes_first(tmp_path):
    with open(tmp_path / "file", "w") as file:
        file.write("first\n")
        out = OutputPort(file)
        block_on(out.write("second\n"))
        out.close()
    assert (tmp_path / "file").read_text() == "first\nsecond\n"


# -- the end of the input, and what comes after it ---------------------------------------------------


def append(path, text):
    """Also: write to a named pipe that somebody reads."""
    with open(path, "a") as file:
        file.write(text)


async def lines(inp):
    return [await inp.read_line(), await inp.read_line()]


async def blocks(inp):
    return [(await inp.read_bytes(4)).decode()[:-1], await inp.read_bytes(4)]


async def available(inp):
    return [(await inp.read_bytes_avail()).decode()[:-1], await inp.read_bytes_avail()]


async def everything(inp):
    return [(await inp.read_all()).decode()[:-1], await inp.read_bytes_avail()]


async def lines_and_the_end(inp):
    return [await inp.read_line(), await sync(inp.eof_evt())]


@pytest.mark.parametrize("read", [lines, blocks, available, everything, lines_and_the_end])
async def test_a_file_that_grows_is_read_on(tmp_path, read):
    path = tmp_path / "file"
    path.write_text("one\n")
    with open_input(path) as inp:
        for text in ("one", "two", "six"):
            if text != "one":
                append(path, text + "\n")
            assert await read(inp) == [text, EOF]


async def test_what_stands_before_the_end_of_a_file_is_not_its_last_line(tmp_path):
    path = tmp_path / "file"
    path.write_text("half ")
    with open_input(path) as inp:
        assert await inp.read_line() == "half "
        append(path, "a line\n")
        assert await inp.read_line() == "a line"
        assert await inp.read_line() is EOF


async def test_an_end_that_was_peeked_at_is_what_the_next_one_reads(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with open_input(path) as inp:
        assert await inp.peek(1) is EOF
        path.write_text("later\n")
        assert await inp.peek(1) is EOF
        assert await sync(inp) is inp
        assert await inp.read_line() is EOF
        assert await inp.read_line() == "later"


async def test_a_loop_over_the_lines_of_a_file_can_be_made_again(tmp_path):
    path = tmp_path / "file"
    path.write_text("a\n")
    with open_input(path) as inp:
        assert [line async for line in inp] == ["a"]
        append(path, "b\n")
        assert [line async for line in inp] == ["b"]


@pytest.mark.rtsync(workers=2)
async def test_a_named_pipe_has_not_ended_before_somebody_writes(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with open_input(path) as inp:
        assert await sync(inp.read_line_evt(), timeout=0.01) is None
        for text in ("first", "second"):
            reading = thread(first_line, inp)
            append(path, text + "\n")
            assert await reading.join() == text


async def first_line(inp):
    """After the ends that former writers have left."""
    while (line := await inp.read_line()) is EOF:
        await sleep(0.001)
    return line


@pytest.mark.rtsync(workers=1)
async def test_a_named_pipe_ends_when_its_writer_has_gone(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with open_input(path) as inp:
        reading = thread(inp.read_all)
        await sync(idle())
        append(path, "all")
        assert await reading.join() == b"all"


@pytest.mark.rtsync(workers=1)
async def test_a_terminal_goes_on_after_an_end():
    ours, theirs = os.openpty()
    with InputPort(theirs) as inp:
        os.write(ours, b"one\n\x04two\n")
        assert [await inp.read_line() for _ in range(3)] == ["one", EOF, "two"]
        assert await sync(inp.read_line_evt(), timeout=0.01) is None
    os.close(ours)


@pytest.mark.rtsync(workers=1)
async def test_a_connection_that_has_ended_stays_so():
    here, there = socket.socketpair()
    with InputPort(here) as inp:
        there.sendall(b"x\n")
        there.close()
        assert [await inp.read_line() for _ in range(3)] == ["x", EOF, EOF]


async def test_a_custodian_closes_files(tmp_path):
    (tmp_path / "file").write_text("x")
    custodian = Custodian()
    with custodian:
        inp = open_input(tmp_path / "file")
    custodian.shutdown_all()
    with pytest.raises(PortClosed):
        await inp.read_line()
    with custodian, pytest.raises(ContractError):
        open_input(tmp_path / "file")


async def test_a_socket_that_is_refused_is_left_alone():
    custodian = Custodian()
    custodian.shutdown_all()
    here, there = socket.socketpair()
    with here, there:
        for make in (InputPort, OutputPort):
            with custodian, pytest.raises(ContractError):
                make(here)
            with custodian, pytest.raises(ContractError):
                make(here.fileno())
        there.send(b"x")
        assert here.recv(1) == b"x"


def test_what_is_no_descriptor_is_not_closed(recwarn):
    with open(os.devnull, "rb") as null:
        free = fcntl.fcntl(null, fcntl.F_DUPFD, 500)  # a number that nobody else will get
        os.close(free)
        with pytest.raises(OSError) as caught:
            InputPort(free)  # half made, it is kept by the traceback
        os.dup2(null.fileno(), free)
    del caught
    gc.collect()
    os.close(free)  # was still open
    assert not recwarn.list


async def test_a_file_stays_as_it_is_if_the_port_is_refused(tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("kept")
    custodian = Custodian()
    custodian.shutdown_all()
    for where in (path, other):
        for options in ({"encoding": "no"}, {"errors": "no"}, {"encoding": 5}):
            with pytest.raises((TypeError, ValueError), match="open_output: e"):
                open_output(where, "truncate", **options)
        with (
            custodian,
            pytest.raises(ContractError, match="open_output: the current custodian has been shut"),
        ):
            open_output(where, "truncate")
    assert path.read_text() == "kept"
    assert not other.exists()


async def test_text_is_written_in_any_encoding(tmp_path):
    async with open_output(tmp_path / "file", "truncate", encoding="utf-16-le") as out:
        await out.write("é\n")
    assert (tmp_path / "file").read_text("utf-16-le") == "é\n"


NUMBER = "must be a positive integer"
TABLE = [
    (
        lambda: InputPort("x"),
        TypeError,
        "InputPort: source must be a descriptor, a socket or a file or bytes",
    ),
    (lambda: InputPort(-1), ValueError, "InputPort: source must be a descriptor, got -1"),
    (lambda: InputPort(2**31), ValueError, "InputPort: source must be a descriptor, got 2147483648"),
    (lambda: OutputPort(-1), ValueError, "OutputPort: sink must be a descriptor, got -1"),
    (lambda: OutputPort(b"x"), TypeError, "OutputPort: sink must be a descriptor, a socket or a file"),
    (lambda: InputPort(b"", encoding="no"), ValueError, "encoding must be the name of an encoding, got 'no'"),
    (lambda: OutputPort(io.BytesIO(), encoding="rot13"), ValueError, "encoding must be the name of an enc"),
    (
        lambda: InputPort(b"", encoding="utf-16"),
        ValueError,
        "InputPort: encoding must be one in which a return and a linefeed are one byte each",
    ),
    (lambda: pipe(encoding="utf-16-le"), ValueError, "pipe: encoding must be one in which"),
    (lambda: tcp_listen(0, encoding="cp500"), ValueError, "tcp_listen: encoding must be one in which"),
    (lambda: unix_listen("x", encoding="no"), ValueError, "unix_listen: encoding must be the name"),
    (lambda: unix_connect("x", encoding="no"), ValueError, "unix_connect: encoding must be the name"),
    (lambda: run_program("true", encoding="no"), ValueError, "subprocess: encoding must be the name"),
    (lambda: open_input("x", encoding="no"), ValueError, "open_input: encoding must be the name"),
    (lambda: InputPort(b"", encoding=5), TypeError, "encoding must be the name of an encoding, got 5"),
    (lambda: InputPort(b"", errors="no"), ValueError, "errors must be the name of an error handler"),
    (lambda: OutputPort(io.BytesIO(), buffer="no"), ValueError, "buffer|mode must be one of 'block'"),
    (lambda: OutputPort(io.BytesIO(), limit=-1), ValueError, "OutputPort: limit must be a non-negative"),
    (
        lambda: InputPort(b"").read_bytes(-1),
        ValueError,
        "read_bytes: n must be a non-negative integer, got -1",
    ),
    (lambda: InputPort(b"").read_bytes("1"), TypeError, "read_bytes: n must be a non-negative integer"),
    (lambda: InputPort(b"").read_bytes_evt(-1), ValueError, "read_bytes_evt: n must be"),
    (lambda: InputPort(b"").read_bytes_avail(0), ValueError, f"read_bytes_avail: n {NUMBER}, got 0"),
    (lambda: InputPort(b"").read_bytes_avail_evt(True), TypeError, f"read_bytes_avail_evt: n {NUMBER}"),
    (lambda: InputPort(b"").peek(1, -1), ValueError, "peek: skip must be a non-negative integer"),
    (
        lambda: InputPort(b"").read_line("crlf"),
        ValueError,
        "read_line: mode must be one of 'linefeed', 'return'",
    ),
    (lambda: InputPort(b"").read_line(5), TypeError, "read_line: mode must be one of"),
    (lambda: InputPort(b"").read_line_evt("x"), ValueError, "read_line_evt: mode must be one of"),
    (lambda: InputPort(b"").read_line(limit=0), ValueError, f"read_line: limit {NUMBER}"),
    (
        lambda: OutputPort(io.BytesIO()).write(None),
        TypeError,
        "write: data must be a string or bytes, got None",
    ),
    (lambda: OutputPort(io.BytesIO()).buffering("line", "none"), TypeError, "buffering: takes at most one"),
    (lambda: OutputPort(io.BytesIO()).buffering("no"), ValueError, "buffering: mode must be one of 'block'"),
    (lambda: pipe(0), ValueError, f"pipe: limit {NUMBER}, got 0"),
    (lambda: open_input(5), TypeError, "open_input: path must be a path, got 5"),
    (lambda: open_output("x", "no"), ValueError, "open_output: exists must be one of 'error', 'truncate'"),
]


@pytest.mark.parametrize(("call", "error", "text"), TABLE)
def test_bad_input_is_refused_at_the_call(call, error, text):
    with pytest.raises(error, match=text):
        call()
