"""What a new thread inherits: parameters, the current custodian, the current thread group.

A *parameter* is Racket's: a function that reads with no argument and sets with one, for the current thread;
a new thread starts with its creator's value. They live in `contextvars`, of which each thread has a copy.

Source: Racket Reference 11.3.2 (Parameters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .custodian import Custodian
    from .thread_group import ThreadGroup


class Env:
    """The part of a thread's surroundings that is needed at every creation, behind one look-up."""

    __slots__ = ("custodian", "group")

    def __init__(self, custodian: Custodian, group: ThreadGroup | None = None) -> None:
        self.custodian = custodian
        self.group = group


current_env: ContextVar[Env] = ContextVar("rtsync.env")


class Parameter:
    """A Racket parameter: ``p()`` reads, ``p(value)`` sets for the current thread."""

    __slots__ = ("_check", "_variable")

    def __init__(self, name: str, default: Any, check: Callable[[Any], Any] | None = None) -> None:
        """``check(value)`` raises for a bad value or gives the one to store."""
        self._variable: ContextVar[Any] = ContextVar(name, default=default)
        self._check = check

    def __call__(self, *value: Any) -> Any:
        if not value:
            return self.read()
        (new,) = value
        self.write(new if self._check is None else self._check(new))
        return None

    def read(self) -> Any:
        """The value in this thread."""
        return self._variable.get()

    def write(self, value: Any) -> None:
        """Set the value in this thread, unchecked."""
        self._variable.set(value)

    def __repr__(self) -> str:
        return f"<parameter {self._variable.name}>"


def parameterize(parameter: Callable[..., Any], value: Any) -> AbstractContextManager[None]:
    """``with parameterize(p, value):`` sets ``p`` for the block and puts the old value back.

    Source: Racket Reference, ``parameterize``."""
    if not callable(parameter):
        raise TypeError(f"parameterize: parameter must be a parameter, got {parameter!r}")
    return _parameterize(parameter, value)


@contextmanager
def _parameterize(parameter: Callable[..., Any], value: Any) -> Iterator[None]:
    old = parameter()
    parameter(value)
    try:
        yield
    finally:
        parameter(old)
