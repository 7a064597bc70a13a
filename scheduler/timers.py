"""Timers: a queue of waiters ordered by time, cheap to arm and to disarm.

Deadlines are rounded up to *ticks*. A dictionary leads from tick to bucket, and a heap holds each tick of it
once. Arming at a tick that exists is one dictionary insertion. Disarming takes the entry out of its bucket at
once; a bucket that became empty stays until the empty ones outnumber the others, so that a timeout armed and
disarmed around every operation does not change the heap each time, and yet a million disarmed timers leave
nothing behind.

Everything here needs ``lock``, which a parking operation holds until its commit, like the lock of any
event: a timer cannot fire before the coroutine that armed it has stopped.
"""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import ceil
from typing import Any

from .deferred import defer, nested
from .task import Waiter

TICKS_PER_SECOND = 4096
"""A power of two, so that whole seconds are exact. A timer fires at most one tick (0.25 ms) late."""

FAR = float("inf")

END_OF_TIME = 1e12
"""Seconds: later deadlines (30,000 years) are as good as this one."""


class Timer:
    """One armed deadline: ``fire(timer)`` is called once when it has passed, unless it was disarmed."""

    __slots__ = ("case", "fire", "tick", "waiter")

    def __init__(
        self, tick: int, waiter: Waiter, case: Any, fire: Callable[[Timer], object] | None = None
    ) -> None:
        self.tick = tick
        self.waiter = waiter
        self.case = case
        self.fire = fire


class TimerQueue:
    """Timers of one runtime (or of one OS thread that blocks on its own)."""

    def __init__(self, clock: Callable[[], float], nudge: Callable[[], object] | None = None) -> None:
        """``clock`` gives seconds; ``nudge`` makes the one that waits for us look again."""
        self.lock = RLock()
        self.clock = clock
        self.armed = 0  # timers in buckets
        self.due: float = FAR  # the clock's time of the first bucket; read without the lock as a hint
        self._buckets: dict[int, dict[Timer, None]] = {}
        self._ticks: list[int] = []  # the keys of `_buckets`, as a heap
        self._empty = 0
        self._nudge = nudge
        self._watched: float = FAR  # until when the one that waits for us means to sleep

    def arm(
        self,
        deadline: float,
        waiter: Waiter,
        case: Any = None,
        fire: Callable[[Timer], object] | None = None,
    ) -> Timer:
        """Arm a timer for ``deadline`` on ``clock``. Holds lock."""
        tick = ceil(min(deadline, END_OF_TIME) * TICKS_PER_SECOND)
        timer = Timer(tick, waiter, case, fire)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {timer: None}
            heappush(self._ticks, tick)
            at = tick / TICKS_PER_SECOND
            if at < self.due:
                self.due = at
                if at < self._watched and self._nudge is not None:
                    self._watched = at
                    self._nudge()
        else:
            if not bucket:
                self._empty -= 1
            bucket[timer] = None
        self.armed += 1
        return timer

    def disarm(self, timer: Timer) -> None:
        """Forget a timer; one that has fired or was disarmed is none of our business. Takes lock."""
        with self.lock:
            if nested(self.lock):
                defer(lambda: self.disarm(timer))
                return
            bucket = self._buckets.get(timer.tick)
            if bucket is None or timer not in bucket:
                return
            del bucket[timer]
            self.armed -= 1
            if not bucket:
                self._empty += 1
                if self._empty > 32 and self._empty * 2 > len(self._buckets):
                    self._sweep()

    def _sweep(self) -> None:
        """Drop the empty buckets. Holds lock."""
        self._buckets = {tick: bucket for tick, bucket in self._buckets.items() if bucket}
        self._ticks = list(self._buckets)
        heapify(self._ticks)
        self._empty = 0
        self._set_due()

    def _set_due(self) -> None:
        """Holds lock."""
        self.due = self._ticks[0] / TICKS_PER_SECOND if self._ticks else FAR

    def watch(self) -> float:
        """How many seconds to the first timer, for one who will now sleep that long and be nudged
        if an earlier one is armed. Takes lock."""
        with self.lock:
            while self._empty and not self._buckets[self._ticks[0]]:
                del self._buckets[heappop(self._ticks)]
                self._empty -= 1
            self._set_due()
            self._watched = self.due
            return self.due if self.due == FAR else max(0.0, self.due - self.clock())

    def unwatch(self) -> None:
        """Nobody sleeps on our behalf any more. Takes lock."""
        with self.lock:
            self._watched = FAR

    def fire(self) -> int:
        """Wake all whose time has come; how many. Takes lock, and lets go of it before anything runs."""
        fired: list[Timer] = []
        with self.lock:
            now = self.clock() * TICKS_PER_SECOND
            ticks = self._ticks
            while ticks and ticks[0] <= now:
                bucket = self._buckets.pop(heappop(ticks))
                if bucket:
                    fired.extend(bucket)
                else:
                    self._empty -= 1
            self.armed -= len(fired)
            self._set_due()
        woken = 0
        for timer in fired:
            if timer.fire is not None:
                timer.fire(timer)
                woken += 1
                continue
            try:
                task = timer.waiter.pop()
            except IndexError:  # claimed by someone else; its operation is on the way to disarm us
                continue
            task.value = timer.case
            task.ready()
            woken += 1
        return woken

    def __len__(self) -> int:
        return self.armed

    @property
    def buckets(self) -> int:
        """Buckets in the map, empty ones included: what bounds our memory."""
        return len(self._buckets)
