"""Thread groups: how the processor is shared.

A group takes part in its parent as one, however many members it has: a lone thread beside a group of three
gets one half of the steps, and each of the three one sixth. Groups are members of groups in the same way.

Threads of the group at the root know nothing of this: they stand in the run queues of the workers. A thread
of another group, when it is ready, stands in its group's own queue. Such a group has one *turn*: a task that
stands in the queue of the parent (at the root: a run queue) if and only if the group's queue is not empty.
A worker that comes to the turn takes the first of the queue, puts the turn back, to the end of the parent's
queue, *before* it makes the step of what it has taken. So the turn is never held up by a long step: a worker
that finds nothing else to do steals it like any task and runs the next member beside the first, while a
worker that has other things to do does not come to it more often than to each of them. All that the engine
does with tasks (wake-ups, theft, the look for stuck workers, idleness) applies to turns, and so to what
waits behind them.

**Publish, fence, check.** ``home`` holds the turn while the group's queue is empty.

    who makes a member ready                worker with the turn, the queue empty
    1. append it to the queue               1. append the turn to ``home``
    2. pop the turn from ``home``           2. look at the queue; if it is not empty, pop the
       if it is there, and queue it            turn again, and queue it

Each deque operation is a read-modify-write. In any interleaving one of the two finds both the member and the
turn; only one gets the turn, because a pop does. A model of this is tests/model/groups.pml.

Threads of the root group that wake each other directly, through a worker's ``next`` slot, run some dozens of
steps before the worker looks at its queue. A turn at the root that comes up then makes up for them, see
`Turn._owed`.

Shares are counted in steps. OS-backed threads, and steps that do not end, are up to the operating system.

Source: Racket Reference 14.11 (Thread Groups).
"""

from __future__ import annotations

from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, overload

from scheduler import NoRuntime, Task, current_driver, here
from scheduler.task import runtimes
from scheduler.worker import TICK, TRACE

from .env import Env, EnvBlock, change_env, current_env
from .errors import ContractError, check_at_most_one, refuse
from .thread import Thread

_SLACK: Final = 4
"""Steps that a group may be behind without being given them: counting is not exact."""

_MOST_OWED: Final = TICK
"""Steps that are made up for at once."""


class ThreadGroup(EnvBlock):
    """Threads that together get the share of one. Each member (a thread, or a group made in it) gets as much
    as any other.

    ``with group:`` makes it the current one, in which new threads are placed.
    Source: Racket Reference 14.11, ``make-thread-group``.
    """

    __slots__ = ("__weakref__", "_home", "_parent", "_queue", "key")

    key: int
    """Of the runtime it belongs to."""

    def __init__(self, parent: ThreadGroup | None = None) -> None:
        """A group in ``parent``, by default in the current group. ``ContractError`` if that belongs to
        another runtime."""
        if parent is not None and not isinstance(parent, ThreadGroup):
            raise refuse("ThreadGroup", "parent", "a thread group", parent, TypeError)
        current = _current("ThreadGroup")
        if parent is None:
            parent = current
        elif parent.key != current.key:
            raise ContractError("ThreadGroup: the parent belongs to another runtime")
        self._setup(parent.key, parent)

    @classmethod
    def root(cls, key: int) -> ThreadGroup:
        """The group at the top of the runtime with ``key``."""
        self = cls.__new__(cls)
        self._setup(key, None)
        return self

    def _setup(self, key: int, parent: ThreadGroup | None) -> None:
        self.key = key
        self._parent = parent
        self._entered = {}
        self._queue: deque[Task] = deque()  # members that are ready: threads, and turns of groups in it
        self._home: list[Turn] = []
        if parent is not None:
            self._home.append(Turn(self))

    def _inside(self, outer: Env) -> Env:
        if self.key != _current("ThreadGroup").key:
            raise ContractError("ThreadGroup: it belongs to another runtime")
        return Env(outer.custodian, None if self._parent is None else self)

    def push(self, member: Task) -> None:
        """``member`` is ready. Any OS thread."""
        self._queue.append(member)
        # published; now check
        if self._home:
            try:
                turn = self._home.pop()
            except IndexError:
                return
            turn.queue_up()

    def remove(self, member: Task) -> bool:
        """Take ``member`` out of the queue; whether it was there. Any OS thread."""
        try:
            self._queue.remove(member)
        except ValueError:
            return False
        return True

    def __repr__(self) -> str:
        kind = "root group" if self._parent is None else "ThreadGroup"
        return f"<{kind} at {id(self):#x}>"


class Turn(Task):
    """The right to run the next member of a group. See the head."""

    __slots__ = ("_seen", "_taken", "_worker", "group")

    def __init__(self, group: ThreadGroup) -> None:
        self._worker = -1  # on which it came up last
        self._seen = 0  # steps of that worker, when it last told
        self._taken = 0  # how often it has come up there since
        self.key = group.key
        self.coro = None
        self.value = None
        self.pending = -1
        self.waiter = None
        self.worker = None
        self.group = group

    def queue_up(self) -> None:
        """Go to the end of the parent's queue. By the only one who has the turn; any OS thread."""
        parent = self.group._parent
        if parent is not None and parent._parent is not None:
            parent.push(self)
            return
        worker = current_driver()
        if worker is None or worker.key != self.key:
            self.inject()
            return
        # Not to the `next` slot, which goes before the queue. As with that, nobody is woken for the single
        # task that the current one may be about to hand over to.
        surplus = worker.queue or worker.next or worker.task is self
        worker.queue.append(self)
        # publish (append above), then check: see runtime.Runtime.park
        if surplus and worker.runtime.idle:
            worker.runtime.wake()

    def on_pending(self) -> bool:
        """A worker has come to it: make a step of a member. See `scheduler.Task.on_pending`."""
        worker = here.driver
        owed = self._owed(worker) if worker.task is self else 0  # else it is the deterministic worker
        self.take(worker)
        queue = self.group._queue
        while owed and not worker.attention:
            owed -= 1
            try:
                member = queue.popleft()
            except IndexError:
                break
            _step(worker, member)
            worker.steps += 1
        return False

    def _owed(self, worker: Any) -> int:
        """How many steps it is behind its siblings, which may have woken each other through the `next` slot
        without a look at the queue. By who has the turn, on its worker."""
        if worker.index != self._worker:
            self._worker, self._seen, self._taken = worker.index, worker.steps, 1
            return 0
        made = worker.steps - self._seen
        if not made:  # it tells every `TICK` steps
            self._taken += 1
            return 0
        siblings = len(worker.queue) + len(worker.next)
        owed = (made - self._taken) // siblings - self._taken if siblings else 0
        owed = min(owed, _MOST_OWED) if owed > _SLACK else 0
        self._seen, self._taken = worker.steps + owed, 1
        return owed

    def take(self, worker: Any) -> None:
        """Make one step of one member, if there is one (the last may have been taken out)."""
        group = self.group
        queue = group._queue
        try:
            member = queue.popleft()
        except IndexError:
            self._go_home()
            return
        if queue:
            self.queue_up()
        else:
            self._go_home()
        # From here on the turn is not ours: another worker may have it.
        _step(worker, member)

    def _go_home(self) -> None:
        group = self.group
        group._home.append(self)
        # published; now check
        if group._queue:
            try:
                turn = group._home.pop()
            except IndexError:
                return
            turn.queue_up()

    def __repr__(self) -> str:
        return f"<turn of {self.group!r}>"


def _step(worker: Any, member: Any) -> None:
    """Make a step of ``member``, which has been taken out of its group's queue."""
    if type(member) is Turn:
        member.take(worker)
        return
    if worker.attention & TRACE and worker.task is not None:  # else it is the deterministic worker
        worker.trace_step(member)
    if not member.pending or member.on_pending():
        value, member.value = member.value, None
        worker.step(member, member.coro.send, value)


class GroupThread(Thread):
    """A coroutine thread of a group that is not the root."""

    __slots__ = ("_group",)

    def __init__(self, key: int, coro: Any, context: Context, custodian: Any, group: ThreadGroup) -> None:
        self.set_up(key, coro, context, custodian)
        self._group = group

    def ready(self) -> None:
        self._group.push(self)

    def ready_last(self) -> None:
        self._group.push(self)

    def inject(self) -> None:
        if self.key in runtimes:
            self._group.push(self)

    def give_way(self, worker: Any) -> None:
        self._group.push(self)

    def _unqueue(self) -> bool:
        return self._group.remove(self)


def _current(operation: str) -> ThreadGroup:
    env = current_env.get(None)
    driver = current_driver()
    if env is None or driver is None or driver.home is None:
        raise NoRuntime(operation)
    return driver.home.root_group if env.group is None else env.group


if TYPE_CHECKING:

    @overload
    def current_thread_group() -> ThreadGroup: ...
    @overload
    def current_thread_group(group: ThreadGroup, /) -> None: ...


def current_thread_group(*group: ThreadGroup) -> Any:
    """The current thread's group, in which new threads are placed; with an argument, make that the current
    one.

    Source: Racket Reference 14.11, ``current-thread-group``."""
    current = _current("current_thread_group")
    if not group:
        return current
    check_at_most_one("current_thread_group", group)
    if not isinstance(group[0], ThreadGroup):
        raise refuse("current_thread_group", "group", "a thread group", group[0], TypeError)
    change_env(group[0]._inside(current_env.get()))
    return None
