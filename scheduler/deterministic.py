"""The deterministic scheduler: one thing at a time, virtual time, and a seed that decides.

The same tasks, waiters, timers and operations as in the real runtime; only who runs next is not left to the
machine. All runnable tasks stand in one list, and at every scheduling point (the end of a step) a seeded
generator picks one. When none can run, virtual time jumps to the next timer. Steps take no time; but a
program in which some thread can always run (it polls with ``sleep(0)`` for what another one does after a
second) would stand still in time, so after `BUSY` steps in a row each takes `STEP` seconds. The same seed and
program give the same run.

What it explores is the order of steps. Races between OS threads inside one operation it cannot show.

Descriptors are real. They are looked at now and then and before time moves: virtual time stands still until
they have been quiet for `QUIET` real seconds, and with no timer armed the scheduler waits for them. So
programs that talk over sockets run, within themselves nearly always as the seed says; the world outside is
not repeatable."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from .poller import new_poller
from .runtime import Runtime
from .task import Task, current_driver, here, runtimes
from .timers import FAR
from .worker import Worker

QUIET = 0.01
"""Real seconds without news from a descriptor that is waited for, before virtual time moves."""

LOOK = 0.1
"""Real seconds for which the scheduler waits at once when only descriptors can bring news."""

BUSY = 10_000
"""Steps in a row, without a moment in which nothing could run, that take no virtual time."""

STEP = 0.00001
"""Virtual seconds that each step after them takes."""


class Deterministic(Runtime):
    """A runtime without OS threads: `run_until` runs the tasks in the calling one."""

    real_time = False

    def __init__(self, seed: int = 0, *, name: str = "deterministic") -> None:
        """``seed`` decides every choice of the run."""
        super().__init__(1, name=name, seed=seed)
        self.seed = seed
        self.time = 0.0
        self.clock: Callable[[], float] = lambda: self.time
        self.random = Random(seed)

    def start(self) -> None:
        with self.lock:
            self.running = True
            runtimes[self.key] = self
            self.poller = new_poller()
            self.worker = Worker(self, 0)
            self.workers = (self.worker,)

    def close(self, patience: float = 5.0) -> list[threading.Thread]:
        self.running = False
        runtimes.pop(self.key, None)
        self.injected.clear()
        self.workers = ()
        self.poller.close()
        return []

    def seed_for(self, index: int) -> int:
        return self._seed

    def inject(self, task: Task) -> None:
        self.injected.append(task)

    def nudge(self) -> None:
        """Nobody sleeps."""

    def wake(self) -> None:
        """Nobody sleeps."""

    def stand_in(self, worker: Worker) -> None:
        """There is one worker, and all wait while it waits."""

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run tasks in this OS thread until ``done()``, or until nothing can ever run again."""
        worker = self.worker
        runnable: list[Task] = []
        self._runnable = runnable
        quiet = worker.steps  # at the last moment in which nothing could run
        with self.worker_here():
            try:
                while not done():
                    if worker.steps % 64 == 63 and self.poller.busy:
                        self.poller.glance()  # before the queues, where it puts what it makes ready
                    for queue in (worker.next, worker.queue, self.injected):
                        while queue:
                            runnable.append(queue.pop())
                    if runnable:
                        # Swap-remove: which one is random anyway.
                        index = int(self.random.random() * len(runnable))
                        runnable[index], runnable[-1] = runnable[-1], runnable[index]
                        task = runnable.pop()
                        worker.steps += 1
                        self.step(task)
                        if worker.steps - quiet > BUSY:
                            self.time += STEP
                            if self.time >= self.timers.due:
                                self.timers.fire()
                    elif self.nothing_runs():
                        quiet = worker.steps
                    else:
                        break
            finally:
                worker.queue.extend(runnable)
                runnable.clear()

    @contextmanager
    def worker_here(self) -> Iterator[None]:
        """For the block, this OS thread is the worker. Only for who runs alone."""
        outer = current_driver()
        task = self.worker.task
        here.driver = self.worker
        try:
            yield
        finally:
            self.worker.task = task
            if outer is None:
                del here.driver
            else:
                here.driver = outer

    def step(self, task: Task) -> None:
        """One step of one task."""
        if task.pending and not task.on_pending():
            return
        value, task.value = task.value, None
        self.worker.step(task, task.coro.send, value)

    def nothing_runs(self) -> bool:
        """No task can run: let time pass. Whether that may have changed anything."""
        timeout = self.timers.watch()
        if self.poller.busy and self.poller.waits():
            if self.poller.poll(LOOK if timeout == FAR else QUIET) or timeout == FAR:
                return True
        elif timeout == FAR:
            return False
        self.time = max(self.time, self.timers.due)
        self.timers.fire()
        return True

    def queued(self) -> list[Any]:
        return [self._runnable, self.worker.next, self.worker.queue, self.injected]


class Baton:
    """Lets OS threads take part: exactly one of them runs, or the scheduler does."""

    def __init__(self) -> None:
        self._lock: Any = None  # on which the one waits who handed the baton on last

    def hand_to(self, parker: Any) -> None:
        """Let the OS thread that waits on ``parker`` run until it gives the baton back. By the scheduler, or
        by an OS thread that was handed the baton itself."""
        outer, mine = self._lock, threading.Lock()
        mine.acquire()
        self._lock = mine
        parker.unpark()
        mine.acquire()
        self._lock = outer

    def give_back(self) -> None:
        """The OS thread is about to wait or to end."""
        self._lock.release()
