"""What input and output ports share: how threads wait at them, and who manages them.

A port has a lock and one queue of waiters. An entry is ``(waiter, case, request)``; the *request* says what
its thread wants, and knows how to find out whether the port can give that now and how to take it. Requests
are base events as in `rtsync.evt`; the port's own operations make one, try it, and park in the queue if that
must be.

**All or nothing.** Whoever learns that the port has changed (the poller, or a thread at the other end of a
pipe) serves the queue under the lock: it looks what can be given to an entry, *claims* its waiter, and only
then takes it from the port. The thread of a waiter that was claimed by a killer, a break, a timeout or
another event of its `sync` is skipped, and nothing was taken for it. Who polls for itself, before it is in
any queue, cannot be claimed by others at that moment. So each operation has happened, or not one byte of it
has.

Source: Racket Reference 13.1 (Encodings and ports), 13.1.11 (Port events).
"""

from __future__ import annotations

import codecs
from _thread import RLock
from collections.abc import Generator
from types import FunctionType
from typing import Any

from rtsync.current import let_go
from rtsync.custodian import current_custodian_or_none
from rtsync.errors import ContractError, refuse
from rtsync.evt import BaseEvt, Wrap
from rtsync.waiter import NOT_READY, RETRY, WaitQueue, give, has_living
from scheduler import NoRuntime, Parking, defer, direct, here, nested, poller_here, published

from .descriptor import Descriptor
from .errors import Failed, PortClosed


class Request(BaseEvt):
    """What a thread wants of a port."""

    __slots__ = ("_lock", "_port")

    operation = "operation"

    def __init__(self, port: Port) -> None:
        self._port = port
        self._lock = port._lock

    def _find(self) -> Any:
        """What `_take` is to be called with, or `NOT_READY`. Changes nothing that another thread could see.
        Holds _lock."""
        raise NotImplementedError

    def _take(self, found: Any) -> Any:
        """Take it; what the thread gets (a `Failed` if it is to raise). Holds _lock."""
        return found

    def _finish(self, value: Any) -> Any:
        """What the operation gives, in the thread itself and without any lock. May raise."""
        if type(value) is Failed:
            raise value.raised()
        return value

    def _look_again(self) -> bool:
        return self._port._look_again()

    def _poll(self) -> Any:
        port = self._port
        if port._quick:
            port._quick_to_queue()
        if port._queue:  # those who wait come first
            port._serve()
        found = self._find()
        value = NOT_READY if found is NOT_READY else self._take(found)
        if port._queue:  # what has changed may be what they wait for
            port._serve()
        return value

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._port._enqueue(waiter, case, self)

    def _leave(self, waiter: list[Any]) -> None:
        self._port._left()

    def __repr__(self) -> str:
        return f"{self.operation} of {self._port!r}"


class PortEvt(Wrap):
    """A request as an event for users: errors come out of `sync`, bytes become text in the thread itself."""

    __slots__ = ()

    def __init__(self, request: Request) -> None:
        super().__init__(request, request._finish, True)

    def __repr__(self) -> str:
        return repr(self.evt)


class Port[Me = Any](BaseEvt[Me]):
    """An input or output port. As an event: ready when reading or writing would not block; result itself."""

    __slots__ = (
        "__weakref__",
        "_asks",
        "_closed",
        "_custodian",
        "_end",
        "_error",
        "_fd",
        "_held",
        "_lock",
        "_look_closely",
        "_queue",
        "_quick",
        "_ready",
        "_self_request",
        "_told",
        "_wanted",
        "_watched",
        "encoding",
        "errors",
        "name",
    )

    _what: int  # the direction, for the poller

    def __init__(self, end: Any, name: str, encoding: str, errors: str) -> None:
        self._lock = published(RLock())
        self._queue = published(WaitQueue())
        self._quick: list[Any] | None = None  # see `InputPort._quick_to_queue`
        self._end = end  # a descriptor, one side of TLS or of a pipe
        self._watched = end.watched
        self._asks = self._what  # the directions that concern us
        # Hot paths skip a call where the end is a plain descriptor; -1 where it is not, and once closed.
        self._fd = end.fd if type(end) is Descriptor and not end.always_ready else -1
        self._wanted: Any = None  # the poller that was asked last
        self._ready = True  # trying makes sense; also once there is nothing but an end, an error or a refusal
        self._told = end.watched is None  # somebody will set that again; else it is as good as set
        self._look_closely = not end.short_means_empty
        self._error: Failed | None = None  # of the descriptor; for all operations from now on
        self._closed = False
        self._custodian: Any = None
        self._held: list[Any] = []  # pollers that keep us alive because a thread waits
        self._self_request: Request | None = None
        self.name = name
        self.encoding = encoding
        self.errors = errors

    def _adopt(self) -> None:
        """Be managed by the current custodian, if there is one; closes the port if that has been shut
        down."""
        custodian = self._custodian = current_custodian_or_none()
        if custodian is not None:
            try:
                custodian.adopt(self)
            except ContractError:
                self.abort()
                raise

    # -- waiting -----------------------------------------------------------------------------------

    def _enqueue(self, waiter: list[Any], case: Any, request: Any) -> None:
        """Holds _lock."""
        try:
            here.driver  # noqa: B018
        except AttributeError:
            raise NoRuntime(request.operation) from None
        self._queue.append((waiter, case, request))
        if self._watched is not None:
            self._want()
        if self._timeout is not None and case is None:  # else it waits in a `sync`
            self._set_deadline(request)

    _timeout: float | None = None
    """See `timeouts.TimedPort`."""

    def _set_deadline(self, request: Any) -> None:
        raise NotImplementedError

    def _want(self) -> None:
        """Be told by the poller of this thread's runtime, and be kept alive by it meanwhile. Holds _lock."""
        poller = poller_here()
        if not self._held or poller not in self._held:
            self._held.append(poller)
            poller.waiting.add(self)
        if self._wanted is not poller or not poller.persistent:
            self._enrol(poller)
            self._wanted = poller
            self._told = poller.persistent

    def _unhold(self) -> None:
        """No thread waits any more. Holds _lock."""
        held = self._held
        while held:
            held.pop().waiting.discard(self)

    def _quick_to_queue(self) -> None:
        """There is a waiter outside the queue, and others come: let it stand where all do. Holds _lock."""
        raise NotImplementedError

    def has_waiters(self) -> bool:
        """See `scheduler.poller.Waits`."""
        return bool(self._quick) or has_living(self._queue)

    def _left(self) -> None:
        """A waiter of the queue has died. Takes _lock."""
        swept = []
        with self._lock:
            queue = self._queue
            if nested(self._lock):
                return
            # Nearly always it is the only one.
            while queue and not queue[0][0]:
                swept.append(queue.popleft())
            if not queue and not self._quick:
                self._idle()
        queue.left(self._lock)
        del swept  # what it refers to goes only now, without the lock

    def _idle(self) -> None:
        """The queue is empty. Holds _lock."""
        if self._held:
            self._unhold()

    def _serve(self) -> None:
        """Give to those who wait what can be given. Holds _lock; any OS thread."""
        queue = self._queue
        kept = []
        served = False
        while queue:
            entry = queue.popleft()
            waiter, case, request = entry
            if not waiter:
                continue
            found = request._find()
            if found is NOT_READY:
                kept.append(entry)  # another may want less
                continue
            try:
                task = waiter.pop()
            except IndexError:
                continue
            served = True
            give(task, case, request._take(found))
        if kept:
            queue.extend(kept)
            if served and len(kept) > 0:  # what was taken may be what a kept one waits for (the end)
                self._serve()
        else:
            self._idle()

    def on_ready(self, look_closely: bool) -> None:
        """See `descriptor.Side`."""
        with self._lock:
            self._ready = True
            if look_closely:
                self._look_closely = True
            if self._queue and not self._closed:
                self._serve()
                if self._held:
                    self._want_again()

    def _want_again(self) -> None:
        """We have been told something, and it was not enough: a poller that tells only once is to be asked
        once more. Holds _lock."""
        for poller in self._held:
            if not poller.persistent:
                self._enrol(poller)

    def _enrol(self, poller: Any) -> None:
        """Holds _lock."""
        poller.want(self._watched, self._asks)

    # -- as an event: ready when an operation would not block ----------------------------------------

    def _request(self) -> Request:
        raise NotImplementedError

    def _poll(self) -> Any:
        if self._self_request is None:
            self._self_request = self._request()
        if self._quick:
            self._quick_to_queue()
        found = self._self_request._find()
        if self._queue:
            self._serve()
        return NOT_READY if found is NOT_READY else self

    def _look_again(self) -> bool:
        if self._ready or self._watched is None:
            return False
        self._ready = True
        return True

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._enqueue(waiter, case, self._self_request)

    def _leave(self, waiter: list[Any]) -> None:
        self._left()

    # -- its end -------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it was closed. Source: Racket Reference, ``port-closed?``."""
        return self._closed

    def _refusal(self) -> Failed:
        """What operations on a closed port give."""
        return Failed(PortClosed(f"{self.name}: the {self._kind} is closed"))

    _kind = "port"

    def abort(self) -> None:
        """Close it at once, whatever is still on its way. Any OS thread."""
        raise NotImplementedError

    def _shut(self) -> bool:
        """Mark it closed and wake all who wait; whether it was open. Takes _lock, and must not be nested in
        it."""
        with self._lock:
            if self._closed:
                return False
            if self._quick:
                self._quick_to_queue()
            self._closed = True
            self._fd = -1
            self._ready = True  # there is an answer: a refusal
            queue = self._queue.taken()
            self._unhold()
            refusal = self._refusal()
        for waiter, case, request in queue:
            try:
                task = waiter.pop()
            except IndexError:
                continue
            give(task, case, self if request is self._self_request else refusal)
        return True

    def _later(self, call: Any) -> bool:
        """Whether this OS thread is in the middle of an operation on this port, so that ``call`` is made from
        elsewhere (see `scheduler.deferred`). Takes _lock."""
        with self._lock:
            if nested(self._lock):
                defer(call)
                return True
        return False

    def _ended(self) -> bool:
        return self._closed

    def _disown(self, custodian: Any) -> bool:
        return not self._closed

    @staticmethod
    def end_all(ports: list[Any]) -> None:
        """Their custodian has been shut down."""
        for port in ports:
            port.abort()

    def __reduce__(self) -> Any:
        raise ContractError(f"{type(self).__name__}: cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{' closed' if self._closed else ''}>"


def _perform(self: Port, request: Any) -> Generator[Parking, Any, Any]:
    """Wait until ``request`` can be met, and take what it takes: an operation of the port. If what is taken
    is itself a request, go on with that."""
    lock = self._lock
    while True:
        lock.acquire()
        try:
            value = request._poll()
            if value is NOT_READY:
                waiter: list[Any] = []
                self._enqueue(waiter, None, request)
        except BaseException:
            lock.release()
            raise
        if value is NOT_READY:
            try:
                value = yield waiter, lock
            except BaseException:
                let_go(waiter, lock)
                self._left()
                raise
            if value is RETRY:
                self._left()
                continue
        else:
            lock.release()
        if isinstance(value, Request):
            request = value
            continue
        return request._finish(value)


def performing(name: str) -> Any:
    """`_perform` as a method, under the name that a warning shows if its coroutine is never awaited."""
    method = direct(FunctionType(_perform.__code__, globals(), name.rpartition(".")[2]))
    method.__qualname__ = name
    return method


def check_encoding(operation: str, encoding: object, errors: object, lines: bool = True) -> None:
    """Refuse what is no encoding of text, or no way to treat errors; with ``lines`` also an encoding in which
    the bytes that end a line mean something else."""
    if not isinstance(encoding, str):
        raise refuse(operation, "encoding", "the name of an encoding", encoding, TypeError)
    if not isinstance(errors, str):
        raise refuse(operation, "errors", "the name of an error handler", errors, TypeError)
    if encoding != "utf-8":
        try:
            "".encode(encoding)
        except LookupError:
            raise refuse(operation, "encoding", "the name of an encoding", encoding, ValueError) from None
        if lines and b"\r\n".decode(encoding, "replace") != "\r\n":
            expected = "one in which a return and a linefeed are one byte each, as in ASCII"
            raise refuse(operation, "encoding", expected, encoding, ValueError)
    if errors not in ("replace", "strict"):
        try:
            codecs.lookup_error(errors)
        except LookupError:
            raise refuse(operation, "errors", "the name of an error handler", errors, ValueError) from None
