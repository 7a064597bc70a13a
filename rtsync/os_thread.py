"""OS-backed threads, and waiting in any OS thread at all.

Source: SPEC; Racket Reference 11.1.1 (``thread``, with the pools of newer releases).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, overload

from scheduler import OsDriver, block, current_driver, end_child, here
from scheduler.parker import Parker
from scheduler.safepoint import base, transparent
from scheduler.task import runtimes

from .control import NO_BLOCK, SUSPEND
from .errors import ContractError, NoRuntime, refuse
from .evt import Tail, is_evt, settle
from .sync import sync
from .thread import Thread
from .waiter import RETRY

if TYPE_CHECKING:
    from .evt import Waitable


class OsThread(Thread):
    """A thread that runs a plain function on an OS thread of its own."""

    __slots__ = ("_driver", "_mine", "_threads", "parker")

    can_be_run: ClassVar[bool] = False
    driver_class: ClassVar[type[OsThreadDriver]]

    def __init__(self, key: int, call: Callable[[], Any], context: Context, custodian: Any) -> None:
        runtime = runtimes.get(key)
        if runtime is None:  # it was closed meanwhile, or is that of the process that forked this one
            raise NoRuntime(self.made_by)
        self.set_up(key, _Standing(call), context, custodian)
        self.parker = Parker()
        self._threads = runtime.os_threads
        self._mine: threading.Thread | None = None
        self._driver: OsDriver | None = None

    def _os_thread(self) -> Any:
        return self._mine

    def operation(self) -> Any:
        """The coroutine of the operation it is in, or was in last."""
        return None if self._driver is None else self._driver.op

    def ready(self) -> None:
        self._threads.ready(self)

    def ready_last(self) -> None:
        self.ready()

    def seize(self) -> bool:
        return self._claim() or bool(self._threads.unqueue(self))

    def on_parked(self, waiter: list[Any]) -> None:
        if not self.pending & NO_BLOCK:
            super().on_parked(waiter)
            return
        try:
            waiter.pop()
        except IndexError:  # a partner has claimed it, so it does not block
            return
        self.value = RETRY
        self.modes().refused = True  # and `OsThreadDriver.wait` does not

    def freezing(self) -> None:
        """It is about to wait for its resumption inside its own code. In its OS thread."""

    def thawed(self) -> None:
        """It goes on."""

    def _in_step(self) -> bool:
        return not (self.waiter and self.may_wait()) and self._threads.runs(self)

    def _cleans_up(self) -> bool:
        return self._handles_break(sys.exception())  # asked in its own OS thread

    def is_retry(self, value: Any) -> bool:
        """Whether ``value`` says that an operation was given up."""
        return value is RETRY

    def main(self) -> OsThread | None:
        """Its whole life, on its OS thread; what that is to run next, if it is known."""
        driver = self.driver_class(self, self.runtime, self.runtime.os_threads.timers)
        here.driver = self._driver = driver
        self._mine = threading.current_thread()
        try:
            self.context.run(self._body, driver, self.coro)
        finally:
            del here.driver
        return None

    @base
    def _body(self, driver: OsDriver, standing: _Standing) -> None:
        try:
            if self.pending:
                self.at_safepoint()
            result = standing.call()
            while True:
                if type(result) is Tail:
                    result = result.fn(*result.args)
                elif type(result) is CoroutineType:
                    result = driver.drive(result)
                else:
                    break
        except BaseException as error:
            if driver.forked is not None:
                end_child(error)
            self.fail(error)
        else:
            if driver.forked is not None:
                end_child(None)
            self.finish(result)

    def os_interruption(self, standing: bool, value: Any) -> BaseException | None:
        """See `scheduler.osthread.OsTask.os_interruption`."""
        if self.pending & NO_BLOCK:
            modes = self.modes()
            standing, modes.refused = modes.refused, False
        elif self.pending & SUSPEND:
            self._stand_still()
        return self.interruption(standing or value is RETRY)


class OsThreadDriver(OsDriver):
    """The driver of an OS-backed thread: blocking is the business of the runtime's `OsThreads`."""

    def refuses(self) -> bool:
        """Whether its thread is in a mode in which it must not block."""
        return bool(self.task.pending & NO_BLOCK)

    def give_way(self) -> None:
        if self.refuses():
            self.task.modes().refused = True
            return
        self.home.os_threads.give_way(self.task)  # type: ignore[union-attr]

    def wait(self) -> None:
        if self.forked is not None:
            super().wait()
        if self.refuses() and self.task.modes().refused:
            return
        threads = self.home.os_threads  # type: ignore[union-attr]
        threads.block(self.task, super().wait if self.timers.waits() else None)


OsThread.driver_class = OsThreadDriver


class _Standing:
    """In place of a coroutine: the call that an OS-backed thread makes."""

    __slots__ = ("__qualname__", "call")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.__qualname__ = str(getattr(call, "__qualname__", "thread"))

    def send(self, value: Any) -> Any:
        raise AssertionError("an OS-backed thread is not stepped")


class Call:
    """``fn(*args)`` to be made later; named after ``fn``."""

    __slots__ = ("__qualname__", "args", "fn")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args = args
        self.__qualname__ = str(getattr(fn, "__qualname__", "thread"))

    @transparent
    def __call__(self) -> Any:
        return self.fn(*self.args)


if TYPE_CHECKING:

    @overload
    def block_on[T](op: Awaitable[T]) -> T: ...
    @overload
    def block_on[T](op: Waitable[T]) -> T: ...


def block_on(op: Any) -> Any:
    """Wait for ``op``, any awaitable of this library or an event, in an OS thread: its result or exception.

    Works in OS-backed threads and in any OS thread that the program started itself, with or without a
    running runtime. In a coroutine thread use ``await``."""
    if isinstance(op, CoroutineType):
        coro: Any = op
    elif is_evt(op):
        coro = sync(op)
    elif isinstance(op, Awaitable):
        coro = settle(op)
    else:
        raise refuse("block_on", "op", "an awaitable or an event", op, TypeError)
    driver = current_driver()
    if driver is not None and driver.key:
        coro.close()
        raise ContractError(
            "block_on: this is a coroutine thread, which must not block its worker; use await"
        )
    return block(coro)
