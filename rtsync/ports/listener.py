"""Listeners: sockets that connections come to.

A listener waits like a port: threads stand in one queue, and a connection is claimed for the first of them
before it is given. A connection whose thread was killed just then goes back and is given to the next one.

When the process or the system is out of descriptors, connections stay with the kernel, who keeps ``backlog``
of them; the listener tries again a little later, and says so once through the logger ``rtsync.ports``.

Source: Racket Reference 15.3.1 (TCP).
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Coroutine
from inspect import markcoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from rtsync.evt import Evt
from rtsync.waiter import NOT_READY, Returned
from scheduler import current_driver, defer, nested
from scheduler.poller import READ

from .descriptor import Descriptor
from .errors import Failed, PortClosed
from .input import DONE, Done
from .port import Port, PortEvt, Request, performing

if TYPE_CHECKING:
    from .input import InputPort
    from .output import OutputPort

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_BROKEN: Final = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP)

RETRY_AFTER: Final = 0.1
"""Seconds until a listener that found no free descriptor tries again."""

_log = logging.getLogger("rtsync.ports")


class Ear:
    """One listening socket of a listener, which may have several: one for each address."""

    __slots__ = ("descriptor", "listener", "ready", "sock")

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self.listener = listener
        self.sock = sock
        self.ready = True
        sock.setblocking(False)
        self.descriptor = Descriptor.of_socket(sock.fileno(), listener.name, True, False)
        self.descriptor.reader = self

    def on_ready(self, look_closely: bool) -> None:
        """See `descriptor.Side`."""
        listener = self.listener
        with listener._lock:  # who has just tried in vain has said so by now, and is corrected
            self.ready = True
            listener.on_ready(False)

    def close(self) -> None:
        """Holds the listener's lock."""
        self.sock.detach()  # the descriptor is the other's
        self.descriptor.close_read()


class Accepted(Returned):
    """A connection on its way to the thread that accepts it."""

    __slots__ = ("address", "conn", "listener")

    def __init__(self, listener: Listener, conn: socket.socket, address: Any) -> None:
        self.listener = listener
        self.conn: socket.socket | None = conn
        self.address = address

    def take(self) -> socket.socket:
        """It has arrived."""
        conn, self.conn = self.conn, None
        assert conn is not None
        return conn

    def give_back(self) -> None:
        conn, self.conn = self.conn, None
        if conn is not None:
            self.listener.give_back(conn, self.address)

    def __del__(self) -> None:
        self.give_back()  # its thread was collected


class Listener(Port["Listener"]):
    """Where connections come to. As an event: ready when `accept` would not block, with itself as the result.

    ``async for inp, out in listener`` accepts until it is closed. Made by `tcp_listen` and `unix_listen`;
    usable from any OS thread.
    Source: Racket Reference, ``tcp-listener?``.
    """

    __slots__ = ("_backlog", "_ears", "_exhausted", "_make", "_unlink")

    _what = READ
    _kind = "listener"
    short_means_empty = True

    def __init__(
        self,
        socks: list[socket.socket],
        name: str,
        make: Callable[[socket.socket, Any], Any],
        unlink: tuple[str, int, int] | None = None,
    ) -> None:
        """``make(conn, address)`` gives what `accept` is to give."""
        self._ears: list[Ear] = []
        super().__init__(_Nothing, name, "", "")
        self._make = make
        self._unlink = unlink
        self._backlog: deque[tuple[socket.socket, Any]] = deque()
        self._exhausted = False
        self._ears = [Ear(self, sock) for sock in socks]
        self._watched = self._ears[0].descriptor
        self._told = False
        self._adopt()

    @markcoroutinefunction
    def accept(self) -> Coroutine[Any, Any, tuple[InputPort, OutputPort]]:
        """Wait for a connection: its input and output port, managed by the current custodian.

        Source: Racket Reference, ``tcp-accept``."""
        return self._accept(Accept(self))  # type: ignore[no-any-return]

    _accept = performing("Listener.accept")

    def accept_evt(self) -> Evt[tuple[InputPort, OutputPort]]:
        """`accept` as an event. Source: Racket Reference, ``tcp-accept-evt``."""
        return PortEvt(Accept(self))

    @property
    def address(self) -> Any:
        """The address it listens at, the first if there are several."""
        if self._closed:
            raise self._refusal().raised()
        return self._ears[0].descriptor.addresses()[0]

    @property
    def port(self) -> int:
        """The number of the TCP port."""
        return self.address[1]  # type: ignore[no-any-return]

    def close(self) -> Done:
        """Close it. Connections that nobody has accepted are closed too. Any OS thread; never blocks.

        Source: Racket Reference, ``tcp-close``."""
        if not self._later(self.close) and self._shut():
            with self._lock:
                for ear in self._ears:
                    ear.close()
                backlog = list(self._backlog)
                self._backlog.clear()
            for conn, _ in backlog:
                conn.close()
            if self._unlink is not None:
                path, device, inode = self._unlink
                try:
                    found = os.stat(path)
                    if (found.st_dev, found.st_ino) == (device, inode):
                        os.unlink(path)
                except OSError:
                    pass
        return DONE

    def abort(self) -> None:
        self.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> tuple[InputPort, OutputPort]:
        try:
            return await self.accept()
        except PortClosed:
            raise StopAsyncIteration from None

    # -- all hold _lock ------------------------------------------------------------------------------

    def _request(self) -> Request:
        return Acceptable(self)

    def _look_again(self) -> bool:
        for ear in self._ears:
            ear.ready = True
        return not self._closed

    def _enrol(self, poller: Any) -> None:
        for ear in self._ears:
            poller.want(ear.descriptor, READ)

    def _fill(self) -> bool:
        """Take a connection from the kernel: whether something has changed."""
        if self._closed or self._error is not None:
            return False
        if not self._told:
            self._look_again()
        for ear in self._ears:
            while ear.ready:
                try:
                    conn, address = ear.sock.accept()
                except BlockingIOError:
                    # Under the lock, so a report that comes just now sets it again after this.
                    ear.ready = False
                    continue
                except OSError as error:
                    if error.errno in _EXHAUSTED:
                        self._try_later(error)
                        return False
                    if error.errno in _BROKEN:
                        self._error = Failed(error)
                        return True
                    continue  # that connection has gone in the meantime
                self._exhausted = False
                conn.setblocking(False)
                self._backlog.append((conn, address))
                return True
        return False

    def _try_later(self, error: OSError) -> None:
        """There is no descriptor for a connection."""
        if not self._exhausted:
            self._exhausted = True
            text = f"{self.name}: connections have to wait: {error}"
            defer(lambda: _log.warning(text))  # handlers are users' code
        _call_later(RETRY_AFTER, lambda: self.on_ready(False))

    def give_back(self, conn: socket.socket, address: Any) -> None:
        """The thread that was to have this connection is dead. Takes _lock."""
        with self._lock:
            if nested(self._lock):
                defer(lambda: self.give_back(conn, address))
                return
            if not self._closed:
                self._backlog.appendleft((conn, address))
                if self._queue:
                    self._serve()
                return
        conn.close()


class _Nothing:
    """The end of a listener is its ears."""

    watched = None
    short_means_empty = True
    unsent = False


class Accept(Request):
    """`Listener.accept`."""

    __slots__ = ()

    operation = "accept"

    _port: Listener

    def _find(self) -> Any:
        port = self._port
        if port._closed:
            return port._refusal()
        if port._backlog or (port._fill() and port._error is None):
            return True
        return NOT_READY if port._error is None else port._error

    def _take(self, found: Any) -> Any:
        if found is not True:
            return found
        return Accepted(self._port, *self._port._backlog.popleft())

    def _finish(self, value: Any) -> Any:
        if type(value) is Accepted:
            address = value.address
            return self._port._make(value.take(), address)
        return super()._finish(value)


class Acceptable(Accept):
    """A listener as an event."""

    __slots__ = ()

    def _take(self, found: Any) -> Any:
        return self._port


def _call_later(seconds: float, call: Callable[[], object]) -> None:
    """``call()`` in some OS thread after a while; holding no lock."""
    driver = current_driver()
    if driver is None:

        def wait() -> None:
            time.sleep(seconds)
            call()

        start_new_thread(wait, ())
        return
    timers = driver.timers
    with timers.lock:
        timers.arm(timers.clock() + seconds, [], None, lambda timer: call())
