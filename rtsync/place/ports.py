"""Ports on descriptors in messages, as `rtsync.place.handles` has it for sockets and files. What an input
port has read ahead goes along. Imported with the first port that is sent or arrives."""

from __future__ import annotations

import os
from typing import Any

from rtsync.ports import InputPort, OutputPort
from rtsync.ports.descriptor import Descriptor

from .message import attachable
from .packet import Fd


def _port_trouble(port: Any) -> str | None:
    if port.closed:
        return "is closed and cannot be sent"
    if not isinstance(port._end, Descriptor):
        if isinstance(port._watched, Descriptor):
            return "over an encrypted connection cannot be sent between places"
        return "within the process cannot be sent between places"
    if isinstance(port, OutputPort) and port._pending:
        return "has output that was not flushed, and cannot be sent"
    return None


def _port_departs(port: Any) -> tuple[Any, Fd]:
    unread = b""
    if isinstance(port, InputPort):
        unread = bytes(port._buffer[port._start :])
    info = isinstance(port, InputPort), port._end.name, port.encoding, port.errors, unread
    return info, Fd(os.dup(port._end.fd))


def _port_arrives(info: Any, fd: Fd) -> Any:
    is_input, name, encoding, errors, unread = info
    end = Descriptor(fd.take(), name, is_input, not is_input)
    if is_input:
        port = end.reader = InputPort(end, name, encoding=encoding, errors=errors)
        if unread:
            port._put(unread)
        port._adopt()
        return port
    sink = end.writer = OutputPort(end, name, encoding=encoding, errors=errors)
    sink._adopt()
    return sink


attachable((InputPort, OutputPort), "port", _port_departs, _port_arrives, _port_trouble)
