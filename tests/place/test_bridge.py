"""A bridge: what is put into a socket at one side comes out at the other. Both are in one event loop here."""

import asyncio
import gc
import os
import socket

import numpy
import pytest

from rtsync.place import bridge as bridges
from rtsync.place.bridge import CONTROL, ERR, IN, OUT, WINDOW, Bridge, Link, Sink, Source
from rtsync.place.channel import place_channel
from rtsync.place.message import pack, pack_own, unpack
from rtsync.place.packet import EMPTY, FULL, GONE, SENT, Fd, Pipe, receive, transmit
from shm import SharedBytes, SharedFxvector

from .conftest import wait_until


class Tunnel:
    """Two bridges, frames carried to and fro, and a control link with a socket of ours at each end."""

    def __init__(self, same_host):
        loop = asyncio.get_running_loop()
        self.near = Bridge(loop, near=True, same_host=same_host)
        self.far = Bridge(loop, near=False, same_host=same_host)
        self.here, mine = Pipe.pair()
        self.there, theirs = Pipe.pair()
        for sock in (self.here, self.there):
            sock.setblocking(False)
        Link(self.near, CONTROL, mine).listen()
        Link(self.far, CONTROL, theirs).listen()
        self.tasks = [
            asyncio.ensure_future(self._carry(self.near, self.far)),
            asyncio.ensure_future(self._carry(self.far, self.near)),
        ]

    async def _carry(self, source, target):
        while not source.closed:
            for frame in await source.frames(1):
                target.heard(frame)

    def close(self):
        for task in self.tasks:
            task.cancel()
        self.near.close()
        self.far.close()
        self.here.close()
        self.there.close()


def bridged(test, same_host=False):
    """Run an ``async`` function with a tunnel."""

    async def main():
        tunnel = Tunnel(same_host)
        try:
            await asyncio.wait_for(test(tunnel), 50)
        finally:
            tunnel.close()

    asyncio.run(main())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def put(sock, packet):
    while transmit(sock, packet) is not SENT:
        await asyncio.sleep(0.001)


async def get(sock):
    while (raw := receive(sock)) is EMPTY:
        await asyncio.sleep(0.001)
    return raw if raw is GONE else unpack(raw)


async def got(channel):
    """The next message of a place channel."""
    while (message := channel.try_get(EMPTY)) is EMPTY:
        await asyncio.sleep(0.001)
    return message


def test_messages_cross_both_ways_in_order():
    async def check(tunnel):
        for n in range(300):
            await put(tunnel.here, pack(n))
            await put(tunnel.there, pack((n, "back")))
        assert [await get(tunnel.there) for _ in range(300)] == list(range(300))
        assert [await get(tunnel.here) for _ in range(300)] == [(n, "back") for n in range(300)]

    bridged(check)


@pytest.mark.parametrize("same_host", [False, True])
def test_a_large_message_crosses(same_host):
    async def check(tunnel):
        a = numpy.arange(300_000.0)
        await put(tunnel.here, pack({"a": a, "b": [1, "x" * 100_000]}))
        message = await get(tunnel.there)
        assert (message["a"] == a).all()
        assert message["b"] == [1, "x" * 100_000]

    bridged(check, same_host)


def test_a_vector_stays_shared_on_one_host():
    async def check(tunnel):
        v = SharedFxvector([1, 2])
        await put(tunnel.here, pack(["v", v]))
        w = (await get(tunnel.there))[1]
        w[0] = 9
        assert v[0] == 9

    bridged(check, same_host=True)


@pytest.mark.parametrize("same_host", [False, True])
def test_a_vector_that_the_sender_drops_at_once_arrives(same_host):
    async def check(tunnel):
        await put(tunnel.here, pack(SharedBytes(b"abc")))
        assert await get(tunnel.there) == b"abc"

    bridged(check, same_host)


def test_a_vector_is_copied_to_another_host():
    async def check(tunnel):
        v = SharedFxvector([1, 2])
        await put(tunnel.here, pack(v))
        w = await get(tunnel.there)
        assert (type(w), w) == (SharedFxvector, [1, 2])
        w[0] = 9
        assert v[0] == 1

    bridged(check)


def test_an_end_that_is_sent_works_from_the_other_side():
    async def check(tunnel):
        one, other = place_channel()
        await put(tunnel.here, pack(other))
        number = other._end.ident
        del other
        arrived = await get(tunnel.there)
        assert arrived._end.ident == number
        arrived.put("from there")
        assert await got(one) == "from there"
        one.put("from here")
        assert await got(arrived) == "from here"

    bridged(check)


def test_an_end_whose_other_end_is_gone_hears_of_it_and_its_link_is_no_more():
    async def check(tunnel):
        one, other = place_channel()
        await put(tunnel.here, pack(other))
        del other
        one.put("last")
        del one
        arrived = await get(tunnel.there)
        assert await got(arrived) == "last"
        while arrived.try_get() is None and not arrived._end.gone:
            await asyncio.sleep(0.001)
        del arrived
        await until(lambda: len(tunnel.near.links) == len(tunnel.far.links) == 1)

    bridged(check)


def test_an_end_in_a_message_that_nobody_takes_is_closed():
    async def check(tunnel):
        one, other = place_channel()
        await put(tunnel.here, pack(other))
        del other
        await until(lambda: len(tunnel.far.links) == 2)
        tunnel.there.close()
        await until(lambda: one.try_get() is None and one._end.gone)

    bridged(check)


def test_the_other_side_hears_when_a_socket_is_closed():
    async def check(tunnel):
        await put(tunnel.here, pack("last"))
        tunnel.here.close()
        assert await get(tunnel.there) == "last"
        assert await get(tunnel.there) is GONE
        await until(lambda: not tunnel.near.links and not tunnel.far.links)

    bridged(check)


def test_what_nobody_takes_fills_the_senders_socket_in_the_end():
    async def check(tunnel):
        packet = pack("x" * 60_000)
        sent = full = 0
        while full < 100:  # it stays full
            if transmit(tunnel.here, packet) is FULL:
                full += 1
                await asyncio.sleep(0.001)
            else:
                sent += 1
                full = 0
                assert sent * 60_000 < WINDOW + (8 << 20)
        for _ in range(sent):
            assert len(await get(tunnel.there)) == 60_000
        await put(tunnel.here, pack("and on"))
        assert await get(tunnel.there) == "and on"

    bridged(check)


def test_a_message_larger_than_the_window_crosses():
    async def check(tunnel):
        data = os.urandom(WINDOW + 1)
        await put(tunnel.here, pack(data))
        await put(tunnel.here, pack("next"))
        assert await get(tunnel.there) == data
        assert await get(tunnel.there) == "next"

    bridged(check)


def test_what_cannot_cross_is_reported_and_the_rest_goes_on(capsys):
    async def check(tunnel):
        with socket.socket() as sock:
            await put(tunnel.here, pack(["a socket", sock]))
        await put(tunnel.here, pack("next"))
        assert await get(tunnel.there) == "next"

    bridged(check)
    assert "a message to another machine was lost: it holds a socket" in capsys.readouterr().err


def test_an_end_that_crosses_twice_is_one_end():
    async def check(tunnel):
        one, other = place_channel()
        packets = [pack([other]), pack([other])]
        del other
        while packets:
            await put(tunnel.here, packets.pop())
        for n in range(100):
            one.put(n)
        (first,) = await get(tunnel.there)
        (second,) = await get(tunnel.there)
        assert second == first
        assert [await got(second) for _ in range(100)] == list(range(100))

    bridged(check)


def test_an_output_stream_crosses_to_its_end():
    async def check(tunnel):
        read, write = os.pipe()
        Source(tunnel.far, OUT, read)
        end, mine = os.pipe()
        Sink(tunnel.near, OUT, mine)
        data = os.urandom(3_000_000)
        loop = asyncio.get_running_loop()

        def speak():
            view = memoryview(data)
            while view:
                view = view[os.write(write, view) :]
            os.close(write)

        def hear():
            heard = b""
            while part := os.read(end, 1 << 16):
                heard += part
            os.close(end)
            return heard

        speaking = loop.run_in_executor(None, speak)
        assert await loop.run_in_executor(None, hear) == data
        await speaking
        await until(lambda: OUT not in tunnel.near.links and OUT not in tunnel.far.links)

    bridged(check)


def test_what_a_stream_was_given_is_written_when_it_counts_as_drained():
    async def check(tunnel):
        read, write = os.pipe()
        sink = Sink(tunnel.near, ERR, write)
        drained = asyncio.Event()
        sink.put(b"abc")
        sink.when_drained(drained.set)
        await drained.wait()
        assert os.read(read, 10) == b"abc"
        drained.clear()
        sink.end()
        sink.when_drained(drained.set)
        await drained.wait()
        assert os.read(read, 10) == b""
        os.close(read)
        drained.clear()
        sink.when_drained(drained.set)
        assert drained.is_set()

    bridged(check)


def test_a_stream_that_nobody_reads_is_swallowed():
    async def check(tunnel):
        read, write = os.pipe()
        os.close(read)
        sink = Sink(tunnel.near, OUT, write)
        drained = asyncio.Event()
        sink.put(b"abc" * 100_000)
        sink.when_drained(drained.set)
        await drained.wait()

    bridged(check)


def test_standard_input_crosses_with_the_order():
    async def check(tunnel):
        read, write = os.pipe()
        await put(tunnel.here, pack_own({"stdin": Fd(read)}))
        os.write(write, b"line\n")
        order = await get(tunnel.there)
        fd = order["stdin"].take()
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, os.read, fd, 100) == b"line\n"
        os.close(write)
        assert await loop.run_in_executor(None, os.read, fd, 100) == b""
        os.close(fd)
        await until(lambda: IN not in tunnel.near.links and IN not in tunnel.far.links)

    bridged(check)


@pytest.mark.parametrize("same_host", [False, True])
def test_a_closed_bridge_holds_no_descriptors(same_host):
    async def check(tunnel):
        one, other = place_channel()
        await put(tunnel.here, pack([SharedBytes(10), other, "x" * 100_000]))
        await get(tunnel.there)
        del one, other

    bridged(check, same_host)  # creates what is created once
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    bridged(check, same_host)
    # What other tests have left may go meanwhile.
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_a_report_needs_no_standard_error(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    bridges.report("something")
