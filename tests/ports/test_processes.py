"""Racket Reference 15.4: other programs."""

import signal
import subprocess as system
import sys

import pytest

from rtsync import Custodian, always, receive_evt, sync, thread
from rtsync.ports import EOF, PortClosed, open_input, open_output, subprocess

PYTHON = [sys.executable, "-S", "-c"]


async def test_a_program_reads_writes_and_ends():
    process = subprocess("cat")
    await process.stdin.write("hello\n", flush=True)
    assert await process.stdout.read_line() == "hello"
    assert process.status is None
    await process.stdin.close()
    assert await process.stdout.read_line() is EOF
    assert await process.stderr.read_all() == b""
    assert await process.wait() == 0
    assert process.status == 0
    process.stdout.close()
    process.stderr.close()


async def test_a_process_is_an_event():
    process = subprocess("cat", stdout="null", stderr="null")
    assert await sync(process, timeout=0) is None
    waiting = thread(sync, process, receive_evt())
    await process.stdin.close()
    assert await waiting.join() is process
    assert await sync(process) is process


async def test_the_exit_code_is_the_programs():
    process = subprocess(*PYTHON, "import os; os._exit(7)", stdin="null", stdout="inherit", stderr="inherit")
    assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
    assert await process.wait() == 7


async def test_a_process_can_be_ended():
    for end, number in (("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)):
        process = subprocess("sleep", "1000", stdin="null", stdout="null", stderr="null")
        getattr(process, end)()
        assert await process.wait() == -number
        getattr(process, end)()
    process.send_signal(signal.SIGINT)


async def test_errors_may_go_where_the_output_goes():
    process = subprocess("sh", "-c", "echo out; echo err >&2", stdin="null", stderr="stdout")
    assert await process.stdout.read_all() == b"out\nerr\n"
    assert await process.wait() == 0
    process.stdout.close()


async def test_ports_over_files_are_given_to_the_program(tmp_path):
    (tmp_path / "in").write_text("from a file\n")
    with open_input(tmp_path / "in") as inp, open_output(tmp_path / "out", "truncate") as out:
        process = subprocess("cat", stdin=inp, stdout=out, stderr="null")
        assert await process.wait() == 0
    assert (tmp_path / "out").read_text() == "from a file\n"


async def test_much_data_through_a_program():
    process = subprocess("cat", stderr="null")
    data = b"0123456789" * 100_000
    reader = thread(process.stdout.read_all)
    await process.stdin.write(data)
    await process.stdin.close()
    assert await reader.join() == data
    assert await process.wait() == 0
    process.stdout.close()


async def test_writing_to_a_program_that_has_ended_fails():
    process = subprocess("true", stdout="null", stderr="null")
    await process.wait()
    with pytest.raises(BrokenPipeError):
        await process.stdin.write("x", flush=True)
    process.stdin.abort()


async def test_the_environment_and_the_folder_can_be_given(tmp_path):
    process = subprocess(
        "sh", "-c", 'echo "$WORD"; pwd', stdin="null", stderr="null", env={"WORD": "yes"}, cwd=tmp_path
    )
    assert (await process.stdout.read_all()).decode().splitlines() == ["yes", str(tmp_path.resolve())]
    await process.wait()
    process.stdout.close()


async def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError):
        subprocess("/no/such/program")


async def test_a_custodian_kills_its_processes_unless_it_is_not_to():
    custodian = Custodian()
    with custodian:
        killed = subprocess("sleep", "1000", stderr="null", stdout="null")
        spared = subprocess("cat", stderr="null", stdout="null", kill=False)
        assert killed in custodian.managed_list()
    waiting = thread(killed.stdin.flush)
    await waiting.join()
    custodian.shutdown_all()
    assert await killed.wait() == -signal.SIGKILL
    assert killed.stdin.closed
    with pytest.raises(PortClosed):
        await killed.stdin.write("x")
    assert await spared.wait() == 0  # its standard input has been closed
    assert await sync(spared, always) in (spared, always)


ORDERED = """
import sys
import rtsync as rt
from rtsync.ports import open_output, stdout, subprocess

async def main():
    print("printed")
    await subprocess("echo", "by the first program", stdout="inherit").wait()
    await stdout().write("written\\n")
    await subprocess("echo", "by the second program", stdout="inherit").wait()
    async with open_output(sys.argv[1]) as out:
        await out.write("written\\n")
        await subprocess("echo", "by the third program", stdout=out).wait()

rt.run(main)
"""


def test_what_was_written_comes_before_what_a_program_writes(tmp_path):
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(ORDERED)
    done = system.run([sys.executable, program, log], capture_output=True, text=True, timeout=150)
    assert done.stdout == "printed\nby the first program\nwritten\nby the second program\n", done.stderr
    assert log.read_text() == "written\nby the third program\n"


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((5,), {}, TypeError, "subprocess: command must be a string or a path, got 5"),
        (("cat", 5), {}, TypeError, r"subprocess: args\[0\] must be a string or a path, got 5"),
        (("cat",), {"stdin": "stdout"}, ValueError, "subprocess: stdin must be one of 'pipe'"),
        (
            ("cat",),
            {"stdout": 5},
            TypeError,
            "subprocess: stdout must be 'pipe', 'inherit'",
        ),
        (("cat",), {"kill": 1}, TypeError, "subprocess: kill must be a bool"),
    ],
)
def test_bad_input(arguments, options, error, text):
    with pytest.raises(error, match=text):
        subprocess(*arguments, **options)
