"""What modes a thread is in: the counts behind `rtsync.atomic`, and what control has to know of them.

They belong to the thread and are written in its own OS thread only. Others read whether there are any
(`Modes.defers`), before they seize the thread. They may read an old value; but a thread can be seized only
where it stands, and what it wrote before it stopped there is seen by whoever has claimed its waiter or taken
it out of a queue. So control looks again after that (`Controlled.on_pending`, `Controlled._hold`), and one
look too few costs no more than an operation begun anew.

| mode | kill, suspend | breaks | blocking |
|---|---|---|---|
| atomic (`start_atomic`, `call_as_atomic`) | wait | wait | refused |
| breakable atomic | wait | are raised | refused |
| uninterruptible | wait | wait | allowed |
| uninterruptible, with an `UninterruptibleLock` | wait | wait | refused |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .thread import Thread


class Modes:
    """How deep a thread is in which mode."""

    __slots__ = (
        "atomic",
        "breakable",
        "calls",
        "leaves",
        "locks",
        "place_lock",
        "refused",
        "stands_aside",
        "uninterruptible",
        "waits_for",
    )

    def __init__(self) -> None:
        self.atomic = 0  # levels of start_atomic
        self.breakable = 0  # levels of start_breakable_atomic
        self.calls = 0  # 1 within call_as_atomic
        self.uninterruptible = 0  # levels of start_uninterruptible, and one for each lock
        self.locks: list[Any] = []  # uninterruptible locks that it holds
        self.place_lock: Any = None  # the place lock, while in atomic mode
        self.leaves: list[Callable[[], object]] = []  # to be called on leaving atomic mode
        self.waits_for: Any = None  # the uninterruptible lock that it waits for
        self.stands_aside = (
            False  # and meanwhile another thread may be in atomic mode; read by others as well
        )
        self.refused = False  # its OS thread has taken back an operation that would have blocked

    @property
    def in_atomic(self) -> bool:
        """Whether in atomic mode of any kind."""
        return bool(self.atomic or self.calls or self.breakable)

    @property
    def defers(self) -> bool:
        """Whether kill and suspend have to wait."""
        return bool(self.uninterruptible or self.atomic or self.calls or self.breakable)

    @property
    def defers_breaks(self) -> bool:
        """Whether breaks have to wait."""
        return bool(self.uninterruptible or self.atomic or self.calls)

    def leave_all(self, thread: Thread) -> None:
        """``thread`` ends, or is ended: it leaves all modes and lets go of their locks."""
        self.uninterruptible = self.atomic = self.calls = self.breakable = 0
        for lock in self.locks:
            lock._abandon()
        self.locks.clear()
        place_lock, self.place_lock = self.place_lock, None
        if place_lock is not None:
            place_lock.leave(thread)
        self.run_leaves()

    def run_leaves(self) -> None:
        """Do what was to be done at the end of atomic mode."""
        while self.leaves:
            self.leaves.pop(0)()
