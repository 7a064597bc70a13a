"""The unit that the engine runs: a coroutine with a context, and the words others leave for it.

A task is a coroutine that yields one of two things. ``None`` means "I go to the back of the queue".
A pair ``(waiter, commit)`` means "I park": the worker puts the task into ``waiter`` (an empty list that
the operation has already placed wherever it wants to be found) and then calls ``commit.release()``:
``commit`` is the lock under which the waiter was placed, or stands for several. So nobody can find the
waiter before the coroutine has really stopped, and no state machine is needed for "parking, but not
parked yet".

A waiter is a *one-shot claim token*: a one-element list holding the parked task. Whoever pops it
(``task = waiter.pop()``, atomic) owns the right to resume the task, and everybody else gets
``IndexError`` and drops the waiter. An empty waiter in a queue is dead; that is all there is to removal.
The owner of the claim leaves the result in ``task.value`` and calls ``task.ready()``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from functools import update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from .refcount import published

if TYPE_CHECKING:
    from contextvars import Context

    from .runtime import Runtime
    from .timers import TimerQueue
    from .worker import Worker

# Flags of code objects, of which only `inspect` has the names; importing that takes longer than all of us.
CO_GENERATOR: Final = 0x20
CO_COROUTINE: Final = 0x80
CO_ASYNC_GENERATOR: Final = 0x200

type Waiter = list["Task"]
"""``[]`` until its task has parked, ``[task]`` while it waits, ``[]`` for ever once claimed."""


class Releasable(Protocol):
    """A lock, or several."""

    def release(self) -> None:
        """Let go."""


type Parking = tuple[Waiter, Releasable] | None
"""What a coroutine yields: ``None`` to go to the back of the queue; to park, the waiter and the commit that
publishes it."""


class Driver(Protocol):
    """What runs tasks in some OS thread: a worker, or a thread that blocks on its own."""

    key: int  # of the runtime whose worker this is; no runtime's if it is no worker
    runtime: Runtime | None
    task: Task | None
    timers: TimerQueue
    clock: Callable[[], float]
    choose: Callable[[], float]

    def may_linger(self) -> bool:
        """See `scheduler.linger`."""


here = threading.local()
"""``here.driver``: who runs tasks in this OS thread; the attribute is missing where nobody does. Hot paths
read it in a ``try`` of their own, others by `current_driver`. (A subclass of ``threading.local`` with a
default would cost three times as much, and more under contention.)"""


runtimes: dict[int, Any] = {}
"""The running runtimes by their keys."""


def current_driver() -> Any:
    """Who runs tasks in this OS thread, or ``None``."""
    try:
        return here.driver
    except AttributeError:
        return None


def direct[**P, R](
    function: Callable[P, Generator[Parking, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make an ``async def`` of a generator function whose ``yield`` parks the running task.

    ``value = yield waiter, commit`` parks and gives what the claimant of ``waiter`` left in ``task.value``; a
    bare ``yield`` goes to the back of the run queue. An ``async def`` proper cannot yield, so it would
    have to await a generator that does; that second frame costs 100 ns and 200 bytes for each
    operation that blocks. The two kinds of function differ in one flag of their code, which says what kind
    of object a call makes; with it changed, a call makes a coroutine in every respect (``await``, the
    warning if it never is).
    """
    flags = function.__code__.co_flags
    return _flagged(function, flags & ~CO_GENERATOR | CO_COROUTINE)  # type: ignore[return-value]


def returns_coroutine[F: Callable[..., Coroutine[Any, Any, Any]]](function: F) -> F:
    """Let a plain function whose calls give a coroutine be known as one (``inspect.iscoroutinefunction``,
    `rtsync.thread`): by the flag that says so of an ``async def``. What a call makes is decided by its first
    instruction, so calls stay what they are. (``inspect.markcoroutinefunction`` does the same by importing
    `inspect`, which takes long.)"""
    return _flagged(function, function.__code__.co_flags | CO_COROUTINE)


def _flagged[F: Callable[..., Any]](function: F, flags: int) -> F:
    """``function`` with other flags in its code."""
    plain: Any = function
    made = FunctionType(
        plain.__code__.replace(co_flags=flags),
        plain.__globals__,
        plain.__name__,
        plain.__defaults__,
        plain.__closure__,
    )
    made.__kwdefaults__ = plain.__kwdefaults__
    return update_wrapper(made, plain)  # type: ignore[return-value]


def take_out(task: Task, queues: Iterable[Any]) -> bool:
    """Remove ``task`` from the one of ``queues`` in which it stands; whether it was in one. Any OS thread."""
    for queue in queues:
        try:
            queue.remove(task)
        except ValueError:
            continue
        return True
    return False


class Task:
    """A coroutine on its way. Subclasses say what its end means.

    ``pending`` is the word that requesters (kill, suspend, break) leave under a lock of their own; it is
    zero nearly always. The engine only looks whether it is zero: before each step (`on_pending`) and
    at its end (`must_go_on`, `on_parked`), where the append to the waiter is the fence.
    """

    __slots__ = ("__weakref__", "context", "coro", "key", "pending", "value", "waiter", "worker")

    key: int
    """Which runtime it belongs to. A small integer and not the runtime itself, whose reference count all
    workers would fight for at every spawn and every `ready`."""
    coro: Any
    context: Context
    value: Any
    pending: int
    waiter: Waiter | None

    queues: ClassVar[bool] = True
    """Whether its `ready` is the one of this class, so that who makes many ready at once may put them into
    the queue of their worker himself."""

    def __init_subclass__(cls) -> None:
        cls.queues = cls.ready is Task.ready

    def __init__(
        self,
        runtime: Runtime,
        coro: Coroutine[Any, Any, Any] | Generator[Any, Any, Any],
        context: Context,
    ) -> None:
        self.key = runtime.key
        self.coro = coro
        self.context = context
        self.value = None
        self.pending = 0
        self.waiter = None
        self.worker = None

    @property
    def runtime(self) -> Any:
        """The runtime it belongs to; ``KeyError`` once that has been closed."""
        return runtimes[self.key]

    def ready(self) -> None:
        """Let the task run again. Only its claimant (or creator) may call this; any OS thread.

        On a worker of the same runtime it takes the worker's ``next`` slot; who was in the slot moves to
        the queue, and only then is there surplus work worth waking another worker for.
        """
        worker = self.worker
        if worker is None or not worker.seated._is_owned():
            worker = self._find_worker()
            if worker is None:
                self.inject()
                return
        slot = worker.next
        if not slot:
            slot.append(self)
            return
        try:
            worker.queue.append(slot.pop())
        except IndexError:  # a thief was faster
            pass
        slot.append(self)
        # publish (append above), then check: see runtime.Runtime.park
        if worker.runtime.idle:
            worker.runtime.wake()

    def _find_worker(self) -> Worker | None:
        """The worker of its runtime in whose OS thread we are, if we are in one; the next guess is that."""
        try:
            worker = here.driver
        except AttributeError:
            return None
        if worker.key != self.key:
            return None
        if self.worker is not None:  # it goes to another OS thread
            published(self.coro)
            published(self.context)
        self.worker = worker
        return worker  # type: ignore[no-any-return]

    def ready_last(self) -> None:
        """`ready`, after those that can run already. For who waits for many, one after the other: by the time
        it runs, most of what it waits for has happened."""
        self.ready()

    def inject(self) -> None:
        """`ready`, from outside the runtime's workers. If the runtime is closed there is nobody to run it."""
        runtime = runtimes.get(self.key)
        if runtime is not None:
            runtime.inject(self)

    def give_way(self, worker: Worker) -> None:
        """It yielded ``None`` in a step by `Worker.step`: to the back of the queue. On the worker."""
        worker.queue.append(self)

    def finish(self, value: Any) -> None:
        """The coroutine returned. On the worker, outside any lock."""

    def fail(self, error: BaseException) -> None:
        """The coroutine raised. On the worker, outside any lock."""
        self.runtime.report(self, error)

    def failure(self) -> BaseException | None:
        """What it has ended by, if that was an exception."""
        return None

    def on_pending(self) -> bool:
        """``pending`` was not zero before a step: whether to make that step. On the worker."""
        return True

    def must_go_on(self, waiter: Waiter | None) -> bool:
        """``pending`` was not zero at the end of a step, by which it would give way, or wait with ``waiter``,
        which has not been published yet: whether it must not. Then ``waiter`` has been taken back, and its
        next step is to be made at once. On the worker."""
        return False

    def on_parked(self, waiter: Waiter) -> None:
        """``pending`` was not zero when it parked with ``waiter``, which has been published. On the worker;
        the task may already run elsewhere, and wait with another."""

    def steady(self) -> bool:
        """Whether it must not be stopped inside a step now. Any OS thread; exact in its own."""
        return False

    def wanted(self) -> bool:
        """Whether it is to give up waiting for the place lock, because it is to be stopped. In its own OS
        thread."""
        return False
