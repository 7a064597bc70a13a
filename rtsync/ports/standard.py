"""The standard streams as ports, and the current ports.

A port writes to the descriptor itself, after what ``print`` has left in Python's buffer, so that the order is
kept if the port is flushed in between. Where ``sys.stdout`` has been replaced by an object without a
descriptor (by a test, by ``contextlib.redirect_stdout``), that object is written to.

Other processes may share these descriptors, so they are not made non-blocking: reading and writing ask first.

Source: Racket Reference 13.1.2 (Managing ports), 13.1.3 (buffering).
"""

from __future__ import annotations

import atexit
import sys
from threading import Lock
from typing import Any

from rtsync.env import Parameter
from rtsync.errors import refuse
from rtsync.os_thread import block_on
from rtsync.runtime import at_end

from .ends import Stream, standard_end
from .input import InputPort
from .output import OutputPort


class _Standard:
    """The ports of the standard streams, each made when it is first asked for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made: dict[str, tuple[Any, Any]] = {}  # the stream, its port

    def port(self, which: str) -> Any:
        """The port of ``sys.<which>`` as it is now."""
        stream = getattr(sys, which)
        # The port of the original stays while that is replaced by something else.
        slot = which if stream is getattr(sys, f"__{which}__") else f"{which} replaced"
        with self._lock:
            old, port = self._made.get(slot, (None, None))
            if old is not stream or port is None:
                end = standard_end(which)
                if which == "stdin":
                    port = InputPort(end, which)
                else:
                    buffer = "block"
                    if which == "stderr" or isinstance(end, Stream):
                        buffer = "none"
                    elif stream.isatty():
                        buffer = "line"
                    port = OutputPort(end, which, buffer=buffer)
                self._made[slot] = (stream, port)
            return port

    def send(self, which: str) -> None:
        """Begin to write out what was printed to the process's own stream ``which``, and what is still in its
        port: another process is about to write there."""
        try:
            getattr(sys, f"__{which}__").flush()
        except (AttributeError, OSError, ValueError):  # there is none, nobody reads it, or it is closed
            pass
        with self._lock:
            _, port = self._made.get(which, (None, None))
        if port is not None:
            port.send()

    def flush(self) -> None:
        """Write out what is still in the ports; ``OSError`` if that is not possible, unless it is that nobody
        reads it. In an OS thread that is no worker."""
        for which in ("stdout", "stderr"):
            with self._lock:
                _, port = self._made.get(which, (None, None))
            if port is not None and port.pending() and not port.closed:
                try:
                    block_on(port.flush())
                except BrokenPipeError:
                    pass


_standard = _Standard()
send = _standard.send
at_end(_standard.flush)
atexit.register(_standard.flush)


def stdin() -> InputPort:
    """Standard input."""
    return _standard.port("stdin")  # type: ignore[no-any-return]


def stdout() -> OutputPort:
    """Standard output: buffered by lines if it is a terminal, else by blocks. Flushed when `run` ends."""
    return _standard.port("stdout")  # type: ignore[no-any-return]


def stderr() -> OutputPort:
    """Standard error, unbuffered."""
    return _standard.port("stderr")  # type: ignore[no-any-return]


class _CurrentPort[T: InputPort | OutputPort](Parameter[T]):
    """A parameter whose default is the port of a standard stream."""

    __slots__ = ("_kind", "_which")

    def __init__(self, name: str, which: str, kind: type[T]) -> None:
        self._which = which
        self._kind = kind

        def check(value: Any) -> Any:
            if not isinstance(value, kind):
                expected = "an input port" if kind is InputPort else "an output port"
                raise refuse(name, "port", expected, value, TypeError)
            return value

        super().__init__(name, None, check)  # type: ignore[arg-type]

    def read(self) -> Any:
        port: Any = super().read()
        return _standard.port(self._which) if port is None else port

    def given(self) -> Any:
        """The port that was set, or ``None`` where that is the standard stream's own."""
        port: Any = super().read()
        return None if port is None or port is _standard.port(self._which) else port


current_input_port = _CurrentPort("current_input_port", "stdin", InputPort)
"""The port that is read where none is given: standard input, unless set. A parameter.

Source: Racket Reference, ``current-input-port``."""

current_output_port = _CurrentPort("current_output_port", "stdout", OutputPort)
"""The port that is written to where none is given. Source: Racket Reference, ``current-output-port``."""

current_error_port = _CurrentPort("current_error_port", "stderr", OutputPort)
"""The port for errors. Source: Racket Reference, ``current-error-port``."""


def given(which: str) -> Any:
    """The port that was set instead of that of ``sys.<which>``, if any: for a place that is created here."""
    return (current_output_port if which == "stdout" else current_error_port).given()
