"""The place lock: one task goes on alone while all workers of its runtime stand still.

The *owner* is the task that is alone, on a worker of the runtime or on any other OS thread. Others that want
to be wait in a queue, in their own OS threads.

**Gates.** A worker holds a lock of its own, its *gate*, for as long as it may run steps: from its start on,
and not while it sleeps or *stands aside*, that is waits inside a step for something other than a task (frozen
by a suspension, or waiting for this very lock). The owner is alone when it has the gates of all other
workers. So nothing is done per step, and a worker that sleeps when the owner comes is not woken: it finds its
gate taken when it wakes by itself.

A gate that is free the owner simply takes. To a worker that holds its own it sends ``GATE``, a bit of the
``attention`` that each worker looks at before each step; the worker then leaves the gate, locked as it is, to
the owner, and waits for it to be unlocked. Both may miss each other, hence *publish, fence, check*:

    owner (holds runtime.lock)              worker that stands aside
    1. set GATE, add it to ``_awaited``     1. release the gate
    2. try to take the gate                 2. look at GATE; if it is set, hold runtime.lock, look again,
                                               try to take the gate, and leave it to the owner

Adding to a set and releasing a lock are read-modify-writes: the fences. (An attempt to take a lock that fails
is none, only a look.) In any interleaving at least one side sees the other, and if both do, ``runtime.lock``
decides who counts the worker as stopped, once.

The owner goes on in one stretch (`Worker._go_on`): no other task comes up on its worker.

**Steps that do not end.** A worker that has not come to its gate after a millisecond is stopped at a
safepoint (`scheduler.safepoint`), save inside code of ours, which is short, and in tasks that refuse
(`Task.steady`). One that sits in a call into C cannot be stopped before it returns; it is *cornered*: each
instruction of the code to which it will return, each jump and each start of a function bring it to its gate
first. It is then counted as stopped, as soon as a look at its stack after these events went on shows it in
that code: where it has stood still since, or it would have met one of them.

All fields need ``runtime.lock`` unless a comment says otherwise. Who opens the gates takes back, under that
lock, all that the owner has asked of others: the next one may begin at once. Who is stopped may hold locks of
the program, but none of ours. A model of this file is tests/model/gates.pml.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from .errors import SchedulerError
from .safepoint import comes_back_to, safepoints
from .task import here
from .worker import GATE

if TYPE_CHECKING:
    from .runtime import Runtime
    from .worker import Worker

SPIN = 100
"""How often the owner looks, and gives its processor away, before it sleeps: a step is shorter than a
wake-up."""

give_way = getattr(os, "sched_yield", lambda: sleep(0))
"""0.4 µs; ``sleep(0)`` takes 60 on Linux."""

PERIOD = 0.001
"""Seconds between two looks at those who have not come to their gates, and at what the waiting task is asked
for itself."""


PATIENCE = 2.0
"""Seconds for which the owner waits for those who cannot be stopped because no safepoints are to be had."""


class _Entrant:
    """A task that waits for its turn to be alone."""

    __slots__ = ("bell", "task")

    def __init__(self, task: Any) -> None:
        self.task = task
        self.bell = threading.Lock()  # released by the one who leaves, once this task is the owner
        self.bell.acquire()


class PlaceLock:
    """The place lock of one runtime, from its start to its end."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock: Any = runtime.lock
        self.owner: Any = None
        """The task that is alone or is about to be; ``None`` if nobody is. Read without the lock as a
        hint."""
        self.closed = False
        """Whether the owner has begun to take gates. Read without the lock as a hint."""
        self._ended = False
        self._held: list[Worker] = []  # whose gates the owner has
        self._awaited: set[Worker] = set()  # who have not left theirs yet; read without the lock by the owner
        self._asked: dict[Worker, Any] = {}  # for whom safepoints are on, and where they stood
        self._cornered: set[Worker] = set()  # those of them who sit in C calls and are not awaited any more
        self._bell = threading.Lock()  # released when nobody is awaited any more
        self._bell.acquire()
        self._queue: deque[_Entrant] = deque()

    # -- by the task that wants to be alone, in its OS thread ----------------------------------

    def enter(self, task: Any, interruptible: bool = True) -> bool:
        """Make ``task``, the current one, the owner and wait until it is alone. If ``interruptible``, gives
        up as soon as it is ``task.wanted()``, with ``False`` and everything as it was before."""
        driver = here.driver
        worker = driver if driver.runtime is self._runtime else None
        lock = self._lock
        lock.acquire()
        if lock._recursion_count() != 1:  # `nested`, written out
            lock.release()
            raise SchedulerError("atomic: begun in a finalizer that has interrupted the engine itself")
        if self.owner is not None:
            entrant = _Entrant(task)
            self._queue.append(entrant)
            lock.release()
            if not self._wait_for_turn(entrant, worker, interruptible):
                return False
            if interruptible and task.wanted():
                self.leave(task)
                return False
            lock.acquire()
        if not self._ended:
            self._close(task, worker)
        lock.release()
        return not self._awaited or self._gather(task, interruptible)

    def _wait_for_turn(self, entrant: _Entrant, worker: Worker | None, interruptible: bool) -> bool:
        """Wait until the one before us makes us the owner; whether it did. Meanwhile our worker, if we are on
        one of the runtime's, counts as stopped."""
        if worker is not None:
            worker.aside()
        turn = True
        while not entrant.bell.acquire(timeout=PERIOD):
            if interruptible and entrant.task.wanted():
                with self._lock:
                    if entrant in self._queue:
                        self._queue.remove(entrant)
                        turn = False
                        break
                    # Else we are the owner already. `_gather` gives up if it has to wait.
        if worker is not None:
            worker.gate.acquire()  # until then no code of this task may run: the owner may be alone
        return turn

    def _close(self, task: Any, worker: Worker | None) -> None:
        """Take all gates that are free, and ask for the others. Holds the lock."""
        self.owner = task
        self.closed = True
        held = self._held
        for other in self._runtime.workers:
            if other is worker:
                continue
            if other.gate.acquire(False):
                held.append(other)
                continue
            other.attention |= GATE
            self._awaited.add(other)
            # published, with a fence; now check: see the head, and `Worker.aside`
            if other.gate.acquire(False):
                other.attention &= ~GATE
                self._awaited.discard(other)
                held.append(other)

    def _gather(self, task: Any, interruptible: bool) -> bool:
        """Wait until all other workers have stopped; ``False`` if we gave up."""
        for _ in range(SPIN):
            give_way()
            if not self._awaited:
                return True
        start = monotonic()
        while self._awaited:
            if self._bell.acquire(timeout=PERIOD):
                continue  # it may be an old one
            if interruptible and task.wanted():
                self.leave(task)
                return False
            try:
                for worker in list(self._awaited):
                    self._press(worker)
            except SchedulerError:  # they cannot be stopped; but they may come by themselves
                if interruptible and monotonic() - start > PATIENCE:
                    self.leave(task)
                    raise
        if self._asked:
            with self._lock:
                if self.owner is task:  # else the runtime has ended meanwhile
                    self._unask(self._asked.keys() - self._cornered)
        return True

    def _press(self, worker: Worker) -> None:
        """``worker`` has not come to its gate: have it stopped inside its step."""
        where = code = None
        if worker in self._asked:  # only the owner, that is we, adds to it
            task = worker.task
            frame = sys._current_frames().get(worker.os_thread.ident or 0)
            if frame is not None and task is not None and not task.steady():
                code = comes_back_to(frame, task)
                where = (id(frame), frame.f_lasti)
            del frame
        with self._lock:
            if worker not in self._awaited:  # it has come, or the gates have been opened by the runtime's end
                return
            if worker not in self._asked:
                safepoints.prepare()
                self._asked[worker] = None
                safepoints.update(worker)
            elif code is None:
                where = None
            elif self._asked[worker] != where:
                safepoints.corner(worker, code, thorough=True)
            else:
                # The look that has found it here was made after the events of this code went on.
                self._awaited.discard(worker)
                self._cornered.add(worker)
            self._asked[worker] = where

    def leave(self, task: Any) -> None:
        """Let the others go on: ``task``, the owner, is no longer alone, or gives up. Any OS thread."""
        with self._lock:
            if self.owner is task:  # else the runtime has ended meanwhile
                self._open()
                if self._queue:
                    entrant = self._queue.popleft()
                    self.owner = entrant.task
                    entrant.bell.release()

    def _open(self) -> None:
        """Give all gates back. Holds the lock."""
        if self._awaited or self._cornered:
            for worker in self._runtime.workers:
                worker.attention &= ~GATE
            self._awaited.clear()
            self._cornered.clear()
        if self._asked:
            self._unask(set(self._asked))
        self.owner = None
        self.closed = False
        for worker in self._held:
            worker.gate.release()
        self._held.clear()

    def _unask(self, workers: set[Worker]) -> None:
        """Turn their safepoints off. Holds the lock."""
        for worker in workers:
            del self._asked[worker]
            safepoints.update(worker)

    def asks(self, worker: Worker) -> bool:
        """Whether safepoints are on for ``worker``."""
        return worker in self._asked

    def waits(self, task: Any) -> bool:
        """Whether ``task`` waits for its turn to be alone."""
        with self._lock:
            return any(entrant.task is task for entrant in self._queue)

    # -- by the workers, in their OS threads ---------------------------------------------------

    def admit(self, worker: Worker) -> None:
        """``worker`` has just been made: its gate is the owner's, if there is one. Holds the lock."""
        if self.closed:
            worker.gate.acquire()
            self._held.append(worker)

    def left_to_owner(self, worker: Worker) -> bool:
        """``worker``, which holds its gate, stops, if it was asked to; whether it was. Then it has to wait
        for the gate to be unlocked. Takes the lock."""
        with self._lock:
            if not worker.attention & GATE:
                return False
            self._count(worker)
            return True

    def stood_aside(self, worker: Worker) -> None:
        """``worker`` has released its gate and then seen that the owner asks for it. Takes the lock."""
        with self._lock:
            if worker.attention & GATE and worker.gate.acquire(False):
                self._count(worker)

    def _count(self, worker: Worker) -> None:
        """``worker`` has stopped, and its gate is locked. Holds the lock."""
        worker.attention &= ~GATE
        self._held.append(worker)
        self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        """``worker`` need not be waited for. Holds the lock."""
        if worker in self._awaited:
            self._awaited.discard(worker)
            if not self._awaited and self._bell.locked():
                self._bell.release()

    def departed(self, worker: Worker) -> None:
        """``worker`` ends. Holds the lock."""
        self._forget(worker)

    def end(self) -> None:
        """The runtime ends: nobody is alone any more. Takes the lock."""
        with self._lock:
            self._ended = True
            if self.owner is not None:
                self._open()
            while self._queue:
                self._queue.popleft().bell.release()
