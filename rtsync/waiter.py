"""Queues of waiters, and the two marks that go with them.

An entry is a tuple whose first item is the waiter (see `scheduler.task`: a one-shot claim token) and whose
second is the *case*: ``None`` when the operation waits for one event only, else what tells a `sync` which
of its events was chosen. An entry whose waiter is empty is dead: its thread was resumed by someone else.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from scheduler import nested
from scheduler.task import Task


class NOT_READY:  # a mark; a class, because references to classes are not counted per use
    """What a poll gives when the event is not ready."""


class RETRY:
    """What `park` gives when the thread was suspended and resumed: the operation was not begun; begin
    again."""


SPARE: Final = 16
"""How many dead entries may stay where they hold nothing but themselves."""


class Locks(tuple[Any, ...]):
    """Several locks, or none, to be let go together at a commit."""

    __slots__ = ()

    def release(self) -> None:
        """Let go of them all."""
        for lock in self:
            lock.release()


class WaitQueue(deque[Any]):
    """Entries in the order of their arrival. They need the lock of the event that owns the queue.

    Under that lock every waiter in the queue has parked or been claimed, so empty means dead; save for an
    operation nested in another of the same OS thread (`scheduler.deferred`), where it may be unborn.
    """

    __slots__ = ("dead",)

    dead: int

    def __init__(self) -> None:
        self.dead = 0

    def left(self, lock: Any, spare: int = 0) -> None:
        """One entry has died here early. Sweeps when more than ``spare`` are dead and they outnumber the
        living, so that leaving costs O(1) in the mean and a thread that waits on us again and again does
        not make us grow. Takes ``lock``, and drops what it sweeps out only after letting it go."""
        self.dead += 1  # without the lock: an increment lost to another OS thread only delays a sweep
        if self.dead <= spare or self.dead * 2 <= len(self):
            return
        swept = None
        with lock:
            if not nested(lock):
                swept = list(self)
                self.clear()
                for entry in swept:
                    if entry[0]:
                        self.append(entry)
                self.dead = 0
        del swept

    def living(self) -> int:
        """How many threads wait."""
        return sum(bool(entry[0]) for entry in self)


def claim_first(queue: WaitQueue, lock: Any) -> Any:
    """Take the first living entry out of ``queue`` and claim it: the entry with its task in place of the
    waiter, or ``None``. Holds ``lock``. (Hot paths have this written out.)"""
    while queue:
        try:
            entry = queue.popleft()
            task = entry[0].pop()
        except IndexError:
            if nested(lock):
                queue.appendleft(entry)
                return None
            continue
        return (task, *entry[1:])
    return None


def give(task: Task, case: Any, value: Any) -> None:
    """Resume a claimed task with ``value``; a `sync` also learns which of its cases it is."""
    task.value = value if case is None else (case, value)
    task.ready()


def wake_all(entries: Any, value: Any) -> None:
    """Claim and resume everyone in ``entries``, which nobody else can reach any more."""
    for waiter, case in entries:
        try:
            task = waiter.pop()
        except IndexError:
            continue
        give(task, case, value)
