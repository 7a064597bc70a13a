"""Queues of waiters, and the two marks that go with them.

An entry is a tuple whose first item is the waiter (see `scheduler.task`: a one-shot claim token) and whose
second is the *case*: ``None`` when the operation waits for one event only, else what tells a `sync` which
of its events was chosen. Where an operation that waits for one event has nothing else to say, its entry in a
channel or semaphore is the bare waiter. An entry whose waiter is empty is dead: its thread was resumed by
someone else.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from scheduler import nested, published
from scheduler.task import Task


class NOT_READY:  # a mark; a class, because references to classes are not counted per use
    """What a poll gives when the event is not ready."""


class RETRY:
    """What `park` gives when the thread was suspended and resumed: the operation was not begun; begin
    again."""


class Returned:
    """What an operation gives that goes to somebody else if the thread that was to have it is stopped."""

    __slots__ = ()

    def give_back(self) -> None:
        """It has not been taken."""
        raise NotImplementedError


def not_taken(value: Any) -> None:
    """``value`` was given to a thread that is stopped before it could take it. Under no locks."""
    if type(value) is tuple and len(value) == 2:  # the case of a `sync`, and its value
        value = value[1]
    if isinstance(value, Returned):
        value.give_back()


class StandIn:
    """What stands in a waiter in place of its thread while somebody reads the coroutine of that.

    A coroutine that is resumed while another OS thread reads its frame makes the interpreter crash. So who
    wants to read puts this into the waiter first (an assignment to its one item, which fails if it has been
    claimed). A claimant who comes meanwhile claims this: whatever it does, leave a value and make ready, is
    passed on when the reader has finished, a few microseconds later. If nobody came, the thread is back in
    its waiter and has lost nothing, neither an operation nor its place in a queue. Who claims the waiter of
    a thread that it knows already must therefore look at what it got.
    """

    __slots__ = ("_first", "_thread", "value")

    # For those who put a task that they have claimed into a queue themselves: this one they may not.
    key = 0
    queues = False
    worker = None

    def __init__(self, thread: Any) -> None:
        self._thread = thread
        self._first = [None]  # taken by the first of the two, the claimant and the reader, who is done
        self.value: Any = None

    def ready(self) -> None:
        """By the claimant, as of the thread itself. Any OS thread."""
        if self._is_last():
            self.go_on()

    ready_last = inject = ready

    def give_back(self, waiter: Any) -> bool:
        """The reader has finished; whether it has to have the thread `go_on`, who was claimed meanwhile."""
        try:
            waiter[0] = self._thread
        except IndexError:
            return self._is_last()
        return False

    def _is_last(self) -> bool:
        try:
            self._first.pop()
        except IndexError:
            return True
        return False

    def go_on(self) -> None:
        """Let the thread go on with what it was given. By the last of the two."""
        self._thread.value = self.value
        self._thread.ready()


SPARE: Final = 32
"""How many dead entries may stay where they hold nothing but themselves."""


class Locks(tuple[Any, ...]):
    """Several locks, or none, to be let go together at a commit."""

    __slots__ = ()

    def release(self) -> None:
        """Let go of them all."""
        for lock in self:
            lock.release()


class Pair:
    """Two locks, to be let go together at a commit; to be made once and used again."""

    __slots__ = ("__weakref__", "first", "second")

    def __init__(self, first: Any, second: Any) -> None:
        self.first = first
        self.second = second
        published(self)

    def release(self) -> None:
        """Let go of both."""
        self.first.release()
        self.second.release()


def living(queue: Any) -> int:
    """How many threads wait in ``queue``."""
    return sum(bool(entry if type(entry) is list else entry[0]) for entry in queue)


def has_living(queue: Any) -> bool:
    """Whether somebody waits in ``queue``. Without its lock: of what changes meanwhile, it may see either."""
    while True:
        try:
            return any(entry if type(entry) is list else entry[0] for entry in queue)
        except RuntimeError:  # it changed while we went through it
            continue


def sweep(lock: Any, *queues: deque[Any]) -> bool:
    """Take the dead entries out of ``queues``, which belong to ``lock``, and drop them after letting it go.
    Takes lock. ``False`` and nothing done if this OS thread held it already: then an empty waiter may be one
    that has not parked yet (`scheduler.deferred`)."""
    swept = []  # so that nothing dies, and runs a clean-up, under the lock
    with lock:
        if nested(lock):
            return False
        for queue in queues:
            entries = list(queue)
            queue.clear()
            queue.extend([entry for entry in entries if (entry if type(entry) is list else entry[0])])
            swept.append(entries)
    return True


class WaitQueue(deque[Any]):
    """A queue of entries that counts how many of them have died early. They need the lock of its owner.

    Under that lock every waiter in the queue has parked or been claimed, so empty means dead; save for an
    operation nested in another of the same OS thread (`scheduler.deferred`), where it may be unborn.

    (Channels and semaphores use a plain deque and count for themselves: the interpreter calls methods
    of exactly that class at half the cost.)
    """

    __slots__ = ("dead",)

    dead: int

    def __init__(self) -> None:
        self.dead = 0

    def taken(self) -> list[Any]:
        """All entries, in a list of their own, for who will resume them; the queue is empty then, and who is
        just leaving it finds nothing to sweep. Holds the lock."""
        entries = list(self)
        self.clear()
        return entries

    def left(self, lock: Any, spare: int = 0) -> None:
        """One entry has died here early. Sweeps when more than ``spare`` are dead and they outnumber the
        living, so that leaving costs O(1) in the mean and a thread that waits on us again and again does
        not make us grow. Takes ``lock``."""
        self.dead += 1  # without the lock: an increment lost to another OS thread only delays a sweep
        if self.dead > spare and self.dead * 2 > len(self) and sweep(lock, self):
            self.dead = 0


def claim_first(queue: deque[Any], lock: Any) -> Any:
    """Take the first living entry out of ``queue`` and claim it: the entry with its task in place of the
    waiter, or ``None``. Holds ``lock``. (Hot paths have this written out.)"""
    while queue:
        try:
            entry = queue.popleft()
            if type(entry) is list:
                return entry.pop(), None
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
    """Claim and resume everyone in ``entries``, which nobody else changes any more: see `WaitQueue.taken`."""
    for waiter, case in entries:
        try:
            task = waiter.pop()
        except IndexError:
            continue
        give(task, case, value)
