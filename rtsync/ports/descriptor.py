"""An open descriptor with a reading and a writing side, which two ports share.

`read` and `write` try, and raise ``BlockingIOError`` where they would have to wait. A descriptor number may
be given to someone else the moment it is closed, so it is closed only when both sides have said that they are
done, and each says so under the lock under which it reads or writes.

Regular files, block devices and the like are always ready for the kernel, which then waits for the disk in
the call; they are read and written directly (`always_ready`). A worker waits meanwhile; if that takes long,
the monitor replaces it."""

from __future__ import annotations

import os
import select
import socket
import stat
import warnings
from threading import Lock
from typing import Any, Final, Protocol

from scheduler import published
from scheduler.poller import END, READ, WRITE

_CHUNK: Final = 4096
"""As many bytes can be written to a pipe or terminal that reports room, without blocking (PIPE_BUF)."""


class Side(Protocol):
    """A port, as its descriptor sees it."""

    def on_ready(self, look_closely: bool) -> None:
        """Trying again may make sense. ``look_closely``: something is out of the ordinary, so a short count
        does not mean that there is no more. Any OS thread."""


class Descriptor:
    """An open file descriptor, which this owns. Non-blocking, unless it is always ready."""

    __slots__ = (
        "__weakref__",
        "_lock",
        "_reading",
        "_writing",
        "always_ready",
        "fd",
        "is_socket",
        "name",
        "pollers",
        "reader",
        "short_means_empty",
        "writer",
    )

    def __init__(self, fd: int, name: str, reading: bool, writing: bool) -> None:
        kind = os.fstat(fd).st_mode  # before it is ours: if it is none, there is nothing to be closed
        self._lock = Lock()
        self.fd = fd
        self.name = name
        self.pollers: list[Any] = []
        self.reader: Side | None = None
        self.writer: Side | None = None
        self._reading = reading
        self._writing = writing
        self.is_socket = stat.S_ISSOCK(kind)
        self.short_means_empty = self.is_socket or stat.S_ISFIFO(kind)
        self.always_ready = not self.short_means_empty and _is_always_ready(fd, kind)
        published(self)
        self._prepare()

    def _prepare(self) -> None:
        if not self.always_ready:
            os.set_blocking(self.fd, False)

    @classmethod
    def of_socket(cls, fd: int, name: str, reading: bool, writing: bool) -> Descriptor:
        """For a socket that is known to be non-blocking: without asking the kernel again."""
        self = published(cls.__new__(cls))
        self._lock = Lock()
        self.fd = fd
        self.name = name
        self.pollers = []
        self.reader = self.writer = None
        self._reading = reading
        self._writing = writing
        self.is_socket = self.short_means_empty = True
        self.always_ready = False
        return self

    @property
    def watched(self) -> Descriptor | None:
        """What a poller is to be asked about, if anything."""
        return None if self.always_ready else self

    # -- for ports, under the lock of the side in question -----------------------------------------

    def read(self, n: int) -> bytes:
        """At most ``n`` bytes, none at the end; ``BlockingIOError`` if there are none yet."""
        return os.read(self.fd, n)

    def write(self, data: Any) -> int:
        """Write some of ``data``: how many bytes; ``BlockingIOError`` if there is no room."""
        return os.write(self.fd, data)

    unsent = False
    """Whether bytes that `write` has taken are still here."""

    def push(self) -> None:
        """Send what is still here. ``BlockingIOError`` if there is no room."""

    def farewell(self) -> None:
        """All was sent: say so, where the connection has a way of its own to say it. It may leave something
        `unsent`."""

    def taken(self, n: int) -> None:
        """``n`` bytes that `read` gave have been taken from the port."""

    def close_read(self) -> None:
        """The reading side is done."""
        with self._lock:
            self._reading = False
            done = not self._writing and self.fd >= 0
        if done:
            self._close()

    def close_write(self, tell: bool = True) -> None:
        """The writing side is done; ``tell`` the other end if it can still send to us."""
        with self._lock:
            was, self._writing = self._writing, False
            done = not self._reading and self.fd >= 0
            if was and not done and tell and self.is_socket and self.fd >= 0:
                self._tell_end()
        if done:
            self._close()

    def _tell_end(self) -> None:
        borrowed = socket.socket(fileno=self.fd)
        try:
            borrowed.shutdown(socket.SHUT_WR)
        except OSError:  # not connected any more
            pass
        finally:
            borrowed.detach()

    def _close(self) -> None:
        """Both sides are done; nobody reads or writes."""
        with self._lock:
            fd, self.fd = self.fd, -1
            if fd < 0:
                return
        self.reader = self.writer = None
        self._release(fd)

    def _release(self, fd: int) -> None:
        if self.pollers:
            for poller in self.pollers:
                poller.drop(self, fd)
            self.pollers.clear()
        try:
            os.close(fd)
        except OSError:  # closed behind our back, or its last write failed; it is gone in any case
            pass

    def on_ready(self, what: int) -> None:
        """See `scheduler.poller.Watched`."""
        if what == READ:
            if (side := self.reader) is not None:
                side.on_ready(False)
            return
        if what & READ and (side := self.reader) is not None:
            side.on_ready(what >= END)
        if what & WRITE and (side := self.writer) is not None:
            side.on_ready(what >= END)

    def addresses(self) -> tuple[Any, Any]:
        """Of this socket and of its peer."""
        borrowed = socket.socket(fileno=self.fd)
        try:
            here = borrowed.getsockname()
            try:
                there = borrowed.getpeername()
            except OSError:
                there = None
            return here, there
        finally:
            borrowed.detach()

    def __del__(self) -> None:
        fd = getattr(self, "fd", -1)
        if fd >= 0 and hasattr(self, "_writing"):
            self.fd = -1
            warnings.warn(f"{self.name} was never closed", ResourceWarning, source=self, stacklevel=2)
            self._release(fd)

    def __repr__(self) -> str:
        return f"<{self.name}>"


class SharedDescriptor(Descriptor):
    """One that other processes use too, as standard streams are: whether it blocks is not ours to change, for
    that is a property of what is shared. So it is asked before each call whether that would block."""

    __slots__ = ("_ask",)

    def _prepare(self) -> None:
        self.short_means_empty = False
        self._ask = select.poll()

    def _check(self, event: int) -> None:
        if self.always_ready:
            return
        # A poll object cannot be used by two OS threads at once, and both sides may ask.
        with self._lock:
            self._ask.register(self.fd, event)
            if not self._ask.poll(0):
                raise BlockingIOError

    def read(self, n: int) -> bytes:
        self._check(select.POLLIN)
        return os.read(self.fd, n)

    def write(self, data: Any) -> int:
        self._check(select.POLLOUT)
        if self.always_ready:
            return os.write(self.fd, data)
        return os.write(self.fd, memoryview(data)[:_CHUNK])


class NamedPipe(Descriptor):
    """The reading end of a named pipe. Before anybody has opened the other end, that has not ended."""

    __slots__ = ()

    def read(self, n: int) -> bytes:
        data = os.read(self.fd, n)
        if not data:
            look = select.poll()
            look.register(self.fd, select.POLLIN)
            if not look.poll(0):
                raise BlockingIOError
        return data


def _is_always_ready(fd: int, kind: int) -> bool:
    """Whether the kernel cannot report readiness of ``fd``, of that kind."""
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISBLK(kind):
        return True
    if not hasattr(select, "epoll"):
        return stat.S_ISCHR(kind) and not os.isatty(fd)
    with select.epoll() as trial:
        try:
            trial.register(fd)
        except PermissionError:
            return True
    return False
