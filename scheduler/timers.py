"""Timers: a queue of waiters ordered by time, cheap to arm and cheaper to disarm.

Deadlines are rounded up to *ticks*. A dictionary leads from tick to bucket, a list, and a sorted list holds
the ticks. Arming at a tick that exists is an append. An entry is a `Timer`, or the bare waiter of a task that
only sleeps.

A timer is *dead* when its waiter has been claimed, by it or by anybody else: as with all queues of waiters,
that is all there is to removal. Dead timers stay in their buckets until they outnumber the living, and are
swept out then: so a timeout armed and disarmed around every operation costs no search, and yet a million
disarmed timers leave nothing behind.

Everything here needs ``lock``, which a parking operation holds until its commit, like the lock of any
event: a timer cannot fire before the coroutine that armed it has stopped, and under the lock an empty waiter
is a dead one (save in an operation nested in another of the same OS thread: `scheduler.deferred`).
"""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable
from math import ceil
from typing import Any

from .deferred import nested
from .refcount import published, shared
from .sorted_list import SortedList
from .task import Waiter, current_driver

TICKS_PER_SECOND = 4096
"""A power of two, so that whole seconds are exact. A timer fires at most one tick (0.25 ms) late."""

NEAR = 1 / 64
"""Seconds. Who sleeps longer is woken at one tick in `TOGETHER`, so that many wake together. (Timeouts are
nearly always disarmed: for them that would only cost something.)"""

TOGETHER = 4
"""A power of two: they are woken at most so many ticks (1 ms) late."""

_TOGETHER_PER_SECOND = TICKS_PER_SECOND / TOGETHER

FAR = float("inf")

END_OF_TIME = 1e12
"""Seconds: later deadlines (30,000 years) are as good as this one."""


SPARE = 64
"""How many dead timers may stay."""


class Timer:
    """One armed deadline. When it has passed, its waiter is claimed and given ``case``; a timer with ``fire``
    has an empty waiter, and ``fire(timer)`` is called, once, unless it was disarmed."""

    __slots__ = ("case", "fire", "waiter")

    def __init__(
        self, waiter: Waiter, case: Any = None, fire: Callable[[Timer], object] | None = None
    ) -> None:
        self.waiter = waiter
        self.case = case
        self.fire = fire


type Entry = Timer | Waiter


def _is_armed(entry: Entry) -> bool:
    """Whether it has not been claimed or disarmed."""
    return bool(entry) if type(entry) is list else bool(entry.waiter) or entry.fire is not None  # type: ignore[union-attr]


class TimerQueue:
    """Timers of one runtime (or of one OS thread that blocks on its own)."""

    def __init__(
        self,
        clock: Callable[[], float],
        nudge: Callable[[], object] | None = None,
        together: bool = True,
    ) -> None:
        """``clock`` gives seconds; ``nudge`` makes the one that waits for us look again; ``together`` says
        whether sleepers wake together."""
        self.lock = published(RLock())
        self.clock = clock
        self.due: float = FAR  # the clock's time of the first bucket; read without the lock as a hint
        self._buckets: dict[int, list[Entry]] = {}
        self._ticks = SortedList()  # the keys of `_buckets`
        self._entries = 0  # in all buckets, dead ones included
        self._most = SPARE  # entries at which it is time to look for dead ones
        self._dead = 0  # about: entries that were disarmed, counted without the lock
        self._firing = 0  # calls of `fire` that have taken timers out and not woken all of them yet
        self._together = together
        self._nudge = nudge
        self._watched: float = FAR  # until when the one that waits for us means to sleep

    def share(self) -> TimerQueue:
        """These are a runtime's, and all its workers use them: itself. See `scheduler.refcount`."""
        for thing in (self, self.lock, self.clock, self._buckets, self._ticks):
            shared(thing)
        return self

    def arm(
        self,
        deadline: float,
        waiter: Waiter,
        case: Any = None,
        fire: Callable[[Timer], object] | None = None,
    ) -> Timer:
        """Arm a timer for ``deadline`` on ``clock``. Holds lock."""
        timer = Timer(waiter, case, fire)
        self.insert(timer, deadline)
        return timer

    def insert(self, timer: Entry, deadline: float, far: bool = False) -> None:
        """`arm`, with a timer that is there; ``far``: it is to wake a sleeper, more than `NEAR` from now.
        Holds lock."""
        if deadline > END_OF_TIME:
            deadline = END_OF_TIME
        if far and self._together:
            tick = ceil(deadline * _TOGETHER_PER_SECOND) * TOGETHER
        else:
            tick = ceil(deadline * TICKS_PER_SECOND)
        entries = self._entries
        if entries >= self._most:
            self._drop_dead()
            entries = self._entries
        self._entries = entries + 1
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.append(timer)
            return
        self._buckets[tick] = [timer]
        self._ticks.add(tick)
        at = tick / TICKS_PER_SECOND
        if at < self.due:
            self.due = at
            if at < self._watched and self._nudge is not None:
                self._watched = at
                self._nudge()

    def disarm(self, timer: Timer) -> None:
        """Forget a timer whose waiter has been claimed, or which was to call. One that has fired or was
        disarmed is none of our business. May take lock."""
        timer.fire = None
        if timer.waiter:  # its coroutine is being closed where it stands
            timer.waiter = []
        # `left`, written out
        dead = self._dead + 1
        self._dead = dead
        if dead > SPARE and dead * 2 > self._entries:
            self._sweep()

    def left(self) -> None:
        """One entry has died early. May take lock."""
        dead = self._dead + 1
        self._dead = dead  # an increment lost to another OS thread only delays a sweep
        if dead > SPARE and dead * 2 > self._entries:
            self._sweep()

    def _sweep(self) -> None:
        """Takes lock."""
        with self.lock:
            dropped = self._drop_dead()
        del dropped

    def _drop_dead(self) -> Any:
        """Take out the dead. Holds lock; gives what is best dropped after letting it go."""
        if nested(self.lock):  # an empty waiter may be one that has not parked yet
            self._most = self._entries + SPARE
            return None
        buckets = self._buckets
        living = {}
        entries = 0
        for tick, bucket in buckets.items():
            kept = [  # `_is_armed`, written out
                entry
                for entry in bucket
                if (entry if type(entry) is list else entry.waiter or entry.fire is not None)  # type: ignore[union-attr]
            ]
            if kept:
                living[tick] = kept
                entries += len(kept)
        self._buckets = living
        self._ticks = SortedList(living)
        self._entries = entries
        self._most = 2 * entries + SPARE
        self._dead = 0
        self._set_due()
        return buckets

    def _set_due(self) -> None:
        """Holds lock."""
        self.due = self._ticks[0] / TICKS_PER_SECOND if self._ticks else FAR

    def _to_first(self) -> Any:
        """Take out the dead before the first living timer. Holds lock; gives what is best dropped after
        letting it go."""
        dropped: list[Any] = []
        if nested(self.lock):
            return dropped
        ticks = self._ticks
        while ticks:
            bucket = self._buckets[ticks[0]]
            for number, entry in enumerate(bucket):
                if _is_armed(entry):
                    if number:
                        dropped.extend(bucket[:number])
                        del bucket[:number]
                    break
            else:
                dropped.extend(bucket)
                del self._buckets[ticks.pop(0)]
                continue
            break
        self._entries -= len(dropped)
        self._dead = max(0, self._dead - len(dropped))
        self._set_due()
        return dropped

    def waits(self) -> bool:
        """Whether a timer is armed, or has been taken out and has not woken its task yet. Takes lock."""
        if not self._entries and not self._firing:  # in this order: `fire` counts itself first
            return False
        with self.lock:
            dropped = self._to_first()
            found = bool(self._buckets) or self._firing > 0
        del dropped
        return found

    def watch(self) -> float:
        """How many seconds to the first timer, for one who will now sleep that long and be nudged
        if an earlier one is armed. Takes lock."""
        with self.lock:
            dropped = self._to_first() if self._entries else None
            self._watched = self.due
            seconds = self.due if self.due == FAR else max(0.0, self.due - self.clock())
        del dropped
        return seconds

    def unwatch(self) -> None:
        """Nobody sleeps on our behalf any more. Takes lock."""
        with self.lock:
            self._watched = FAR

    def fire(self) -> int:
        """Wake all whose time has come; how many. Takes lock, and lets go of it before anything runs."""
        fired: list[Entry] = []
        with self.lock:
            now = self.clock() * TICKS_PER_SECOND
            ticks = self._ticks
            if not ticks or ticks[0] > now:
                self._set_due()
                return 0
            self._firing += 1
            while ticks and ticks[0] <= now:
                fired.extend(self._buckets.pop(ticks.pop(0)))
            self._entries -= len(fired)
            self._set_due()
        try:
            return self._wake(fired)
        finally:
            with self.lock:
                self._firing -= 1

    def _wake(self, fired: list[Entry]) -> int:
        """Wake those of ``fired`` whom nobody else has; how many."""
        woken = 0
        driver = current_driver()
        key = 0 if driver is None else driver.key  # no task's, unless it is a worker's
        queue: Any = driver.queue if key else []
        for entry in fired:
            if type(entry) is list:
                try:
                    task = entry.pop()
                except IndexError:  # claimed by someone else
                    continue
                if task.key == key and task.queues:
                    queue.append(task)
                else:
                    task.ready()
            elif not self._fire_timer(entry):  # type: ignore[arg-type]
                continue
            woken += 1
        # publish (append above), then check: see runtime.Runtime.park. One of them is for this worker itself.
        if queue and driver.runtime.idle and len(queue) + len(driver.next) > driver.worth:
            driver.runtime.wake()
        return woken

    def _fire_timer(self, timer: Timer) -> bool:
        """Wake the task of ``timer``, or call what it is to call, unless somebody else was faster."""
        try:
            task = timer.waiter.pop()
        except IndexError:
            call, timer.fire = timer.fire, None
            if call is None:
                return False
            call(timer)
            return True
        task.value = timer.case
        task.ready()
        return True

    def __len__(self) -> int:
        """How many are armed. Takes lock; looks at all."""
        with self.lock:
            return sum(_is_armed(entry) for bucket in self._buckets.values() for entry in bucket)

    @property
    def buckets(self) -> int:
        """How many buckets there are: what bounds our memory."""
        return len(self._buckets)
