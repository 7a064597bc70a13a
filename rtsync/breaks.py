"""Breaks: an exception from outside, at a point where the thread allows it.

Source: Racket Reference 10.6 (Breaks).
"""

from __future__ import annotations

from typing import Any, Final

from .current import current, current_or_none
from .errors import refuse


class Break(KeyboardInterrupt):
    """A break, as by Ctrl-C. Source: Racket Reference, ``exn:break``."""


class BreakHangUp(Break):
    """A break of the kind ``'hang-up'``, as by SIGHUP. Source: Racket Reference, ``exn:break:hang-up``."""


class BreakTerminate(Break):
    """A break of the kind ``'terminate'``, as by SIGTERM. Source: Racket Reference,
    ``exn:break:terminate``."""


_ERRORS: Final[dict[str | None, type[Break]]] = {
    None: Break,
    "hang-up": BreakHangUp,
    "terminate": BreakTerminate,
}
_STRENGTH: Final[dict[str | None, int]] = {None: 0, "hang-up": 1, "terminate": 2}


def check_kind(operation: str, kind: Any) -> None:
    """Refuse what is no kind of break."""
    if kind is not None and not isinstance(kind, str):
        raise refuse(operation, "kind", "None, 'hang-up' or 'terminate'", kind, TypeError)
    if kind not in _ERRORS:
        raise refuse(operation, "kind", "None, 'hang-up' or 'terminate'", kind, ValueError)


def break_error(kind: str | None) -> Break:
    """The exception for a kind."""
    return _ERRORS[kind]("break" if kind is None else f"break: {kind}")


class Breaks:
    """A break parameterization: whether breaks are enabled, in one block of one thread."""

    __slots__ = ("entered", "on")

    def __init__(self, on: bool) -> None:
        self.entered = on
        """The value with which the block was entered, which threads created in it start with."""
        self.on = on

    @staticmethod
    def stronger(one: str | None, other: str | None) -> str | None:
        """The stronger of two kinds."""
        return one if _STRENGTH[one] >= _STRENGTH[other] else other


def break_enabled(*on: bool) -> Any:
    """Whether breaks are enabled in the current thread; with an argument, enable or disable them, for the
    rest of the innermost `breaks` block. A pending break is raised as soon as they are enabled.

    Source: Racket Reference, ``break-enabled``."""
    me = current("break_enabled")
    if not on:
        return me._breaks_enabled()
    if not isinstance(on[0], bool):
        raise refuse("break_enabled", "on", "a bool", on[0], TypeError)
    with me._lock:
        rare = me._rarely()
        if rare.breaks is None:
            rare.breaks = Breaks(True)
        rare.breaks.on = on[0]
    me.deliver_break()
    return None


def breaks(on: bool) -> BreaksBlock:
    """``with breaks(False):`` disables breaks for the block, ``with breaks(True):`` enables them. A pending
    break is raised as soon as they are enabled, at the beginning or the end of the block.

    Source: Racket Reference, ``parameterize-break``."""
    if not isinstance(on, bool):
        raise refuse("breaks", "on", "a bool", on, TypeError)
    return BreaksBlock(Breaks(on))


class BreaksBlock:
    """The block of `breaks`."""

    __slots__ = ("_outer", "_own", "_thread")

    def __init__(self, own: Breaks) -> None:
        self._own = own

    def __enter__(self) -> None:
        me = self._thread = current("breaks")
        with me._lock:
            rare = me._rarely()
            self._outer, rare.breaks = rare.breaks, self._own
        try:
            me.deliver_break()
        except BaseException:  # the block is not entered
            rare.breaks = self._outer
            raise

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        me = self._thread
        me._rare.breaks = self._outer
        if error is None:
            me.deliver_break()
        else:
            me.poke_break()  # not on top of the error; soon after


class NoBreaks:
    """Breaks are disabled in the block, which does not end by one: it comes soon after."""

    __slots__ = ("_outer", "_thread")

    def __enter__(self) -> None:
        me = self._thread = current_or_none()
        if me is not None:
            with me._lock:
                rare = me._rarely()
                self._outer, rare.breaks = rare.breaks, Breaks(False)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        me = self._thread
        if me is not None:
            me._rare.breaks = self._outer
            me.poke_break()
