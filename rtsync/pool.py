"""Parallel thread pools: threads with processors of their own.

A pool has n *turns*. Whoever runs in it holds one: a worker of the pool while it makes steps, an OS thread
while it runs a plain function; not while it waits in an operation, is suspended or has nothing to do. So at
most n run at once, of both kinds together, and the rest wait in line. Who has a turn keeps it until he waits
or ends; a worker passes it on between two steps as soon as somebody waits for one. In atomic mode, and with
an uninterruptible lock, nobody waits and no step ends (`scheduler.worker.Worker._go_on`): so who waits for
those may do so with its turn. A model of this is tests/model/turns.pml.

The pool's workers are a `scheduler.Runtime` of their own, with its own queues and timers, that is made with
the first coroutine function. Its *home* is the place: threads of both wake each other through the injection
queues, the place's look for deadlocks and idleness includes its pools, and the place lock
(`scheduler.place_lock`) knows only the workers of the place. Plain functions run on OS threads from the
place's cache.

Under the deterministic scheduler, where one thing runs at a time anyway, a pool's threads are like all
others.

Source: Racket Reference 11.1.5 (Parallel Thread Pools).
"""

from __future__ import annotations

import weakref
from _thread import RLock
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import scheduler
from scheduler import NoRuntime, Task, current_driver, defer
from scheduler.deterministic import Deterministic
from scheduler.parker import Parker
from scheduler.runtime import default_workers
from scheduler.worker import TURN

from . import asyncgens
from .control import KILL, KILLED
from .current import current_or_none
from .custodian import Custodian
from .env import current_env
from .errors import ContractError, check_count
from .os_thread import OsThread, OsThreadDriver

if TYPE_CHECKING:
    from scheduler import Worker

    from .runtime import Runtime
    from .thread import Thread

__all__ = ["ParallelThreadPool"]


class _Waiting(Protocol):
    """Who stands in line for a turn."""

    def grant(self) -> None:
        """It has one now. By whoever has passed it on, in any OS thread."""


class _Bell(Parker):
    """An OS thread that waits for a turn."""

    __slots__ = ()

    def grant(self) -> None:
        self.unpark()


class Turns:
    """The turns of one pool, first come, first served."""

    def __init__(self, many: int, press: Callable[[], None]) -> None:
        """``press()`` is called when somebody has to wait."""
        self._lock = RLock()
        self._free = many
        self._granting = 0  # who were taken out of the line, and are about to be told
        self._line: deque[_Waiting] = deque()
        self._press = press

    def take_or_line_up(self, waiting: _Waiting) -> bool:
        """Take a turn if there is one, else line up; whether it was taken."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._line.append(waiting)
        self._press()
        return False

    def take(self) -> None:
        """Take a turn, or wait for one."""
        bell = _Bell()
        if not self.take_or_line_up(bell):
            bell.park()

    def pass_on(self) -> _Waiting | None:
        """Give a turn back: to the first in line, who is still to be told by ``grant``. By an OS thread that
        counts as running until then."""
        with self._lock:
            if self._line:
                return self._line.popleft()
            self._free += 1
            return None

    def give(self) -> None:
        """Give a turn back. A worker does so when it counts as idle already: see `at_rest`."""
        with self._lock:
            waiting = self.pass_on()
            if waiting is None:
                return
            self._granting += 1
        try:
            waiting.grant()
        finally:
            with self._lock:
                self._granting -= 1

    def withdraw(self, waiting: _Waiting) -> bool:
        """Leave the line; whether it was still there."""
        with self._lock:
            try:
                self._line.remove(waiting)
            except ValueError:
                return False
            return True

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._line)

    def at_rest(self) -> bool:
        """Whether nobody waits for a turn, who will get one, nor is about to be told of one. A plain function
        counts as running only from then on."""
        with self._lock:
            return not self._line and not self._granting


class Core:
    """What a pool is made of; lives for as long as it has threads."""

    def __init__(self, place: Runtime, many: int) -> None:
        self.place = place
        self.many = many
        self.turns = Turns(many, self._press)
        self.closed = False
        self._lock = RLock()  # guards the rest
        self._engine: Engine | None = None
        self._members: set[weakref.ref[Any]] = set()

    def key(self) -> int:
        """Of the runtime that the pool's coroutine threads belong to, which is started with the first."""
        if isinstance(self.place, Deterministic):
            return self.place.key
        with self._lock:
            if self._engine is None:
                self._engine = Engine(self.place, self.many, self.turns)
                self._engine.start()
                self.place.pools = (*self.place.pools, self._engine)
            return self._engine.key

    def _press(self) -> None:
        """Somebody waits for a turn: the workers are to pass theirs on between two steps."""
        engine = self._engine
        if engine is not None:
            with engine.lock:
                for worker in engine.workers:
                    worker.attention |= TURN

    def check_open(self, operation: str) -> None:
        """Refuse a new thread in a pool that was closed, or in one of another place."""
        if self.closed:
            raise ContractError(f"{operation}: the pool has been closed")
        driver = current_driver()
        if driver is None or driver.home is not self.place:
            raise ContractError(f"{operation}: the pool belongs to another runtime")

    def adopt(self, thread: Thread) -> None:
        """``thread``, new, is one of the pool's."""
        with self._lock:
            self._members.add(weakref.ref(thread, self._gone))

    def left(self, thread: Thread) -> None:
        """``thread`` has ended."""
        self._gone(weakref.ref(thread))

    def _gone(self, member: weakref.ref[Any]) -> None:
        """Maybe in a finalizer."""
        with self._lock:
            # Equal while the thread lives, the same object when it has been collected; the hash stays.
            self._members.discard(member)
            self._stop_if_done()

    def close(self) -> None:
        """Take no more threads; go away with the last. Maybe in a finalizer."""
        with self._lock:
            self.closed = True
            self._stop_if_done()

    def _stop_if_done(self) -> None:
        """Holds _lock."""
        engine = self._engine
        if self.closed and not self._members and engine is not None and engine.running:
            # Not here: we may be on one of its workers.
            defer(engine.retire)


class Engine(scheduler.Runtime):
    """The workers of one pool."""

    main = None

    def __init__(self, place: Runtime, many: int, turns: Turns) -> None:
        super().__init__(many, name=f"{place.name}-pool")
        self.home = self._place = place
        self._turns = turns
        self._running: set[Worker] = set()  # the workers with a turn; each changes it for itself
        self.os_threads = place.os_threads

    def retire(self) -> None:
        """Stop the workers, none of which has anything to do any more."""
        self.close()
        place = self._place
        with place.lock:
            place.pools = tuple(pool for pool in place.pools if pool is not self)

    # -- turns: see the head ---------------------------------------------------------------------

    def entered(self, worker: Worker) -> bool:
        asyncgens.watch(self._place)
        may = super().entered(worker)
        self._take(worker)
        return may

    def left(self, worker: Worker) -> None:
        super().left(worker)
        self._give(worker)

    def _sleep(self, worker: Worker, timeout: float) -> None:
        self._give(worker)
        super()._sleep(worker, timeout)
        self._take(worker)

    def pass_turn(self, worker: Worker) -> None:
        with self.lock:
            worker.attention &= ~TURN
        # The bit is off; now check. Who lines up after this look puts it on again.
        if self._turns.wanted:
            self._give(worker)
            self._take(worker)

    def _take(self, worker: Worker) -> None:
        self._turns.take()
        self._running.add(worker)

    def _give(self, worker: Worker) -> None:
        if worker in self._running:
            self._running.discard(worker)
            self._turns.give()

    # -- what control wants of a runtime, see rtsync.runtime ---------------------------------------

    def report(self, task: Task, error: BaseException, own_end: bool = False) -> None:
        self._place.report(task, error, own_end)

    def freeze(self, thread: Thread, thaw: Any) -> bool:
        """See `Runtime.freeze`."""
        worker = scheduler.here.driver
        self._give(worker)
        self.freeze_worker(thaw)
        self._take(worker)
        return True

    def thaw(self, thread: Thread, thaw: Any) -> None:
        """See `Runtime.thaw`."""
        self.thaw_worker(thaw)

    # -- idleness ----------------------------------------------------------------------------------

    def idle_hook(self) -> None:
        # Published as idle; now check. The place's workers do it the other way round: who goes idle last
        # sees that all are.
        if self.all_idle() and self.home.all_idle():
            self.home.nudge()

    def rests(self) -> bool:
        """Whether none of its threads can run, but for those that wait for time."""
        return self.all_idle() and not self.has_work() and self._turns.at_rest()


class PoolThread(OsThread):
    """A thread of a pool that runs a plain function. It has a turn when its OS thread begins."""

    __slots__ = ("_begun", "_core")

    driver_class: ClassVar[type[OsThreadDriver]]

    def __init__(self, key: int, call: Callable[[], Any], context: Any, custodian: Any, core: Core) -> None:
        super().__init__(key, call, context, custodian)
        self._core = core
        self._begun = False

    def line_up(self) -> None:
        """Run, now or when it has a turn."""
        if self._core.turns.take_or_line_up(self):
            self.grant()

    def grant(self) -> None:
        """It has a turn."""
        try:
            self._threads.start(self)
        except BaseException:  # the system has no thread left
            self._core.turns.give()
            raise

    def main(self) -> OsThread | None:
        self._begun = True
        try:
            super().main()
        finally:
            after = self._core.turns.pass_on()
        if isinstance(after, PoolThread):
            return after
        if after is not None:
            after.grant()
        return None

    def seize(self) -> bool:
        return self._core.turns.withdraw(self) or super().seize()

    def ready(self) -> None:
        if self._begun:
            super().ready()
        elif self.pending & KILL:  # it was seized in line, or while it was held
            self._end_as(KILLED, None)
        else:
            self.line_up()

    def _in_step(self) -> bool:
        return self._begun and super()._in_step()

    def freezing(self) -> None:
        self._core.turns.give()

    def thawed(self) -> None:
        self._core.turns.take()


class PoolDriver(OsThreadDriver):
    """Its driver: the turn is for others while it waits."""

    def give_way(self) -> None:
        turns = self.task._core.turns
        if turns.wanted and not self.refuses():
            turns.give()
            turns.take()
        super().give_way()

    def wait(self) -> None:
        if self.refuses():
            super().wait()
            return
        turns = self.task._core.turns
        turns.give()
        super().wait()
        turns.take()


PoolThread.driver_class = PoolDriver


class ParallelThreadPool:
    """Processors for parallel threads: ``thread(fn, pool=pool)`` runs ``fn`` in it.

    An ``async`` function runs on workers of the pool's own, a plain one on an OS thread; at most ``n``
    threads of the pool run at once, the others wait for their turn. Threads of the pool and of the place use
    the same channels, events and mailboxes, and control each other; atomic mode of a thread of the place does
    not stop those of a pool. The pool is closed when its custodian is shut down, or when nobody refers to it
    any more.

    Source: Racket Reference 11.1.5, ``make-parallel-thread-pool``.
    """

    __slots__ = ("__weakref__", "_core", "_custodian")

    def __init__(self, n: int | None = None) -> None:
        """``n``: how many threads may run at once, by default the number of processors. Managed by the
        current custodian; ``ContractError`` if that has been shut down."""
        if n is not None:
            check_count("ParallelThreadPool", "n", n, 1)
        driver = current_driver()
        if driver is None or driver.home is None or current_or_none() is None:
            raise NoRuntime("ParallelThreadPool")
        self._core = Core(driver.home, n if n is not None else default_workers())
        self._custodian = current_env.get().custodian
        self._custodian.adopt(self)
        weakref.finalize(self, self._core.close).atexit = False

    @property
    def size(self) -> int:
        """How many of its threads may run at once."""
        return self._core.many

    @property
    def closed(self) -> bool:
        """Whether it takes no more threads."""
        return self._core.closed

    def close(self) -> None:
        """Take no more threads. Those that it has go on; its processors are free when they have ended.

        Source: Racket Reference 11.1.5, ``parallel-thread-pool-close``."""
        self._core.close()

    def _ended(self) -> bool:
        return self._core.closed

    def _disown(self, custodian: Custodian) -> bool:
        return True

    @staticmethod
    def end_all(pools: list[ParallelThreadPool]) -> None:
        """Their custodians have been shut down."""
        for pool in pools:
            pool.close()

    def __repr__(self) -> str:
        state = " closed" if self._core.closed else ""
        return f"<ParallelThreadPool of {self._core.many}{state} at {id(self):#x}>"

    def __reduce__(self) -> Any:
        raise ContractError("ParallelThreadPool: cannot be copied or pickled; it belongs to its process")
