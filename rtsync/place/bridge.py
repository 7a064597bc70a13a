"""A place on another machine: how what goes through its sockets gets there and back.

To the rest of this package a place is some sockets, and two descriptors that it writes to. When it is
elsewhere, there is a `Bridge` at either side, with the same *links*, one for each socket or stream; what is
read from a link at one side becomes a *frame*, and is written to the link of the same number at the other.
How frames get across is the location's affair: it takes them by `frames` and gives them to `heard`, in order.

A frame is a tuple of plain values:

    ("packet", link, packed)    a message; attached ends of channels are new links, named in it
    ("bytes", link, data)       of a stream
    ("taken", link)             the oldest packet or bytes of the link have been written
    ("end", link)               nobody holds what the link leads to any more
    other                       for the location

**What is in memory here is bounded.** A link reads no more than `WINDOW` bytes ahead of what the other side
has written to a socket there (``taken``). So a receiver that is slow fills its socket, then the window, then
the sender's socket, and then the sender sees its queue grow (`PlaceChannel.queued`).

**Shared memory.** If both sides are on one host and can `shm.attach` by name, segments cross by name, and
stay shared; the reading side keeps them until ``taken`` says that the other has them. Else their contents are
copied, and the vectors at the two sides have nothing to do with each other from then on.

**Ends of channels.** An end that is sent across is taken over by the bridge: from then on what arrives at it
is read by the bridge and belongs to whoever has the end at the other side, although the sender may still hold
it. (On one machine both would compete for each message.) Sockets and files do not cross.

Everything here runs in one asyncio event loop, but for the OS threads that do the reading and writing of
files and terminals, which a loop cannot wait for.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

from shm import Segment, attach

from . import channel as channels
from .packet import EMPTY, FULL, GONE, LATER, Attachment, Fd, Packet, Pipe, receive, receive_shared, transmit

WINDOW: Final = 4 << 20
BATCH: Final = 8 << 20
"""Bytes that go across at once."""

CONTROL, OUT, ERR, IN = range(4)
"""The numbers of the links that every bridge has."""

_FIRST_FREE: Final = 10
_CHUNK: Final = 1 << 16
_TURN: Final = 32  # packets that a link reads before others have their turn
_AGAIN: Final = 0.05  # seconds until what the system had no room for is tried again
_COST: Final = 256  # of a packet in the window, beside its bytes

Frame = tuple[Any, ...]


class Unsendable(Exception):
    """A message holds what cannot go to another machine."""


class Bridge:
    """One side. All methods in the event loop ``loop``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, near: bool, same_host: bool) -> None:
        """``near`` is the creator's side."""
        self.loop = loop
        self.same_host = same_host
        self.links: dict[int, Any] = {}
        self.closed = False
        self._near = near
        self._next = _FIRST_FREE + near  # the two sides number new links differently
        self._frames: deque[tuple[int, Frame]] = deque()
        self._wake = asyncio.Event()
        self._hearing: dict[Any, Link] = {}  # which link reads an end that has crossed

    # -- what goes across ------------------------------------------------------------------------

    def say(self, *frame: Any, nbytes: int = 0) -> None:
        """Have ``frame`` go to the other side."""
        self._frames.append((nbytes, frame))
        self._wake.set()

    async def frames(self, patience: float) -> list[Frame]:
        """The next frames for the other side; none if there are none within ``patience`` seconds."""
        if not self._frames and not self.closed:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), patience)
            except TimeoutError:
                return []
        batch: list[Frame] = []
        room = BATCH
        while self._frames and room > 0:
            nbytes, frame = self._frames.popleft()
            batch.append(frame)
            room -= nbytes
        return batch

    def heard(self, frame: Frame) -> None:
        """``frame`` has come from the other side; it is not the location's."""
        kind, number, *rest = frame
        link = self.links.get(number)
        if kind == "packet":
            self._packet(link, number, rest[0])
        elif link is None:
            if kind == "bytes":
                self.say("taken", number)
        elif kind == "bytes":
            link.put(rest[0])
        elif kind == "taken":
            link.taken()
        else:
            link.end()

    def _packet(self, link: Any, number: int, packed: Any) -> None:
        try:
            packet = self.arriving(packed)
        except OSError as error:
            report(f"a message from another machine was lost, as it could not be received: {error}")
            packet = None
        if link is None or packet is None:
            # Dropping it closes what is attached to it, which the links made for that will see.
            self.say("taken", number)
        else:
            link.put(packet)

    def close(self) -> None:
        """The other side is no more, or need be no more."""
        self.closed = True
        self._wake.set()
        for link in list(self.links.values()):
            link.close()
        self.links.clear()

    def gone(self, link: Any) -> None:
        """``link`` is closed and nothing of it is on its way."""
        self.links.pop(link.number, None)
        ident = getattr(link, "ident", None)
        if ident is not None and self._hearing.get(ident) is link:
            del self._hearing[ident]
            for other in self.links.values():
                if getattr(other, "ident", None) == ident:
                    self._hearing[ident] = other
                    other.listen()
                    break

    # -- packets ---------------------------------------------------------------------------------

    def departing(self, packet: Packet | bytes) -> Any:
        """``packet`` as plain values. `Unsendable`."""
        if isinstance(packet, bytes):
            return packet
        allowed = ("segment", "channel", "descriptor") if self._near else ("segment", "channel")
        for attachment in packet.attachments:
            if attachment.kind not in allowed:
                raise Unsendable(attachment.kind)
        attached = [self._attachment_out(attachment) for attachment in packet.attachments]
        return self._memory_out(packet._body), packet.lengths, packet.own_ways, attached

    def arriving(self, packed: Any) -> Packet | bytes:
        """What `departing` gave at the other side. ``OSError`` if there is no room for it."""
        if isinstance(packed, bytes):
            return packed
        body, lengths, own_ways, attached = packed
        packet = Packet.__new__(Packet)
        packet.lengths = lengths
        packet.own_ways = own_ways
        packet.attachments = [self._attachment_in(*one) for one in attached]
        packet._body = self._memory_in(body)
        return packet

    def _memory_out(self, body: bytes | Segment) -> Any:
        if isinstance(body, bytes):
            return body
        return ("name", body.name) if self.same_host else ("copy", bytes(body.view()))

    def _memory_in(self, packed: Any) -> bytes | Segment:
        if isinstance(packed, bytes):
            return packed
        how, what = packed
        return attach(what) if how == "name" else Segment.copy_of(what)

    def _attachment_out(self, attachment: Attachment) -> tuple[str, Any, Any]:
        kind, info, holder = attachment.kind, attachment.info, attachment.holder
        if kind == "segment":
            segment = attachment.holder = Segment.from_fd(_fd(holder))
            return kind, info, self._memory_out(segment)
        if kind == "channel":
            ident, side, _, bulk = info
            sibling = channels._held.get((ident, 1 - side))
            if sibling is not None:
                sibling.remote = True  # what is put there goes to another machine now
            number = self._new_link(_fd(holder), (ident, side), bulk).number
            return kind, (ident, side, True, False), number
        read, write = os.pipe()
        Source(self, IN, read)
        Thread(target=_pump, args=(holder, write), name="place-pump", daemon=True).start()
        return kind, info, IN

    def _attachment_in(self, kind: str, info: Any, packed: Any) -> Attachment:
        if kind == "segment":
            memory = self._memory_in(packed)
            return Attachment(kind, info, memory if isinstance(memory, Segment) else Segment.copy_of(memory))
        if kind == "channel":
            ours, theirs = Pipe.pair()
            Link(self, packed, ours).listen()
            return Attachment(kind, info, Fd(theirs.detach()))
        read, write = os.pipe()
        Sink(self, packed, write)
        return Attachment(kind, info, Fd(read))

    def _new_link(self, fd: int, ident: Any, bulk: bool) -> Link:
        number, self._next = self._next, self._next + 2
        link = Link(self, number, Pipe(fd), ident, receive_shared if bulk else receive)
        # An end that crosses twice arrives in the same process, which keeps one of the two: that which reads.
        if self._hearing.setdefault(ident, link) is link:
            link.listen()
        return link


def _fd(holder: Any) -> int:
    """The holder's descriptor, or a copy of it if the holder goes on to need it."""
    return holder.take() if isinstance(holder, Fd) else os.dup(holder.fileno())


class _Reader:
    """The reading half of a link: the window, and what is on its way."""

    def __init__(self, bridge: Bridge, number: int, fd: int) -> None:
        self.bridge = bridge
        self.number = number
        self.fd = fd
        self._credit = WINDOW
        self._sent: deque[tuple[int, Any]] = deque()
        self._listening = False
        self._over = False
        bridge.links[number] = self

    def listen(self) -> None:
        """Begin to read, or go on."""
        if not self._listening and not self._over:
            self._listening = True
            self.bridge.loop.add_reader(self.fd, self._readable)

    def _pause(self) -> None:
        if self._listening:
            self._listening = False
            self.bridge.loop.remove_reader(self.fd)

    def _readable(self) -> None:
        raise NotImplementedError

    def read_one(self) -> bool:
        """Read what there is, of a size, and send it across; whether there was any."""
        raise NotImplementedError

    def _say(self, kind: str, packed: Any, nbytes: int, held: Any) -> None:
        """``held`` is kept until the other side has it."""
        cost = nbytes + _COST
        self._credit -= cost
        self._sent.append((cost, held))
        self.bridge.say(kind, self.number, packed, nbytes=nbytes)

    def taken(self) -> None:
        """The other side has written the oldest that we have sent."""
        cost, _ = self._sent.popleft()
        was_full = self._credit <= 0
        self._credit += cost
        if self._over:
            if not self._sent:
                self.bridge.gone(self)
        elif was_full and self._credit > 0:
            self.listen()

    def _finish(self) -> None:
        """Nothing more is read."""
        self._pause()
        self._over = True
        if not self._sent:
            self.bridge.gone(self)


class Link(_Reader):
    """A socket of messages, which belongs to the link."""

    def __init__(
        self,
        bridge: Bridge,
        number: int,
        sock: Pipe,
        ident: Any = None,
        receive: Callable[[Pipe], Any] = receive,
    ) -> None:
        sock.setblocking(False)
        super().__init__(bridge, number, sock.fileno())
        self.ident = ident
        self._sock = sock
        self._receive = receive
        self._outgoing: deque[Packet | bytes] = deque()
        self._writing = False
        self._ending = False
        self.drained: Callable[[], object] | None = None
        """Called once, when all that came has been written."""

    # -- from here to the other side --

    def _readable(self) -> None:
        for _ in range(_TURN):
            if self._credit <= 0:
                self._pause()
                return
            if not self.read_one():
                return

    def read_one(self) -> bool:
        """Read a message and send it across; whether there was one."""
        if self._over:
            return False
        try:
            raw = self._receive(self._sock)
        except OSError as error:
            report(f"a message to another machine was lost: {error}")
            return True
        if raw is EMPTY:
            return False
        if raw is GONE:
            self.bridge.say("end", self.number)
            self.close()
            return False
        self.forward(raw)
        return True

    def forward(self, raw: Packet | bytes) -> None:
        """Send one message across."""
        try:
            packed = self.bridge.departing(raw)
        except Unsendable as kind:
            report(f"a message to another machine was lost: it holds a {kind}")
            return
        self._say("packet", packed, len(raw) if isinstance(raw, bytes) else raw.nbytes, raw)

    # -- from the other side to here --

    def put(self, packet: Packet | bytes) -> None:
        """Write a message that came."""
        self._outgoing.append(packet)
        if len(self._outgoing) == 1:
            self._flush()

    def _flush(self) -> None:
        outgoing = self._outgoing
        while outgoing:
            result: Any = GONE
            if not self._over:
                try:
                    result = transmit(self._sock, outgoing[0])
                except OSError:  # shared memory is full
                    result = LATER
            if result is FULL:
                if not self._writing:
                    self._writing = True
                    self.bridge.loop.add_writer(self.fd, self._flush)
                return
            if result is LATER:
                self.bridge.loop.call_later(_AGAIN, self._flush)
                return
            outgoing.popleft()
            self.bridge.say("taken", self.number)
        self._stop_writing()
        if self.drained is not None:
            drained, self.drained = self.drained, None
            drained()
        if self._ending:
            self.close()

    def when_drained(self, call: Callable[[], object]) -> None:
        """Call ``call()`` when all that has come so far is written."""
        if self._outgoing:
            self.drained = call
        else:
            call()

    def end(self) -> None:
        """Nobody at the other side reads or writes this any more."""
        self._ending = True
        if not self._outgoing:
            self.close()

    def close(self) -> None:
        """Close the socket; what came and is not written is lost."""
        if self._over:
            return
        self._stop_writing()
        self._finish()
        self._sock.close()
        self._flush()

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self.bridge.loop.remove_writer(self.fd)


class Source(_Reader):
    """The reading end of a pipe."""

    def __init__(self, bridge: Bridge, number: int, fd: int) -> None:
        os.set_blocking(fd, False)
        super().__init__(bridge, number, fd)
        self.listen()

    def _readable(self) -> None:
        if self._credit <= 0:
            self._pause()
        else:
            self.read_one()

    def read_one(self) -> bool:
        """Read some and send it across; whether there was any."""
        if self._over:
            return False
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.bridge.say("end", self.number)
            self.close()
            return False
        self._say("bytes", data, len(data), None)
        return True

    def end(self) -> None:
        """Nobody reads it at the other side."""
        self.close()

    def close(self) -> None:
        """Close the pipe."""
        if not self._over:
            self._finish()
            os.close(self.fd)


class Sink:
    """A descriptor that is written to, by an OS thread of its own: it may be a file or a terminal."""

    def __init__(self, bridge: Bridge, number: int, fd: int) -> None:
        """``fd`` belongs to the sink from now on."""
        self.number = number
        self._bridge = bridge
        self._queue: SimpleQueue[bytes | Callable[[], object] | None] = SimpleQueue()
        self._ended = False
        self._closed = False
        self._drained: list[Callable[[], object]] = []
        bridge.links[number] = self
        Thread(target=self._main, args=(fd,), name="place-pump", daemon=True).start()

    def put(self, data: bytes) -> None:
        """Write what came."""
        self._queue.put(data)

    def when_drained(self, call: Callable[[], object]) -> None:
        """Call ``call()``, in the event loop, when all that has come so far is written."""
        if self._closed:
            call()
        elif self._ended:
            self._drained.append(call)
        else:
            self._queue.put(call)

    def end(self) -> None:
        """No more will come."""
        self.close()

    def close(self) -> None:
        """Close the descriptor when all that has come is written."""
        if not self._ended:
            self._ended = True
            self._queue.put(None)

    def _has_closed(self) -> None:
        self._closed = True
        self._bridge.gone(self)
        for call in self._drained:
            call()

    def _main(self, fd: int) -> None:
        wanted = True
        while (item := self._queue.get()) is not None:
            if not isinstance(item, bytes):
                in_loop(self._bridge.loop, item)
                continue
            view = memoryview(item)
            while view and wanted:
                try:
                    view = view[os.write(fd, view) :]
                except BlockingIOError:  # somebody has made the stream non-blocking, for all who share it
                    _wait_writable(fd)
                except OSError:  # nobody reads it
                    wanted = False
            in_loop(self._bridge.loop, self._bridge.say, "taken", self.number)
        os.close(fd)
        in_loop(self._bridge.loop, self._has_closed)


def _wait_writable(fd: int) -> None:
    import select  # rarely needed

    room = select.poll()
    room.register(fd, select.POLLOUT)
    room.poll()


def _pump(source: Any, write: int) -> None:
    """From a stream of the creator's, whatever it is, to a pipe."""
    try:
        while data := os.read(source.fileno(), _CHUNK):
            view = memoryview(data)
            while view:
                view = view[os.write(write, view) :]
    except OSError:  # it is read no more
        pass
    finally:
        os.close(write)


def in_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: Any) -> None:
    """Have ``call(*args)`` made in ``loop``, from another OS thread; not if the loop has ended."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        pass


def report(text: str) -> None:
    """Tell the user what nobody else can be told."""
    try:
        sys.stderr.write(f"rtsync.place: {text}\n")
    except (AttributeError, OSError, ValueError):
        pass
