"""Ports and TCP, under their Racket names.

The order is that of the reference: end of file, ports, current ports, input, output, pipes, events, TCP.

Where Racket takes a port as an optional argument, its default is the current one; ``in`` is a word of Python,
so that argument is called ``in_``. `read_bytes_avail_evt` is ``read-bytes-avail!-evt``: it fills a
``bytearray`` and gives the number of bytes; given a number instead, it gives the bytes."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from rtsync.errors import check_count, refuse
from rtsync.evt import Evt
from rtsync.ports import (
    EOF,
    InputPort,
    Listener,
    OutputPort,
    current_error_port,
    current_input_port,
    current_output_port,
    pipe,
    tcp_accept,
    tcp_accept_evt,
    tcp_addresses,
    tcp_close,
)
from rtsync.ports import copy_port as _copy_port
from rtsync.ports import tcp_abandon_port as _tcp_abandon_port
from rtsync.ports import tcp_connect as _tcp_connect
from rtsync.ports import tcp_listen as _tcp_listen

__all__ = [
    "close_input_port",
    "close_output_port",
    "copy_port",
    "current_error_port",
    "current_input_port",
    "current_output_port",
    "eof",
    "eof_evt",
    "flush_output",
    "is_eof_object",
    "is_input_port",
    "is_output_port",
    "is_port_closed",
    "is_tcp_listener",
    "make_pipe",
    "peek_bytes",
    "read_bytes",
    "read_bytes_avail_evt",
    "read_bytes_evt",
    "read_bytes_line",
    "read_bytes_line_evt",
    "read_line",
    "read_line_evt",
    "tcp_abandon_port",
    "tcp_accept",
    "tcp_accept_evt",
    "tcp_addresses",
    "tcp_close",
    "tcp_connect",
    "tcp_listen",
    "write_bytes",
    "write_bytes_avail",
    "write_bytes_avail_evt",
    "write_string",
]

eof = EOF
"""What reading gives at the end of the input. Source: Racket Reference 13.1, ``eof``."""


def _input(operation: str, port: Any) -> InputPort:
    if port is None:
        return current_input_port()
    if not isinstance(port, InputPort):
        raise refuse(operation, "in_", "an input port", port, TypeError)
    return port


def _output(operation: str, port: Any) -> OutputPort:
    if port is None:
        return current_output_port()
    if not isinstance(port, OutputPort):
        raise refuse(operation, "out", "an output port", port, TypeError)
    return port


# -- end of file, ports ------------------------------------------------------------------------------


def is_eof_object(v: Any) -> bool:
    """Whether ``v`` is `eof`. Source: Racket Reference 13.1, ``eof-object?``."""
    return v is EOF


def is_input_port(v: Any) -> bool:
    """Whether ``v`` is an input port. Source: Racket Reference 13.1, ``input-port?``."""
    return isinstance(v, InputPort)


def is_output_port(v: Any) -> bool:
    """Whether ``v`` is an output port. Source: Racket Reference 13.1, ``output-port?``."""
    return isinstance(v, OutputPort)


def is_port_closed(port: InputPort | OutputPort) -> bool:
    """Whether ``port`` was closed. Source: Racket Reference 13.1, ``port-closed?``."""
    if not isinstance(port, (InputPort, OutputPort)):
        raise refuse("is_port_closed", "port", "a port", port, TypeError)
    return port.closed


def close_input_port(in_: InputPort) -> Any:
    """Close an input port; who waits at it gets an error. The result may be awaited.

    Source: Racket Reference 13.1, ``close-input-port``."""
    if not isinstance(in_, InputPort):
        raise refuse("close_input_port", "in_", "an input port", in_, TypeError)
    return in_.close()


def close_output_port(out: OutputPort) -> Any:
    """Close an output port, after what was written has been sent: that begins at once; the result may be
    awaited.

    Source: Racket Reference 13.1, ``close-output-port``."""
    if not isinstance(out, OutputPort):
        raise refuse("close_output_port", "out", "an output port", out, TypeError)
    return out.close()


# -- input -------------------------------------------------------------------------------------------


def read_line(in_: InputPort | None = None, mode: str = "linefeed") -> Coroutine[Any, Any, Any]:
    """Wait for a line: its text, or `eof`. Source: Racket Reference 13.2, ``read-line``."""
    return _input("read_line", in_).read_line(mode)


def read_bytes_line(in_: InputPort | None = None, mode: str = "linefeed") -> Coroutine[Any, Any, Any]:
    """Wait for a line: its bytes, or `eof`. Source: Racket Reference 13.2, ``read-bytes-line``."""
    return _input("read_bytes_line", in_).read_bytes_line(mode)


def read_bytes(amt: int, in_: InputPort | None = None) -> Coroutine[Any, Any, Any]:
    """Wait for ``amt`` bytes, or what is left, or `eof`. Source: Racket Reference 13.2, ``read-bytes``."""
    return _input("read_bytes", in_).read_bytes(amt)


def peek_bytes(amt: int, skip_bytes_amt: int, in_: InputPort | None = None) -> Coroutine[Any, Any, Any]:
    """`read_bytes` of what follows the next ``skip_bytes_amt`` bytes, which all stay in the port.

    Source: Racket Reference 13.2, ``peek-bytes``."""
    return _input("peek_bytes", in_).peek(amt, skip_bytes_amt)


# -- output ------------------------------------------------------------------------------------------


def _part(operation: str, argument: str, value: Any, start: Any, end: Any) -> Any:
    check_count(operation, "start_pos", start)
    if end is not None:
        check_count(operation, "end_pos", end)
    stop = len(value) if end is None else end
    if not start <= stop <= len(value):
        expected = f"a range within the {len(value)} of {argument}"
        raise refuse(operation, "start_pos, end_pos", expected, (start, stop), ValueError)
    return value if start == 0 and stop == len(value) else value[start:stop]


def _bytes(operation: str, bstr: Any) -> None:
    if not isinstance(bstr, (bytes, bytearray, memoryview)):
        raise refuse(operation, "bstr", "bytes", bstr, TypeError)


def write_bytes(
    bstr: bytes, out: OutputPort | None = None, start_pos: int = 0, end_pos: int | None = None
) -> Coroutine[Any, Any, int]:
    """Write ``bstr``, or a part of it; how many bytes. Source: Racket Reference 13.3, ``write-bytes``."""
    _bytes("write_bytes", bstr)
    return _output("write_bytes", out).write(_part("write_bytes", "bstr", bstr, start_pos, end_pos))


def write_string(
    str: str,
    out: OutputPort | None = None,
    start_pos: int = 0,
    end_pos: int | None = None,
) -> Coroutine[Any, Any, int]:
    """Write the text ``str``, or a part of it; how many characters.

    Source: Racket Reference 13.3, ``write-string``."""
    if not isinstance(str, _str):
        raise refuse("write_string", "str", "a string", str, TypeError)
    part = _part("write_string", "str", str, start_pos, end_pos)
    return _write_string(_output("write_string", out).write(part), len(part))


_str = str


async def _write_string(writing: Coroutine[Any, Any, int], size: int) -> int:
    await writing
    return size


_write_string.__name__ = _write_string.__qualname__ = "write_string"


def write_bytes_avail(
    bstr: bytes, out: OutputPort | None = None, start_pos: int = 0, end_pos: int | None = None
) -> Coroutine[Any, Any, int]:
    """Write at least one byte of ``bstr`` and as many as can be at once; how many.

    Source: Racket Reference 13.3, ``write-bytes-avail``."""
    _bytes("write_bytes_avail", bstr)
    part = _part("write_bytes_avail", "bstr", bstr, start_pos, end_pos)
    return _output("write_bytes_avail", out).write_bytes_avail(part)


def flush_output(out: OutputPort | None = None) -> Coroutine[Any, Any, None]:
    """Wait until all that was written has been sent. Source: Racket Reference 13.1.3, ``flush-output``."""
    return _output("flush_output", out).flush()


# -- pipes and copying -------------------------------------------------------------------------------


def make_pipe(
    limit: int | None = None, input_name: Any = "pipe", output_name: Any = "pipe"
) -> tuple[InputPort, OutputPort]:
    """An input and an output port, from the one of which is read what is written to the other.

    Source: Racket Reference 13.1.7, ``make-pipe``."""
    in_, out = pipe(limit)
    in_.name, out.name = str(input_name), str(output_name)
    return in_, out


def copy_port(src: InputPort, dst: OutputPort, *dsts: OutputPort) -> Coroutine[Any, Any, None]:
    """Copy all of ``src`` to the others, until its end. Source: Racket Reference 13.1.10.1, ``copy-port``."""
    return _copy_port(src, dst, *dsts)


# -- events ------------------------------------------------------------------------------------------


def read_line_evt(in_: InputPort | None = None, mode: str = "linefeed") -> Evt:
    """`read_line` as an event. Source: Racket Reference 13.1.11, ``read-line-evt``."""
    return _input("read_line_evt", in_).read_line_evt(mode)


def read_bytes_line_evt(in_: InputPort | None = None, mode: str = "linefeed") -> Evt:
    """`read_bytes_line` as an event. Source: Racket Reference 13.1.11, ``read-bytes-line-evt``."""
    return _input("read_bytes_line_evt", in_).read_bytes_line_evt(mode)


def read_bytes_evt(k: int, in_: InputPort | None = None) -> Evt:
    """`read_bytes` as an event. Source: Racket Reference 13.1.11, ``read-bytes-evt``."""
    return _input("read_bytes_evt", in_).read_bytes_evt(k)


def read_bytes_avail_evt(bstr: bytearray | int, in_: InputPort | None = None) -> Evt:
    """Ready when there is at least one byte. Takes as many as are there and fit in ``bstr``, puts them there
    and gives their number; or, with a number in the place of ``bstr``, at most as many, and gives them. `eof`
    at the end.

    Source: Racket Reference 13.1.11, ``read-bytes-avail!-evt``."""
    port = _input("read_bytes_avail_evt", in_)
    if not isinstance(bstr, bytearray):
        return port.read_bytes_avail_evt(bstr)
    if not bstr:
        raise refuse("read_bytes_avail_evt", "bstr", "a bytearray with room", bstr, ValueError)

    def fill(data: Any) -> Any:
        if data is EOF:
            return EOF
        bstr[: len(data)] = data
        return len(data)

    return port.read_bytes_avail_evt(len(bstr)).wrap(fill)


def eof_evt(in_: InputPort | None = None) -> Evt:
    """Ready when the port is at its end, with `eof`. Source: Racket Reference 13.1.11, ``eof-evt``."""
    return _input("eof_evt", in_).eof_evt()


def write_bytes_avail_evt(
    bstr: bytes, out: OutputPort | None = None, start_pos: int = 0, end_pos: int | None = None
) -> Evt:
    """`write_bytes_avail` as an event. Source: Racket Reference 13.1.11, ``write-bytes-avail-evt``."""
    _bytes("write_bytes_avail_evt", bstr)
    part = _part("write_bytes_avail_evt", "bstr", bstr, start_pos, end_pos)
    return _output("write_bytes_avail_evt", out).write_bytes_avail_evt(part)


# -- TCP ---------------------------------------------------------------------------------------------


def tcp_listen(
    port_no: int, max_allow_wait: int = 4, reuse: bool = False, hostname: str | None = None
) -> Listener:
    """Listen at a port of this machine, 0 for any free one. Source: Racket Reference 15.3.1,
    ``tcp-listen``."""
    return _tcp_listen(port_no, hostname, backlog=max_allow_wait, reuse=reuse)


def tcp_connect(
    hostname: str, port_no: int, local_hostname: str | None = None, local_port_no: int | None = None
) -> Coroutine[Any, Any, tuple[InputPort, OutputPort]]:
    """Connect to a machine: the two ports of the connection. Source: Racket Reference 15.3.1,
    ``tcp-connect``."""
    return _tcp_connect(hostname, port_no, local_host=local_hostname, local_port=local_port_no)


def tcp_abandon_port(tcp_port: InputPort | OutputPort) -> Any:
    """Close a port of a connection without telling the other end. The result may be awaited.

    Source: Racket Reference 15.3.1, ``tcp-abandon-port``."""
    return _tcp_abandon_port(tcp_port)


def is_tcp_listener(v: Any) -> bool:
    """Whether ``v`` is a listener. Source: Racket Reference 15.3.1, ``tcp-listener?``."""
    return isinstance(v, Listener)
