"""Ports of which nobody waits: each look sees what the kernel has, whether a poller has told of it or not."""

import os
import socket

import pytest

from rtsync import always, block_on, choice, poll_guard, run, sleep, sync, thread
from rtsync.ports import EOF, InputPort, pipe, socket_ports, subprocess, unix_listen

READS = {
    "the port": (lambda inp: inp, None),
    "read_line_evt": (lambda inp: inp.read_line_evt(), "line"),
    "read_bytes_evt": (lambda inp: inp.read_bytes_evt(5), b"line\n"),
    "read_bytes_avail_evt": (lambda inp: inp.read_bytes_avail_evt(), b"line\n"),
    "peek_evt": (lambda inp: inp.peek_evt(5), b"line\n"),
}


@pytest.fixture
def pair():
    """``pair()``: the ports of one end of a connection, and the socket at the other."""
    made = []

    def make():
        one, two = socket.socketpair()
        made.append((*socket_ports(one), two))
        return made[-1]

    yield make
    for inp, out, other in made:
        inp.abort()
        out.abort()
        other.close()


@pytest.mark.parametrize("waited", [False, True], ids=["never waited at", "waited at before"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_what_has_come_since_the_last_look_is_seen(pair, read, waited):
    inp, _out, other = pair()
    evt, result = read
    if waited:
        reader = thread(inp.read_bytes, 1)
        await sleep(0.01)
        other.send(b"x")
        assert await reader.join() == b"x"
    for _ in range(3):
        assert await sync(evt(inp), timeout=0) is None
        other.send(b"line\n")
        assert await sync(evt(inp), timeout=0) == (result or inp)
        if read is READS["the port"] or read is READS["peek_evt"]:
            assert await inp.read_line() == "line"
    assert await sync(inp.eof_evt(), timeout=0) is None
    other.close()
    assert await sync(inp.eof_evt(), timeout=0) is EOF


async def test_a_look_by_a_function_as_the_timeout_and_in_other_events(pair):
    inp, _out, other = pair()
    assert await sync(inp.read_line_evt(), timeout=lambda: "nothing") == "nothing"
    other.send(b"a\nb\nc\n")
    assert await sync(inp.read_line_evt(), timeout=lambda: "nothing") == "a"
    looked = poll_guard(lambda polls: inp.read_line_evt().wrap(lambda line: (line, polls)))
    assert await sync(choice(looked), timeout=0) == ("b", True)
    assert await sync(inp.read_line_evt(), timeout=0) == "c"


async def test_one_who_never_waits_because_something_else_is_always_ready_sees_it_too(pair):
    inp, out, other = pair()
    assert await sync(inp.read_line_evt(), timeout=0) is None
    other.send(b"line\n")
    for _ in range(1000):  # pseudo-random, but not for ever
        if await sync(inp.read_line_evt(), always.wrap(lambda _: None)) == "line":
            break
    else:
        pytest.fail("a line that is there is never chosen")
    while await sync(out.write_bytes_avail_evt(bytes(1 << 20)), timeout=0):
        pass
    while len(other.recv(1 << 20, socket.MSG_DONTWAIT)) == 1 << 20:
        pass
    for _ in range(1000):
        if await sync(out.write_bytes_avail_evt(b"x"), always.wrap(lambda _: None)) == 1:
            break
    else:
        pytest.fail("a port that has room is never chosen")


async def test_room_is_seen(pair):
    _inp, out, other = pair()
    while await sync(out.write_bytes_avail_evt(bytes(1 << 20)), timeout=0):
        pass
    for _ in range(3):
        assert await sync(out.write_bytes_avail_evt(b"x"), timeout=0) is None
        try:
            while other.recv(1 << 20, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            pass
        assert await sync(out.write_bytes_avail_evt(b"x"), timeout=0) == 1
        while await sync(out.write_bytes_avail_evt(bytes(1 << 20)), timeout=0):
            pass


async def test_a_connection_is_seen(tmp_path):
    path = str(tmp_path / "socket")
    with unix_listen(path) as listener:
        assert await sync(listener, timeout=0) is None
        for n in range(3):
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            assert await sync(listener, timeout=0) is listener
            for port in await sync(listener.accept_evt(), timeout=0):
                port.abort()
            assert await sync(listener.accept_evt(), timeout=0) is None
            client.close()
            if n == 1:  # from now on a poller tells of it
                accepting = thread(listener.accept)
                await sleep(0.01)
                accepting.kill()


async def test_the_end_of_a_program_is_seen():
    program = subprocess("cat", stdout="null", stderr="null")
    assert await sync(program, timeout=0) is None
    program.stdin.close()
    while await sync(program, timeout=0) is None:
        await sleep(0.01)
    assert program.status == 0


def test_without_a_runtime(pair):
    inp, _out, other = pair()
    for _ in range(2):
        assert block_on(sync(inp, timeout=0)) is None
        other.send(b"line\n")
        assert block_on(sync(inp.read_line_evt(), timeout=0)) == "line"


def test_one_look_does_not_disturb_who_waits(pair):
    inp, _out, other = pair()

    async def main():
        reader = thread(inp.read_bytes_avail)
        await sleep(0.01)
        other.send(b"for the reader")
        assert await sync(inp.read_bytes_avail_evt(), timeout=0) is None
        assert await reader.join() == b"for the reader"

    run(main, workers=1)


async def test_of_a_pipe_between_processes():
    read, write = os.pipe()
    with InputPort(read) as inp:
        assert await sync(inp.read_line_evt(), timeout=0) is None
        os.write(write, b"line\n")
        assert await sync(inp.read_line_evt(), timeout=0) == "line"
        os.close(write)
        assert await sync(inp.read_line_evt(), timeout=0) is EOF


async def test_peeking_at_nothing_needs_nothing():
    inp, out = pipe()
    assert await sync(inp.peek_evt(0, 3), timeout=0) == b""
    out.close()
    assert await inp.peek(0, 3) == b""
    assert await inp.peek(1) is EOF
