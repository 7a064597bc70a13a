"""A coroutine of asyncio for a thread of ours: `run`.

The thread waits for a latch; the loop sets it when the asyncio task has ended. Whatever takes the thread out
of its wait (a break, a kill, a deadlock report) cancels the task, and where the thread may still block it
waits until the task has ended. What has happened by then decides: a task that ended by the cancellation was
broken off; one that ended otherwise, because it was over before the cancellation came or did not let itself
be cancelled, has happened: its outcome is that of `run`, and the break comes right after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from rtsync.breaks import Break, BreakHangUp, BreakTerminate, NoBreaks
from rtsync.control import NO_BLOCK
from rtsync.current import current_or_none
from rtsync.errors import ContractError, ThreadKilled, refuse
from rtsync.evt import Latch
from rtsync.sync import sync
from scheduler import NoRuntime, OsDriver, current_driver, returns_coroutine

from .background import driven
from .drive import AsyncioDriver

if TYPE_CHECKING:
    from rtsync.runtime import Runtime


@returns_coroutine
def run[T](coro: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """Run the asyncio coroutine ``coro`` on the runtime's background loop, and wait for it: its result or
    exception, ``asyncio.CancelledError`` if something in asyncio cancelled it.

    It sees a copy of the thread's context, and may await operations of ours directly. A break, kill or
    custodian shutdown of the waiting thread cancels it: a break waits until it has ended, a kill
    does not. All coroutines of a runtime share one loop, so sessions and connections may be kept from one
    `run` to the next. The loop runs in an OS thread of its own from the first use to the end of the
    runtime.

    In an OS thread outside a runtime (by `block_on`) it runs there, as by ``asyncio.run``.
    """
    if not isinstance(coro, Awaitable):
        raise refuse("run", "coro", "a coroutine or another awaitable of asyncio", coro, TypeError)
    return _run(coro)


async def _run(coro: Any) -> Any:
    driver = current_driver()
    if isinstance(driver, AsyncioDriver):
        return await coro
    runtime: Runtime | None = None if driver is None else driver.home
    if runtime is None:
        if driver is None:
            _drop(coro)
            raise NoRuntime("run")
        with asyncio.Runner() as runner:
            runner.get_loop().set_task_factory(driven)
            return runner.run(_await(coro))
    background = runtime.asyncio
    if background is None:
        _drop(coro)
        raise ContractError(
            "run: asyncio has a clock of its own and cannot run on the deterministic scheduler; "
            "test this on real workers"
        )
    if background.is_here():
        assert isinstance(driver, OsDriver)
        _drop(coro)
        raise ContractError("run: this is the OS thread of the asyncio loop, which must not wait; use await")
    if driver.task.pending & NO_BLOCK:
        _drop(coro)
        raise ContractError("run: would block in atomic mode")
    crossing = Crossing(coro, copy_context())
    try:
        background.post(crossing)
    except BaseException:
        _drop(coro)
        raise
    interruption: BaseException | None = None
    try:
        await sync(crossing.done)
    except BaseException as error:
        crossing.cancel()
        if isinstance(error, (ThreadKilled, GeneratorExit)):
            raise  # it must not block any more
        interruption = error
    if interruption is not None:
        try:
            # Not in the handling of the first break, where no other is raised: a second one gives this up.
            await sync(crossing.done)
            if crossing.cancelled or not isinstance(interruption, Break):
                raise interruption
            _put_back(interruption)
        finally:
            del interruption  # a cycle with its traceback
    return crossing.result()


_run.__name__ = _run.__qualname__ = "run"


async def _await(coro: Awaitable[Any]) -> Any:
    return await coro


def _drop(coro: Any) -> None:
    """It will not run: that is not to be warned of on top of the error."""
    if hasattr(coro, "close"):
        coro.close()


def _put_back(error: Break) -> None:
    """The current thread has been given ``error``, but its operation has happened: deliver it after."""
    me = current_or_none()
    kind = {BreakHangUp: "hang-up", BreakTerminate: "terminate"}.get(type(error))
    with NoBreaks():
        me.break_(kind)


class Crossing:
    """One `run`."""

    def __init__(self, coro: Awaitable[Any], context: Context) -> None:
        self._coro: Any = coro
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None  # that it was posted to
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None  # why there is no task
        self.done = Latch()

    def post(self, loop: asyncio.AbstractEventLoop, begin: Any) -> None:
        """Have ``begin(self)`` called in the loop's OS thread. By the thread, once."""
        self._loop = loop
        loop.call_soon_threadsafe(begin, self)

    def cancel(self) -> None:
        """Nobody needs the result any more. By the thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            pass  # the loop is closed, and so the task has ended

    def _cancel(self) -> None:
        """In the loop's OS thread, after `begin`."""
        if self._task is not None:
            self._task.cancel()

    def begin(self, ended: Any) -> None:
        """Make the task; ``ended(self)`` is to be called after its end. In the loop's OS thread."""

        def end(task: object) -> None:
            self.done.set()
            ended(self)

        assert self._loop is not None
        coro, self._coro = self._coro, None
        if not asyncio.iscoroutine(coro):
            coro = _await(coro)
        self._task = self._loop.create_task(coro, context=self._context)
        self._task.add_done_callback(end)

    def refuse(self, error: BaseException | None) -> None:
        """There is, or remains, no loop to run it, because of ``error``."""
        _drop(self._coro)
        self._error = ContractError("run: the asyncio loop has ended")
        self._error.__cause__ = error
        self.done.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was broken off. After `done`."""
        return self._error is not None or (self._task is not None and self._task.cancelled())

    def result(self) -> Any:
        """Its result or exception. After `done`."""
        if self._error is not None:
            raise self._error
        assert self._task is not None
        return self._task.result()
