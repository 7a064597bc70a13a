"""The thread that runs in this OS thread."""

from __future__ import annotations

from typing import Any

from scheduler import NoRuntime, here


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


def was_given(waiter: Any) -> bool:
    """In the clean-up of an operation that waited with ``waiter`` and at which the current thread is being
    stopped: whether the operation has happened all the same, because a partner had claimed it first."""
    try:
        task = here.driver.task
    except AttributeError:
        return False
    # Not our waiter: the coroutine is being closed by the collector, in some OS thread.
    return task.waiter is waiter and hasattr(task, "_rare") and task._rare is not None and task._rare.given
