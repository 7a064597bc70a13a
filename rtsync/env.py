"""What a new thread inherits: parameters, the current custodian, the current thread group.

A *parameter* is Racket's: a function that reads with no argument and sets with one, for the current thread;
a new thread starts with its creator's value. They live in `contextvars`, of which each thread has a copy.

Source: Racket Reference 11.3.2 (Parameters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

from scheduler import NoRuntime, here

from .errors import ContractError, check_at_most_one, check_callable, refuse

if TYPE_CHECKING:
    from .custodian import Custodian
    from .thread_group import ThreadGroup


class Env:
    """The part of a thread's surroundings that is needed at every creation, behind one look-up."""

    __slots__ = ("custodian", "group")

    varies: ClassVar[bool] = False
    """Whether any thread ever had another one than its runtime's; if not, nobody need look in the context."""

    def __init__(self, custodian: Custodian, group: ThreadGroup | None = None) -> None:
        self.custodian = custodian
        self.group = group


current_env: ContextVar[Env] = ContextVar("rtsync.env")


def change_env(env: Env) -> Token[Env]:
    """Let the current thread have ``env`` from now on."""
    if not Env.varies:
        Env.varies = True
    return current_env.set(env)


class EnvBlock:
    """What ``with`` makes part of the environment: custodians, thread groups. Several threads may be in
    such a block of one object at once."""

    __slots__ = ("_entered",)

    _entered: dict[int, list[Any]]
    """For each thread in the block, by its identity: how to leave. Of a thread that was collected inside, an
    entry stays; threads are not kept by this."""

    def _inside(self, outer: Env) -> Env:
        """The environment inside the block, in that of the thread."""
        raise NotImplementedError

    def __reduce__(self) -> Any:
        raise ContractError(f"{type(self).__name__}: cannot be copied or pickled; it belongs to its process")

    def __enter__(self) -> Self:
        outer = current_env.get(None)
        if outer is None:
            raise NoRuntime(type(self).__name__)
        token = change_env(self._inside(outer))
        self._entered.setdefault(_me(), []).append(token)
        return self

    def __exit__(self, *exc: object) -> None:
        me = _me()
        mine = self._entered.get(me)
        if mine is None:  # the thread was collected in the block, and this is run by the collector
            return
        token = mine.pop()
        if not mine:
            del self._entered[me]
        current_env.reset(token)


def _me() -> int:
    """The identity of what runs here: a thread of the library, or an OS thread."""
    try:
        return id(here.driver.task)
    except AttributeError:
        return -get_ident()


class Parameter[T = Any]:
    """A Racket parameter: ``p()`` reads, ``p(value)`` sets for the current thread."""

    __slots__ = ("_check", "_variable")

    def __init__(self, name: str, default: T, check: Callable[[Any], T] | None = None) -> None:
        """``check(value)`` raises for a bad value or gives the one to store."""
        if not isinstance(name, str):
            raise refuse("Parameter", "name", "a string", name, TypeError)
        if check is not None:
            check_callable("Parameter", "check", check)
        self._variable: ContextVar[T] = ContextVar(name, default=default)
        self._check = check

    if TYPE_CHECKING:

        @overload
        def __call__(self) -> T: ...
        @overload
        def __call__(self, value: T, /) -> None: ...

    def __call__(self, *value: Any) -> Any:
        if not value:
            return self.read()
        check_at_most_one(self._variable.name, value)
        new = value[0]
        self.write(new if self._check is None else self._check(new))
        return None

    def read(self) -> T:
        """The value in this thread."""
        return self._variable.get()

    def write(self, value: T) -> None:
        """Set the value in this thread, unchecked."""
        self._variable.set(value)

    def __repr__(self) -> str:
        return f"<parameter {self._variable.name}>"


if TYPE_CHECKING:

    @overload
    def parameterize[T](parameter: Parameter[T], value: T) -> AbstractContextManager[None]: ...
    @overload
    def parameterize[T](parameter: Callable[[T], None], value: T) -> AbstractContextManager[None]: ...


def parameterize(parameter: Callable[..., Any], value: Any) -> AbstractContextManager[None]:
    """``with parameterize(p, value):`` sets ``p`` for the block and puts the old value back.

    Source: Racket Reference, ``parameterize``."""
    if not callable(parameter):
        raise refuse("parameterize", "parameter", "a parameter", parameter, TypeError)
    return _parameterize(parameter, value)


@contextmanager
def _parameterize(parameter: Callable[..., Any], value: Any) -> Iterator[None]:
    if isinstance(parameter, Parameter):
        # What it stores, which may be that it was never set: then it is not set afterwards either.
        old, restore = parameter._variable.get(), parameter.write
    else:
        old, restore = parameter(), parameter
    parameter(value)
    try:
        yield
    finally:
        restore(old)
