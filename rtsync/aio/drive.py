"""An operation of ours inside an asyncio task.

A coroutine of ours yields ``(waiter, lock)`` where it parks, one of asyncio yields a future. `drive` stands
between a coroutine and asyncio: it does for the one kind what a worker does, and passes the other on. So the
coroutine may await both kinds.

Where it parks, the asyncio task waits for a future of the loop; who claims the waiter has the loop complete
that future. A cancellation by asyncio claims the waiter as any event would. Who comes second finds it empty:

* the cancellation was first: the operation is given up, as by a break, and nothing was taken;
* a partner was first: the operation has happened. Its value is delivered and the cancellation comes right
  after, where the task waits next; if the task ends before that, it ends with the value. (Were the
  cancellation raised now, the value would be lost; were it dropped, a task that loops would never end.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from random import random
from time import monotonic, sleep
from types import CoroutineType
from typing import TYPE_CHECKING, Any, overload

from rtsync.errors import ContractError, refuse
from rtsync.evt import is_evt, settle
from rtsync.sync import sync
from scheduler import TimerQueue, current_driver, defer, direct, here, returns_coroutine
from scheduler.task import Task

if TYPE_CHECKING:
    from rtsync.evt import Waitable


if TYPE_CHECKING:

    @overload
    def wait[T](evt: Awaitable[T]) -> Coroutine[Any, Any, T]: ...
    @overload
    def wait[T](evt: Waitable[T]) -> Coroutine[Any, Any, T]: ...


@returns_coroutine
def wait(evt: Any) -> Coroutine[Any, Any, Any]:
    """Wait in an asyncio task, on any loop, for an event or another awaitable of this library: its result or
    exception.

    ``await wait(ch)``, ``await wait(sync(ch, sem, timeout=1))``, ``await wait(port.read_line())``. A
    cancellation of the asyncio task withdraws: a value is taken, and then delivered, or it is not
    taken. `ContractError` where no asyncio loop runs: in our threads, use `sync`.
    """
    if not isinstance(evt, Awaitable) and not is_evt(evt):
        raise refuse("wait", "evt", "an event or an awaitable", evt, TypeError)
    return _wait(evt)


async def _wait(evt: Any) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if isinstance(evt, CoroutineType):
            evt.close()
        raise ContractError("wait: no asyncio loop runs here; in a thread of ours, use sync") from None
    if isinstance(evt, CoroutineType):
        return await drive(evt)
    return await drive(sync(evt) if is_evt(evt) else settle(evt))


_wait.__name__ = _wait.__qualname__ = "wait"


@direct
def drive(op: Any) -> Generator[Any, Any, Any]:
    """Run the coroutine ``op``, which may await operations of ours and of asyncio, in an asyncio task."""
    loop = asyncio.get_running_loop()
    outer = current_driver()
    task = WaitingTask(loop)
    driver = AsyncioDriver(task, None if outer is None else outer.home)
    call: Callable[[Any], Any] = op.send
    argument: Any = None
    while True:
        outer = current_driver()
        here.driver = driver
        try:
            parking = call(argument)
        except StopIteration as stop:
            return stop.value
        finally:
            if outer is None:
                del here.driver
            else:
                here.driver = outer
        call, argument = op.send, None
        if type(parking) is not tuple:  # asyncio's own
            try:
                argument = yield parking
            except BaseException as error:
                call, argument = _thrower(op, error), error
            continue
        waiter, commit = parking
        task.arrived = task.readied = False
        task._rare = None
        task.parked.append(op)
        waiter.append(task)
        task.waiter = waiter
        commit.release()
        driver.watch_timers(loop)
        late: BaseException | None = None
        while not task.arrived:
            # Made and looked at in the loop's OS thread only, as is `arrived`.
            task.future = loop.create_future()
            try:
                yield from task.future
            except BaseException as error:
                try:
                    waiter.pop()
                except IndexError:
                    # Claimed: its value is on the way.
                    if isinstance(error, GeneratorExit):  # but nobody will be there to receive it
                        defer(task.lose)
                        raise error from None
                    late = error
                    continue
                try:
                    task.parked.pop()
                except IndexError:  # `lose` ends it
                    raise error from None
                call, argument = _thrower(op, error), error
                break
        else:
            task.parked.pop()
            argument, task.value = task.value, None
            if isinstance(late, asyncio.CancelledError):
                _cancel_soon(loop, late)
            elif late is not None:
                task._rare = Given(argument)
                call, argument = op.throw, late
        driver.unwatch_timers()


def _thrower(op: Any, error: BaseException) -> Callable[[Any], Any]:
    """What raises ``error`` in ``op``. The collector may have closed that before us."""
    return partial(_close, op) if isinstance(error, GeneratorExit) else op.throw


def _close(op: Any, error: BaseException) -> None:
    op.close()
    raise error


def _cancel_soon(loop: asyncio.AbstractEventLoop, error: asyncio.CancelledError) -> None:
    """The current asyncio task has swallowed a cancellation: give it back as soon as the task waits again,
    unless somebody (``asyncio.timeout``) has seen to it by then."""
    task = asyncio.current_task(loop)
    requests = 0 if task is None else task.cancelling()

    def cancel() -> None:
        if task is not None and not task.done() and 0 < requests <= task.cancelling():
            task.uncancel()
            task.cancel(*error.args)

    loop.call_soon(cancel)


class WaitingTask(Task):
    """What stands in the waiters of an operation for the asyncio task that waits in it."""

    __slots__ = ("_loop", "_rare", "arrived", "future", "parked", "readied")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.key = 0
        self.coro = None
        self.value = None
        self.pending = 0
        self.waiter = None
        self._loop = loop
        self._rare: Any = None  # see `rtsync.current.was_given`
        self.readied = False  # `ready` was called
        self.arrived = False  # and the loop knows
        self.future: asyncio.Future[None] | None = None
        self.parked: list[Any] = []  # the coroutine; who pops it may go on with it

    def ready(self) -> None:
        self.readied = True
        try:
            self._loop.call_soon_threadsafe(self._arrive)
        except RuntimeError:  # the loop has been closed meanwhile
            # Not here, where an event may be locked.
            defer(self.lose)

    def _arrive(self) -> None:
        """In the loop's OS thread."""
        self.arrived = True
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    def lose(self) -> None:
        """The operation has happened, but nobody is left to go on: as if a thread was killed there. In an OS
        thread that claims nothing."""
        while not self.readied:  # the claimant is about to
            sleep(0)
        try:
            op = self.parked.pop()
        except IndexError:
            return
        self._rare = Given(self.value)
        outer = current_driver()
        here.driver = AsyncioDriver(self, None)
        try:
            op.close()
        finally:
            if outer is None:
                del here.driver
            else:
                here.driver = outer


class Given:
    """What `rtsync.current.was_given` looks at in a task whose operation had happened when it was stopped."""

    __slots__ = ("given",)

    breaks = None

    def __init__(self, given: Any) -> None:
        self.given = given


class AsyncioDriver:
    """What ``here.driver`` is while a coroutine takes a step in an asyncio task."""

    __slots__ = ("_handle", "_timers", "forked", "home", "op", "task")

    key = 0
    runtime = None
    clock = staticmethod(monotonic)
    choose = staticmethod(random)

    def __init__(self, task: WaitingTask, home: Any) -> None:
        """``home``: the runtime whose background loop it is, if it is one."""
        self.task = task
        self.home = home
        self.op: Any = None
        self.forked: Any = None
        self._timers: TimerQueue | None = None
        self._handle: asyncio.TimerHandle | None = None

    @property
    def timers(self) -> TimerQueue:
        """The timers of this one task; the loop fires them."""
        if self._timers is None:
            self._timers = TimerQueue(self.clock)
        return self._timers

    def drive(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """`block_on` in an asyncio task."""
        coro.close()
        raise ContractError("block_on: this is an asyncio task, which must not block its loop; use await")

    def watch_timers(self, loop: asyncio.AbstractEventLoop) -> None:
        """The operation has parked: have the loop fire what it has armed, in time."""
        timers = self._timers
        if timers is not None and timers.waits():
            self._handle = loop.call_later(timers.watch(), self._fire, loop)

    def unwatch_timers(self) -> None:
        """It goes on."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._timers is not None
        self._timers.fire()
        self.watch_timers(loop)
