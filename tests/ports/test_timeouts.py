"""`InputPort.timeout` and `OutputPort.timeout`: who waits too long is told. Who reads has consumed nothing;
what is written is taken as a whole or not at all."""

import gc
import socket
import threading
import weakref

import pytest

from rtsync import block_on, receive_evt, sleep, sync, thread
from rtsync.ports import EOF, pipe, socket_ports

NOT_LONG = 0.01
LONG = 3600.0

READS = {
    "read_bytes_avail": lambda inp: inp.read_bytes_avail(),
    "read_bytes_avail of so many": lambda inp: inp.read_bytes_avail(10),
    "read_bytes": lambda inp: inp.read_bytes(10),
    "read_line": lambda inp: inp.read_line(),
    "read_bytes_line": lambda inp: inp.read_bytes_line(),
    "read_all": lambda inp: inp.read_all(),
    "peek": lambda inp: inp.peek(10),
}


@pytest.fixture
def pair():
    """``pair()``: the ports of one end of a connection, and the socket at the other."""
    others = []

    def make():
        one, two = socket.socketpair()
        others.append(two)
        return *socket_ports(one), two

    yield make
    for sock in others:
        sock.close()


def close(*ports):
    for port in ports:
        port.abort()


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_each_reading_operation_ends_with_a_timeout_error(pair, read):
    inp, out, _other = pair()
    inp.timeout = NOT_LONG
    with pytest.raises(TimeoutError, match="has taken too long"):
        await read(inp)
    close(inp, out)


async def test_at_first_there_is_none_and_it_can_be_taken_back(pair):
    inp, out, other = pair()
    assert inp.timeout is None
    inp.timeout = NOT_LONG
    assert inp.timeout == NOT_LONG
    inp.timeout = None
    reader = thread(inp.read_bytes_avail)
    await sleep(5 * NOT_LONG)
    other.send(b"late")
    assert await reader.join() == b"late"
    inp.timeout = float("inf")
    assert inp.timeout is None
    close(inp, out)


MUCH = b"x" * 10_000_000  # more than a socket and a port hold

WRITES = {
    "write": lambda out: out.write(MUCH),
    "write and flush": lambda out: out.write(MUCH, flush=True),
    "write_bytes_avail": lambda out: out.write_bytes_avail(b"more"),
    "flush": lambda out: out.flush(),
    "close": lambda out: awaiting(out.close()),
}


async def awaiting(closing):
    await closing


async def fill(out):
    """Write more than the other end takes, without waiting for it."""
    assert await sync(out.write_evt(MUCH)) == len(MUCH)


@pytest.mark.parametrize("what", WRITES)
async def test_each_writing_operation_ends_with_a_timeout_error(pair, what):
    inp, out, _other = pair()
    await fill(out)
    out.timeout = NOT_LONG
    with pytest.raises(TimeoutError, match=f"{what.partition(' ')[0]} has taken too long"):
        await WRITES[what](out)
    close(inp, out)


@pytest.mark.parametrize("what", ["write", "write and flush"])
async def test_a_write_that_was_taken_at_once_ends_with_it_too(pair, what):
    inp, out, other = pair()
    out.timeout = NOT_LONG
    with pytest.raises(TimeoutError, match="write has taken too long"):
        await WRITES[what](out)
    # All of it was taken, and nothing twice.
    got = thread(receive_all, other)
    out.timeout = None
    await out.close()
    assert await got.join() == len(MUCH)
    close(inp)


async def receive_all(other):
    """How many bytes come at the socket ``other``, which is closed then."""
    inp, out = socket_ports(other)
    count = 0
    while data := await inp.read_bytes_avail():
        count += len(data)
    close(inp, out)
    return count


async def test_of_a_write_that_was_not_taken_in_time_nothing_is_sent(pair):
    inp, out, other = pair()
    await fill(out)
    out.timeout = NOT_LONG
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await out.write(b"more")
    got = thread(receive_all, other)
    out.timeout = LONG
    await out.close()
    assert await got.join() == len(MUCH)
    close(inp)


async def test_who_writes_in_time_is_not_disturbed(pair):
    inp, out, other = pair()
    out.timeout = LONG
    got = thread(receive_all, other)
    for _ in range(3):
        await out.write(MUCH, flush=True)
    await out.close()
    assert await got.join() == 3 * len(MUCH)
    close(inp)


async def test_a_write_that_is_taken_at_last_ends_with_it_if_it_is_not_sent(pair):
    inp, out, other = pair()
    await fill(out)
    out.timeout = 10 * NOT_LONG
    writer = thread(out.write, MUCH)
    theirs, back = socket_ports(other)
    assert await theirs.read_bytes(len(MUCH)) == MUCH  # now it can be taken
    with pytest.raises(TimeoutError):
        await writer.join()
    close(inp, out, theirs, back)


async def test_a_block_that_cannot_close_in_time_drops_what_is_left(pair):
    inp, out, other = pair()
    out.timeout = NOT_LONG
    with pytest.raises(TimeoutError, match="close has taken too long"):
        async with inp, out:
            await fill(out)
    assert out.closed
    assert out.pending() == 0
    got = await receive_all(other)  # which is told that it ends
    assert got < len(MUCH)


async def test_a_write_into_a_full_pipe_ends_with_it():
    inp, out = pipe(4)
    out.timeout = NOT_LONG
    await out.write(b"abcd")
    with pytest.raises(TimeoutError):
        await out.write(b"efgh")
    assert await inp.read_bytes(8) == b"abcdefgh"  # it was taken
    await out.write(b"ij")


@pytest.mark.parametrize("port", ["InputPort", "OutputPort"])
@pytest.mark.parametrize(("wrong", "error"), [(-1, ValueError), ("1", TypeError), (float("nan"), ValueError)])
async def test_what_is_no_time_is_refused(port, wrong, error):
    inp, out = pipe()
    one = inp if port == "InputPort" else out
    with pytest.raises(error, match=rf"{port}\.timeout: seconds must be a non-negative number of seconds"):
        one.timeout = wrong
    assert one.timeout is None


async def test_what_comes_in_time_is_given(pair):
    inp, out, other = pair()
    inp.timeout = LONG
    for n in range(3):
        reader = thread(inp.read_bytes_avail)
        await sleep(NOT_LONG)
        other.send(b"%d" % n)
        assert await reader.join() == b"%d" % n
    other.close()
    assert await inp.read_line() is EOF
    close(inp, out)


async def test_what_has_come_of_a_line_stays(pair):
    inp, out, other = pair()
    inp.timeout = NOT_LONG
    other.send(b"half")
    with pytest.raises(TimeoutError):
        await inp.read_line()
    other.send(b" and half\n")
    inp.timeout = LONG
    assert await inp.read_line() == "half and half"
    close(inp, out)


async def test_a_line_that_comes_byte_by_byte_has_the_same_time_as_a_whole_one(pair):
    inp, out, other = pair()
    inp.timeout = 10 * NOT_LONG
    reader = thread(inp.read_line)
    while not await sync(reader, timeout=NOT_LONG):
        other.send(b"x")
    with pytest.raises(TimeoutError):
        await reader.join()
    close(inp, out)


async def waits(inp):
    while not inp.has_waiters():
        await sleep(0.001)


async def test_each_of_several_readers_has_its_own_time(pair):
    inp, out, other = pair()
    inp.timeout = LONG
    patient = thread(inp.read_line)
    await waits(inp)
    inp.timeout = NOT_LONG  # shorter than what the timer was armed for
    hasty = thread(inp.read_line)
    with pytest.raises(TimeoutError):
        await hasty.join()
    other.send(b"line\n")
    assert await patient.join() == "line"
    close(inp, out)


@pytest.mark.parametrize("read", ["read_line", "read_bytes_avail"])
async def test_a_shorter_timeout_holds_although_somebody_has_been_waiting_with_a_longer_one(pair, read):
    inp, out, _ = pair()
    inp.timeout = LONG
    patient = thread(inp.read_line)
    await waits(inp)
    inp.timeout = NOT_LONG
    await sleep(NOT_LONG)  # who looks after the timers has seen the change
    if read == "read_bytes_avail":
        patient.kill()
    hasty = thread(getattr(inp, read))
    assert await sync(hasty, timeout=60) is hasty
    with pytest.raises(TimeoutError):
        await hasty.join()
    close(inp, out)


async def test_a_second_timeout_follows_the_first(pair):
    inp, out, other = pair()
    inp.timeout = NOT_LONG
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await inp.read_bytes_avail()
    readers = [thread(inp.read_bytes_avail) for _ in range(3)]
    for reader in readers:
        with pytest.raises(TimeoutError):
            await reader.join()
    other.send(b"x")
    inp.timeout = LONG
    assert await inp.read_bytes_avail() == b"x"
    close(inp, out)


async def test_a_reader_that_is_killed_leaves_the_others_their_time(pair):
    inp, out, other = pair()
    inp.timeout = 5 * NOT_LONG
    first, second = thread(inp.read_bytes_avail), thread(inp.read_bytes_avail)
    await sleep(NOT_LONG)
    first.kill()
    with pytest.raises(TimeoutError):
        await second.join()
    other.send(b"x")
    inp.timeout = LONG
    assert await inp.read_bytes_avail() == b"x"
    close(inp, out)


async def test_a_reader_that_was_suspended_can_be_late_afterwards(pair):
    inp, out, _other = pair()
    inp.timeout = NOT_LONG
    reader = thread(inp.read_bytes_avail)
    reader.suspend()
    await sleep(5 * NOT_LONG)
    reader.resume()
    with pytest.raises(TimeoutError):
        await reader.join()
    close(inp, out)


async def test_events_have_no_timeout_but_that_of_their_sync(pair):
    inp, out, other = pair()
    inp.timeout = NOT_LONG
    reader = thread(sync, inp.read_line_evt(), receive_evt())
    await sleep(5 * NOT_LONG)
    other.send(b"line\n")
    assert await reader.join() == "line"
    assert await sync(inp.read_line_evt(), timeout=0) is None
    close(inp, out)


async def test_of_pipes_too():
    inp, out = pipe()
    inp.timeout = NOT_LONG
    with pytest.raises(TimeoutError):
        await inp.read_line()
    await out.write("line\n")
    assert await inp.read_line() == "line"


async def test_a_port_that_is_closed_disarms_its_timer(pair, runtime_timers):
    inp, out, _other = pair()
    inp.timeout = LONG
    reader = thread(inp.read_bytes_avail)
    await sleep(NOT_LONG)
    armed = runtime_timers()
    reader.kill()
    close(inp, out)
    assert runtime_timers() == armed - 1


async def test_a_port_that_is_forgotten_is_not_kept_by_its_timer():
    inp, out = pipe()
    inp.timeout = LONG
    reader = thread(inp.read_bytes_avail)
    await sleep(NOT_LONG)
    await out.write(b"x")
    assert await reader.join() == b"x"
    seen = weakref.ref(inp)
    del inp, out, reader
    for _ in range(50):
        gc.collect()
        if seen() is None:
            break
        await sleep(NOT_LONG)
    assert seen() is None


@pytest.fixture
def runtime_timers():
    """How many timers are armed in the present runtime."""
    from scheduler import here

    return lambda: len(here.driver.timers)


def test_in_an_os_thread_without_a_runtime():
    one, two = socket.socketpair()
    inp, out = socket_ports(one)
    inp.timeout = NOT_LONG
    for _ in range(2):
        with pytest.raises(TimeoutError):
            block_on(inp.read_bytes_avail())
    with pytest.raises(TimeoutError):
        block_on(inp.read_line())
    two.send(b"line\n")
    inp.timeout = LONG  # the one before may be over, on a busy machine, until the poller has told of it
    assert block_on(inp.read_line()) == "line"
    two.close()
    close(inp, out)


async def test_in_os_backed_threads_and_from_outside(pair):
    inp, out, _other = pair()
    inp.timeout = NOT_LONG

    def read():
        with pytest.raises(TimeoutError):
            block_on(inp.read_bytes_avail())
        return "late"

    assert await thread(read).join() == "late"
    seen = []
    outside = threading.Thread(target=lambda: seen.append(read()))
    outside.start()
    while outside.is_alive():
        await sleep(NOT_LONG)
    assert seen == ["late"]
    with pytest.raises(TimeoutError):
        await inp.read_bytes_avail()
    close(inp, out)


def test_writing_in_an_os_thread_without_a_runtime():
    one, two = socket.socketpair()
    inp, out = socket_ports(one)
    out.timeout = NOT_LONG
    with pytest.raises(TimeoutError):
        block_on(out.write(MUCH))
    with pytest.raises(TimeoutError):
        block_on(out.write(b"more"))
    with pytest.raises(TimeoutError):
        block_on(out.close())
    assert out.closed
    two.close()
    close(inp)
