"""Places: processes with an interpreter and a runtime of their own, made by and known to this one.

A `Place` is the descriptor that the creator gets: the near end of a channel to the place, and the means to
wait for its end, to break and to kill it. Between the two processes there is a second pair of sockets,
*control*:

    creator -> place    ("start", order), then perhaps the function as a packet; ("break", kind) place ->
    creator    ("value", completion value); ("event", PlaceEvent); ("rest", channel, packet): a message
                        that an ending place had no room for, which the creator sends on

Its end of file is how a place learns that its creator is no more, however that ended, and then it ends too.

**Who ends a place.** Its completion value is decided once, under ``_lock``: by what the place reports, by
`Place.kill` or by the status of its process, whichever comes first. It has ended when its process has.

Source: Racket Reference 11.5 (Places).
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from _thread import RLock
from collections.abc import Callable, Coroutine
from typing import Any

from rtsync.breaks import check_kind
from rtsync.custodian import current_custodian_or_none
from rtsync.deadlock import outside
from rtsync.errors import ContractError, refuse
from rtsync.evt import Evt, Latch
from rtsync.sync import sync
from scheduler import NoRuntime, current_driver, defer
from scheduler.io_thread import io_poller
from scheduler.poller import READ

from . import target
from .channel import PlaceChannel, arrive, depart, end_pair
from .local import LocalLocation, place_enabled
from .location import Body, PlaceLocation
from .log import log
from .main_module import main_origin
from .message import attachable, pack_own, unpack
from .packet import EMPTY, FULL, GONE, SENT, Packet, Pipe, receive, transmit
from .streams import CREATORS, EMPTY_INPUT, Streams, check_input, check_output

_PATIENCE = 5.0
"""Seconds that the shutdown of a custodian waits for places that it has killed."""

_AGAIN = 0.02
"""Seconds after which something is sent again for which the system had no room."""

_places: set[Place] = set()
"""The places that have not ended: they go on although the program may have dropped them."""

_here = LocalLocation()


class Place(PlaceChannel):
    """A place that this one has created, and this end of the channel to it. Made by `dynamic_place` and
    others.

    As an event it is that of a `PlaceChannel`: ready when there is a message; its end is `dead_evt`.
    Source: Racket Reference 11.5.1, ``place?``.
    """

    __slots__ = (
        "_body",
        "_completion",
        "_control",
        "_custodian",
        "_dead",
        "_lock",
        "_name",
        "_reaped",
        "_streams",
    )

    def __init__(self, end: Any, control: Control, name: str, streams: Streams) -> None:
        """Made by `dynamic_place` and others."""
        super().__init__(end)
        self._control = control
        self._streams = streams
        self._name = name
        self._lock = RLock()
        self._completion: int | None = None
        self._dead = Latch()
        self._reaped = threading.Event()
        self._body: Body | None = None
        self._custodian: Any = None
        control.place = self

    @property
    def id(self) -> int:
        """An integer that identifies it: its process id, for a place on this machine."""
        return 0 if self._body is None else self._body.id

    @property
    def name(self) -> str:
        """What was given as ``named=``, or else the name of its function."""
        return self._name

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._dead.is_set

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return self._dead.is_set

    def wait(self) -> Coroutine[Any, Any, int]:
        """Wait until it has ended: its completion value, 0 to 255. Where its output is pumped to a stream of
        the creator's, also until all of that has arrived there.

        Source: Racket Reference, ``place-wait``."""
        return self._wait()

    async def _wait(self) -> int:
        if current_driver() is None:
            raise NoRuntime("Place.wait")
        await sync(self._dead)
        for pumped in self._streams.pumped:
            await sync(pumped)
        assert self._completion is not None
        return self._completion

    def dead_evt(self) -> Evt[Evt]:
        """An event ready when it has ended; always the same object, and its result is itself.

        Source: Racket Reference, ``place-dead-evt``."""
        return self._dead

    def kill(self) -> None:
        """End it at once; its completion value is 1 unless it has one already. On this machine it has ended
        when this returns.

        Source: Racket Reference, ``place-kill``."""
        self._strike()
        join = getattr(self._body, "join", None)
        if join is not None and join(_PATIENCE):
            self._reaped.wait(_PATIENCE)  # somebody else has reaped it, and is about to say so

    def break_(self, kind: str | None = None) -> None:
        """Break the main thread of the place, as `Thread.break_` does: ``kind`` is ``None``, ``'hang-up'`` or
        ``'terminate'``. Does nothing if it has ended.

        Source: Racket Reference, ``place-break``."""
        check_kind("break_", kind)
        self._control.send(pack_own(("break", kind)), wait=False)

    def _is_place(self) -> bool:
        return True

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended with {self._completion}"
        return f"<Place {self._name} {self.id} {state}>"

    # -- its life ------------------------------------------------------------------------------

    def _strike(self) -> None:
        """`kill` without waiting."""
        self._decide(1)
        if self._body is not None:
            self._body.kill()

    def _decide(self, value: int) -> None:
        with self._lock:
            if self._completion is None:
                self._completion = value

    def _begin(self, body: Body) -> None:
        """It has been launched."""
        self._body = body
        _places.add(self)
        outside.add(self)
        if log.wanted():
            log("create", body.id)
        self._control.watch()
        body.watch(self._over)

    def _over(self, status: int | None) -> None:
        """Its process has ended. Any OS thread, once."""
        self._control.read()  # what it has said last
        self._control.close()
        self._control.place = None  # a cycle: its end of the channel goes with the last reference
        if status is None:
            status = 1
        self._decide(status if status >= 0 else 128 - status)
        if log.wanted():
            defer(self._tell_end)  # after what it has reported, and not here: handlers may block
        else:
            self._tell_end()

    def _tell_end(self) -> None:
        """Tell that it has ended."""
        if log.wanted():
            log("reap", self.id)
        self._dead.set()
        self._reaped.set()
        # After the latch: until then whoever waits for it is not deadlocked.
        outside.discard(self)
        _places.discard(self)

    def _told(self, message: Any) -> None:
        """It says something on its control socket."""
        what = message[0]
        if what == "value":
            self._decide(message[1])
        elif what == "event":
            log.arrived(message[1])
        elif what == "rest":
            _, channel, packet = message
            channel._end.send(packet)

    def _control_ended(self) -> None:
        """It will say nothing more. That it has ended we hear from its body."""

    # -- for its custodian -------------------------------------------------------------------------

    def _ended(self) -> bool:
        return self._dead.is_set

    def _disown(self, custodian: Any) -> bool:
        return not self._dead.is_set

    @staticmethod
    def end_all(places: list[Place]) -> None:
        """Their custodian is being shut down."""
        for place in places:
            place._strike()
        for place in places:
            place._reaped.wait(_PATIENCE)


attachable((Place,), "channel", depart, arrive, local=False)


class Control:
    """This process's end of a control socket: sends what the other side always reads, and reads all that
    comes."""

    def __init__(self, sock: Pipe) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._lock = RLock()
        self.fd = sock.fileno()
        self.poller: Any = None
        self.pollers: list[Any] = []
        self.place: Any = None
        self.closed = False

    def send(self, packet: Packet | bytes, wait: bool = True) -> bool:
        """Send ``packet``; whether it could be. If there is no room, that is waited for, or else it is
        dropped."""
        while True:
            with self._lock:
                if self.closed:
                    return False
                result = transmit(self._sock, packet)
            if result is SENT or result is GONE or not wait:
                return result is SENT
            if result is FULL:
                room = select.poll()
                room.register(self.fd, select.POLLOUT)
                room.poll()
            else:
                time.sleep(_AGAIN)

    def watch(self) -> None:
        """Have what comes read as soon as it comes."""
        io_poller().want(self, READ)

    def on_ready(self, what: int) -> None:
        """See `scheduler.poller.Watched`."""
        self.read()

    def read(self) -> None:
        """Take what has come and tell `place`. Any OS thread."""
        with self._lock:
            while not self.closed:
                try:
                    raw = receive(self._sock)
                except OSError:  # no room for its descriptors: that message is lost
                    continue
                if raw is EMPTY:
                    return
                if raw is GONE:
                    self.place._control_ended()
                    return
                self.place._told(unpack(raw))

    def close(self) -> None:
        """No more."""
        with self._lock:
            if not self.closed:
                self.closed = True
                for poller in self.pollers:
                    poller.drop(self, self.fd)
                self._sock.close()

    def close_after_fork(self) -> None:
        """In the child of a fork: if it stayed open here, the place would outlive its creator."""
        self._lock = RLock()
        self.closed = True
        self.pollers = []
        self._sock.close()


# -- creating places -------------------------------------------------------------------------------


def dynamic_place(
    module: str | os.PathLike[str], start: str, *, at: PlaceLocation | None = None, named: Any = None
) -> Place:
    """Create a place that calls the function ``start`` (``async`` or plain) of ``module`` with one argument,
    its end of a channel to the `Place` that is the result; at once.

    ``module`` is the name of a module or the path of a file. ``at``: where, by default on this machine.
    ``named``: its name. The place has an empty standard input and the creator's output and error streams, the
    creator's ``sys.path`` and ``sys.argv``, and nothing else of its state. It ends when the function returns,
    with the completion value 0; by ``sys.exit(v)`` with ``v`` (0 if that is not 0 to 255); by an exception,
    which is reported, with 1. The current custodian manages it.

    Source: Racket Reference, ``dynamic-place``."""
    what = target.named("dynamic_place", module, start)
    if at is not None:
        if not isinstance(at, PlaceLocation):
            raise refuse("dynamic_place", "at", "a place location or None", at, TypeError)
        return at.dynamic_place(module, start, named)
    return _create("dynamic_place", what, None, EMPTY_INPUT, CREATORS, CREATORS, _here, named)[0]


def dynamic_place_at(
    location: PlaceLocation, module: str | os.PathLike[str], start: str, named: Any = None
) -> Place:
    """Create a place by `PlaceLocation.launch` of ``location``."""
    what = target.named("dynamic_place", module, start)
    return _create("dynamic_place", what, None, EMPTY_INPUT, CREATORS, CREATORS, location, named)[0]


def dynamic_place_star(
    module: str | os.PathLike[str],
    start: str,
    *,
    in_: Any = None,
    out: Any = CREATORS,
    err: Any = CREATORS,
    at: PlaceLocation | None = None,
    named: Any = None,
) -> tuple[Place, Any, Any, Any]:
    """`dynamic_place` with streams of its own: the place, and for each of ``in_``, ``out`` and ``err`` that
    is ``None`` a port to the place's other end of a new pipe, else ``None``. The caller closes those ports.

    A stream that is given is shared if it has a descriptor, and else pumped from and to. ``err='stdout'`` is
    the same as ``out``. Source: Racket Reference, ``dynamic-place*``."""
    what = target.named("dynamic_place_star", module, start)
    if at is not None and not isinstance(at, PlaceLocation):
        raise refuse("dynamic_place_star", "at", "a place location or None", at, TypeError)
    return _create("dynamic_place_star", what, None, in_, out, err, at or _here, named)


def place(fn: Callable[[PlaceChannel], Any], *, at: PlaceLocation | None = None, named: Any = None) -> Place:
    """`dynamic_place` with ``fn``, a function that the place can import; ``ContractError`` if it cannot.

    Source: Racket Reference, ``place``."""
    what = target.of_function("place", fn)
    if at is not None and not isinstance(at, PlaceLocation):
        raise refuse("place", "at", "a place location or None", at, TypeError)
    return _create("place", what, None, EMPTY_INPUT, CREATORS, CREATORS, at or _here, named)[0]


def place_star(
    fn: Callable[[PlaceChannel], Any],
    *,
    in_: Any = None,
    out: Any = CREATORS,
    err: Any = CREATORS,
    named: Any = None,
) -> tuple[Place, Any, Any, Any]:
    """`dynamic_place_star` with ``fn``, a function that the place can import.

    Source: Racket Reference, ``place*``."""
    return _create("place_star", target.of_function("place_star", fn), None, in_, out, err, _here, named)


def place_context(
    fn: Callable[[PlaceChannel], Any], *, at: PlaceLocation | None = None, named: Any = None
) -> Place:
    """`dynamic_place` with ``fn`` itself: its code is sent, with the values of its free variables, which must
    be allowed as messages (or be functions, classes or modules); ``ContractError`` if one is not.

    Source: Racket Reference, ``place/context``."""
    what, sent = target.by_value("place_context", fn)
    if at is not None and not isinstance(at, PlaceLocation):
        raise refuse("place_context", "at", "a place location or None", at, TypeError)
    return _create("place_context", what, sent, EMPTY_INPUT, CREATORS, CREATORS, at or _here, named)[0]


def _create(
    operation: str,
    what: target.Target,
    sent: Packet | None,
    in_: Any,
    out: Any,
    err: Any,
    location: PlaceLocation,
    named: Any,
) -> tuple[Place, Any, Any, Any]:
    check_input(operation, in_)
    check_output(operation, "out", out)
    check_output(operation, "err", err)
    if not place_enabled():
        raise ContractError(f"{operation}: this system cannot run places (see place_enabled)")
    custodian = current_custodian_or_none()
    if custodian is not None and custodian.is_shut_down:
        raise ContractError(f"{operation}: the current custodian has been shut down")
    streams = Streams(in_, out, err)
    near, far = end_pair(location.remote, bulk=not location.remote)
    near.be_sole()
    control, theirs = Pipe.pair()
    name = what[3] if named is None else str(named)
    made = Place(near, Control(control), name, streams)
    order = {
        "what": what,
        "name": name,
        "channel": PlaceChannel(far),
        "stdin": streams.theirs[0],
        "main": main_origin(),
        "argv": list(sys.argv),
        "log": log.wanted(),
    }
    try:
        # Before it is launched: it is there when the place looks, and if this fails nothing has happened.
        made._control.send(pack_own(order))
        if sent is not None:
            made._control.send(sent)
        body = location.launch(theirs, streams.theirs[1].fileno(), streams.theirs[2].fileno(), named)
    except BaseException:
        theirs.close()
        made._control.close()
        raise
    made._begin(body)
    made._custodian = custodian
    try:
        ports = streams.begin()
        if custodian is not None:
            custodian.adopt(made)
    except BaseException:  # the custodian has been shut down meanwhile, or there is no room for a thread
        made.kill()
        raise
    return (made, *ports)


def _after_fork_in_child() -> None:
    for one in list(_places):
        one._control.close_after_fork()
        if hasattr(one._body, "close_after_fork"):
            one._body.close_after_fork()  # type: ignore[union-attr]
    outside.difference_update(_places)
    _places.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
