"""Sockets and files in messages: the other place gets a descriptor of its own for the same open file. (Ports:
`rtsync.place.ports`.)

Both places then have it open, and each closes its own. What a writer has buffered is written first; a reader
goes back to where the program has read to, where that is possible.
"""

from __future__ import annotations

import io
import os
import socket
from typing import Any

from .message import attachable
from .packet import Fd

_FILES = (io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)


def _socket_trouble(sock: socket.socket) -> str | None:
    return "is closed and cannot be sent" if sock.fileno() < 0 else None


def _socket_departs(sock: socket.socket) -> tuple[Any, Fd]:
    info = int(sock.family), int(sock.type), sock.proto, sock.gettimeout()
    return info, Fd(os.dup(sock.fileno()))


def _socket_arrives(info: Any, fd: Fd) -> socket.socket:
    family, kind, proto, timeout = info
    sock = socket.socket(family, kind, proto, fd.take())
    sock.settimeout(timeout)
    return sock


attachable((socket.socket,), "socket", _socket_departs, _socket_arrives, _socket_trouble)


def _raw(file: Any) -> Any:
    """The `io.FileIO` under ``file``, if it is an open one."""
    while not isinstance(file, io.FileIO):
        file = getattr(file, "buffer", None) or getattr(file, "raw", None)
        if file is None:
            return None
    return file


def _file_trouble(file: Any) -> str | None:
    if file.closed:
        return "is closed and cannot be sent"
    return "without a descriptor cannot be sent between places" if _raw(file) is None else None


def _file_departs(file: Any) -> tuple[Any, Fd]:
    raw = _raw(file)
    if file.writable():
        file.flush()
    if file.readable() and raw is not file and file.seekable():
        try:
            os.lseek(raw.fileno(), file.tell() if not isinstance(file, io.TextIOWrapper) else _told(file), 0)
        except OSError:  # a text file that is being iterated does not tell
            pass
    mode = raw.mode.replace("b", "").replace("x", "w")
    # "w" would empty it: it is open already.
    if isinstance(file, io.TextIOWrapper):
        return ("text", mode, file.encoding, file.errors, file.line_buffering), Fd(os.dup(raw.fileno()))
    return ("bytes" if raw is not file else "raw", mode, "", "", False), Fd(os.dup(raw.fileno()))


def _told(file: io.TextIOWrapper) -> int:
    """Where in its bytes a text file has been read to."""
    file.seek(file.tell())  # drops what was decoded ahead
    below: Any = file.buffer
    return int(below.tell())


def _file_arrives(info: Any, fd: Fd) -> Any:
    kind, mode, encoding, errors, line_buffering = info
    if kind == "raw":
        return os.fdopen(fd.take(), mode + "b", 0)
    if kind == "bytes":
        return os.fdopen(fd.take(), mode + "b")
    file = os.fdopen(fd.take(), mode, encoding=encoding, errors=errors)
    file.reconfigure(line_buffering=line_buffering)
    return file


attachable(_FILES, "file", _file_departs, _file_arrives, _file_trouble)
