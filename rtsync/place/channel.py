"""Place channels: two-way queues of messages between places, whose ends travel inside messages.

An `End` is what this process holds of one end of a channel: a socket, those who wait for a message, and
messages that the socket had no room for. Several `PlaceChannel` objects may stand for it, and other processes
may hold the same end: they share its messages, each message goes to one of them.

**Nothing is read ahead.** A message is taken from the socket only when somebody has claimed it, so what is
unread stays in the kernel and goes with the end to whoever holds it, also when the sender or a former holder
has ended. That is so for batches (`rtsync.place.packet`) too, which stay there until their last message has
been taken. Only the channel between a place and its creator has them. An end of it is *sole* until it is sent
somewhere: its process is alone in reading it, and knows by itself how far it is in a batch.

**Lingering.** A get that finds nothing waits for a moment inside its step (`scheduler.linger`) before it
parks, as long as that pays: after a wait in vain it does so ever more rarely. The same goes for keeping its
processor awake meanwhile, if the answer comes later than that lasts. An end for which nobody is parked is
taken off the poller, or each message would wake some worker for nothing.

**A put never blocks.** It sends at once; when the socket is full, messages wait here (``queued`` tells how
much) and are sent by whoever is told by the poller that there is room. A place that ends hands what it has
not got rid of to its creator (`rtsync.place.child`).

**Who may be where.** A receiver looks under ``_lock`` and, if there is nothing, puts its waiter into the
queue under the same lock, which it lets go when it has parked. A message that comes after the look is
reported by the poller, in another OS thread, which takes ``_lock`` before it looks for waiters: so it finds
this one.

Sending has a lock of its own, under which messages are queued; a report of room that comes between a refused
attempt and the queuing of its message waits for that lock, and finds the message. While anything is queued
only who has ``_flush_lock`` sends, the first ones, and takes them out of the queue when they are sent; others
may queue meanwhile. So who finds the queue empty may send at once: all before it are sent.

An end stops being sole under ``_lock`` and before the message with it is sent: from then on all who read it,
here and elsewhere, take turns.

Source: Racket Reference 11.5.1.
"""

from __future__ import annotations

import fcntl
import os
import select
import termios
import threading
from _thread import RLock
from collections import deque, namedtuple
from collections.abc import Coroutine, Generator
from marshal import dumps, loads
from sys import modules
from typing import Any, Final
from weakref import WeakValueDictionary

from rtsync.current import let_go
from rtsync.errors import ContractError
from rtsync.evt import BaseEvt, Evt, Wrap
from rtsync.waiter import NOT_READY, RETRY, SPARE, WaitQueue, claim_first, give, has_living
from scheduler import Parking, defer, direct, linger, nested, poller_here, published
from scheduler.io_thread import io_poller
from scheduler.linger import AWAKE, SOON
from scheduler.poller import END, READ, WRITE
from shm import Segment

from .log import log
from .message import ATOMS, PICKLE, SIZED, attachable, pack, unpack
from .packet import (
    CURSOR_SIZE,
    EMPTY,
    FULL,
    GONE,
    INLINE,
    MARK,
    MARKED,
    MARSHAL,
    SEND_FLAGS,
    SENT,
    Batch,
    Bundle,
    Fd,
    Packet,
    Pipe,
    discard,
    packed,
    peek,
    receive,
    receive_marked,
    receive_shared,
    share,
    transmit,
)

_AGAIN = 0.05
"""Seconds after which a message is tried again for which the system had no descriptors or memory."""

_CONGESTED = 64
"""From so many queued messages on, large ones wait in memory of our own and not in shared memory."""

_ROUNDS: Final = 16
"""So often may a get linger with success before its thread gives way."""

_MOST_SKIPPED: Final = 63
"""Gets that do not linger, after many that did in vain; and those that let the processor rest at once, after
many for which it was kept awake in vain."""

_sending: set[End] = set()
"""Ends with messages that wait for room: not garbage, even if the program has dropped them."""


class Queued(namedtuple("Queued", ("messages", "bytes"))):
    """What was put to an end and is not taken yet: a named tuple of two integers.

    ``messages``: those that wait in this process because the system's buffer (about 200 KB for a channel) is
    full. ``bytes``: the memory that they take, and what is in the system's buffer or in shared memory on its
    way."""

    __slots__ = ()


class End(BaseEvt):
    """One end of a channel in this process. As a base event its result is a message that is still packed."""

    __slots__ = (
        "__weakref__",
        "_backoff",
        "_batch",
        "_batches",
        "_bundle",
        "_bytes",
        "_cursor",
        "_dry",
        "_flush_lock",
        "_large",
        "_lingered",
        "_lock",
        "_look",
        "_marked",
        "_marks",
        "_outgoing",
        "_receive",
        "_rests",
        "_send_lock",
        "_skip",
        "_tired",
        "_waiters",
        "bulk",
        "fd",
        "gone",
        "home",
        "ident",
        "mute",
        "poller",
        "pollers",
        "remote",
        "sock",
        "sole",
    )

    def __init__(self, ident: tuple[bytes, int], sock: Pipe, remote: bool, bulk: bool) -> None:
        sock.setblocking(False)
        self.ident = ident
        self.sock = published(sock)
        self.fd = sock.fileno()
        self.remote = remote
        """Whether the other end is, or may be, on another machine."""
        self.home = False
        """Whether no other process can hold this end: it has never left this one."""
        self.bulk = bulk
        """Whether batches go through the channel."""
        self.sole = False
        """Whether no other process holds this end of a bulk channel. Written under _lock."""
        self.gone = False
        """Whether no message can come any more."""
        self.mute = False
        """Whether nobody can receive what is put."""
        self.poller: Any = None
        self.pollers: list[Any] = []
        self._lock = published(RLock())
        self._waiters = published(WaitQueue())
        self._receive = receive_shared if bulk else receive
        self._marks = 0  # of batches that are still to come
        self._batch: Batch | None = None  # what comes next: its items are those not taken, the last first
        self._send_lock = published(RLock())
        self._flush_lock = published(RLock())
        self._cursor: Segment | None = None  # of the batches sent
        self._batches = 0  # sent
        self._marked = False  # the mark of the next one has been sent
        self._outgoing: deque[Packet | Bundle | bytes] = published(deque())
        self._bundle: Bundle | None = None  # the last of _outgoing, if more may be added
        self._bytes = 0  # in _outgoing
        self._dry = False  # the last get found nothing
        self._lingered = 0  # how often that has paid
        look = select.poll()
        look.register(self.fd, select.POLLIN)
        self._look = published(look.poll)
        self._backoff = self._skip = 0  # for how many gets it is not tried: after the last failure, and now
        self._tired = self._rests = 0  # the same for keeping the processor awake
        self._large = 0  # sent in shared memory since the socket's buffer was last seen empty

    def fileno(self) -> int:
        """The descriptor; makes an end an attachment's holder."""
        return self.fd

    def __del__(self) -> None:
        for poller in getattr(self, "pollers", ()):
            poller.drop(self, self.fd)
        sock = getattr(self, "sock", None)
        if sock is not None:
            sock.close()

    def drop(self, sock: Pipe) -> None:
        """Close a second descriptor of ours. (If we have the turn to read: closing any one ends it.)"""
        with self._lock:
            if nested(self._lock):
                defer(lambda: self.drop(sock))
            else:
                sock.close()

    # -- receiving -----------------------------------------------------------------------------

    def _take(self) -> Any:
        """The next message, or `NOT_READY`. Holds _lock."""
        if self._batch is not None:
            return self._next(self._batch)
        if self.gone:
            return NOT_READY
        try:
            raw: Any = self._receive(self.sock)
            while raw is MARKED:
                self._marks += 1
                self._receive = receive_marked
                raw = receive_marked(self.sock)
        except OSError as error:
            return error  # to be raised where it is unpacked, not under the locks of a sync
        if type(raw) is Batch:
            self._marks -= 1
            if not self._marks:
                self._receive = receive
            raw.items.reverse()
            self._batch = raw
            return self._next(raw)
        if raw is EMPTY:
            return NOT_READY
        if raw is GONE:
            self.gone = True
            self._unwatch()
            return NOT_READY
        return raw

    def _next(self, batch: Batch) -> Any:
        """The next message of ``batch``, which is ours and not empty. Holds _lock."""
        item = batch.items.pop()
        if not batch.items:
            self._batch = None
            discard(self.sock)
        return packed(item)

    def be_sole(self) -> None:
        """No other process holds this end. Nobody uses it yet."""
        if self.bulk:
            self.sole = True
            self._receive = receive

    def be_shared(self) -> None:
        """Another process is about to hold this end too. ``OSError``, and nothing has changed, if there is no
        room for a descriptor."""
        with self._lock:
            if not self.sole:
                return
            if nested(self._lock):  # a finalizer, in the middle of a get
                raise ContractError("put: an end that is being read just now cannot be sent by a finalizer")
            batch = self._batch
            if batch is not None:
                share(self.sock, batch, batch.count - len(batch.items))
                self._batch = None
            self.sole = False
            self._receive = receive_shared

    def linger(self) -> bool:
        """Wait a moment for a message, if that has paid of late; whether the thread is to give way now, as
        it would have done by parking. Under no locks."""
        if self._skip:
            self._skip -= 1
            return False
        if self.poller is not None:
            with self._lock:
                if not self._waiters:
                    self._take_off()
        came = linger(self._look, 0.0 if self._rests else AWAKE)
        if came:
            self._backoff = 0
            if self._rests:
                self._rests -= 1
            elif came == SOON:
                self._tired //= 2
            else:
                self._rests = self._tired = min(2 * self._tired + 1, _MOST_SKIPPED)
            self._lingered += 1
            if not self._lingered % _ROUNDS:
                self._dry = False  # perhaps messages come faster than they are taken by now
                return True
        else:
            self._backoff = self._skip = min(2 * self._backoff + 1, _MOST_SKIPPED)
        return False

    def _serve(self) -> None:
        """Give messages to those who wait, in their order. Holds _lock."""
        waiters = self._waiters
        while waiters:
            # A report may be stale. Who is claimed for nothing has to begin anew, behind all others.
            if len(waiters) > 1 and not self._has_message():
                return
            found = claim_first(waiters, self._lock)
            if found is None:
                break
            task, case = found
            raw = self._take()
            if raw is NOT_READY:  # stale after all, or another process that holds this end was faster
                task.value = RETRY
                task.ready()
                continue
            give(task, case, raw)
        self._unwatch()

    def _has_message(self) -> bool:
        """Whether there is one. Holds _lock."""
        if self.gone:
            return False
        seen = peek(self.sock)
        if seen is GONE:
            self.gone = True
            self._unwatch()
        return seen is True

    def _poll(self) -> Any:
        if self._waiters:
            if not self._has_message():
                return NOT_READY
            self._serve()  # they were here before
        return self._take()

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._waiters.append((waiter, case))
        if not self.gone:
            poller = poller_here()
            if self.poller is not poller or not poller.persistent:
                poller.want(self, READ)
                self.poller = poller
            poller.waiting.add(self)

    def _leave(self, waiter: list[Any]) -> None:
        waiters = self._waiters
        waiters.left(self._lock, SPARE)
        with self._lock:
            if not nested(self._lock) and not any(entry[0] for entry in waiters):
                waiters.clear()
                self._unwatch()

    def _take_off(self) -> None:
        """No more reports, until somebody waits again. Holds _lock."""
        with self._send_lock:
            if not self._outgoing:  # else room is waited for
                self.poller = None
                for poller in self.pollers:
                    poller.drop(self, self.fd)

    def has_waiters(self) -> bool:
        """Whether a task waits here for what may still come from elsewhere. Any OS thread."""
        return not self.gone and has_living(self._waiters) and not self._awaits_us_alone()

    def _awaits_us_alone(self) -> bool:
        """Whether nothing has come, and only this process can put something: then no descriptor will wake
        who waits here, but one of our threads, or nobody. Who asks that has made sure that none of them runs
        or has run meanwhile, so what they have put is seen."""
        other = _held.get((self.ident[0], 1 - self.ident[1]))
        # In this order: what was queued is sent before it leaves the queue, and before an end leaves us it
        # stops being at home.
        return other is not None and not other._outgoing and peek(self.sock) is False and other.home

    def _unwatch(self) -> None:
        """Nobody waits, or for nothing."""
        for poller in self.pollers:
            poller.waiting.discard(self)

    def on_ready(self, what: int) -> None:
        """See `scheduler.poller.Watched.on_ready`."""
        if what & (READ | END):
            with self._lock:
                if self._waiters:
                    self._serve()
                elif self.poller is not None and self.poller.persistent:
                    self._take_off()
        if what & (WRITE | END) and self._outgoing:
            self.flush()

    # -- sending -------------------------------------------------------------------------------

    def send(self, packet: Packet | bytes) -> None:
        """Send ``packet`` or queue it. Any OS thread."""
        with self._send_lock:
            if nested(self._send_lock):  # from a finalizer, in the middle of another one
                defer(lambda: self.send(packet))
                return
            if self.mute:
                return
            refused: Any = None
            if not self._outgoing:
                refused = transmit(self.sock, packet)
                if refused is SENT:
                    if type(packet) is not bytes:
                        self._count_large(packet)
                    return
                if refused is GONE:
                    self.mute = True
                    return
                _sending.add(self)
            size = _nbytes(packet)
            if type(packet) is bytes and self.bulk:
                self._add((packet,), size + 10)  # with what `marshal` writes before it
            else:
                self._close_bundle()
                self._outgoing.append(packet)
                self._bytes += size
            if refused is not None:
                # published (append above); now ask for a report: `on_ready` looks without the lock
                self._wait_for_room(refused)

    def queue(self, value: Any, kind: type) -> bool:
        """Queue a plain value of this ``kind``, if others wait in a bundle that it may join. Any OS
        thread."""
        if kind is bytes:
            size = len(value) + 5
        elif kind is str:
            size = (len(value) if value.isascii() else 4 * len(value)) + 5
        elif kind is int:
            size = value.bit_length() // 7 + 8
        else:
            size = 20
        lock: Any = self._send_lock
        lock.acquire()  # `with` takes a third of this method's time
        bundle = self._bundle
        # `nested`: what a finalizer puts in the middle of something else keeps its order by being deferred.
        if bundle is None or bundle.room < size or lock._recursion_count() > 1:
            lock.release()
            return False
        bundle.room -= size
        self._bytes += size
        bundle.items.append(value)
        lock.release()
        return True

    def _add(self, item: Any, size: int) -> None:
        """Queue what may join others. Holds _send_lock, for the first time."""
        bundle = self._bundle
        if bundle is None or bundle.room < size:
            self._close_bundle()
            bundle = self._bundle = Bundle(item, size)
            self._outgoing.append(bundle)
        else:
            bundle.room -= size
            bundle.items.append(item)
        self._bytes += size

    def _close_bundle(self) -> None:
        """Nobody is to add to it any more. Holds _send_lock."""
        bundle = self._bundle
        self._bundle = None
        if bundle is not None:
            bundle.close()

    def flush(self) -> None:
        """Send what is queued, as far as there is room. Any OS thread."""
        while self._flush_first():
            pass

    def _flush_first(self) -> bool:
        """Send the first of what is queued, or the first few; whether there may be room for more."""
        outgoing = self._outgoing
        with self._flush_lock:
            with self._send_lock:
                if nested(self._flush_lock) or nested(self._send_lock):
                    defer(self.flush)
                    return False
                if not outgoing:
                    _sending.discard(self)
                    return False
                # Nobody else takes anything out of the queue until we have.
                packet = outgoing[0]
                if type(packet) is Bundle:
                    if packet is self._bundle:
                        self._bundle = None
                    packet.close()
                    if packet.count == 1 or not self._can_batch():
                        self._take_apart(packet)
                        return True
            try:
                result = self._send_batch(packet) if type(packet) is Bundle else transmit(self.sock, packet)
            except OSError:  # shared memory is full
                result = None
            with self._send_lock:
                if result is SENT:
                    self._bytes -= _nbytes(packet)
                    outgoing.popleft()
                    if type(packet) is Packet:
                        self._count_large(packet)
                    return True
                if result is GONE:
                    self.mute = True
                    outgoing.clear()
                    self._bundle = None
                    self._bytes = 0
                    return True
                self._wait_for_room(result)
                return False

    def _take_apart(self, bundle: Bundle) -> None:
        """Its messages go one by one; it is the first of the queue. Holds both locks."""
        packets = bundle.packets()
        size = sum(map(len, packets))
        # Never without them: who finds the queue empty sends at once, and looks without a lock.
        self._outgoing[0] = packets.pop()
        self._outgoing.extendleft(reversed(packets))
        self._bytes += size - bundle.nbytes

    def _can_batch(self) -> bool:
        """Whether there is a cursor, or room for one. Holds _flush_lock."""
        if self._cursor is None:
            try:
                self._cursor = Segment(CURSOR_SIZE)
            except OSError:
                return False
        return True

    def _send_batch(self, bundle: Bundle) -> Any:
        """`transmit`, with what belongs to it. Holds _flush_lock."""
        if not self._marked:
            result = transmit(self.sock, MARK)
            if result is not SENT:
                return result
            self._marked = True
        bundle.number = self._batches % 0xFFFFFFFF + 1
        bundle.cursor = self._cursor
        result = transmit(self.sock, bundle)
        if result is SENT:
            self._batches = bundle.number
            self._marked = False
        return result

    def _wait_for_room(self, result: Any) -> None:
        """Holds _send_lock."""
        if result is FULL:
            # Not the poller of a runtime, which may end, while the message has yet to be sent.
            io_poller().want(self, WRITE)
        else:
            again = threading.Timer(_AGAIN, self.flush)
            again.daemon = True
            again.start()

    def _count_large(self, packet: Any) -> None:
        if packet.is_large:
            if not self._in_kernel():
                self._large = 0
            self._large += packet.nbytes

    def _in_kernel(self) -> int:
        """Bytes in the socket's buffer that nobody has received."""
        return int.from_bytes(fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)), "little")

    def queued(self) -> Queued:
        """See `PlaceChannel.queued`."""
        with self._flush_lock, self._send_lock:  # what has been sent is out of the queue
            if self.mute:
                return Queued(0, 0)
            in_kernel = self._in_kernel()
            if not in_kernel:
                self._large = 0
            messages = sum(len(p.items) or p.count if type(p) is Bundle else 1 for p in self._outgoing)
            return Queued(messages, self._bytes + in_kernel + self._large)

    def take_queued(self) -> list[Packet | bytes]:
        """What is queued and finds no room; it is no longer. What other threads still put is dropped, for it
        would overtake that. For a place that ends."""
        with self._send_lock:
            self.mute = True
        self.flush()
        with self._flush_lock, self._send_lock:
            self._bundle = None
            packets: list[Packet | bytes] = []
            for packet in self._outgoing:
                if isinstance(packet, Bundle):
                    packet.close()
                    packets += packet.packets()
                else:
                    packets.append(packet)
            self._outgoing.clear()
            self._bytes = 0
            _sending.discard(self)
        return packets

    def _close_after_fork(self) -> None:
        # The parent's locks may be held for ever. What is in the queues is the parent's.
        self._lock = RLock()
        self._send_lock = RLock()
        self._flush_lock = RLock()
        self._batch = self._bundle = self._cursor = None
        self.gone = self.mute = True
        self._waiters = WaitQueue()
        self._outgoing.clear()
        self._bytes = 0
        self.pollers = []
        self.sock.close()

    def __repr__(self) -> str:
        return f"<end {self.ident[1]} of place channel {self.ident[0].hex()[:8]}>"


class _Held(WeakValueDictionary[tuple[bytes, int], End]):
    """The ends that this process holds, one object for each, and the lock for adding one."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = RLock()


_held = _Held()


def _nbytes(packet: Packet | Bundle | bytes) -> int:
    return len(packet) if isinstance(packet, bytes) else packet.nbytes


def _hold(ident: tuple[bytes, int], sock: Pipe, remote: bool, bulk: bool) -> End:
    """The end ``ident`` in this process; ``sock`` is used if it is new here, and else closed."""
    with _held.lock:
        end = _held.get(ident)
        if end is None:
            end = _held[ident] = End(ident, sock, remote, bulk)
            return end
    end.drop(sock)
    return end


def end_pair(remote: bool = False, bulk: bool = False) -> tuple[End, End]:
    """Both ends of a new channel."""
    near, far = Pipe.pair()
    number = os.urandom(16)
    return _hold((number, 0), near, remote, bulk), _hold((number, 1), far, remote, bulk)


class PlaceChannel(Evt):
    """One end of a two-way channel between places. As an event: ready when there is a message, which is the
    result.

    Messages are queued without limit and in order, in both directions; what may be sent: see
    `is_place_message_allowed`. An end may itself be sent; it is then held by both places, which share its
    messages. Two are equal if they stand for the same end (and both or neither is a `Place`).
    ``async for message in channel`` gets for ever. Usable from any OS thread (`block_on`).

    Source: Racket Reference 11.5.1.
    """

    __slots__ = ("__weakref__", "_end", "_evt")

    def __init__(self, end: End) -> None:
        """Made by `place_channel`, by creating a place, or by receiving one."""
        if not isinstance(end, End):
            raise TypeError(
                "PlaceChannel: made by place_channel() or dynamic_place(), not by calling the class"
            )
        self._end = end
        self._evt = Wrap(end, _opened, False)

    def put(self, message: Any) -> None:
        """Send ``message``; never blocks. If nobody holds the other end any more, nobody gets it.

        ``ContractError`` for what cannot be sent, naming the part, and ``OSError`` if there is no room for a
        large one; nothing is sent then. Source: Racket Reference, ``place-channel-put``."""
        end = self._end
        packet: Packet | bytes | None = None
        kind = type(message)
        if kind in ATOMS and (kind not in SIZED or len(message) <= INLINE) and not end.mute:
            # `pack` and `send` written out, for a third of the time. No lock: the socket has its own, and
            # whoever has put something before, in this thread, sees that it is queued.
            if end._bundle is not None and end.queue(message, kind):
                if (log.forward is not None or "logging" in modules) and log.wanted():
                    log("put", len(dumps(message, MARSHAL)))
                return
            packet = dumps(message, MARSHAL)
            if len(packet) > INLINE:
                packet = None
            elif end._outgoing:
                end.send(packet)
            else:
                try:
                    end.sock.send(packet, SEND_FLAGS)
                except OSError:  # what it means, `send` finds out
                    end.send(packet)
        if packet is None:
            packet = pack(message, remote=end.remote, private=len(end._outgoing) >= _CONGESTED)
            end.send(packet)
        if (log.forward is not None or "logging" in modules) and log.wanted():
            log("put", _nbytes(packet))

    @direct
    def get(self) -> Generator[Parking, Any, Any]:
        """Wait for the next message and take it. Source: Racket Reference, ``place-channel-get``."""
        end = self._end
        lock = end._lock
        raw: Any
        while True:
            if end._batch is None and end._dry and not end._waiters and end.linger():
                yield None
            lock.acquire()
            batch = end._batch
            if batch is not None and not end._waiters:
                items = batch.items  # `_next` written out
                raw = items.pop()
                if not items:
                    end._batch = None
                    discard(end.sock)
                lock.release()
                if type(raw) is not tuple and (
                    (log.forward is None and "logging" not in modules) or not log.wanted()
                ):
                    return raw
                return _opened(packed(raw))
            raw = end._take() if not end._waiters else end._poll()
            if raw is not NOT_READY:
                lock.release()
                if (
                    type(raw) is bytes
                    and raw[0] < PICKLE
                    and log.forward is None
                    and "logging" not in modules
                ):
                    return loads(raw)  # `_opened`, its most frequent case
                return _opened(raw)
            if not end._dry and not end.gone:
                end._dry = True
                lock.release()
                continue
            waiter: list[Any] = []
            end._block(waiter, None)
            try:
                raw = yield waiter, lock
            except BaseException:
                let_go(waiter, lock)
                end._leave(waiter)
                raise
            if raw is not RETRY:
                return _opened(raw)
            end._leave(waiter)

    def try_get(self, default: Any = None) -> Any:
        """Take the next message, or give ``default`` at once."""
        with self._end._lock:
            raw = self._end._poll()
        return default if raw is NOT_READY else _opened(raw)

    def put_get(self, message: Any) -> Coroutine[Any, Any, Any]:
        """Send ``message`` at once, and wait for the next message here, perhaps a reply.

        Source: Racket Reference, ``place-channel-put/get``."""
        self.put(message)
        return self.get()

    @property
    def queued(self) -> Queued:
        """What was put here, in this process, and is not taken yet: messages and bytes. A sender that may be
        faster than its receiver looks at it, and waits for replies before it goes on."""
        return self._end.queued()

    def __evt__(self) -> Evt:
        return self._evt

    def __aiter__(self) -> PlaceChannel:
        return self

    async def __anext__(self) -> Any:
        return await self.get()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlaceChannel):
            return NotImplemented
        return self._end.ident == other._end.ident and self._is_place() == other._is_place()

    def __hash__(self) -> int:
        return hash(self._end.ident)

    def _is_place(self) -> bool:
        return False

    def __reduce__(self) -> Any:
        raise ContractError(
            "PlaceChannel: cannot be copied or pickled; send it in a message on a place channel"
        )

    def __repr__(self) -> str:
        return f"<PlaceChannel {self._end.ident[0].hex()[:8]}.{self._end.ident[1]}>"


def _opened(raw: Any) -> Any:
    """The message in what an end gave."""
    if isinstance(raw, OSError):
        raise raw
    if log.wanted():
        log("get", _nbytes(raw))
    return unpack(raw)


def place_channel() -> tuple[PlaceChannel, PlaceChannel]:
    """The two ends of a new channel: what is put to one can be got from the other.

    Source: Racket Reference, ``place-channel``."""
    one, other = end_pair()
    one.home = other.home = True
    return PlaceChannel(one), PlaceChannel(other)


def depart(channel: PlaceChannel) -> tuple[Any, End]:
    """What is attached to a message for ``channel``."""
    end = channel._end
    end.home = False
    end.be_shared()
    return (*end.ident, end.remote, end.bulk), end


def arrive(info: Any, fd: Fd) -> PlaceChannel:
    """The end that was attached to a message."""
    number, side, remote, bulk = info
    return PlaceChannel(_hold((number, side), Pipe(fd.take()), remote, bulk))


attachable((PlaceChannel,), "channel", depart, arrive, local=False)


def all_sending() -> list[End]:
    """The ends that have messages queued in this process."""
    return list(_sending)


def _after_fork_in_child() -> None:
    """The ends are the parent's: if they stayed open here, nobody would see that they are closed there."""
    _held.lock = RLock()
    for end in list(_held.values()):
        end._close_after_fork()
    _held.clear()
    _sending.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
