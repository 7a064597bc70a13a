"""Ports over files.

A regular file never makes a thread wait as a socket does: the kernel reads from the disk in the call. So the
operations are made at once, by the worker. What may take long (a network file system) belongs into an
OS-backed thread.

Source: Racket Reference 13.1.5 (File ports).
"""

from __future__ import annotations

import os
import stat
from typing import Any, Final

from rtsync.custodian import check_custodian
from rtsync.errors import refuse

from .descriptor import NamedPipe
from .input import InputPort
from .output import OutputPort
from .port import check_encoding

_EXISTS: Final = {
    "error": os.O_CREAT | os.O_EXCL,
    "truncate": os.O_CREAT | os.O_TRUNC,
    "append": os.O_CREAT | os.O_APPEND,
    "update": 0,
    "can-update": os.O_CREAT,
}


def open_input(
    path: str | os.PathLike[str], *, encoding: str = "utf-8", errors: str = "replace"
) -> InputPort:
    """A port that reads the file at ``path``. ``OSError`` if that cannot be opened.

    Source: Racket Reference, ``open-input-file``."""
    where = path_of("open_input", path)
    check_encoding("open_input", encoding, errors)
    check_custodian("open_input")
    fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return InputPort(fd, where, encoding=encoding, errors=errors)
        end = NamedPipe(fd, where, True, False)
        end.reader = port = InputPort(end, where, encoding=encoding, errors=errors)
        port._adopt()
        return port
    except BaseException:
        _close(fd)
        raise


def open_output(
    path: str | os.PathLike[str], exists: str = "error", *, encoding: str = "utf-8", errors: str = "strict"
) -> OutputPort:
    """A port that writes the file at ``path``. ``exists`` says what to do with one that is there:
    ``'error'``, ``'truncate'``, ``'append'``, or ``'update'`` it from its beginning (``'can-update'``: also
    if there is none).

    Source: Racket Reference, ``open-output-file``."""
    where = path_of("open_output", path)
    flags = _flags(exists)
    check_encoding("open_output", encoding, errors, lines=False)
    check_custodian("open_output")
    fd = os.open(where, os.O_WRONLY | os.O_CLOEXEC | flags, 0o666)
    try:
        return OutputPort(fd, where, encoding=encoding, errors=errors)
    except BaseException:
        _close(fd)
        raise


def _flags(exists: object) -> int:
    if not isinstance(exists, str) or exists not in _EXISTS:
        kind = ValueError if isinstance(exists, str) else TypeError
        raise refuse("open_output", "exists", f"one of {', '.join(map(repr, _EXISTS))}", exists, kind)
    return _EXISTS[exists]


def path_of(operation: str, path: Any) -> str:
    """A path as a string; refuses what is none."""
    where: Any = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(where, str):
        raise refuse(operation, "path", "a path", path, TypeError)
    return where


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:  # the port has closed it
        pass
