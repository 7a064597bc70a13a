"""Coroutines driven by an OS thread that is no worker: one that blocks instead of going on to others.

The same operations, the same waiters: the driver runs ``send``, and where a worker would turn to the next
task it waits on a lock of its own until the claimant releases it. It looks after its own timers, so that no
runtime need be running.
"""

from __future__ import annotations

import signal
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any

from .errors import BadYield, ForkError
from .parker import Parker
from .safepoint import base
from .task import Task, current_driver, here
from .timers import FAR, TimerQueue

if TYPE_CHECKING:
    from .runtime import Runtime


SIGNAL_LATENCY = 0.1
"""Seconds after which the main OS thread, blocked, looks for signals."""


class OsTask(Task):
    """A task that an OS thread of its own drives. ``ready`` lets that thread go on."""

    __slots__ = ("parker",)

    def __init__(self) -> None:
        self.coro = None
        self.key = 0
        self.value = None
        self.pending = 0
        self.waiter = None
        self.parker = Parker()

    def ready(self) -> None:
        self.parker.unpark()

    def give_up(self, given: bool, value: Any) -> None:
        """An exception is about to be raised in its operation; ``given``: which has happened all the same,
        with ``value`` as its result."""

    def os_interruption(self, standing: bool, value: Any) -> BaseException | None:
        """What to raise where the task stands, if anything, when ``pending`` is not zero; ``standing``: it
        is between two operations, else one has given ``value``."""
        return None


class OsDriver:
    """What ``here.driver`` is in such a thread."""

    key = 0
    runtime = None  # never equal to a task's runtime: what we make ready has to be injected

    def __init__(self, task: Any, home: Runtime | None, timers: TimerQueue | None = None) -> None:
        """``task`` has a ``parker`` as `OsTask` has; ``home`` is the runtime it belongs to, if any;
        ``timers`` are to be fired by someone else, if given."""
        self.task = task
        self.home = home
        self.clock: Callable[[], float] = time.monotonic if home is None else home.now
        self.timers = TimerQueue(self.clock) if timers is None else timers
        self.op: Any = None  # the coroutine it drives, for reports
        self.forked: Any = None  # in the child of a fork: the task that forked
        self.choose: Callable[[], float] = Random(SystemRandom().getrandbits(64)).random

    @base
    def drive(self, coro: Coroutine[Any, Any, Any] | Generator[Any, Any, Any]) -> Any:
        """Run ``coro`` to its end in this OS thread, blocking where it parks; its result or exception."""
        task = self.task
        self.op = coro
        call: Callable[[Any], Any] = coro.send
        argument: Any = None
        standing = True  # between two operations
        while True:
            if task.pending:
                error = task.os_interruption(standing, argument)
                if error is not None:
                    task.give_up(not standing and not task.is_retry(argument), argument)
                    call, argument = coro.throw, error
            try:
                parking = call(argument)
            except StopIteration as stop:
                return stop.value
            call, argument = coro.send, None
            standing = parking is None
            if parking is None:
                self.give_way()
                continue
            try:
                waiter, commit = parking
            except Exception:
                call, argument = coro.throw, BadYield(parking)
                continue
            waiter.append(task)
            task.waiter = waiter
            commit.release()
            if task.pending:
                task.on_parked(waiter)
            try:
                self.wait()
            except BaseException as error:  # a signal handler of the program, in the main OS thread
                try:
                    waiter.pop()
                except IndexError:
                    # The operation has happened: give its result now and the interruption right after.
                    task.parker.park()
                    if not isinstance(error, KeyboardInterrupt):
                        raise
                    interrupt_main(signal.SIGINT)
                else:
                    task.give_up(False, None)
                    call, argument = coro.throw, error
                    continue
            argument, task.value = task.value, None

    def may_linger(self) -> bool:
        """See `scheduler.linger`."""
        return self.home is None or self.home.real_time

    def give_way(self) -> None:
        """Let others run."""
        time.sleep(0)

    def wait(self) -> None:
        """Block until ``task.ready()``, firing this thread's own timers meanwhile."""
        if self.forked is not None:
            if self.home is None:  # it needs no runtime: what begins in the child may go on there
                self.forked = None
            raise ForkError
        park = self.task.parker.park_eagerly
        timers = self.timers
        # The system may hand a signal to any OS thread; Python runs its handler in the main one, but does not
        # wake that. So it looks for itself now and then.
        longest = SIGNAL_LATENCY if threading.current_thread() is threading.main_thread() else FAR
        while True:
            timeout = min(timers.watch(), longest)
            if park(None if timeout == FAR else timeout):
                return
            timers.fire()


@contextmanager
def unseated() -> Iterator[None]:
    """For the block, nobody runs tasks in this OS thread. In the child of a fork, where who did is the
    parent's."""
    driver = here.driver
    del here.driver
    try:
        yield
    finally:
        here.driver = driver


def block(coro: Coroutine[Any, Any, Any]) -> Any:
    """Run ``coro`` in this OS thread, whoever it belongs to, until its end."""
    mine = current_driver()
    if mine is not None:
        return mine.drive(coro)
    mine = OsDriver(OsTask(), None)
    here.driver = mine
    try:
        return mine.drive(coro)
    finally:
        del here.driver
