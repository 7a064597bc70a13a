"""What a port can be made over: descriptors, sockets, file objects, bytes.

An *end* is what a port reads from or writes to: a `Descriptor`, one side of a pipe, of TLS, or one of the
objects here, which never make anybody wait.

A descriptor or a socket becomes the port's, which closes it. Of a file object only the descriptor is used, a
duplicate; the object is not ours.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import sys
from typing import Any

from rtsync.custodian import check_custodian
from rtsync.errors import refuse

from .descriptor import Descriptor, SharedDescriptor


class Object:
    """The end of a port over something that is always ready."""

    __slots__ = ()

    watched = None
    short_means_empty = False
    unsent = False

    def taken(self, n: int) -> None:
        """See `Descriptor.taken`."""

    def farewell(self) -> None:
        """See `Descriptor.farewell`."""

    def push(self) -> None:
        """See `Descriptor.push`."""

    def close_read(self) -> None:
        """See `Descriptor.close_read`."""

    def close_write(self, tell: bool = True) -> None:
        """See `Descriptor.close_write`."""


class Bytes(Object):
    """Reads bytes that are there."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, n: int) -> bytes:
        """All of them, then the end."""
        data, self._data = self._data, b""
        return data


class Stream(Object):
    """Reads from or writes to a file object that has no descriptor, such as a ``StringIO``. That object
    blocks for as long as it likes."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, n: int) -> bytes:
        """At most ``n`` characters or bytes."""
        source = getattr(self._stream, "buffer", self._stream)
        data = source.read1(n) if hasattr(source, "read1") else source.read(n)
        return data.encode() if isinstance(data, str) else bytes(data or b"")

    def write(self, data: Any) -> int:
        """All of ``data``."""
        stream = self._stream
        sink = getattr(stream, "buffer", None)
        if sink is not None:
            stream.flush()  # what was printed comes first
            sink.write(data)
            sink.flush()
        elif isinstance(stream, io.TextIOBase):
            stream.write(bytes(data).decode("utf-8", "replace"))
        else:
            stream.write(bytes(data))
        return len(data)


class Standard(SharedDescriptor):
    """The descriptor of a standard stream. It is never closed."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Any, name: str, reading: bool) -> None:
        self._stream = stream
        super().__init__(stream.fileno(), name, reading, not reading)

    def write(self, data: Any) -> int:
        self._stream.flush()  # what was printed comes first
        return super().write(data)

    def _release(self, fd: int) -> None:
        for poller in self.pollers:
            poller.drop(self, fd)

    def __del__(self) -> None:
        pass


def check_socket(operation: str, argument: str, sock: socket.socket) -> None:
    """Refuse a socket of which the descriptor would not do."""
    if sock.fileno() < 0:
        raise refuse(operation, argument, "an open socket", sock, ValueError)
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise refuse(
            operation, argument, "a socket that is not encrypted (start_tls does that)", sock, TypeError
        )


def end_of(operation: str, source: Any, name: str | None, reading: bool) -> tuple[Any, str]:
    """The end for a port over ``source``, and the port's name; refuses what is nothing like that, and what
    would become ours while the current custodian has been shut down."""
    if hasattr(source, "watched"):  # an end already
        return source, name or "port"
    if isinstance(source, (bytes, bytearray, memoryview)) and reading:
        return Bytes(bytes(source)), name or "bytes"
    check_custodian(operation)
    argument = "source" if reading else "sink"
    if isinstance(source, socket.socket):
        check_socket(operation, argument, source)
        label = name or f"socket {source.fileno()}"
        return Descriptor(source.detach(), label, reading, not reading), label
    if isinstance(source, int) and not isinstance(source, bool):
        if not 0 <= source < 2**31:
            raise refuse(operation, argument, "a descriptor", source, ValueError)
        label = name or f"descriptor {source}"
        return Descriptor(source, label, reading, not reading), label
    if hasattr(source, "read" if reading else "write"):
        label = name or str(getattr(source, "name", None) or type(source).__name__)
        if not reading and hasattr(source, "flush"):
            source.flush()  # what was written to it comes first
        try:
            fd = os.dup(source.fileno())
        except (AttributeError, OSError, ValueError):
            return Stream(source), label
        try:
            return SharedDescriptor(fd, label, reading, not reading), label
        except BaseException:
            os.close(fd)
            raise
    kinds = "a descriptor, a socket or a file" + (" or bytes" if reading else "")
    raise refuse(operation, argument, kinds, source, TypeError)


def standard_end(which: str) -> Any:
    """The end for ``sys.stdin``, ``sys.stdout`` or ``sys.stderr`` as it is now."""
    stream = getattr(sys, which)
    if stream is None:
        raise OSError(errno.EBADF, f"{which}: this process has none")
    if stream is getattr(sys, f"__{which}__"):
        try:
            return Standard(stream, which, which == "stdin")
        except (AttributeError, OSError, ValueError):  # closed, or none
            pass
    return Stream(stream)
