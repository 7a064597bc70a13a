"""The thread that runs in this OS thread."""

from __future__ import annotations

from typing import Any

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
    if task.waiter is not waiter or getattr(task, "_rare", None) is None:
        return RETRY
    return task._rare.given
