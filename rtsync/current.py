"""The thread that runs in this OS thread."""

from __future__ import annotations

import sys
from typing import Any, Final

from scheduler import NoRuntime, here

from .waiter import RETRY


def current(operation: str) -> Any:
    """The current thread, for ``operation``, which needs one: `NoRuntime` outside a runtime."""
    try:
        task = here.driver.task
    except AttributeError:
        raise NoRuntime(operation) from None
    if not hasattr(task, "_mail"):  # an OS thread of the program's own
        raise NoRuntime(operation)
    return task


def current_or_none() -> Any:
    """The current thread, or ``None``."""
    try:
        task = here.driver.task
    except AttributeError:
        return None
    return task if hasattr(task, "_mail") else None


def was_given(waiter: Any) -> Any:
    """In the clean-up of an operation that waited with ``waiter`` and at which the current thread is being
    stopped: the operation's result, if it has happened all the same because a partner had claimed it first;
    else `RETRY`."""
    try:
        task = here.driver.task
    except AttributeError:
        return RETRY
    # Not our waiter: the coroutine is being closed by the collector, in some OS thread.
    if task is None or task.waiter is not waiter or getattr(task, "_rare", None) is None:
        return RETRY
    return task._rare.given


_CO_COROUTINE: Final = 0x80  # inspect.CO_COROUTINE
_RESUMABLE: Final = _CO_COROUTINE | 0x20 | 0x100  # or CO_GENERATOR or CO_ITERABLE_COROUTINE
_CALLED: Final = {
    **dict.fromkeys(("_choose", "_choose_two", "_get_either"), "sync"),
    "_sleep": "sleep",
    "Thread._end": "Thread.wait",
}


def let_go(waiter: Any, commit: Any) -> None:
    """In the clean-up of an operation that waited with ``waiter``, first of all: if who runs the coroutine
    knows nothing of us, nobody has made the ``commit``, and this OS thread still holds its lock or locks. Let
    go of them. `NoRuntime` if that was an event loop of somebody else.

    (The other cases: a collector that closes a coroutine, whose clean-up waits; and one that closes a thread
    which is suspended or has been claimed, in an OS thread that holds the same lock for something else.)"""
    if waiter:  # armed, and not claimed
        return
    try:
        task = here.driver.task
    except AttributeError:
        task = None
        ours = False
    else:
        if task is not None and task.waiter is waiter:  # armed, and claimed
            return
        ours = True
    if isinstance(sys.exception(), GeneratorExit) and (ours or _within_us(sys._getframe(1))):
        return  # the collector, or else our lock would not be held
    held = False
    for lock in commit if isinstance(commit, tuple) else (commit,):
        if lock._is_owned():
            held = True
            lock.release()
    if held and task is None and isinstance(sys.exception(), Exception):
        raise NoRuntime(_operation(sys._getframe(1))) from None


def _within_us(frame: Any) -> bool:
    """Whether a function of ours was being executed when the operation that has called the function of
    ``frame`` was closed."""
    while not frame.f_code.co_flags & _RESUMABLE:
        frame = frame.f_back
    while (frame := frame.f_back) is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(("rtsync.", "scheduler.")):
            return True
    return False


def _operation(frame: Any) -> str:
    """The name of the operation that has called the function of ``frame``."""
    while not frame.f_code.co_flags & _CO_COROUTINE:
        frame = frame.f_back
    request = frame.f_locals.get("request")  # of a port
    if request is not None:
        return str(request.operation)
    name = str(frame.f_code.co_qualname)
    return _CALLED.get(name, name)
