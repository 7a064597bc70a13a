"""Pipes within the process: what is written at one end is read at the other.

The two ports share one lock. The reading port's buffer is the pipe; ``limit`` bytes fit in it. A writer whose
message does not fit waits with the rest until somebody reads.

Source: Racket Reference 13.1.7 (Pipes).
"""

from __future__ import annotations

import sys
from errno import EPIPE
from typing import Any

from rtsync.errors import check_count

from .input import InputPort
from .output import OutputPort
from .port import check_encoding


class Pipe:
    """What both ports have as their end. All methods hold the lock of the ports."""

    __slots__ = ("_input", "_limit", "_output")

    watched = None
    short_means_empty = True
    unsent = False

    _input: PipeInput
    _output: OutputPort

    def __init__(self, limit: int | None) -> None:
        self._limit = sys.maxsize if limit is None else limit

    def taken(self, n: int) -> None:
        """There is room again."""
        output = self._output
        if not output._ready:
            output._ready = True
            if output._draining:
                output._push()
            if output._queue:
                output._serve()

    def write(self, data: Any) -> int:
        """Put what fits into the pipe, and what readers already wait for."""
        port = self._input
        if port._closed:
            raise BrokenPipeError(EPIPE, f"{port.name}: the input port of the pipe is closed")
        size, done = len(data), 0
        while done < size:
            room = self._limit - port.buffered()
            if room <= 0:
                if not port.hungry():
                    break
                room = self._limit
            part = bytes(data[done : done + room])
            done += len(part)
            port._feed(part)
        if port.buffered() >= self._limit and not port.hungry():
            self._output._ready = False  # who waits for room hears of it from `taken` or `_fill`
        if not done and size:
            raise BlockingIOError
        return done

    def farewell(self) -> None:
        """See `Descriptor.farewell`."""

    def push(self) -> None:
        """Nothing is kept here."""

    def close_read(self) -> None:
        """Nobody will read any more: writers are to learn of it."""
        self.taken(0)

    def close_write(self, tell: bool = True) -> None:
        """No more will come."""
        self._input._feed_end()


class PipeInput(InputPort):
    """The reading port: what its buffer lacks stands in the other one's."""

    __slots__ = ()

    def hungry(self) -> bool:
        """Whether a thread waits for more than there is. Holds _lock."""
        return any(entry[0] and entry[2].takes for entry in self._queue)

    def _feed(self, data: bytes) -> None:
        """``data`` has come. Holds _lock."""
        self._put(data)
        if self._queue:
            self._serve()

    def _feed_end(self) -> None:
        """No more will come. Holds _lock."""
        self._ended_input = True
        if self._queue:
            self._serve()

    def _fill(self) -> bool:
        output = self._end._output
        if not output._pending:
            if not output._ready:
                output._ready = True  # what comes now is wanted even if the pipe is full
                if output._queue:
                    output._serve()
            return False
        start = output._offset
        part = output._chunks[0][start : start + self._end._limit]
        self._put(part)  # first, for what follows may let in the next writer
        output._sent(len(part))
        if not output._pending:
            output._push()
        if output._queue:
            output._serve()
        return True


def pipe(
    limit: int | None = None, *, name: str = "pipe", encoding: str = "utf-8", errors: str = "replace"
) -> tuple[InputPort, OutputPort]:
    """An input and an output port: what is written to the one is read from the other.

    ``limit``: bytes that may be in the pipe, by default any number; a write waits until all its bytes are in.
    Source: Racket Reference, ``make-pipe``."""
    if limit is not None:
        check_count("pipe", "limit", limit, 1)
    check_encoding("pipe", encoding, errors)
    end = Pipe(limit)
    source = PipeInput(end, name, encoding=encoding, errors=errors)
    sink = OutputPort(end, name, encoding=encoding, errors=errors, buffer="none", limit=0)
    sink._lock = source._lock
    end._input, end._output = source, sink
    return source, sink
