"""The OS threads of OS-backed threads: a cache that grows on demand, and who of them is blocked.

``active`` counts the threads that run. One that blocks in an operation does not count, until the one who
makes it ready counts it again *before* letting it go: so a runtime whose workers are idle and whose count is
zero has nothing that could make anything happen.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import asyncgens

if TYPE_CHECKING:
    from scheduler import TimerQueue

    from .os_thread import OsThread
    from .runtime import Runtime

KEEP = 10.0
"""Seconds that an OS thread without work is kept."""


class OsThreads:
    """All of one runtime."""

    timers: TimerQueue | None = None  # where such a thread's deadlines go; None: to a queue of its own

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._condition = threading.Condition()
        self._waiting: deque[OsThread] = deque()  # threads for which an OS thread is on the way
        self._idle = 0
        self._retired = False  # the runtime has ended: no OS thread is kept
        self.active = 0
        self.turns = 0  # how often one was started or made ready
        self.timed = 0  # blocked ones that have a timer of their own
        self.own: set[threading.Thread] = set()

    def start(self, thread: OsThread) -> None:
        """Run ``thread`` on an OS thread."""
        with self._condition:
            self.active += 1
            self.turns += 1
            self._waiting.append(thread)
            if self._idle >= len(self._waiting):
                self._condition.notify()
                return
            os_thread = threading.Thread(target=self._main, name=f"{self.runtime.name}-thread", daemon=True)
            self.own.add(os_thread)
        try:
            os_thread.start()
        except BaseException:  # the system has none left: as if we had not been asked
            with self._condition:
                self.own.discard(os_thread)
                if thread in self._waiting:
                    self._waiting.remove(thread)
                    self.active -= 1
                    raise
            # Another one has taken it meanwhile.

    def retire(self, retired: bool) -> None:
        """Whether OS threads without work are let go at once from now on."""
        with self._condition:
            self._retired = retired
            self._condition.notify_all()

    def _main(self) -> None:
        asyncgens.watch(self.runtime)
        while True:
            with self._condition:
                self._idle += 1
                while not self._waiting:
                    if self._retired or (not self._condition.wait(KEEP) and not self._waiting):
                        self._idle -= 1
                        self.own.discard(threading.current_thread())
                        return
                self._idle -= 1
                thread: OsThread | None = self._waiting.popleft()
            try:
                while thread is not None:  # what has run is not kept by our variables
                    thread = thread.main()
            finally:
                self._now_blocked()

    def ready(self, thread: OsThread) -> None:
        """Let a blocked thread go on. Any OS thread; by its claimant."""
        with self._condition:
            self.active += 1
            self.turns += 1
        thread.parker.unpark()

    def block(self, thread: OsThread, wait: Callable[[], None] | None) -> None:
        """Block until `ready`; ``wait()`` does it for a thread that has timers. In its OS thread."""
        if wait is None:
            self._now_blocked()
            thread.parker.park_eagerly()
            return
        with self._condition:
            self.timed += 1
        self._now_blocked()
        wait()
        with self._condition:
            self.timed -= 1

    def _now_blocked(self) -> None:
        with self._condition:
            self.active -= 1
            last = not self.active
        if last:
            self.runtime.nudge()  # the workers may be idle already: is this a deadlock?

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """For the block, somebody counts as running who may be about to make a thread ready."""
        self.thaw()
        try:
            yield
        finally:
            self.freeze()

    def freeze(self) -> None:
        """A thread is about to be stopped inside its own code. In its OS thread."""
        self._now_blocked()

    def thaw(self) -> None:
        """It is about to go on."""
        with self._condition:
            self.active += 1
            self.turns += 1

    def give_way(self, thread: OsThread) -> None:
        """Let others run. In its OS thread."""
        time.sleep(0)

    def unqueue(self, thread: OsThread) -> bool:
        """Take back a `ready` that has not let it go on yet; whether that was possible."""
        return False

    def runs(self, thread: OsThread) -> bool:
        """Whether ``thread``, which is not blocked, makes progress while the caller waits."""
        return True

    def let_end(self, thread: OsThread) -> None:
        """``thread`` has been made ready in order to die: see to it that it can."""
