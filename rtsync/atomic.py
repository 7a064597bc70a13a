"""Atomic and uninterruptible modes.

*Atomic mode* stops all other coroutine threads of the place, on all workers, between two bytecodes or in a
call into C, until it ends (`scheduler.place_lock`). Kill and suspend, and breaks save in the breakable kind,
wait for its end, and an operation that would block is refused. *Uninterruptible mode* lets others run on in
parallel; only what they want of this thread waits. An `UninterruptibleLock` is a lock for short sections of
code between threads of any kind; whoever has it is in uninterruptible mode.

All levels are counted in the thread (`rtsync.modes`). The outermost end delivers what had to wait: a kill,
else a suspension, then a break.

``import rtsync; with rtsync.atomic():`` works too: the module can be called in place of `atomic`.

Source: Racket Reference of ``ffi/unsafe/atomic``. What differs: a thread that ends inside a mode leaves it,
with the locks that it has; unbalanced ends and blocking are errors; in uninterruptible mode, where it is not
specified, blocking is allowed unless a lock is held.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine
from types import CoroutineType, ModuleType
from typing import TYPE_CHECKING, Any, Final, overload

from scheduler import current_driver, here
from scheduler.safepoint import transparent

from .control import BREAK, KILL, NO_BLOCK, SUSPEND
from .current import current_or_none
from .errors import ContractError, check_callable, refuse
from .modes import Modes

__all__ = [
    "UninterruptibleLock",
    "atomic",
    "call_as_atomic",
    "call_as_nonatomic",
    "call_as_uninterruptible",
    "end_atomic",
    "end_breakable_atomic",
    "end_uninterruptible",
    "is_in_atomic_mode",
    "make_uninterruptible_lock",
    "start_atomic",
    "start_breakable_atomic",
    "start_uninterruptible",
    "uninterruptible",
    "uninterruptible_lock_acquire",
    "uninterruptible_lock_release",
]

_PERIOD: Final = 0.001  # seconds between two looks of one who waits for an uninterruptible lock


# -- atomic mode -----------------------------------------------------------------------------------


def start_atomic() -> None:
    """Enter atomic mode: no other coroutine thread of the place takes a step until `end_atomic`, and no
    thread of any kind but this one is in atomic mode. May wait for that; who waits can be killed, suspended
    and broken. Calls nest. Outside of the library's threads it does nothing.

    `ContractError` in uninterruptible mode in a thread of a parallel pool.
    Source: Racket Reference, ``start-atomic``."""
    thread = current_or_none()
    if thread is not None:
        modes = thread.modes()
        if modes.place_lock is None:
            _enter(thread, modes, "start_atomic")
        modes.atomic += 1


def end_atomic() -> None:
    """End what the last `start_atomic` has begun. At the outermost end what had to wait takes effect: a kill,
    a suspension, a break. `ContractError` if there is nothing to end.

    Source: Racket Reference, ``end-atomic``."""
    thread = current_or_none()
    if thread is not None:
        modes = thread.modes()
        if not modes.atomic:
            raise ContractError("end_atomic: there was no start_atomic in this thread")
        modes.atomic -= 1
        _ended(thread, modes)


def start_breakable_atomic() -> None:
    """Like `start_atomic`, but breaks are still raised, unless there is another level that holds them back.

    Source: Racket Reference, ``start-breakable-atomic``."""
    thread = current_or_none()
    if thread is not None:
        modes = thread.modes()
        if modes.place_lock is None:
            _enter(thread, modes, "start_breakable_atomic")
        modes.breakable += 1


def end_breakable_atomic() -> None:
    """End what the last `start_breakable_atomic` has begun. `ContractError` if there is nothing to end.

    Source: Racket Reference, ``end-breakable-atomic``."""
    thread = current_or_none()
    if thread is not None:
        modes = thread.modes()
        if not modes.breakable:
            raise ContractError("end_breakable_atomic: there was no start_breakable_atomic in this thread")
        modes.breakable -= 1
        _ended(thread, modes)


def _enter(thread: Any, modes: Modes, operation: str, interruptible: bool = True) -> None:
    """Take the place lock. In the thread itself, which is not in atomic mode."""
    home = here.driver.home
    if modes.uninterruptible and thread._rare.pool is not None:
        raise ContractError(f"{operation}: a parallel thread cannot do this in uninterruptible mode")
    place_lock = home.place_lock
    if thread.pending and interruptible and thread.wanted():
        thread.at_safepoint()  # raises, or waits to be resumed, or it is in clean-up already
    while not place_lock.enter(thread, interruptible):
        thread.at_safepoint()  # raises, or waits to be resumed
        if thread.wanted():  # it is in clean-up already, or cannot be suspended here
            interruptible = False
    modes.place_lock = place_lock
    with thread._lock:  # `allow_blocking`, written out
        thread.pending |= NO_BLOCK
    thread.waiter = None


def _ended(thread: Any, modes: Modes) -> None:
    """A level has ended."""
    if not modes.in_atomic:
        _leave(thread, modes)
    if thread.pending:
        _catch_up(thread, modes)


def _leave(thread: Any, modes: Modes) -> None:
    """Let go of the place lock, and do what was put off because of it. In the thread itself."""
    place_lock, modes.place_lock = modes.place_lock, None
    if not modes.locks:
        with thread._lock:  # `allow_blocking`, written out
            thread.pending &= ~NO_BLOCK
    place_lock.leave(thread)
    if modes.leaves:
        modes.run_leaves()


def _catch_up(thread: Any, modes: Modes) -> None:
    """What had to wait takes effect, unless another level is still there."""
    if thread.pending & ~NO_BLOCK:
        if modes.defers:
            thread.deliver_break()
        else:
            thread.at_safepoint()


def _catch_up_in_exit(thread: Any, modes: Modes, error: Any) -> None:
    """The same at the end of a block that ends by ``error``, on top of which no break is raised."""
    if error is None or (thread.pending & (KILL | SUSPEND) and not modes.defers):
        _catch_up(thread, modes)
    elif thread.pending & BREAK:
        thread.poke_break()


class _Atomic:
    """The block of `atomic`. It has no state of its own, so one is enough for all."""

    __slots__ = ()

    def __enter__(self) -> None:
        try:
            thread: Any = here.driver.task
            modes = thread._rare.modes
            outside = modes.place_lock is None
        except AttributeError:
            start_atomic()
            return
        if outside:
            _enter(thread, modes, "atomic")
        modes.atomic += 1

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            thread: Any = here.driver.task
            modes = thread._rare.modes
            levels = modes.atomic
        except AttributeError:
            return
        if not levels:
            raise ContractError("atomic: the block was left by end_atomic already")
        modes.atomic = levels = levels - 1
        if not levels and not modes.calls and not modes.breakable:
            _leave(thread, modes)
        if thread.pending:
            _catch_up_in_exit(thread, modes, error)


class _BreakableAtomic(_Atomic):
    """The block of `atomic` with ``breakable``."""

    __slots__ = ()

    def __enter__(self) -> None:
        start_breakable_atomic()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        thread = current_or_none()
        if thread is not None:
            modes = thread.modes()
            if not modes.breakable:
                raise ContractError("atomic: the block was left by end_breakable_atomic already")
            modes.breakable -= 1
            if not modes.in_atomic:
                _leave(thread, modes)
            if thread.pending:
                _catch_up_in_exit(thread, modes, error)


_atomic: Final = _Atomic()
_breakable_atomic: Final = _BreakableAtomic()


def atomic(breakable: bool = False) -> _Atomic:
    """``with atomic():`` is in atomic mode for the block; with ``breakable=True`` in the breakable kind. See
    `start_atomic`."""
    if breakable is False:
        return _atomic
    if breakable is not True:
        raise refuse("atomic", "breakable", "a bool", breakable, TypeError)
    return _breakable_atomic


if TYPE_CHECKING:

    @overload
    def call_as_atomic[T](thunk: Callable[[], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]: ...
    @overload
    def call_as_atomic[T](thunk: Callable[[], T]) -> T: ...


def call_as_atomic(thunk: Callable[[], Any]) -> Any:
    """Call ``thunk()`` in atomic mode: its result, or its exception, which is raised after the mode has been
    left. Within another `call_as_atomic` it is a plain call. If ``thunk`` is ``async``, the result is to be
    awaited and ``thunk`` runs in atomic mode then.

    Source: Racket Reference, ``call-as-atomic``."""
    check_callable("call_as_atomic", "thunk", thunk)
    thread = current_or_none()
    if thread is None or thread.modes().calls:
        return thunk()
    result = _call_as_atomic(thread, thunk)
    return _await_as_atomic(result) if type(result) is CoroutineType else result


@transparent
def _call_as_atomic(thread: Any, thunk: Callable[[], Any]) -> Any:
    modes = thread.modes()
    _start_call(thread, modes)
    try:
        return thunk()
    finally:
        _end_call(thread, modes)


@transparent
async def _await_as_atomic(made: Coroutine[Any, Any, Any]) -> Any:
    thread = current_or_none()
    if thread is None or thread.modes().calls:
        return await made
    modes = thread.modes()
    try:
        _start_call(thread, modes)
    except BaseException:
        made.close()
        raise
    try:
        return await made
    finally:
        _end_call(thread, modes)


_await_as_atomic.__name__ = _await_as_atomic.__qualname__ = "call_as_atomic"


def _start_call(thread: Any, modes: Modes) -> None:
    if modes.place_lock is None:
        _enter(thread, modes, "call_as_atomic")
    modes.calls = 1


def _end_call(thread: Any, modes: Modes) -> None:
    if modes.calls:  # else the thread has left all modes, because it ends
        modes.calls = 0
        if not modes.in_atomic:
            _leave(thread, modes)
        if thread.pending:
            _catch_up_in_exit(thread, modes, sys.exception())


if TYPE_CHECKING:

    @overload
    def call_as_nonatomic[T](thunk: Callable[[], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]: ...
    @overload
    def call_as_nonatomic[T](thunk: Callable[[], T]) -> T: ...


def call_as_nonatomic(thunk: Callable[[], Any]) -> Any:
    """Call ``thunk()`` outside of atomic mode, from within `call_as_atomic`: all levels are left before, and
    entered again after. Meanwhile other threads run, and may kill or suspend this one. If ``thunk`` is
    ``async``, the result is to be awaited, within the same `call_as_atomic`.

    `ContractError` when not in a `call_as_atomic`. Source: Racket Reference, ``call-as-nonatomic``."""
    check_callable("call_as_nonatomic", "thunk", thunk)
    thread = current_or_none()
    if thread is None:
        return thunk()
    result = _call_as_nonatomic(thread, thunk)
    return _await_as_nonatomic(result) if type(result) is CoroutineType else result


@transparent
def _call_as_nonatomic(thread: Any, thunk: Callable[[], Any]) -> Any:
    modes = thread.modes()
    levels = _leave_levels(thread, modes)
    try:
        return thunk()
    finally:
        _enter_levels(thread, modes, levels)


@transparent
async def _await_as_nonatomic(made: Coroutine[Any, Any, Any]) -> Any:
    thread = current_or_none()
    if thread is None:
        return await made
    modes = thread.modes()
    try:
        levels = _leave_levels(thread, modes)
    except BaseException:
        made.close()
        raise
    try:
        return await made
    finally:
        _enter_levels(thread, modes, levels)


_await_as_nonatomic.__name__ = _await_as_nonatomic.__qualname__ = "call_as_nonatomic"


type _Levels = tuple[int, int, int]


def _leave_levels(thread: Any, modes: Modes) -> _Levels:
    if not modes.calls:
        raise ContractError("call_as_nonatomic: not within a call_as_atomic")
    levels = (modes.atomic, modes.breakable, modes.calls)
    modes.atomic = modes.breakable = modes.calls = 0
    _leave(thread, modes)
    if thread.pending:
        try:
            _catch_up(thread, modes)
        except BaseException:
            _enter_levels(thread, modes, levels)
            raise
    return levels


def _enter_levels(thread: Any, modes: Modes, levels: _Levels) -> None:
    """Whatever is wanted of the thread has to wait again: the call around is entitled to find the mode on."""
    if thread.dead:
        return
    if modes.place_lock is None:
        _enter(thread, modes, "call_as_nonatomic", interruptible=False)
    modes.atomic += levels[0]
    modes.breakable += levels[1]
    modes.calls += levels[2]


def is_in_atomic_mode() -> bool:
    """Whether the current thread is in atomic or uninterruptible mode. Source: Racket Reference,
    ``in-atomic-mode?``."""
    thread = current_or_none()
    return thread is not None and thread.steady()


# -- uninterruptible mode --------------------------------------------------------------------------


def start_uninterruptible() -> None:
    """Enter uninterruptible mode: until `end_uninterruptible`, kill, suspend and break have to wait; other
    threads run on in parallel. Calls nest, also with those of atomic mode. Outside of the library's threads
    it does nothing.

    Source: Racket Reference, ``start-uninterruptible``."""
    try:
        here.driver.task._rare.modes.uninterruptible += 1
    except AttributeError:
        thread = current_or_none()
        if thread is not None:
            thread.modes().uninterruptible += 1


def end_uninterruptible() -> None:
    """End what the last `start_uninterruptible` has begun. At the outermost end what had to wait takes
    effect: a kill, a suspension, a break. `ContractError` if there is nothing to end.

    Source: Racket Reference, ``end-uninterruptible``."""
    thread = current_or_none()
    if thread is not None:
        modes = thread.modes()
        if modes.uninterruptible <= len(modes.locks):
            raise ContractError("end_uninterruptible: there was no start_uninterruptible in this thread")
        modes.uninterruptible -= 1
        if thread.pending:
            _catch_up(thread, modes)


class _Uninterruptible:
    """The block of `uninterruptible`."""

    __slots__ = ()

    def __enter__(self) -> None:
        try:
            here.driver.task._rare.modes.uninterruptible += 1
        except AttributeError:
            start_uninterruptible()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            thread = here.driver.task
            modes = thread._rare.modes
            levels = modes.uninterruptible
        except AttributeError:
            return
        if levels <= len(modes.locks):
            raise ContractError("uninterruptible: the block was left by end_uninterruptible already")
        modes.uninterruptible = levels - 1
        if thread.pending:
            _catch_up_in_exit(thread, modes, error)


_uninterruptible: Final = _Uninterruptible()


def uninterruptible() -> _Uninterruptible:
    """``with uninterruptible():`` is in uninterruptible mode for the block. See `start_uninterruptible`."""
    return _uninterruptible


if TYPE_CHECKING:

    @overload
    def call_as_uninterruptible[T](thunk: Callable[[], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]: ...
    @overload
    def call_as_uninterruptible[T](thunk: Callable[[], T]) -> T: ...


def call_as_uninterruptible(thunk: Callable[[], Any]) -> Any:
    """Call ``thunk()`` in uninterruptible mode: its result or exception. If ``thunk`` is ``async``, the
    result is to be awaited and ``thunk`` runs in the mode then.

    Source: Racket Reference, ``call-as-uninterruptible``."""
    check_callable("call_as_uninterruptible", "thunk", thunk)
    result = _call_as_uninterruptible(thunk)
    return _await_as_uninterruptible(result) if type(result) is CoroutineType else result


@transparent
def _call_as_uninterruptible(thunk: Callable[[], Any]) -> Any:
    with _uninterruptible:
        return thunk()


@transparent
async def _await_as_uninterruptible(made: Coroutine[Any, Any, Any]) -> Any:
    with _uninterruptible:
        return await made


_await_as_uninterruptible.__name__ = _await_as_uninterruptible.__qualname__ = "call_as_uninterruptible"


# -- uninterruptible locks -------------------------------------------------------------------------


class UninterruptibleLock:
    """A lock between threads of any kind, for short sections of code.

    `acquire` enters uninterruptible mode, and then blocks the OS thread until the lock is free; `release`
    leaves the mode after it has freed the lock. So who has it is not stopped by others, and must not block
    itself, which is refused. ``with lock:`` does both. OS threads that the program itself started can use it,
    too.

    Source: Racket Reference, ``make-uninterruptible-lock``.
    """

    __slots__ = ("_holder", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: Any = None  # a thread, or the number of an OS thread that is none of ours

    def acquire(self) -> None:
        """Enter uninterruptible mode and take the lock. `ContractError` for the one who has it already, and
        in atomic mode if its holder waits to enter that, or cannot go on before its end.

        Source: Racket Reference, ``uninterruptible-lock-acquire``."""
        thread = current_or_none()
        if thread is None:
            me = threading.get_ident()
            if self._holder == me:
                raise ContractError("acquire: this OS thread has the lock already")
            self._lock.acquire()
            self._holder = me
            return
        if self._holder is thread:
            raise ContractError("acquire: this thread has the lock already")
        modes = thread.modes()
        modes.uninterruptible += 1
        if not self._lock.acquire(False):
            try:
                self._wait(modes)
            except BaseException:
                modes.uninterruptible -= 1
                raise
        self._holder = thread
        modes.locks.append(self)
        if not thread.pending & NO_BLOCK:
            thread.allow_blocking(False)

    def _wait(self, modes: Modes) -> None:
        driver = current_driver()
        acquire = self._lock.acquire
        modes.waits_for = self
        try:
            if modes.place_lock is not None:
                while not acquire(timeout=_PERIOD):
                    self._refuse_if_stuck(modes.place_lock)
            elif driver.key:
                self._wait_aside(driver, modes)
            else:
                acquire()
        finally:
            modes.waits_for = None

    def _wait_aside(self, worker: Any, modes: Modes) -> None:
        """Who waits on a worker of the place counts as stopped there: the holder may wait to enter atomic
        mode."""
        acquire = self._lock.acquire
        while True:
            modes.stands_aside = worker.runtime is worker.home  # atomic mode does not stop pools
            worker.aside()
            found = acquire(timeout=_PERIOD)
            if not worker.gate.acquire(False):
                if found:
                    self._lock.release()  # whoever is in atomic mode may want it, and we may not go on
                worker.gate.acquire()
                found = acquire(False)
            modes.stands_aside = False
            if found:
                return

    def _refuse_if_stuck(self, place_lock: Any) -> None:
        """The current thread is in atomic mode, and waits for this lock: `ContractError` if its holder waits
        for the end of that, or for another lock whose holder does, and so on."""
        lock: Any = self
        seen = []
        while lock is not None and lock not in seen:
            seen.append(lock)
            holder = lock._holder
            if not hasattr(holder, "modes"):  # nobody, or an OS thread that is none of ours
                return
            modes = holder._rare.modes
            waits = place_lock.waits(holder)
            if waits and lock is self:
                raise ContractError(
                    "acquire: the thread that has the lock waits to enter atomic mode, in which this one is"
                )
            if waits or modes.stands_aside:
                raise ContractError(
                    "acquire: the thread that has the lock cannot go on while this one is in atomic mode"
                )
            lock = modes.waits_for

    def release(self) -> None:
        """Free the lock and leave uninterruptible mode. `ContractError` for one who does not have it.

        Source: Racket Reference, ``uninterruptible-lock-release``."""
        thread = current_or_none()
        me = threading.get_ident() if thread is None else thread
        if self._holder != me:
            raise ContractError("release: this thread does not have the lock")
        self._free(thread)
        if thread is not None and thread.pending:
            _catch_up(thread, thread.modes())

    def _free(self, thread: Any) -> None:
        """Let go, and leave the mode."""
        self._holder = None
        if thread is None:
            self._lock.release()
            return
        modes = thread.modes()
        modes.locks.remove(self)
        self._lock.release()
        modes.uninterruptible -= 1
        if not modes.locks and modes.place_lock is None:
            thread.allow_blocking(True)

    def _abandon(self) -> None:
        """Its holder has ended."""
        self._holder = None
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            self.release()
            return
        thread = current_or_none()
        if self._holder != (threading.get_ident() if thread is None else thread):
            return  # released inside; the error is more interesting
        self._free(thread)
        if thread is not None and thread.pending:
            _catch_up_in_exit(thread, thread.modes(), error)

    def __repr__(self) -> str:
        return f"<UninterruptibleLock {'held' if self._lock.locked() else 'free'} at {id(self):#x}>"

    def __reduce__(self) -> Any:
        raise ContractError("UninterruptibleLock: cannot be copied or pickled; it belongs to its process")


def make_uninterruptible_lock() -> UninterruptibleLock:
    """A new `UninterruptibleLock`. Source: Racket Reference, ``make-uninterruptible-lock``."""
    return UninterruptibleLock()


def uninterruptible_lock_acquire(lock: UninterruptibleLock) -> None:
    """Enter uninterruptible mode and take ``lock``. See `UninterruptibleLock.acquire`.

    Source: Racket Reference, ``uninterruptible-lock-acquire``."""
    _check_lock("uninterruptible_lock_acquire", lock)
    lock.acquire()


def uninterruptible_lock_release(lock: UninterruptibleLock) -> None:
    """Free ``lock`` and leave uninterruptible mode. See `UninterruptibleLock.release`.

    Source: Racket Reference, ``uninterruptible-lock-release``."""
    _check_lock("uninterruptible_lock_release", lock)
    lock.release()


def _check_lock(operation: str, lock: Any) -> None:
    if not isinstance(lock, UninterruptibleLock):
        raise refuse(operation, "lock", "an uninterruptible lock", lock, TypeError)


class CallableModule(ModuleType):
    """``rtsync.atomic`` names this module and, for ``with rtsync.atomic():``, what it is named after."""

    def __call__(self, breakable: bool = False) -> _Atomic:
        return atomic(breakable)


sys.modules[__name__].__class__ = CallableModule
