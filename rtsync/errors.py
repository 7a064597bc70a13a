"""Every error that the library raises, and the checks that raise the common ones.

Bad input is refused at the call, before anything has changed, in one form: the operation, the argument,
what was expected and what came (`Semaphore: init must be a non-negative integer, got -1`).
"""

from __future__ import annotations

from functools import partial
from math import isnan
from types import CodeType, CoroutineType
from typing import Any, TypeIs

from scheduler import BadYield, ForkError, NoRuntime, SchedulerError
from scheduler.task import CO_ASYNC_GENERATOR, CO_GENERATOR

__all__ = [
    "BadYield",
    "ContractError",
    "Deadlock",
    "ForkError",
    "NoRuntime",
    "SchedulerError",
    "ThreadDead",
    "ThreadKilled",
]


class ContractError(Exception):
    """An operation was used in a state that forbids it. Nothing has changed."""


class ShutDown(ContractError):
    """What was to be created would be managed by a custodian that has been shut down."""


class ThreadDead(Exception):
    """A message was sent to a thread that has ended, or a nested thread was killed before its result."""


class ThreadKilled(BaseException):
    """Raised inside a thread that is being killed, and by `Thread.join` of one that was.

    Inside, it lets ``finally`` and ``with`` do their work; catching it does not save the thread.
    """


class Deadlock(Exception):
    """The main thread waits for something that can never happen.

    Its text lists every blocked thread, what it waits on and where.
    """


def refuse(operation: str, argument: str, expected: str, got: object, kind: type[Exception]) -> Exception:
    """The error for one bad argument, to be raised by the caller."""
    return kind(f"{operation}: {argument} must be {expected}, got {shown(got)}")


def shown(value: object) -> str:
    """What stands for ``value`` in a message: its `repr`, if it has one and that is no novel."""
    try:
        text = repr(value)
    except Exception:
        return object.__repr__(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


_LONGEST = 500
"""How many characters of a bad argument a message shows."""


def check_at_most_one(operation: str, values: tuple[Any, ...]) -> None:
    """Refuse a second argument where one sets and none reads."""
    if len(values) > 1:
        raise TypeError(f"{operation}: takes at most one argument, got {len(values)}")


def check_callable(operation: str, argument: str, value: object) -> None:
    """Refuse what cannot be called."""
    if not callable(value):
        error = refuse(operation, argument, "callable", value, TypeError)
        if isinstance(value, CoroutineType):
            name = value.__name__
            error.add_note(f"Pass the function and its arguments: {name}, not {name}(...).")
        raise error


def check_body(operation: str, argument: str, value: object) -> None:
    """Refuse what a thread cannot run: also a generator function, of which a call runs nothing."""
    check_callable(operation, argument, value)
    while isinstance(value, partial):
        value = value.func
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    if isinstance(code, CodeType) and code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR):
        raise refuse(operation, argument, "a function that is no generator", value, TypeError)


def check_count(operation: str, argument: str, value: object, least: int = 0) -> None:
    """Refuse what is not an integer of at least ``least`` (0 or 1)."""
    expected = "a positive integer" if least else "a non-negative integer"
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, int)):
        raise refuse(operation, argument, expected, value, TypeError)
    if value < least:
        raise refuse(operation, argument, expected, value, ValueError)


def check_seconds(operation: str, argument: str, value: object) -> None:
    """Refuse what is not a non-negative number of seconds."""
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or is_real(value)):
        raise refuse(operation, argument, "a non-negative number of seconds", value, TypeError)
    if value < 0 or not is_number(value):
        raise refuse(operation, argument, "a non-negative number of seconds", value, ValueError)


def is_real(value: object) -> TypeIs[float]:
    """Whether it is a number that time can be measured with: also fractions, and numpy's numbers."""
    if isinstance(value, (int, float)):
        return not isinstance(value, bool)
    from numbers import Real  # rarely needed, and each place that starts would load it

    return isinstance(value, Real)


def is_number(value: float) -> bool:
    """Whether a ``float`` can say how much this is."""
    try:
        return not isnan(value)
    except OverflowError:
        return False
