"""The preemption monitor: keeps things going when a step does not end.

Steps are not sliced. Instead the monitor looks every `PERIOD` while workers are busy. It asks each busy
worker for a sign of life (``attention``), which the worker gives before its next step. One that has not
answered by the next look is *stuck*: in a computation, or in a call into C. If then tasks wait and no worker
is idle, one more OS worker is started, and the operating system slices between them; it retires when the
stuck one has come back (`Runtime.too_many`). Due timers and descriptors of a pool whose steps are all long
are looked after here, too.

While the runtime is idle the monitor sleeps; the first worker that wakes up wakes it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .parker import Parker
from .worker import PING

if TYPE_CHECKING:
    from .runtime import Runtime

PERIOD = 0.005
"""Seconds between two looks."""

PATIENCE = 20
"""Looks at an idle runtime before the monitor goes to sleep."""


class Monitor:
    """The monitor of one runtime; its OS thread starts with the first worker that parks or is woken."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._parker = Parker()
        self.thread: threading.Thread | None = None
        self._stopping = False
        self.asleep = True  # written under runtime.lock; read without it as a hint

    def wake(self) -> None:
        """Watch again (or for the first time). Any OS thread."""
        with self._runtime.lock:
            if not self.asleep or self._stopping:
                return
            self.asleep = False
            if self.thread is not None:
                self._parker.unpark()
                return
            thread = threading.Thread(target=self._main, name=f"{self._runtime.name}-monitor", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has none left; the next who wakes us may have more luck
                self.asleep = True
            else:
                self.thread = thread

    def stop(self) -> None:
        """End the OS thread and wait for it."""
        with self._runtime.lock:
            self._stopping = True
            thread = self.thread
            if thread is not None and self.asleep:
                self.asleep = False
            self._parker.unpark()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _main(self) -> None:
        idle_looks = 0
        while not self._stopping:
            if self._runtime.sleeps():
                idle_looks += 1
                if idle_looks > PATIENCE:
                    idle_looks = 0
                    with self._runtime.lock:
                        if self._stopping:
                            return
                        self.asleep = True
                    # published; a worker that wakes from here on rings. One that woke before does not:
                    if self._runtime.sleeps():
                        self._parker.park()
                    else:
                        self._rise()
                    continue
            else:
                idle_looks = 0
                self._look()
            self._parker.park(PERIOD)

    def _rise(self) -> None:
        """Take back ``asleep``, and the ring of one who saw it."""
        with self._runtime.lock:
            if self.asleep:
                self.asleep = False
            else:
                self._parker.park()

    def _look(self) -> None:
        runtime = self._runtime
        if runtime.place_lock.closed:  # who stands still is not stuck, and more workers would be of no use
            return
        stuck = 0
        waits = bool(runtime.injected)
        with runtime.lock:
            for worker in runtime.workers:
                # A single task in the queue of one that makes short steps is what it turns to next: to take
                # that away helps nobody, and the objects of a task belong to the OS thread it has run on.
                if worker.queue and (len(worker.queue) > 1 or worker.steps == worker.steps_seen):
                    waits = True
                worker.steps_seen = worker.steps
                if worker.task is None:
                    worker.stuck = False
                elif worker.attention & PING:
                    worker.stuck = True
                    worker.worth = 1
                    stuck += 1
                    waits = waits or bool(worker.next)
                else:
                    worker.stuck = False
                    worker.attention |= PING
        if runtime.frozen and runtime.all_idle():
            runtime.wake()  # to fire timers, and to see that all others are idle
        if stuck and runtime.poller.busy and not runtime.idle:
            runtime.poller.glance()
        late = runtime.timers.due <= runtime.clock()
        if late or waits:
            if runtime.idle:
                runtime.wake()
            elif stuck:
                if runtime.capacity - stuck < runtime.target:
                    runtime.add_worker()
            elif late:  # all are busy, with steps so long that none has looked at the clock
                runtime.timers.fire()
