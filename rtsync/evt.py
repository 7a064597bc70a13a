"""Synchronizable events: what they are, and how bigger ones are made from smaller ones.

A *base event* is something a thread can wait for: a channel's next value, a semaphore's count, the end of
a thread. It is a lock and three functions, after Reppy's Concurrent ML and Guile Fibers:

* ``_poll()``: take the event if it is ready now and give its result, else `NOT_READY`;
* ``_block(waiter, case)``: put the waiter where the one who makes the event ready will find it (gives
  ``None``; only deadlines give something else);
* ``_leave(waiter)``: the waiter was claimed through another event; forget it.

``_poll`` and ``_block`` are called with ``_lock`` held, ``_leave`` without. ``_lock`` may be ``None`` for an
event that needs none. Everything else here is a *combinator*: it holds other events and is taken apart by
`rtsync.sync` each time a thread synchronizes.

Differences from Racket: a handler may be ``async``; tail calls are asked for by returning ``tail(...)``;
a class becomes an event by ``__evt__`` and a foreign type by `register_evt`.

Source: Racket Reference 11.2.1 (Events).
"""

from __future__ import annotations

import sys
from _thread import RLock
from collections.abc import Awaitable, Callable, Coroutine
from functools import singledispatch
from importlib import import_module
from types import CoroutineType, GenericAlias
from typing import TYPE_CHECKING, Any, Never, overload

from scheduler import defer, nested, published, returns_coroutine
from scheduler.safepoint import transparent

from .errors import ContractError, check_callable, refuse, shown
from .waiter import NOT_READY, WaitQueue, wake_all

if TYPE_CHECKING:
    from asyncio import Future as AsyncioFuture
    from concurrent.futures import Future
    from typing import Protocol

    class SupportsEvt[T](Protocol):
        """An object of a class with ``__evt__``."""

        def __evt__(self) -> Evt[T]:
            """The event that it stands for."""

    type Waitable[T] = Evt[T] | SupportsEvt[T] | Future[T] | AsyncioFuture[T]
    """What may be passed to `sync` for a ``T``. (What `register_evt` adds, a type checker cannot know.)"""


class Evt[T = Any]:
    """A synchronizable event: pass it to `sync`, alone or with others. An ``Evt[T]`` results in a ``T``."""

    __slots__ = ()

    if not TYPE_CHECKING:
        # Takes the name of a class that is yet to come, for which that of `typing` would import much.
        __class_getitem__ = classmethod(GenericAlias)

    if TYPE_CHECKING:  # here and elsewhere: to make all the overloads takes a thirtieth of our import

        @overload
        def wrap[U](self, f: Callable[[T], Coroutine[Any, Any, U]]) -> Evt[U]: ...
        @overload
        def wrap[U](self, f: Callable[[T], U]) -> Evt[U]: ...

    def wrap(self, f: Callable[[Any], Any]) -> Evt:
        """An event ready with this one, whose result is ``f(result)``. ``f`` runs in the synchronizing
        thread with breaks disabled and may be ``async``; what it raises comes out of `sync`.

        Source: Racket Reference, ``wrap-evt``."""
        check_callable("wrap", "f", f)
        return Wrap(self, f, False)

    if TYPE_CHECKING:

        @overload
        def handle[U](self, f: Callable[[T], Coroutine[Any, Any, U]]) -> Evt[U]: ...
        @overload
        def handle[U](self, f: Callable[[T], U]) -> Evt[U]: ...

    def handle(self, f: Callable[[Any], Any]) -> Evt:
        """Like `wrap`, but ``f`` is called in tail position (it may return ``tail(...)``) and breaks stay
        as they are, unless the result is itself wrapped.

        Source: Racket Reference, ``handle-evt``."""
        check_callable("handle", "f", f)
        return Wrap(self, f, True)

    if TYPE_CHECKING:

        @overload
        def replace[U](self, f: Callable[[T], Coroutine[Any, Any, Waitable[U]]]) -> Evt[U]: ...
        @overload
        def replace[U](self, f: Callable[[T], Waitable[U]]) -> Evt[U]: ...

    def replace(self, f: Callable[[Any], Any]) -> Evt:
        """Once this event is ready, `sync` goes on with the event ``f(result)`` in its place. What this
        event has consumed stays consumed even when another event is chosen in the end. If ``f`` gives
        something that is no event, the whole is ready at once with itself as its result.

        Source: Racket Reference, ``replace-evt``."""
        check_callable("replace", "f", f)
        return Replace(self, f)


class BaseEvt[T = Any](Evt[T]):
    """An event with the interface that the page's head describes."""

    __slots__ = ()

    _lock: Any

    def _poll(self) -> Any:
        raise NotImplementedError

    def _block(self, waiter: list[Any], case: Any) -> Any:
        raise NotImplementedError

    def _leave(self, waiter: list[Any]) -> None:
        raise NotImplementedError

    def _look_again(self) -> bool:
        """A thread that does not wait has polled in vain, and nobody is to tell it of what comes: whether
        another poll makes sense, of the source itself and not of what is known of it. Holds ``_lock``."""
        return False

    def _pass_on(self) -> bool:
        """A thread was killed that had been given this and has not seen it yet: give it to the next, without
        ``_lock``; whether that is possible. Where it is not, the event has happened."""
        return False


class LocalEvt[T = Any](Evt[T]):
    """An event whose meaning depends on the thread or runtime that synchronizes on it."""

    __slots__ = ()

    def _localize(self) -> BaseEvt:
        """The base event it is in the current OS thread's driver."""
        raise NotImplementedError


class Wrap(Evt):
    """`Evt.wrap` and `Evt.handle`."""

    __slots__ = ("evt", "f", "is_handle")

    def __init__(self, evt: Evt, f: Callable[[Any], Any], is_handle: bool) -> None:
        self.evt = evt
        self.f = f
        self.is_handle = is_handle

    def __repr__(self) -> str:
        return f"{shown(self.evt)}.{'handle' if self.is_handle else 'wrap'}({_named(self.f)})"


class Replace(Evt):
    """`Evt.replace`."""

    __slots__ = ("evt", "f")

    def __init__(self, evt: Evt, f: Callable[[Any], Any]) -> None:
        self.evt = evt
        self.f = f

    def __repr__(self) -> str:
        return f"{shown(self.evt)}.replace({_named(self.f)})"


class Choice(Evt):
    """`choice`."""

    __slots__ = ("evts",)

    def __init__(self, evts: tuple[Any, ...]) -> None:
        self.evts = evts

    def __repr__(self) -> str:
        return f"choice({', '.join(shown(evt) for evt in self.evts)})"


class Guard(Evt):
    """`guard`, `nack_guard` and `poll_guard`, by ``kind``."""

    __slots__ = ("f", "kind")

    def __init__(self, f: Callable[..., Any], kind: str) -> None:
        self.f = f
        self.kind = kind

    def __repr__(self) -> str:
        return f"{self.kind}({_named(self.f)})"


def _named(f: Any) -> str:
    """A function, in the repr of an event that calls it."""
    return str(getattr(f, "__qualname__", None) or shown(f))


if TYPE_CHECKING:

    @overload
    def choice() -> Evt[Never]: ...
    @overload
    def choice[A, B = Never, C = Never, D = Never, More = Never](
        one: Waitable[A],
        two: Waitable[B] = ...,
        three: Waitable[C] = ...,
        four: Waitable[D] = ...,
        /,
        *evts: Waitable[More],
    ) -> Evt[A | B | C | D | More]: ...


def choice(*evts: Any) -> Evt:
    """An event ready when any of ``evts`` is; its result is that of the one chosen. With none: never ready.

    Source: Racket Reference, ``choice-evt``."""
    for position, evt in enumerate(evts):
        check_evt("choice", f"evts[{position}]", evt)
    return Choice(evts)


if TYPE_CHECKING:

    @overload
    def guard[T](f: Callable[[], Coroutine[Any, Any, Waitable[T]]]) -> Evt[T]: ...
    @overload
    def guard[T](f: Callable[[], Waitable[T]]) -> Evt[T]: ...


def guard(f: Callable[[], Any]) -> Evt:
    """An event made anew by ``f()`` each time a thread synchronizes on it. If ``f`` gives something that
    is no event, the guard is ready at once with itself as its result. ``f`` may be ``async``.

    Source: Racket Reference, ``guard-evt``."""
    check_callable("guard", "f", f)
    return Guard(f, "guard")


if TYPE_CHECKING:

    @overload
    def nack_guard[T](f: Callable[[Evt[Evt]], Coroutine[Any, Any, Waitable[T]]]) -> Evt[T]: ...
    @overload
    def nack_guard[T](f: Callable[[Evt[Evt]], Waitable[T]]) -> Evt[T]: ...


def nack_guard(f: Callable[[Any], Any]) -> Evt:
    """Like `guard` with ``f(nack)``: the event ``nack`` becomes ready when the guard's event is not chosen
    (another was, control left the `sync`, the thread ended, or ``f`` itself failed).

    Source: Racket Reference, ``nack-guard-evt``."""
    check_callable("nack_guard", "f", f)
    return Guard(f, "nack_guard")


if TYPE_CHECKING:

    @overload
    def poll_guard[T](f: Callable[[bool], Coroutine[Any, Any, Waitable[T]]]) -> Evt[T]: ...
    @overload
    def poll_guard[T](f: Callable[[bool], Waitable[T]]) -> Evt[T]: ...


def poll_guard(f: Callable[[bool], Any]) -> Evt:
    """Like `guard` with ``f(polling)``: ``True`` when the `sync` only polls.

    Source: Racket Reference, ``poll-guard-evt``."""
    check_callable("poll_guard", "f", f)
    return Guard(f, "poll_guard")


class _Always(BaseEvt):
    """Ready, with itself as the result."""

    __slots__ = ()

    _lock = None

    def _poll(self) -> Any:
        return self

    def __reduce__(self) -> str:
        return "always"

    def __repr__(self) -> str:
        return "always"


class _Never(Evt):
    """Never ready."""

    __slots__ = ()

    def __reduce__(self) -> str:
        return "never"

    def __repr__(self) -> str:
        return "never"


always: Evt[Evt] = _Always()
"""An event that is always ready; its result is itself. Source: Racket Reference, ``always-evt``."""

never: Evt[Never] = _Never()
"""An event that is never ready. Source: Racket Reference, ``never-evt``."""


class Ready(BaseEvt):
    """Ready at once with a given result."""

    __slots__ = ("value",)

    _lock = None

    def __init__(self, value: Any) -> None:
        self.value = value

    def _poll(self) -> Any:
        return self.value


class Latch(BaseEvt):
    """Something that happens once, and has happened from then on. Nacks, ends and external completions."""

    __slots__ = ("__weakref__", "_lock", "_waiters", "is_set", "value")

    def __init__(self) -> None:
        self._lock = published(RLock())
        self._waiters: WaitQueue | None = None
        self.is_set = False
        self.value: Any = self

    def set(self, *value: Any) -> bool:
        """Let it have happened, with itself or the given value as its result; whether this call did it.
        Any OS thread; takes _lock."""
        with self._lock:
            if self.is_set:
                return False
            if nested(self._lock):
                defer(lambda: self.set(*value))
                return True
            self.value = value[0] if value else self
            self.is_set = True
            waiters = self._waiters and self._waiters.taken()
            self._waiters = None
        if waiters:
            wake_all(waiters, self.value)
        return True

    def __reduce__(self) -> Any:
        raise ContractError("Evt: an event that happens once cannot be copied or pickled")

    def _poll(self) -> Any:
        return self.value if self.is_set else NOT_READY

    def _block(self, waiter: list[Any], case: Any) -> None:
        if self._waiters is None:
            self._waiters = WaitQueue()
        self._waiters.append((waiter, case))

    def _leave(self, waiter: list[Any]) -> None:
        waiters = self._waiters
        if waiters is not None:
            waiters.left(self._lock)


@singledispatch
def to_evt(value: Any) -> Any:
    """The event that ``value`` stands for, or ``None``. Extended by `register_evt`."""
    return to_evt(value) if _load_late() else None


_late: dict[str, str] = {}


def register_late(module: str, ours: str) -> None:
    """Some types of ``module`` are events once ``ours`` has been imported: do that when ``module`` has been,
    which takes too long to do it for all."""
    _late[module] = ours


def _load_late() -> bool:
    """Whether there are more adapters now."""
    wanted = [module for module in list(_late) if module in sys.modules]
    for module in wanted:
        ours = _late.get(module)
        if ours is not None:
            import_module(ours)  # first: who finds nothing in `_late` finds what was registered
            _late.pop(module, None)
    return bool(wanted)


def register_evt[T](kind: type[T], f: Callable[[T], Any]) -> None:
    """Make the instances of ``kind`` events: ``f(instance)`` gives the event each time a thread
    synchronizes on one.

    Source: Racket Reference, ``prop:evt``, for types that are not ours."""
    if not isinstance(kind, type):
        raise refuse("register_evt", "kind", "a class", kind, TypeError)
    check_callable("register_evt", "f", f)
    to_evt.register(kind, f)


def is_evt(value: object) -> bool:
    """Whether ``value`` may be passed to `sync`. Source: Racket Reference, ``evt?``."""
    return (
        isinstance(value, Evt) or callable(getattr(type(value), "__evt__", None)) or _is_adapted(type(value))
    )


def _is_adapted(kind: type) -> bool:
    nothing = to_evt.dispatch(object)
    return to_evt.dispatch(kind) is not nothing or (_load_late() and to_evt.dispatch(kind) is not nothing)


def check_evt(operation: str, argument: str, value: object) -> None:
    """Refuse what is no event."""
    if not is_evt(value):
        error = refuse(operation, argument, "an event", value, TypeError)
        if isinstance(value, CoroutineType):
            error.add_note(
                "Pass the object to wait for, not an operation on it: sync(ch), not sync(ch.get())."
            )
        raise error


class Tail:
    """A call that is still to be made. See `tail`."""

    __slots__ = ("args", "fn")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args = args


if TYPE_CHECKING:

    @overload
    def tail[*Ts, T](fn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T: ...
    @overload
    def tail[*Ts, T](fn: Callable[[*Ts], T], *args: *Ts) -> T: ...


def tail(fn: Callable[..., Any], *args: Any) -> Any:  # type: ignore[misc]
    """Return this from a function to have ``fn(*args)`` called in its place, without growing the stack.

    The base of every thread, and `call`, make the call. So a handler may "call" the loop that it is part
    of for ever: ``ch.handle(lambda v: tail(loop, state + v))``. For a type checker it is the call.
    """
    check_callable("tail", "fn", fn)
    return Tail(fn, args)


if TYPE_CHECKING:

    @overload
    def call[*Ts, T](fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> Coroutine[Any, Any, T]: ...
    @overload
    def call[*Ts, T](fn: Callable[[*Ts], T], *args: *Ts) -> Coroutine[Any, Any, T]: ...


@returns_coroutine  # type: ignore[misc]
def call(fn: Callable[..., Any], *args: Any) -> Coroutine[Any, Any, Any]:
    """Call ``fn(*args)``, plain or ``async``, and make the tail calls that it asks for; the last result."""
    check_callable("call", "fn", fn)
    return _call(Tail(fn, args))


@transparent
async def _call(first: Tail) -> Any:
    return await settle(first)


_call.__name__ = _call.__qualname__ = "call"


@transparent
async def settle(result: Any) -> Any:
    """Await ``result`` while it is a coroutine and make the calls that it asks for."""
    while True:
        if isinstance(result, Tail):
            result = result.fn(*result.args)
        elif isinstance(result, Awaitable):
            result = await result
        else:
            return result
