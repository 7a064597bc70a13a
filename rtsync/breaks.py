"""Breaks: an exception from outside, at a point where the thread allows it.

Source: Racket Reference 10.6 (Breaks).
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, overload

from .current import current, current_or_none
from .errors import check_at_most_one, refuse


class Break(KeyboardInterrupt):
    """A break, as by Ctrl-C. Source: Racket Reference, ``exn:break``."""


class BreakHangUp(Break):
    """A break of the kind ``'hang-up'``, as by SIGHUP. Source: Racket Reference, ``exn:break:hang-up``."""


class BreakTerminate(Break):
    """A break of the kind ``'terminate'``, as by SIGTERM. Source: Racket Reference,
    ``exn:break:terminate``."""


class BreakScope(Break):
    """What the body of a `Scope` gets when one of the scope's threads has failed; the end of the scope turns
    it into the group of the failures."""


SCOPE: Final = "scope"
"""The kind of a `BreakScope`: not for `Thread.break_`, and weaker than all others."""

_ERRORS: Final[dict[str | None, type[Break]]] = {
    None: Break,
    "hang-up": BreakHangUp,
    "terminate": BreakTerminate,
    SCOPE: BreakScope,
}
_STRENGTH: Final[dict[str | None, int]] = {SCOPE: -1, None: 0, "hang-up": 1, "terminate": 2}


def check_kind(operation: str, kind: Any) -> None:
    """Refuse what is no kind of break."""
    if kind is not None and not isinstance(kind, str):
        raise refuse(operation, "kind", "None, 'hang-up' or 'terminate'", kind, TypeError)
    if kind not in _ERRORS or kind == SCOPE:
        raise refuse(operation, "kind", "None, 'hang-up' or 'terminate'", kind, ValueError)


def break_error(kind: str | None) -> Break:
    """The exception for a kind."""
    if kind == SCOPE:
        return BreakScope("break: a thread of the scope has failed")
    return _ERRORS[kind]("break" if kind is None else f"break: {kind}")


def handled(error: BaseException | None) -> Iterator[BaseException]:
    """``error``, which is being handled, and those in whose handling it was raised."""
    while error is not None:
        yield error
        error = error.__context__


class Breaks:
    """Whether breaks are enabled, in one block of one thread. `BreakParameterization` is made of these."""

    __slots__ = ("admitted", "cell", "entered", "on")

    cell: BreakParameterization
    """What `current_break_parameterization` has made of it; not there before."""

    admitted: list[weakref.ref[BaseException]]
    """The breaks in whose clean-up they were enabled all the same; not there before."""

    def __init__(self, on: bool) -> None:
        self.entered = on
        """The value with which the block was entered, which threads created in it start with."""
        self.on = on

    def admit(self) -> None:
        """They are enabled here and now, also if that is in the clean-up on the way out of a break. In their
        thread."""
        error = sys.exception()
        if error is not None:
            self.admitted = [weakref.ref(e) for e in handled(error) if isinstance(e, Break)]

    def admits(self, error: BaseException) -> bool:
        """Whether they were enabled in the clean-up of ``error``."""
        try:
            return any(e() is error for e in self.admitted)
        except AttributeError:
            return False

    @staticmethod
    def stronger(one: str | None, other: str | None) -> str | None:
        """The stronger of two kinds."""
        return one if _STRENGTH[one] >= _STRENGTH[other] else other


if TYPE_CHECKING:

    @overload
    def break_enabled() -> bool: ...
    @overload
    def break_enabled(on: bool, /) -> None: ...


def break_enabled(*on: bool) -> Any:
    """Whether breaks are enabled in the current thread; with an argument, enable or disable them, for the
    rest of the innermost `breaks` block. A pending break is raised as soon as they are enabled. While a
    break is being handled (``finally``, ``except Break``) they are not, unless they are enabled there.

    Source: Racket Reference, ``break-enabled``."""
    me = current("break_enabled")
    if not on:
        return me._breaks_enabled() and not me._handles_break(sys.exception())
    check_at_most_one("break_enabled", on)
    if not isinstance(on[0], bool):
        raise refuse("break_enabled", "on", "a bool", on[0], TypeError)
    with me._lock:
        rare = me._rarely()
        if rare.breaks is None:
            rare.breaks = Breaks(True)
        rare.breaks.on = on[0]
        if on[0]:
            rare.breaks.admit()
    me.deliver_break()
    return None


def breaks(on: bool | BreakParameterization) -> BreaksBlock:
    """``with breaks(False):`` disables breaks for the block, ``with breaks(True):`` enables them (also while
    one is being handled), and with a break parameterization they are as it says. A pending break is raised as
    soon as they are enabled, at the beginning or the end of the block.

    Source: Racket Reference, ``parameterize-break`` and ``call-with-break-parameterization``."""
    if isinstance(on, BreakParameterization):
        return BreaksBlock(on)
    if not isinstance(on, bool):
        raise refuse("breaks", "on", "a bool or a break parameterization", on, TypeError)
    return BreaksBlock(Breaks(on))


class BreaksBlock:
    """The block of `breaks`."""

    __slots__ = ("_outer", "_own", "_thread")

    def __init__(self, own: Breaks | BreakParameterization) -> None:
        self._own = own

    def __enter__(self) -> None:
        me = self._thread = current("breaks")
        own = self._own
        if isinstance(own, BreakParameterization):
            own = own.of(me)
        if own.on:
            own.admit()
        with me._lock:
            rare = me._rarely()
            self._outer, rare.breaks = rare.breaks, own
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


class EnableBreaks:
    """Breaks are enabled in the block, for the wait of a ``*_enable_break`` operation: a pending break is
    raised at its beginning, and after it breaks are as they were.

    The block must hold nothing but the wait (and, before it, what has taken nothing yet). So a break is
    raised there only where the operation is given up: at the wait, by whoever has claimed its waiter. If
    a partner has claimed it, the operation has happened; a break that came after that finds breaks as
    they are outside of the block, and stays pending if they are disabled. Both at once cannot be.
    """

    __slots__ = ("_outer", "_thread")

    def __enter__(self) -> None:
        me = self._thread = current_or_none()
        if me is None:  # an OS thread of the program's own has no breaks but Ctrl-C
            return
        own = Breaks(True)
        own.admit()
        with me._lock:
            rare = me._rarely()
            self._outer, rare.breaks = rare.breaks, own
        try:
            me.deliver_break()
        except BaseException:
            rare.breaks = self._outer
            raise

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        me = self._thread
        if me is not None:
            me._rare.breaks = self._outer
            me.poke_break()  # it came too late for the wait; soon after, if the caller allows it


class BreakParameterization:
    """Whether breaks are enabled, as `current_break_parameterization` found it: in that thread, the very
    value, which `break_enabled` changes for all that use it; in other threads one of their own, which starts
    with the value that the block was entered with."""

    __slots__ = ("_entered", "_own")

    def __init__(self, thread: Any, own: Breaks) -> None:
        self._entered = own.entered
        self._own: weakref.WeakKeyDictionary[Any, Breaks] = weakref.WeakKeyDictionary({thread: own})

    def of(self, thread: Any) -> Breaks:
        """The value in ``thread``, which is the current one."""
        own = self._own.get(thread)
        if own is None:
            own = self._own[thread] = Breaks(self._entered)
            own.cell = self
        return own

    def __repr__(self) -> str:
        return f"<break parameterization at {id(self):#x}>"


def current_break_parameterization() -> BreakParameterization:
    """Whether breaks are enabled in the current thread, as a value: ``with breaks(value):`` puts it back,
    here or in another thread.

    Source: Racket Reference, ``current-break-parameterization``."""
    me = current("current_break_parameterization")
    with me._lock:
        rare = me._rarely()
        own = rare.breaks
        if own is None:
            own = rare.breaks = Breaks(True)
    try:
        return own.cell  # type: ignore[no-any-return]
    except AttributeError:
        own.cell = cell = BreakParameterization(me, own)
        return cell
