"""Semaphores: a count, and a fair queue of those who wait for it.

A post hands its unit to the first waiter directly, so a positive count means that nobody waits, and a
newcomer cannot overtake the queue.

Source: Racket Reference 11.2.3 (Semaphores).
"""

from __future__ import annotations

from _thread import RLock
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from scheduler import Parking, defer, direct, nested, published
from scheduler.safepoint import transparent

from .breaks import EnableBreaks
from .current import let_go, was_given
from .errors import ContractError, check_count
from .evt import BaseEvt, call
from .waiter import NOT_READY, RETRY, SPARE, sweep


class Semaphore(BaseEvt["Semaphore"]):
    """A counting semaphore with a fair queue. As an event: ready when the count is positive, taking it
    decrements the count, the result is the semaphore.

    ``async with sem`` waits and posts again at the end. Usable from any OS thread (`block_on`).
    Source: Racket Reference, ``make-semaphore``.
    """

    __slots__ = ("__weakref__", "_count", "_dead", "_lock", "_queue")

    def __init__(self, init: int = 0) -> None:
        """``init`` is the first count. ``TypeError`` or ``ValueError`` for what is no count."""
        check_count("Semaphore", "init", init)
        # Re-entrant, here and in channels: see `scheduler.deferred`. It costs no more than a plain lock.
        self._lock = published(RLock())
        self._count = init
        self._queue: deque[Any] = published(deque())  # waiter, or (waiter, case, peek event or None)
        self._dead = 0  # entries in it that have died early
        published(self)

    @property
    def count(self) -> int:
        """The count now; it may have changed by the time you look at it."""
        return self._count

    def post(self) -> None:
        """Increment the count, or rather hand the unit to the first that waits. Never blocks.

        Source: Racket Reference, ``semaphore-post``."""
        lock = self._lock
        lock.acquire()
        queue = self._queue
        while queue:
            try:
                entry = queue.popleft()
                if type(entry) is list:
                    task = entry.pop()
                else:
                    waiter, case, peek = entry
                    task = waiter.pop()
                    task.value = case, peek or self
                    if peek:
                        task.ready()
                        continue
            except IndexError:
                if nested(lock):
                    queue.appendleft(entry)
                    break
                continue
            lock.release()
            task.ready()
            return
        if nested(lock):
            lock.release()
            defer(self.post)
            return
        self._count += 1
        lock.release()

    @direct
    def wait(self) -> Generator[Parking, Any]:
        """Wait until the count is positive, and decrement it.

        Source: Racket Reference, ``semaphore-wait``."""
        lock = self._lock
        while True:
            lock.acquire()
            if self._count:
                self._count -= 1
                lock.release()
                return
            waiter: list[Any] = []
            self._queue.append(waiter)
            try:
                if (yield waiter, lock) is not RETRY:
                    return
            except BaseException:
                self._give_up(waiter)
                raise
            self._leave(waiter)

    def _give_up(self, waiter: list[Any]) -> None:
        """Our thread is stopped at its `wait`."""
        let_go(waiter, self._lock)
        # Killed after a post had chosen us: the unit goes to the next.
        if was_given(waiter) is not RETRY:
            self.post()
        else:
            self._leave(waiter)

    def try_wait(self) -> bool:
        """Decrement the count if it is positive; whether it was.

        Source: Racket Reference, ``semaphore-try-wait?``."""
        with self._lock:
            if not self._count:
                return False
            self._count -= 1
            return True

    async def wait_enable_break(self) -> None:
        """`wait` with breaks enabled meanwhile. If they are disabled otherwise: either the count is
        decremented or a `Break` is raised, never both.

        Source: Racket Reference, ``semaphore-wait/enable-break``."""
        with EnableBreaks():
            await self.wait()

    def peek_evt(self) -> SemaphorePeek:
        """An event ready when `wait` would not block; it takes nothing, its result is itself.

        Source: Racket Reference, ``semaphore-peek-evt``."""
        return SemaphorePeek(self)

    async def __aenter__(self) -> None:
        await self.wait()

    async def __aexit__(self, *exc: object) -> None:
        self.post()

    def __repr__(self) -> str:
        return f"<Semaphore {self._count}{f', {n} waiting' if (n := len(self._queue)) else ''}>"

    def __reduce__(self) -> Any:
        raise ContractError("Semaphore: cannot be copied or pickled; it belongs to its process")

    # -- as an event ---------------------------------------------------------------------------

    def _poll(self) -> Any:
        if self._count:
            self._count -= 1
            return self
        return NOT_READY

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._queue.append((waiter, case, None))

    def _leave(self, waiter: list[Any]) -> None:
        dead = self._dead  # without the lock: an increment lost to another OS thread only delays a sweep
        self._dead = dead + 1
        if dead >= SPARE and dead * 2 > len(self._queue) and sweep(self._lock, self._queue):
            self._dead = 0

    def _pass_on(self) -> bool:
        self.post()
        return True


class SemaphorePeek(BaseEvt["SemaphorePeek"]):
    """`Semaphore.peek_evt`: waits in the semaphore's queue without taking anything."""

    __slots__ = ("_lock", "_semaphore")

    def __init__(self, semaphore: Semaphore) -> None:
        self._semaphore = semaphore
        self._lock = semaphore._lock

    def _poll(self) -> Any:
        return self if self._semaphore._count else NOT_READY

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._semaphore._queue.append((waiter, case, self))

    def _leave(self, waiter: list[Any]) -> None:
        self._semaphore._leave(waiter)

    def __repr__(self) -> str:
        return f"<peek of {self._semaphore!r}>"


class _Unit:
    """A block that holds a unit of a semaphore, if it could take one."""

    __slots__ = ("_enable_break", "_poll", "_semaphore", "taken")

    def __init__(self, semaphore: Semaphore, poll: bool, enable_break: bool) -> None:
        self._semaphore = semaphore
        self._poll = poll
        self._enable_break = enable_break
        self.taken = False

    async def __aenter__(self) -> None:
        semaphore = self._semaphore
        if not self._poll:
            await (semaphore.wait_enable_break() if self._enable_break else semaphore.wait())
            self.taken = True
        elif self._enable_break:
            with EnableBreaks():
                self.taken = semaphore.try_wait()
        else:
            self.taken = semaphore.try_wait()

    async def __aexit__(self, *exc: object) -> None:
        if self.taken:
            self._semaphore.post()


@transparent
async def call_holding(
    semaphore: Semaphore,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    otherwise: Callable[[], Any] | None = None,
    enable_break: bool = False,
) -> Any:
    """``fn(*args)`` with a unit of ``semaphore``, which is given back however that ends; with ``otherwise``
    nothing is waited for, and that is called if there is no unit.

    Source: Racket Reference, ``call-with-semaphore`` and ``call-with-semaphore/enable-break``."""
    # Stopped at a safepoint of this function, the thread holds no unit or is in the block.
    async with (unit := _Unit(semaphore, otherwise is not None, enable_break)):
        if unit.taken:
            return await call(fn, *args)
    assert otherwise is not None
    return await call(otherwise)


call_holding.__name__ = call_holding.__qualname__ = "call_with_semaphore"
