"""The standard streams of a place: what its creator gives, as descriptors that a process can start with.

A stream that has a descriptor is shared with the place. For any other (a ``StringIO``, a test's capture)
there is a pipe, and an OS thread of the creator that pumps bytes through it. Where ``None`` is given there is
a pipe too, and its other end is the caller's, who closes it.

Source: Racket Reference 11.5.1, ``dynamic-place`` and ``dynamic-place*``.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeIs

from rtsync.errors import refuse
from rtsync.evt import Latch
from rtsync.os_thread import block_on

from .packet import Fd

if TYPE_CHECKING:
    from rtsync.ports import InputPort, OutputPort

_CHUNK = 1 << 16


class CREATORS:
    """The creator's current port, which is its standard stream unless another was set."""


class EMPTY_INPUT:
    """A stream without any bytes."""


def _is_input(stream: Any) -> TypeIs[InputPort]:
    # Importing ports takes long, and before somebody has done it nothing is one.
    return "rtsync.ports" in sys.modules and isinstance(stream, import_module("rtsync.ports").InputPort)


def _is_output(stream: Any) -> TypeIs[OutputPort]:
    return "rtsync.ports" in sys.modules and isinstance(stream, import_module("rtsync.ports").OutputPort)


def _creators(which: str) -> Any:
    """What ``CREATORS`` stands for now."""
    standard: Any = sys.modules.get("rtsync.ports.standard")
    stream = getattr(sys, which)
    if standard is None:  # then nobody has set another, or written anything that would have to come before
        return stream
    given = standard.given(which)
    if given is not None:
        return given
    standard.send(which)
    return stream


def check_input(operation: str, stream: Any) -> None:
    """Refuse what cannot be read by a place."""
    if stream is None or stream is EMPTY_INPUT or _descriptor(stream) is not None:
        return
    if not _is_input(stream) and not hasattr(stream, "read"):
        raise refuse(operation, "in_", "None, or a stream to read from", stream, TypeError)


def check_output(operation: str, name: str, stream: Any) -> None:
    """Refuse what cannot be written by a place."""
    if stream is None or stream is CREATORS or (name == "err" and stream == "stdout"):
        return
    if _is_input(stream) or not (_descriptor(stream) is not None or hasattr(stream, "write")):
        either = ", 'stdout'" if name == "err" else ""
        raise refuse(operation, name, f"None{either}, or a stream to write to", stream, TypeError)


def _descriptor(stream: Any) -> int | None:
    """The descriptor under ``stream``, if there is one that a place can share."""
    if _is_input(stream) or _is_output(stream):
        from rtsync.ports.descriptor import Descriptor

        # Others are non-blocking, which is a property of what would be shared and not of the descriptor.
        end = stream._end
        return end.fd if isinstance(end, Descriptor) and end.always_ready and end.fd >= 0 else None
    try:
        fd = stream.fileno()
        os.fstat(fd)
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return None
    return int(fd)


class Streams:
    """The three streams of one place."""

    def __init__(self, in_: Any, out: Any, err: Any) -> None:
        """The arguments have been checked. ``OSError`` if there are no descriptors left."""
        self.pumped: list[Latch] = []
        """Ready when all that a place has written has been passed on."""
        self._pumps: list[Callable[[], None]] = []
        self.theirs: list[Any] = []  # what the place starts with
        self._ours: list[Any] = []  # what the caller gets ports to, in the order in, out, err
        self._input(in_)
        self._output(out, "stdout")
        if isinstance(err, str):
            self.theirs.append(self.theirs[1])
            self._ours.append(None)
        else:
            self._output(err, "stderr")

    def _input(self, stream: Any) -> None:
        ours: Any = None
        theirs: Any = None
        if stream is not EMPTY_INPUT:
            fd = None if stream is None else _descriptor(stream)
            if fd is not None:
                theirs = Fd(os.dup(fd))
            else:
                theirs, ours = _pipe()
                if stream is not None:
                    end = ours
                    self._pumps.append(lambda: _pump_in(stream, end))
                    ours = None
        self.theirs.append(theirs)
        self._ours.append(ours)

    def _output(self, stream: Any, which: str) -> None:
        ours: Any = None
        text = stream is CREATORS
        stream = _creators(which) if stream is CREATORS else stream
        nowhere = text and stream is None  # a program without standard streams
        fd = None if stream is None else _descriptor(stream)
        if nowhere:
            theirs = Fd(os.open(os.devnull, os.O_WRONLY))
        elif fd is not None:
            _flush(stream)  # what we have written comes before what the place writes
            theirs = Fd(os.dup(fd))
        else:
            ours, theirs = _pipe()
            if stream is not None:
                text = _takes_text(stream, text)
                end, done = ours, Latch()
                self.pumped.append(done)
                self._pumps.append(lambda: _pump_out(end, stream, text, done))
                ours = None
        self.theirs.append(theirs)
        self._ours.append(ours)

    def begin(self) -> tuple[Any, Any, Any]:
        """The place has been started: let go of what is its own, and begin to pump. Gives the caller's
        ports."""
        self.theirs.clear()
        for pump in self._pumps:
            Thread(target=pump, name="place-pump", daemon=True).start()
        in_, out, err = self._ours
        return (
            None if in_ is None else _output_port(in_.take()),
            None if out is None else _input_port(out.take()),
            None if err is None else _input_port(err.take()),
        )


def _flush(stream: Any) -> None:
    if _is_output(stream):
        stream.send()
    elif (flush := getattr(stream, "flush", None)) is not None:
        flush()


def _pipe() -> tuple[Fd, Fd]:
    read, write = os.pipe()
    return Fd(read), Fd(write)


def _input_port(fd: int) -> InputPort:
    from rtsync.ports import InputPort
    from rtsync.ports.descriptor import Descriptor

    end = Descriptor(fd, "place output", True, False)
    port = end.reader = InputPort(end, end.name)
    port._adopt()
    return port


def _output_port(fd: int) -> OutputPort:
    from rtsync.ports import OutputPort
    from rtsync.ports.descriptor import Descriptor

    end = Descriptor(fd, "place input", False, True)
    port = end.writer = OutputPort(end, end.name)
    port._adopt()
    return port


def _takes_text(stream: Any, presumably: bool) -> bool:
    """Whether ``str`` is to be written to ``stream``; ``presumably`` if it does not tell."""
    if isinstance(stream, (io.RawIOBase, io.BufferedIOBase)) or _is_output(stream):
        return False
    return presumably or isinstance(stream, io.TextIOBase) or hasattr(stream, "encoding")


def _pump_out(end: Fd, stream: Any, text: bool, done: Latch) -> None:
    """From the place to ``stream``, until the place (and who has its stream from it) closes its end."""
    port = _is_output(stream)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    wanted = True
    failed: Exception | None = None
    try:
        while data := os.read(end.fileno(), _CHUNK):
            if not wanted:
                continue
            try:
                if port:
                    block_on(stream.write(data, flush=True))
                else:
                    stream.write(decoder.decode(data) if text else data)
                    _flush(stream)
            except Exception as error:  # go on reading, lest the place block
                wanted = False
                if not isinstance(error, (OSError, ValueError)):  # those mean that it was closed
                    failed = error
    finally:
        os.close(end.take())
        done.set()
    if failed is not None:
        raise failed


def _pump_in(stream: Any, end: Fd) -> None:
    """From ``stream`` to the place, until either closes."""
    if _is_input(stream):

        def read(n: int) -> Any:
            return block_on(stream.read_bytes_avail(n))

    else:
        read = getattr(stream, "read1", None) or stream.read
    try:
        while data := read(_CHUNK):
            view = memoryview(data.encode() if isinstance(data, str) else data)
            while view:
                view = view[os.write(end.fileno(), view) :]
    except (OSError, ValueError):  # the place reads no more, or the stream was closed
        pass
    finally:
        os.close(end.take())
