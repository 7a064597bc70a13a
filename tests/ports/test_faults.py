"""What goes wrong on a network, and what must not go wrong with it."""

import errno
import gc
import os
import socket
import struct
import warnings
import weakref
from itertools import pairwise

import pytest

from rtsync import Break, Custodian, Semaphore, idle, receive_evt, run, sleep, sync, thread
from rtsync.ports import (
    EOF,
    OutputPort,
    PortClosed,
    pipe,
    socket_ports,
    tcp_connect,
    tcp_listen,
)
from rtsync.ports.output import LIMIT
from tests.collecting import collected

RESET = struct.pack("ii", 1, 0)  # closing does not say goodbye


def close(*ports):
    for port in ports:
        port.abort()


@pytest.fixture
def reset(connected):
    """``await reset()``: our two ports of a connection, and a function by which the other end resets it."""

    async def connect():
        with tcp_listen(0, "127.0.0.1") as listener:
            other = socket.create_connection(("127.0.0.1", listener.port))
            inp, out = await listener.accept()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return inp, out, other.close

    return connect


# -- resets ----------------------------------------------------------------------------------------


async def test_a_reset_wakes_who_reads_and_stays(reset):
    inp, out, break_off = await reset()
    reader = thread(inp.read_line)
    chosen = thread(sync, inp.read_bytes_evt(5), receive_evt())
    await sync(idle())
    break_off()
    for t in (reader, chosen):
        with pytest.raises(ConnectionResetError):
            await t.join()
    with pytest.raises(ConnectionResetError):
        await inp.read_bytes_avail()
    assert await sync(inp) is inp
    close(inp, out)


async def test_a_reset_wakes_who_writes(reset):
    inp, out, break_off = await reset()

    async def write():
        while True:
            await out.write(b"x" * 100_000)

    writer = thread(write)
    flusher = thread(out.flush)
    while not out.pending():
        await sleep(0.001)
    waiting = thread(sync, out.flush_evt(), receive_evt())
    await sync(idle())
    break_off()
    for t in (writer, waiting):
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await t.join()
    await flusher.wait()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await out.write("x")
    close(inp, out)


async def test_what_came_before_a_reset_can_be_read(connected):
    inp, out, theirs_in, theirs_out = await connected()
    await out.write("first\nsecond", flush=True)
    assert await theirs_in.read_line() == "first"
    borrowed = socket.socket(fileno=os.dup(inp._end.fd))
    borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    close(inp, out)
    borrowed.close()
    assert await theirs_in.read_bytes_avail() == b"second"
    with pytest.raises(ConnectionResetError):
        await theirs_in.read_line()
    close(theirs_in, theirs_out)


async def test_errors_that_several_threads_get_are_not_the_same_object(reset):
    inp, out, break_off = await reset()
    readers = [thread(inp.read_line) for _ in range(2)]
    await sync(idle())
    break_off()
    errors = []
    for t in readers:
        with pytest.raises(ConnectionResetError) as caught:
            await t.join()
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    close(inp, out)


async def test_closing_what_cannot_be_sent_any_more_says_so_to_who_waits_for_it(reset):
    inp, out, break_off = await reset()
    writer = thread(out.write, b"x" * 20_000_000)
    while not out.pending():
        await sleep(0.001)
    closing = out.close()
    break_off()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await closing
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await writer.join()
    assert out.closed
    close(inp)


# -- peers that never read -------------------------------------------------------------------------


async def test_who_never_reads_stops_writers_and_not_more(connected):
    inp, out, theirs_in, theirs_out = await connected()
    written = []

    async def write(letter):
        while True:
            await out.write(letter * 50_000)
            written.append(letter)

    writers = [thread(write, letter) for letter in (b"a", b"b", b"c")]
    while not out.pending() > LIMIT:
        await sleep(0.001)
    await sync(idle())
    assert out.pending() <= LIMIT + 50_000 * len(writers)
    for t in writers:
        t.kill()
    whole = len(written)
    closing = out.close()
    data = await theirs_in.read_all()
    await closing
    messages = [data[start : start + 50_000] for start in range(0, len(data), 50_000)]
    assert all(message in (b"a" * 50_000, b"b" * 50_000, b"c" * 50_000) for message in messages)
    assert whole <= len(messages) <= whole + len(writers)
    close(inp, theirs_in, theirs_out)


async def test_a_port_that_nobody_reads_from_can_be_aborted(connected):
    inp, out, theirs_in, theirs_out = await connected()
    writer = thread(out.write, b"x" * 20_000_000)
    while not out.pending():
        await sleep(0.001)
    closing = out.close()
    out.abort()
    with pytest.raises(PortClosed):
        await closing
    with pytest.raises(PortClosed):
        await writer.join()
    close(inp, theirs_in, theirs_out)


async def test_suspended_and_broken_writers_have_written_all_or_nothing(connected):
    inp, out, theirs_in, theirs_out = await connected()
    message = b"x" * 3_000_000

    async def write():
        await out.write(b"a" + message)
        try:
            await out.write(b"b" + message)
        except Break:
            return "broken"

    writer = thread(write)
    while not out.pending():
        await sleep(0.001)
    writer.suspend()
    writer.break_()
    writer.resume()
    reader = thread(theirs_in.read_all)
    await writer.wait()
    await out.close()
    assert await reader.join() in (b"", b"a" + message, b"a" + message + b"b" + message)
    close(inp, theirs_in, theirs_out)


# -- ports that others close -----------------------------------------------------------------------


async def test_a_third_thread_waits_while_another_closes(connected):
    inp, out, theirs_in, theirs_out = await connected()
    waiting = [
        thread(inp.read_line),
        thread(sync, inp.read_line_evt(), inp.eof_evt()),
        thread(out.write, b"x" * 20_000_000),
    ]
    while not out.pending():
        await sleep(0.001)
    waiting += [thread(out.write, b"y" * 100_000), thread(out.flush)]
    await sync(idle())
    await thread(close, inp, out).join()
    for t in waiting:
        with pytest.raises(PortClosed):
            await t.join()
    close(theirs_in, theirs_out)


@pytest.mark.rtsync(workers=2, runs=3)
async def test_closing_while_others_read_and_write_never_touches_another_connection():
    """A descriptor's number is given to the next one at once."""
    listener = tcp_listen(0, "127.0.0.1")
    stop = []

    async def bystander():
        with socket.socket() as sock:
            sock.connect(("127.0.0.1", listener.port))
            ours = socket_ports(sock)
        theirs = await listener.accept()
        for number in range(30):
            await ours[1].write(f"{number}\n", flush=True)
            assert await theirs[0].read_line() == str(number)
        close(*ours, *theirs)

    async def victim():
        while not stop:
            one, two = socket.socketpair()
            inp, out = socket_ports(one)
            readers = [thread(inp.read_bytes, 1), thread(out.write, b"x" * 1_000_000)]
            await sleep(0)
            close(inp, out)
            two.close()
            for t in readers:
                with pytest.raises((PortClosed, OSError)):
                    await t.join()

    victims = [thread(victim) for _ in range(2)]
    for _ in range(5):
        await bystander()
    stop.append(True)
    for t in victims:
        await t.join()
    listener.close()


# -- descriptors run out ---------------------------------------------------------------------------


def test_a_listener_without_descriptors_waits_and_recovers(script):
    done = script(
        """
        import logging, os, resource, socket
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        import rtsync as rt
        from rtsync.ports import tcp_connect, tcp_listen

        logging.basicConfig(format="%(name)s: %(message)s")

        async def main():
            listener = tcp_listen(0, "127.0.0.1")
            assert await rt.sync(listener, timeout=0.01) is None  # the poller has its descriptors
            clients = [socket.socket() for _ in range(10)]
            hoard = []
            try:
                while True:
                    hoard.append(os.dup(0))
            except OSError:
                pass
            for client in clients:
                client.connect(("127.0.0.1", listener.port))
            accepting = rt.thread(listener.accept)
            for _ in range(3):
                assert await rt.sync(accepting, listener, timeout=0.15) is None
            try:
                await tcp_connect("127.0.0.1", listener.port)
            except OSError as error:
                print("no connection either:", error.errno)
            while hoard:
                os.close(hoard.pop())
            for port in await accepting.join():
                port.abort()
            for _ in clients[1:]:
                for port in await listener.accept():
                    port.abort()
            for client in clients:
                client.close()
            ours = await tcp_connect("127.0.0.1", listener.port)
            theirs = await listener.accept()
            await ours[1].write("hi\\n", flush=True)
            print(await theirs[0].read_line())
            for port in (*ours, *theirs):
                port.abort()

        rt.run(main)
        """
    )
    assert done.stdout.splitlines() == [f"no connection either: {errno.EMFILE}", "hi"]
    assert done.stderr.count("connections have to wait") == 1
    assert "rtsync.ports: tcp listener 127.0.0.1" in done.stderr


# -- many connections ------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_one_busy_connection_among_a_thousand_idle_ones():
    listener = tcp_listen(0, "127.0.0.1", backlog=1024)
    ready = Semaphore()

    async def serve(inp, out):
        ready.post()
        while (line := await inp.read_line()) is not EOF:
            await out.write(line + "\n", flush=True)
        inp.close()
        await out.close()

    async def accept():
        while True:
            thread(serve, *await listener.accept())

    thread(accept)
    clients = []
    for _ in range(1000):
        clients.append(await tcp_connect("127.0.0.1", listener.port))
        await ready.wait()
    inp, out = clients[500]
    for number in range(500):
        await out.write(f"{number}\n", flush=True)
        assert await inp.read_line() == str(number)
    for pair in clients:
        close(*pair)
    listener.close()


@pytest.mark.rtsync(workers=2)
async def test_slow_clients_do_not_hold_up_a_quick_one():
    listener = tcp_listen(0, "127.0.0.1")
    stop, served = [], []

    async def serve(inp, out):
        line = await inp.read_line(limit=1000)
        if line is not EOF:
            served.append(line)
            await out.write(line, flush=True)
        inp.close()
        await out.close()

    async def accept():
        while True:
            thread(serve, *await listener.accept())

    async def slow():
        inp, out = await tcp_connect("127.0.0.1", listener.port)
        while not stop:
            await out.write("x", flush=True)
            await sleep(0.01)
        close(inp, out)

    thread(accept)
    slow_ones = [thread(slow) for _ in range(50)]
    for number in range(50):
        inp, out = await tcp_connect("127.0.0.1", listener.port)
        await out.write(f"{number}\n", flush=True)
        assert await inp.read_all() == str(number).encode()
        close(inp, out)
    assert served == [str(number) for number in range(50)]
    stop.append(True)
    for t in slow_ones:
        await t.join()
    listener.close()


@pytest.mark.rtsync(workers=2)
async def test_a_custodian_closes_hundreds_of_connections_while_threads_wait_at_them():
    await shut_down(300)


async def shut_down(many):
    listener = tcp_listen(0, "127.0.0.1", backlog=1024)
    custodian = Custodian()
    accepted = Semaphore()
    refused = Semaphore()
    outs = []

    async def serve():
        with custodian:
            inp, out = await listener.accept()
        outs.append(out)
        accepted.post()
        try:
            await inp.read_line()
        except PortClosed:
            refused.post()

    clients = []
    for _ in range(many):
        thread(serve)
        clients.append(await tcp_connect("127.0.0.1", listener.port))
        await accepted.wait()
    assert len(custodian.managed_list()) == 2 * many
    custodian.shutdown_all()
    assert custodian.managed_list() == []
    assert all(out.closed for out in outs)
    for inp, out in clients:
        assert await inp.read_all() == b""
        close(inp, out)
    for _ in range(many):
        await refused.wait()
    listener.close()


# -- threads that are stopped ----------------------------------------------------------------------


@pytest.mark.rtsync(workers=2, runs=3)
async def test_lines_are_neither_lost_nor_torn_by_kills_of_those_who_have_not_got_them(connected):
    inp, out, theirs_in, theirs_out = await connected()
    got = []

    async def read():
        line = await theirs_in.read_line()
        if line is not EOF:
            got.append(line)
        return line

    async def write():
        for number in range(300):
            await out.write(f"{number:05}", flush=True)
            await out.write(f"-{number:05}\n", flush=True)
        await out.close()

    writer = thread(write)
    killed = 0
    while True:
        victim, reader = thread(read), thread(read)
        await sleep(0)
        victim.kill()
        killed += 1
        if await reader.join() is EOF:
            break
    await writer.join()
    expected = [f"{number:05}-{number:05}" for number in range(300)]
    assert set(got) <= set(expected)
    assert len(got) == len(set(got))
    # A thread that was killed after it had been given a line has consumed that, as a whole.
    assert len(expected) - len(got) <= killed
    close(inp, theirs_in, theirs_out)


@pytest.mark.rtsync(workers=2, runs=3)
async def test_blocks_are_neither_torn_nor_turned_round_by_kills_of_the_only_reader(connected):
    inp, out, theirs_in, theirs_out = await connected()
    got = []
    ended = []

    async def read():
        while data := await theirs_in.read_bytes_avail():
            got.append(data)
        ended.append(True)

    async def write():
        for number in range(300):
            await out.write(b"%05d " % number, flush=True)
            await sleep(0)
        await out.close()

    writer = thread(write)
    killed = 0
    while not ended:
        reader = thread(read)
        await sleep(0)
        await sleep(0)
        reader.kill()
        await reader.wait()
        killed += 1
    await writer.join()
    numbers = [int(word) for word in b"".join(got).split()]
    assert all(len(data) % 6 == 0 for data in got)
    assert numbers == sorted(set(numbers))
    lost = sum(after - before > 1 for before, after in pairwise([-1, *numbers, 300]))
    assert lost <= killed  # each has consumed one block at the most that nobody saw
    close(inp, theirs_in, theirs_out)


async def test_a_killed_accept_or_connect_leaves_nothing_open():
    with tcp_listen(0, "127.0.0.1") as listener:
        for _ in range(10):
            t = thread(listener.accept)
            await sync(idle())
            t.kill()
            u = thread(tcp_connect, "127.0.0.1", listener.port)
            await sleep(0)
            u.kill()
            for done in (t, u):  # either may have been quicker
                if (ports := await done.wait()) is not None:
                    close(*ports)
        waiting = thread(listener.accept)
        ours = await tcp_connect("127.0.0.1", listener.port)
        while True:  # those of killed clients come first, and end at once
            theirs = await waiting.join()
            if theirs[0].name and await sync(theirs[0].eof_evt(), timeout=0.05) is None:
                break
            close(*theirs)
            waiting = thread(listener.accept)
        close(*ours, *theirs)


# -- what nobody refers to any more ----------------------------------------------------------------


def test_a_forgotten_port_is_closed_and_says_so():
    one, two = socket.socketpair()
    inp, out = socket_ports(one)
    ref = weakref.ref(inp)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del inp, out
        assert collected(lambda: ref() is None)
    assert [str(w.message) for w in caught] == ["unix was never closed"]
    assert two.recv(1) == b""
    two.close()


def test_a_forgotten_port_is_closed_also_if_a_runtime_watches_it():
    async def main():
        one, two = socket.socketpair()
        inp, out = socket_ports(one)
        assert await sync(inp.read_line_evt(), timeout=0.01) is None
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            del inp, out
            while True:
                gc.collect()
                two.setblocking(False)
                try:
                    assert two.recv(1) == b""
                    break
                except BlockingIOError:
                    await sleep(0.01)
        two.close()

    run(main, workers=1)


def test_a_thread_that_waits_at_a_pipe_nobody_can_write_to_is_collected():
    ended = []

    async def main():
        async def read():
            inp, _ = pipe()
            try:
                await inp.read_line()
            finally:
                ended.append(True)

        thread(read)
        await sync(idle())
        while not ended:
            gc.collect()
            await sleep(0.01)

    run(main, workers=1)


async def test_a_thread_that_waits_at_a_socket_is_not_garbage():
    one, two = socket.socketpair()
    got = []

    async def read(inp, out):
        got.append(await inp.read_line())
        close(inp, out)

    thread(read, *socket_ports(one))
    del one
    await sync(idle())
    gc.collect()
    two.sendall(b"x\n")
    while not got:
        await sleep(0.01)
    assert got == ["x"]
    two.close()


async def test_writing_what_is_neither_text_nor_bytes_is_refused_at_the_call(connected):
    inp, out, theirs_in, theirs_out = await connected()
    for call in (out.write, out.write_bytes_avail, out.write_evt, out.write_bytes_avail_evt):
        with pytest.raises(TypeError, match="data must be a string or bytes, got 5"):
            call(5)
    assert isinstance(out, OutputPort)
    close(inp, out, theirs_in, theirs_out)
