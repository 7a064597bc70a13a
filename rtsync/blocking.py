"""Blocking calls off the workers: `to_os_thread`.

A coroutine thread that makes a call which blocks (a file on a slow disk, name resolution, a database driver)
would hold up its worker. Such a call is made by an OS-backed thread instead, which the caller waits for: so
it counts for deadlock detection, runs under the caller's custodian, and may itself use `block_on`.
What is added here is a bound: at most `LIMIT` calls of a runtime are made at the same time, the others queue
up. An OS thread that has finished one call takes the next from the queue.

Source: SPEC §9; ``asyncio.to_thread``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, ClassVar

from scheduler import NoRuntime, OsDriver, current_driver, returns_coroutine

from .breaks import Breaks
from .control import FAILED, KILL, KILLED, NO_BLOCK
from .env import current_env
from .errors import ContractError, ThreadKilled, check_callable, refuse
from .os_thread import Call, OsThread
from .spawn import is_async

if TYPE_CHECKING:
    from .runtime import Runtime

LIMIT = 64
"""How many calls of one runtime are made at the same time."""


@returns_coroutine
def to_os_thread[*Ts, T](fn: Callable[[*Ts], T], *args: *Ts) -> Coroutine[Any, Any, T]:
    """Call the plain function ``fn(*args)`` in an OS thread that is no worker, and wait for its result or
    exception. For calls that block.

    The call sees a copy of the caller's context. At most 64 calls of a runtime run at the same time; more
    wait for their turn. The current custodian manages the call: with its shutdown, or the end of the
    runtime, a call in flight ends as an OS-backed thread would, one in the queue is never made, and who
    waits gets `ThreadKilled`.

    A break or kill of the caller gives up *waiting*. The call itself goes on to its end: nobody can tell how
    far it has come. Its result is then dropped, and an exception reported as that of a thread.

    In an OS thread outside a runtime (by `block_on`), where there is no worker to spare, the function is
    called directly.
    """
    check_callable("to_os_thread", "fn", fn)
    if is_async(fn):
        raise refuse("to_os_thread", "fn", "a plain function", fn, TypeError)
    return _to_os_thread(fn, args)


async def _to_os_thread(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    driver = current_driver()
    runtime = None if driver is None else driver.home
    if runtime is None:
        if not isinstance(driver, OsDriver):
            raise NoRuntime("to_os_thread")
        return fn(*args)
    if driver.task.pending & NO_BLOCK:
        raise ContractError("to_os_thread: would block in atomic mode")
    custodian = current_env.get().custodian
    call = BlockingCall(runtime, Call(fn, args), copy_context(), custodian)
    rare = driver.task._rare
    if rare is not None and rare.breaks is not None and not rare.breaks.entered:
        call._rarely().breaks = Breaks(False)
    try:
        custodian.adopt(call)
    except ContractError:
        call._end_as(KILLED, None)  # who has found it there meanwhile waits for its end
        raise
    runtime.blocking.start(call)
    try:
        return await call.join()
    except BaseException as error:
        call.abandon(error)
        raise


_to_os_thread.__name__ = _to_os_thread.__qualname__ = "to_os_thread"


class BlockingCall(OsThread):
    """One call: an OS-backed thread that may have to queue up, and that somebody waits for."""

    __slots__ = ("_abandoned", "_begun", "_blocking")

    made_by: ClassVar[str] = "to_os_thread"

    def __init__(self, runtime: Runtime, call: Call, context: Context, custodian: Any) -> None:
        super().__init__(runtime.key, call, context, custodian)
        self._blocking = runtime.blocking
        self._abandoned = False  # nobody waits any more; the exception is to be reported
        self._begun = False

    def main(self) -> OsThread | None:
        self._begun = True
        try:
            super().main()
        finally:
            after = self._blocking.next()
        return after

    def seize(self) -> bool:
        return self._blocking.withdraw(self) or super().seize()

    def ready(self) -> None:
        if self._begun:
            super().ready()
        elif self.pending & KILL:  # it was seized in the queue, or while it was held
            self._end_as(KILLED, None)
        else:
            self._blocking.start(self)

    def fail(self, error: BaseException) -> None:
        if self.pending & KILL and isinstance(error, ThreadKilled):
            self._end_as(KILLED, None)
            return
        self._end_as(FAILED, error)
        # Ended, under the lock, and then looked whether anybody waits; `abandon` does it the other way
        # round. So at least one of the two sees both, and the first of them reports.
        self._report(error)

    def abandon(self, error: BaseException) -> None:
        """The caller leaves with ``error``: either what the call raised, or the end of its waiting."""
        outcome = getattr(self, "_outcome", None)
        if error is outcome:
            return
        with self._lock:
            self._abandoned = True
            failed = self._state == FAILED
        if failed:
            self._report(self._outcome)

    def _report(self, error: BaseException) -> None:
        """Report ``error``, once, if nobody waits for it. Takes _lock."""
        with self._lock:
            lost, self._abandoned = self._abandoned, False
        if lost and not isinstance(error, SystemExit):
            self._threads.runtime.report(self, error)


class Blocking:
    """The calls of one runtime: how many are being made, and which wait for their turn."""

    def __init__(self, runtime: Runtime) -> None:
        self._os_threads = runtime.os_threads
        self._lock = threading.Lock()
        self._running = 0
        self._queue: deque[BlockingCall] = deque()
        self.limit = LIMIT

    def start(self, call: BlockingCall) -> None:
        """Make the call now or in its turn."""
        with self._lock:
            if self._running >= self.limit:
                self._queue.append(call)
                return
            self._running += 1
        try:
            self._os_threads.start(call)
        except BaseException:  # the system has no thread left
            with self._lock:
                self._running -= 1
            raise

    def next(self) -> BlockingCall | None:
        """A call has ended: the one that its OS thread is to make next, or ``None``."""
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            self._running -= 1
            return None

    def withdraw(self, call: BlockingCall) -> bool:
        """Take a call out of the queue; whether it was there."""
        with self._lock:
            try:
                self._queue.remove(call)
            except ValueError:
                return False
            return True
