"""Packets: a message on its way from one process to another, and how it crosses a socket.

A packet is a pickle and what cannot be pickled: large buffers, beside the pickle so that they are copied once
(pickle protocol 5), and *attachments*, things that are known to the kernel by a descriptor (an end of a
channel, a socket, a file, shared memory). The message layer makes packets of values and values of packets;
this file moves them, and knows nothing of what they mean. Neither needs the other to be a Unix socket: a
place that is elsewhere gets the same pickles, buffers and attachments by other means
(`rtsync.place.location`).

On one machine a channel is a pair of connected sockets of the kind SEQPACKET, which keep the boundaries of
messages, so that several processes may hold the same end. A packet is one message on it:

* a pickle of up to `INLINE` bytes without anything beside it goes as it is (it begins with 0x80), and so does
  a single plain value, marshalled, which takes a fraction of the time (it begins with a letter);
* otherwise a head says how long the pickle and the buffers are and what is attached. If all that is longer
  than `INLINE` it goes into a segment of shared memory, and only its descriptor through the socket.

**Batches.** Messages of the first kind that have to wait for room may do so together, in a `Bundle`, and
cross in one message of the socket, a `Batch`: that saves both sides most of their system calls, and plain
values are marshalled all at once. A batch stays in the socket until the last of its messages has been taken,
so batches change nothing about what whoever comes to hold the end finds there. A *mark* is sent before each
one, so that who is alone in reading takes everything else in one call, and looks before it takes only after a
mark. How far it has got in a batch it remembers by itself. Processes that share an end take turns by a lock
on its socket, which the kernel lets go when its holder ends, and the count of what they have taken is in a
file of the sender's that comes with the batch (its *cursor*).

A packet owns its contents: what the program does to its arrays after the put changes nothing. Descriptors
travel with the message (``SCM_RIGHTS``); those of a message that nobody receives are closed by the kernel.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import socket
import time
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, Protocol

from shm import Segment

from . import lending

INLINE: Final = 1 << 16
"""Bytes up to which a message goes through the socket; longer ones through shared memory."""

MARSHAL: Final = 2
"""The version for plain values: without references, which take long to look for and mark the first byte."""

BUNDLE: Final = 1 << 16
"""Bytes of a bundle, unless it is a single message."""

MOST_ATTACHED: Final = 250
"""Attachments of one message; the kernel takes 253 descriptors with one."""

_LONGEST: Final = INLINE + (1 << 15)  # with its head, the longest message on a socket
_ROOM: Final = socket.CMSG_SPACE(array("i").itemsize * (MOST_ATTACHED + 3))
_ALIGNED: Final = 64  # buffers begin at multiples of this
_HEAD: Final = 0x01  # the first byte of a packet that has a head
_MARK: Final = 0x03
_BATCH: Final = 0x04

SEND_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_BUSY: Final = {errno.EAGAIN, errno.EWOULDBLOCK}
_LATER: Final = {
    errno.ETOOMANYREFS,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOSPC,  # the shared memory is full
}
_GONE: Final = {errno.EPIPE, errno.ENOTCONN, errno.ECONNREFUSED}

_CURSOR: Final = Struct("<II")  # the number of a batch, and how many of its packets have been taken
CURSOR_SIZE: Final = _CURSOR.size
_ONE: Final = socket.CMSG_SPACE(array("i").itemsize)

_LONGEST_META: Final = 1 << 14  # bytes that a head may say
_FAR_HEAD: Final = 0x02  # of one that says more: that is in shared memory, the last thing attached


class Holder(Protocol):
    """Whoever keeps a descriptor open."""

    def fileno(self) -> int:
        """The descriptor."""


class Fd:
    """A descriptor that is closed with its last reference, unless somebody takes it."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def take(self) -> int:
        """The descriptor, which is the caller's from now on."""
        fd, self._fd = self._fd, -1
        return fd

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Pipe(socket.socket):
    """A connected socket that keeps the boundaries of messages. Whoever has it closes it: it does not do so
    by itself, for a garbage collection may finalize it before its owner, who has to tell a poller first."""

    __slots__ = ()

    def __init__(self, fd: int) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)

    @classmethod
    def pair(cls) -> tuple[Pipe, Pipe]:
        """Two that are connected."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one.detach()), cls(other.detach())

    def __del__(self) -> None:
        pass


class Attachment:
    """Something that travels beside the pickle: what it is, what must be known of it, who holds its
    descriptor."""

    __slots__ = ("holder", "info", "kind")

    def __init__(self, kind: str, info: Any, holder: Holder) -> None:
        """``info`` must be marshallable."""
        self.kind = kind
        self.info = info
        self.holder = holder


class Packet:
    """A message on its way. Made by `Packet.of` or by `receive`."""

    __slots__ = ("_body", "attachments", "lengths", "own_ways")

    _body: bytes | Segment
    attachments: Sequence[Attachment]
    lengths: tuple[int, ...]
    """How long each buffer is, and last the pickle."""
    own_ways: bool
    """Whether it takes the message layer's own unpickler to read it."""

    @classmethod
    def of(
        cls,
        stream: bytes | Sequence[bytes],
        buffers: Sequence[memoryview] = (),
        attachments: Sequence[Attachment] = (),
        *,
        own_ways: bool = False,
        private: bool = False,
    ) -> Packet:
        """A packet with copies of the pickle ``stream``, which may come in pieces, and of the buffers; in
        memory of this process if ``private`` (it will wait for long, and shared memory costs a descriptor).
        ``OSError`` when there is no room for it."""
        self = cls.__new__(cls)
        self.attachments = attachments
        self.own_ways = own_ways
        pieces = [stream] if isinstance(stream, bytes) else stream
        pickled = sum(map(len, pieces))
        self.lengths = (*(buffer.nbytes for buffer in buffers), pickled)
        blocks: list[memoryview] = []
        body: bytes | Segment
        if not buffers:
            if private or pickled <= INLINE:
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            else:
                body = lending.written([memoryview(piece) for piece in pieces], pickled)
        else:
            total = 0
            for buffer in buffers:
                blocks.append(buffer)
                total += buffer.nbytes
                if rest := -total % _ALIGNED:
                    blocks.append(memoryview(bytes(rest)))
                    total += rest
            blocks += [memoryview(piece) for piece in pieces]
            total += pickled
            body = b"".join(blocks) if private or total <= INLINE else lending.written(blocks, total)
        self._body = body
        return self

    def __reduce__(self) -> Any:
        attached = [(a.kind, a.info, Fd(os.dup(a.holder.fileno()))) for a in self.attachments]
        return _remade, (self._body, self.lengths, self.own_ways, attached)

    @property
    def nbytes(self) -> int:
        """The size of its contents, in bytes."""
        return sum(self.lengths)

    @property
    def is_large(self) -> bool:
        """Whether its contents are in shared memory."""
        return isinstance(self._body, Segment)

    def parts(self) -> tuple[memoryview, list[memoryview]]:
        """The pickle and the buffers."""
        body = self._body
        if isinstance(body, Segment):
            view = body.view()
        else:
            # Arrays are to be as writable as they were.
            view = memoryview(bytearray(body) if len(self.lengths) > 1 else body)
        buffers, start = [], 0
        for length in self.lengths[:-1]:
            buffers.append(view[start : start + length])
            start += length + -length % _ALIGNED
        return view[start : start + self.lengths[-1]], buffers

    def wire(self) -> tuple[list[bytes | memoryview], list[Holder]]:
        """What goes through a socket, and the descriptors beside it. ``OSError`` if there is no room now."""
        body = self._body
        if not isinstance(body, Segment) and len(body) > INLINE:
            body = self._body = lending.written([memoryview(body)], len(body))
        holders: list[Holder] = [attachment.holder for attachment in self.attachments]
        shared = isinstance(body, Segment)
        if shared:
            holders.append(body)  # type: ignore[arg-type]
        elif not holders and len(self.lengths) == 1 and not self.own_ways:
            return [body], holders  # type: ignore[list-item]
        kinds = [(attachment.kind, attachment.info) for attachment in self.attachments]
        meta = marshal.dumps((self.lengths, kinds, shared, self.own_ways))
        size = len(meta).to_bytes(4, "little")
        if len(meta) <= _LONGEST_META:
            head = bytes((_HEAD,)) + size + meta
        else:  # there are very many buffers, or much is known of what is attached
            head = bytes((_FAR_HEAD,)) + size
            holders.append(lending.written([memoryview(meta)], len(meta)))
        return ([head] if shared else [head, body]), holders  # type: ignore[list-item]


def _send(sock: socket.socket, parts: Sequence[Any], holders: Sequence[Holder]) -> None:
    if holders:
        fds = array("i", [holder.fileno() for holder in holders])
        sock.sendmsg(parts, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)], SEND_FLAGS)
    elif len(parts) == 1:
        sock.send(parts[0], SEND_FLAGS)
    else:
        sock.sendmsg(parts, (), SEND_FLAGS)


def _remade(
    body: bytes | Segment, lengths: tuple[int, ...], own_ways: bool, attached: list[tuple[str, Any, Fd]]
) -> Packet:
    """A packet that was itself sent in one."""
    packet = Packet.__new__(Packet)
    packet._body = body
    packet.lengths = lengths
    packet.own_ways = own_ways
    packet.attachments = [Attachment(*one) for one in attached]
    return packet


class Bundle:
    """Small messages that wait for room together: plain values as they are, bare packets each in a tuple of
    its own (no plain value is a tuple)."""

    __slots__ = ("_marshalled", "count", "cursor", "items", "number", "room")

    def __init__(self, item: Any, size: int) -> None:
        """With the first one, of ``size`` bytes."""
        self.items = [item]
        self.room = BUNDLE - size
        """Bytes for more."""
        self.count = 0
        """How many, when it is closed."""
        self.number = 0
        """Tells its batch from others of the same sender. Set, with ``cursor``, before it is sent."""
        self.cursor: Holder | None = None
        self._marshalled = b""

    def close(self) -> None:
        """Nothing more is added. By who has added, if possible: the values are mostly its own, and for
        another OS thread it costs more to let go of them."""
        if not self.count:
            self._marshalled = marshal.dumps(self.items, MARSHAL)  # if it fails, it is still to be closed
            self.count = len(self.items)
            self.items = []

    def packets(self) -> list[bytes]:
        """The messages, each for itself. Closed."""
        return [packed(item) for item in marshal.loads(self._marshalled)]

    @property
    def nbytes(self) -> int:
        """The size of its contents, in bytes."""
        return BUNDLE - self.room

    def wire(self) -> tuple[list[bytes], list[Holder]]:
        """What goes through a socket, and the descriptors beside it. Closed."""
        assert self.cursor is not None
        head = bytes((_BATCH,)) + self.number.to_bytes(4, "little")
        return [head, self._marshalled], [self.cursor]


class Batch:
    """What has come of a bundle."""

    __slots__ = ("count", "items", "number")

    def __init__(self, number: int, items: list[Any]) -> None:
        """``items`` are as in the bundle; ``number`` is not 0."""
        self.number = number
        self.items = items
        self.count = len(items)


def packed(item: Any) -> bytes:
    """What is in a bundle or a batch, as a packet of its own."""
    return item[0] if type(item) is tuple else marshal.dumps(item, MARSHAL)


class FULL:
    """The socket has no room now and will report when it has."""


class LATER:
    """The system has no room now (descriptors, memory) and will not report when it has."""


class SENT:
    """It is on its way."""


class GONE:
    """Nobody holds the other end any more."""


MARK: Final = bytes((_MARK,))
"""What is sent before a batch."""


def transmit(sock: socket.socket, packet: Packet | Bundle | bytes) -> Any:
    """Send ``packet`` (a bare pickle is ``bytes``) without waiting: `SENT`, `FULL`, `LATER` or `GONE`."""
    while True:
        try:
            if type(packet) is bytes:
                sock.send(packet, SEND_FLAGS)
            else:
                _send(sock, *packet.wire())  # type: ignore[union-attr]
        except OSError as error:
            number = error.errno
            if number in _BUSY:
                return FULL
            if number in _GONE:
                return GONE
            if number == errno.ECONNRESET:  # told once; the next attempt says what is the case now
                continue
            if number in _LATER:
                return LATER
            raise
        return SENT


class EMPTY:
    """There is no message now."""


class MARKED:
    """There was a mark; a batch follows, perhaps after other messages, or after a while."""


def receive(sock: socket.socket) -> Any:
    """The next message, without waiting: a bare pickle as ``bytes``, or a `Packet`; `MARKED`; else `EMPTY` or
    `GONE`. Not for who has been told of a batch, or shares the end: those must not take one off."""
    while True:
        try:
            data, ancillary, flags, _ = sock.recvmsg(_LONGEST, _ROOM)
        except BlockingIOError:
            return EMPTY
        except OSError as error:
            # The other end was closed with messages of ours unread. What it sent before is still to be had.
            if error.errno == errno.ECONNRESET:
                continue
            raise
        if not data:
            return GONE
        kind = data[0]
        if kind > _BATCH:
            return data
        if kind == _MARK:
            return MARKED
        if kind == _BATCH:
            raise RuntimeError("place channel: a batch without a mark before it")
        return _open(data, _holders(ancillary), flags)


def receive_marked(sock: socket.socket) -> Any:
    """`receive` after a mark: it may also be a `Batch`, which stays in the socket until `discard`."""
    data = _seen(sock)[0]
    if data is EMPTY or data is GONE or data[0] != _BATCH:
        return receive(sock) if type(data) is bytes else data
    return _batch(data)


def receive_shared(sock: socket.socket) -> Any:
    """`receive` where other processes may read too: one packet, out of a batch if there is one. Waits for
    those who read now. ``OSError`` if there is no room for a descriptor; nothing has been taken then."""
    # The kernel suspects a deadlock where another OS thread of a process waits: then once more.
    while True:
        try:
            fcntl.lockf(sock, fcntl.LOCK_EX)
            break
        except OSError as error:
            if error.errno != errno.EDEADLK:
                raise
            time.sleep(0)
    try:
        while True:
            data, fd = _seen(sock, _ONE)
            if type(data) is not bytes:
                return data
            if data[0] == _MARK:
                discard(sock)
                continue
            if data[0] != _BATCH:
                return receive(sock)
            batch = _batch(data)
            taken = _taken(batch, fd)
            # Counted first: who is killed here has taken it.
            if taken < batch.count:
                _set_taken(batch, fd, taken + 1)
            if taken + 1 >= batch.count:  # the last, or who took that was killed before it came here
                discard(sock)
            if taken < batch.count:
                return packed(batch.items[taken])
    finally:
        fcntl.lockf(sock, fcntl.LOCK_UN)


def share(sock: socket.socket, batch: Batch, taken: int) -> None:
    """Others will read too: tell them how many of ``batch``, which comes next, have been taken. ``OSError``
    if there is no room for a descriptor."""
    _set_taken(batch, _seen(sock, _ONE)[1], taken)


def discard(sock: socket.socket) -> None:
    """Take the next message off, which has been seen."""
    while True:
        try:
            sock.recv(1, socket.MSG_DONTWAIT)
            return
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECONNRESET:
                raise


def _seen(sock: socket.socket, room: int = 0) -> tuple[Any, Fd | None]:
    """The next message, which stays where it is; `EMPTY` or `GONE`; and if there is ``room`` the descriptor
    that came with it."""
    while True:
        try:
            data, ancillary, _, _ = sock.recvmsg(_LONGEST, room, socket.MSG_PEEK)
        except BlockingIOError:
            return EMPTY, None
        except OSError as error:
            if error.errno == errno.ECONNRESET:
                continue
            raise
        holders = _holders(ancillary)
        return data or GONE, holders[0] if holders else None


def _batch(data: bytes) -> Batch:
    return Batch(int.from_bytes(data[1:5], "little"), marshal.loads(memoryview(data)[5:]))


def _taken(batch: Batch, fd: Fd | None) -> int:
    """How many of ``batch`` have been taken by those who share the end. Holds its lock."""
    if fd is None:
        raise _no_room("1")
    number, taken = _CURSOR.unpack(os.pread(fd.fileno(), _CURSOR.size, 0))
    return taken if number == batch.number else 0  # else it is about the one before


def _set_taken(batch: Batch, fd: Fd | None, taken: int) -> None:
    if fd is None:
        raise _no_room("1")
    os.pwrite(fd.fileno(), _CURSOR.pack(batch.number, taken), 0)


def peek(sock: socket.socket) -> Any:
    """Whether there is a message now, or `GONE`."""
    while True:
        try:
            return True if sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) else GONE
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ECONNRESET:
                raise


def _holders(ancillary: Sequence[tuple[int, int, bytes]]) -> list[Fd]:
    fds = array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return [Fd(fd) for fd in fds]


def _no_room(number: str) -> OSError:
    return OSError(
        errno.EMFILE,
        "a message could not be received whole: this process has no room for its descriptors "
        f"({number} of them; see ulimit -n)",
    )


def _open(data: bytes, holders: list[Fd], flags: int) -> Packet:
    size = int.from_bytes(data[1:5], "little")
    start = 5
    if data[0] == _HEAD:
        start += size
        meta: Any = data[5:start]
    elif flags & socket.MSG_CTRUNC:
        raise _no_room("many")
    else:
        meta = Segment.from_fd(holders.pop().take()).view()[:size]
    lengths, kinds, shared, own_ways = marshal.loads(meta)
    if len(holders) != len(kinds) + shared or flags & socket.MSG_CTRUNC:
        raise _no_room(str(len(kinds) + shared))
    packet = Packet.__new__(Packet)
    packet.lengths = lengths
    packet.own_ways = own_ways
    packet._body = Segment.from_fd(holders.pop().take()) if shared else data[start:]
    packet.attachments = [
        Attachment(kind, info, holder) for (kind, info), holder in zip(kinds, holders, strict=True)
    ]
    return packet
