"""The end of the input as a value, and what can go wrong with ports."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final

from rtsync.errors import ContractError

if TYPE_CHECKING:
    from enum import Enum
    from typing import Literal

    class Eof(Enum):  # so that a type checker knows what is left after ``if line is EOF: break``
        """The type of `EOF`."""

        EOF = 0

        def __bool__(self) -> Literal[False]: ...

    EOF: Final = Eof.EOF
else:

    class Eof:
        """The type of `EOF`."""

        __slots__ = ()

        def __bool__(self) -> bool:
            return False

        def __repr__(self) -> str:
            return "EOF"

        def __reduce__(self) -> str:
            return "EOF"

    EOF = Eof()
"""What reading gives at the end of the input. It is false, so ``while data := await
port.read_bytes_avail():`` reads to the end; an empty line is ``""``, which is another thing.

Source: Racket Reference 13.1, ``eof``."""


class PortClosed(ContractError, ValueError):
    """An operation on a port or listener that was closed, before the operation or while it waited."""


class LineTooLong(ValueError):
    """`InputPort.read_line` found no end within its limit. Nothing was consumed."""


class Failed:
    """In place of a result: the operation is to raise ``error``. So that the one who finds out, under locks
    or on behalf of another thread, need not raise it."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def raised(self) -> BaseException:
        """The error to be raised: a fresh one each time, so that no two threads share a traceback."""
        try:
            return copy(self.error).with_traceback(None)
        except Exception:
            return self.error


def given(value: Any) -> Any:
    """The result that an event has given, or its exception."""
    if type(value) is Failed:
        raise value.raised()
    return value
