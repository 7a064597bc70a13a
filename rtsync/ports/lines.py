"""Where lines end: Racket's five modes.

Source: Racket Reference 13.2 (``read-line``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rtsync.errors import refuse

type Span = tuple[int, int]
"""Where the text of a line ends, and where the next line begins."""

type Finder = Callable[[Any, int, bool], Span | None]
"""``find(buffer, start, ended)``: the end of the first line in ``buffer[start:]``, if it is there; ``ended``:
no more will come."""


def _linefeed(buffer: Any, start: int, ended: bool) -> Span | None:
    at = buffer.find(b"\n", start)
    return None if at < 0 else (at, at + 1)


def _return(buffer: Any, start: int, ended: bool) -> Span | None:
    at = buffer.find(b"\r", start)
    return None if at < 0 else (at, at + 1)


def _return_linefeed(buffer: Any, start: int, ended: bool) -> Span | None:
    at = buffer.find(b"\r\n", start)
    return None if at < 0 else (at, at + 2)


_any_end = re.compile(rb"\n|\r\n?")


def _any(buffer: Any, start: int, ended: bool) -> Span | None:
    found = _any_end.search(buffer, start)
    if found is None:
        return None
    span = found.span()
    if span[1] == len(buffer) and not ended and buffer[-1] == 13:
        return None  # a linefeed may follow, and belongs to it
    return span


_any_one_end = re.compile(rb"[\r\n]")


def _any_one(buffer: Any, start: int, ended: bool) -> Span | None:
    found = _any_one_end.search(buffer, start)
    return None if found is None else found.span()


_FINDERS: dict[str, Finder] = {
    "linefeed": _linefeed,
    "return": _return,
    "return-linefeed": _return_linefeed,
    "any": _any,
    "any-one": _any_one,
}


def finder(operation: str, mode: object) -> Finder:
    """The function for a mode; refuses what is none."""
    found = _FINDERS.get(mode) if isinstance(mode, str) else None
    if found is None:
        kind = ValueError if isinstance(mode, str) else TypeError
        raise refuse(operation, "mode", f"one of {', '.join(map(repr, _FINDERS))}", mode, kind)
    return found
