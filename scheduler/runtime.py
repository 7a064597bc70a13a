"""A runtime: its workers, its timers, its poller, and the protocol by which workers sleep and wake.

**Parking: publish, fence, check.** A worker may only sleep when no work can be overlooked, and a producer
may only skip the wake-up when somebody is certain to look. Each side therefore *publishes* first, then
passes a *fence*, then *checks* what the other side publishes:

    producer                                worker about to sleep
    1. push the task into a queue           1. append itself to ``idle``
    2. look at ``idle``; wake one           2. look at all queues (`has_work`); withdraw if there is work

Both publications are deque operations, which are read-modify-writes under the deque's own lock: they are
the fence. Plain attribute stores are not enough, a processor may move a later load before them. In any
interleaving at least one side sees the other. A worker that makes tasks ready for itself may skip the wake-up
also where it is not worth it (`Worker.worth`): it will look itself, and the monitor does if its step is long.

**One searcher at a time.** Waking a worker for each surplus task would wake them all for work that the
first finds. ``search`` holds one token: a waker takes it for the worker it wakes, and as long as it is
out, others skip the wake. The worker returns it when it has found work or before it publishes itself as
idle, and in both cases *afterwards* looks for surplus work once more (the append is the fence). A producer
that saw the token taken has published its work before that look.

**One poller at a time.** The first worker to go idle takes the token ``role`` and waits for timers and
descriptors too; it stands at the far end of ``idle``, so it is woken last. Who arms an earlier timer, or
registers a descriptor, nudges it. When all workers are busy they look at the timers every few steps, and
the monitor does when steps are long.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from _thread import RLock
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from time import monotonic
from typing import Any, NoReturn

from .errors import ForkError, SchedulerError
from .monitor import Monitor
from .place_lock import PlaceLock
from .poller import Poller, new_poller
from .refcount import shared
from .task import Task, current_driver, here, runtimes, take_out
from .timers import FAR, TimerQueue
from .worker import FORKED, PING, STOP, TRACE, Seat, Worker

MOST_EXTRA = 64
"""How many workers may be added for steps that do not end."""

_keys = count(1)


class Runtime:
    """Workers that run tasks, from `start` to `close`. Several may live in one process."""

    home: Runtime
    """The place: this runtime itself, or the one that it is a pool of."""

    real_time = True
    """Whether steps may wait for a moment of it (see `scheduler.linger`), and timers be a little late."""

    def __init__(self, workers: int | None = None, *, name: str = "rtsync", seed: int | None = None) -> None:
        """``workers`` OS threads (default: the processors this process may use), started on demand.
        ``seed`` fixes the pseudo-random choices of each worker."""
        shared(self)
        self.home = self
        self.name = name
        self.key = next(_keys)
        self.target = workers if workers is not None else default_workers()
        self.clock: Callable[[], float] = monotonic
        # Guards: workers, attention bits, running, trace, the place lock. Re-entrant, because a garbage
        # collection may run a user's clean-up while we hold it.
        self.lock = shared(RLock())
        self.running = False
        self.trace: Callable[[str, float, int, Any], object] | None = None
        self._seed = seed if seed is not None else random.SystemRandom().getrandbits(64)
        self.timers = TimerQueue(self.now, self.nudge, self.real_time).share()
        self.poller: Poller = shared(new_poller(self.nudge))
        self.injected: deque[Task] = shared(deque())
        self.idle: deque[Worker | Seat] = shared(deque())
        self.search: list[None] = shared([None])
        self.role: list[None] = [None]
        self.polling: Worker | None = None  # who holds the role
        self.wakes = 0
        self.workers: tuple[Worker, ...] = ()  # replaced, never changed
        self.capacity = 0  # workers and seats
        self._os_threads: set[threading.Thread] = set()
        self.departed = {"steps": 0, "steals": 0, "parks": 0, "workers": 0}
        self._made = 0
        self._quiet = threading.Condition(self.lock)  # notified when a worker has left
        self.monitor = Monitor(self)
        self.place_lock = shared(PlaceLock(self))
        self.frozen = 0  # workers whose task was suspended inside a step
        self.forked = False  # this is the child of a fork; the runtime is the parent's
        self.blocked: set[threading.Thread] = set()  # OS threads that only wait for one of our tasks

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Make ready to run tasks. OS threads start when there is work for them."""
        with self.lock:
            if self.running:
                raise SchedulerError(f"{self.name}: this runtime is already running")
            # All afresh: what a former life has left behind (stragglers, a token that nobody returned) is
            # known by its key or by the objects it holds, and does not disturb this one.
            self.key = next(_keys)
            self.injected = shared(deque())
            self.idle = shared(deque())
            self.search = shared([None])
            self.role = [None]
            self.monitor = Monitor(self)
            self.poller = shared(new_poller(self.nudge))
            self.timers = TimerQueue(self.now, self.nudge, self.real_time).share()
            self.place_lock = shared(PlaceLock(self))
            self.workers = ()
            self.frozen = 0
            self._os_threads = set()
            self.running = True
            runtimes[self.key] = self
            self.capacity = self.target
            self.idle.extend(Seat(self, index) for index in reversed(range(self.target)))
            self._made = self.target

    def close(self, patience: float = 5.0) -> list[threading.Thread]:
        """Stop the workers after their present steps, and forget all tasks that were still to run.

        Waits at most ``patience`` seconds for steps that do not end; gives the OS threads that are still in
        one (daemons: they cannot keep the process).
        """
        with self.lock:
            if not self.running:
                return []
            self.running = False
            for worker in self.workers:
                worker.attention |= STOP
        self.place_lock.end()
        while True:
            try:
                sleeper = self.idle.pop()
            except IndexError:
                break
            if isinstance(sleeper, Worker):
                sleeper.unpark()
        self.monitor.stop()
        me = threading.current_thread()
        deadline = monotonic() + patience
        with self.lock:
            while (left := self._os_threads - {me}) and self._quiet.wait(max(0.0, deadline - monotonic())):
                pass
        self.injected.clear()
        self.poller.close()
        runtimes.pop(self.key, None)
        return list(left)

    def seated(self, os_thread: threading.Thread) -> None:
        """A seat is about to start ``os_thread``."""
        with self.lock:
            self._os_threads.add(os_thread)

    def goes_without(self, seat: Seat, os_thread: threading.Thread) -> bool:
        """``os_thread``, for which ``seat`` was taken, could not be started: whether there are others to do
        the work. Who wakes somebody later tries again."""
        with self.lock:
            self._os_threads.discard(os_thread)
            if seat.extra:
                self.capacity -= 1
            else:
                self.idle.appendleft(seat)
            left = bool(self._os_threads) or not self.running  # then there is nothing left to do
        if seat.searching:
            seat.searching = False
            self.search.append(None)
        for sleeper in self.idle.copy():
            if isinstance(sleeper, Worker):
                try:
                    self.idle.remove(sleeper)
                except ValueError:  # somebody else has woken it
                    continue
                sleeper.unpark()
                break
        # Otherwise all others are running, and look at all queues before they sleep.
        return left

    def entered(self, worker: Worker) -> bool:
        """``worker`` is about to run; whether it may. In its OS thread."""
        with self.lock:
            self.workers = (*self.workers, worker)
            if self.trace is not None:
                worker.attention |= TRACE
            self.place_lock.admit(worker)
        worker.gate.acquire()
        if self.monitor.asleep:
            self.monitor.wake()
        return self.running

    def left(self, worker: Worker) -> None:
        """``worker`` has left its loop; in its OS thread, as the last thing."""
        if worker.key != self.key:
            return
        with self.lock:
            self.workers = tuple(w for w in self.workers if w is not worker)
            for key in ("steps", "steals", "parks"):
                self.departed[key] += getattr(worker, key)
            self.departed["workers"] += 1
            self.capacity -= 1
            self._os_threads.discard(worker.os_thread)
            self.place_lock.departed(worker)
            self._quiet.notify_all()
        worker.hand_over()  # what others gave it in the last moment

    def now(self) -> float:
        """Seconds on the runtime's clock (the monotonic clock, or virtual time)."""
        return self.clock()

    def seed_for(self, index: int) -> int:
        """The seed of the choices that worker ``index`` makes."""
        return self._seed + index

    # -- work ----------------------------------------------------------------------------------

    def inject(self, task: Task) -> None:
        """Queue a ready task from outside the workers. Any OS thread."""
        self.injected.append(task)
        # publish (append above), then check
        if self.idle:
            self.wake()

    def has_work(self) -> bool:
        """Whether any queue holds a task: the *check* of the parking protocol."""
        if self.injected:
            return True
        return any(worker.queue or (worker.stuck and worker.next) for worker in self.workers)

    def wake(self) -> None:
        """Have one idle worker look for work, unless one is already looking. Any OS thread; the work
        must have been published before."""
        try:
            self.search.pop()
        except IndexError:
            return
        try:
            worker = self.idle.pop()
        except IndexError:
            self.search.append(None)
            return
        worker.searching = True
        self.wakes += 1
        worker.unpark()

    def nudge(self) -> None:
        """Make the worker that waits for timers and descriptors look again. Any OS thread."""
        worker = self.polling
        if worker is not None:
            try:
                self.idle.remove(worker)
            except ValueError:  # it is being woken anyway
                return
            worker.unpark()

    def park(self, worker: Worker) -> None:
        """Sleep until there may be work. On the worker, which runs nothing."""
        try:
            self.role.pop()
            poller = True
        except IndexError:
            poller = False
        if poller:
            self.polling = worker
            # Before the publication, so that who takes us out of `idle` knows how to wake us, and who sees
            # our wake-up in a glance knows that it is meant for us.
            worker.polling = self.poller.sleeper = self.poller.busy > 0
            self.idle.appendleft(worker)
            # After the publication: an earlier timer that is armed now either is seen here (the timers'
            # lock is the fence) or finds us in `idle` and nudges us.
            timeout = self.timers.watch()
            if timeout == FAR:
                timeout = self.longest_sleep()
        else:
            timeout = FAR
            self.idle.append(worker)
        # published; now check
        if self.has_work() or worker.attention or (poller and self._hurry(worker)):
            self._withdraw(worker)
        else:
            self.idle_hook()
            if worker.next or worker.queue:  # what the hook made ready is ours
                self._withdraw(worker)
            else:
                self._sleep(worker, timeout)
        if poller:
            worker.polling = self.poller.sleeper = False
            self.polling = None
            self.timers.unwatch()
            self.role.append(None)
        if self.monitor.asleep:
            self.monitor.wake()

    def _hurry(self, worker: Worker) -> bool:
        """Whether a timer has become due, or a first descriptor was registered, since the poller looked."""
        return self.timers.due <= self.clock() or (not worker.polling and self.poller.busy > 0)

    def _sleep(self, worker: Worker, timeout: float) -> None:
        worker.aside()
        if worker.polling:
            ready = self.poller.wait(None if timeout == FAR else timeout)
            if not self._was_woken(worker):
                self._withdraw(worker)
            worker.gate.acquire()
            # We are not idle any more when tasks become ready through us: nobody takes that for a deadlock.
            self.poller.dispatch(ready)
            return
        if not worker.parker.park(None if timeout == FAR else timeout):
            self._withdraw(worker)
        worker.gate.acquire()

    def _was_woken(self, worker: Worker) -> bool:
        """Take the permit if it is there already."""
        return worker.parker.park(0)

    def _withdraw(self, worker: Worker) -> None:
        """Leave ``idle``; if a waker has chosen us in this very moment, take the permit it gives."""
        try:
            self.idle.remove(worker)
        except ValueError:
            worker.parker.park()

    def idle_hook(self) -> None:
        """All queues were seen empty by a worker that is published as idle: a subclass may find out that
        nothing can ever happen."""

    def unqueue(self, task: Task) -> bool:
        """Take a task out of whatever run queue it is in; whether it was in one. Any OS thread."""
        return take_out(task, self.queued())

    def queued(self) -> Iterable[Any]:
        """The queues in which a runnable task may stand."""
        return (self.injected, *(queue for worker in self.workers for queue in (worker.next, worker.queue)))

    def freeze_worker(self, thaw: Any) -> None:
        """Block this worker inside a step until `thaw_worker`."""
        worker = here.driver
        with self.lock:
            self.frozen += 1
            last = self.frozen == self.capacity
        if last:  # nobody would be there to see that nothing runs
            self.stand_in(worker)
        self.home.nudge()  # who is idle may now see that all are
        worker.aside()
        thaw.acquire()
        worker.gate.acquire()

    def thaw_worker(self, thaw: Any) -> None:
        """Let a worker go on that waits for ``thaw`` in `freeze_worker`."""
        with self.lock:
            self.frozen -= 1
        thaw.release()

    def pass_turn(self, worker: Worker) -> None:
        """Others wait for the turn that ``worker`` has, in a runtime where only so many may run at once. On
        the worker, between two steps."""

    def longest_sleep(self) -> float:
        """Seconds after which the idle poller looks again even if no timer is armed."""
        return FAR

    def all_idle(self) -> bool:
        """Whether no worker runs anything. A hint: true only at the moment of looking."""
        return len(self.idle) + self.frozen == self.capacity

    def sleeps(self) -> bool:
        """Whether all workers are idle, none of them frozen: nothing for the monitor to watch."""
        return len(self.idle) == self.capacity

    def too_many(self) -> bool:
        """Whether there are more workers than needed, so that an extra one may go."""
        return sum(not worker.stuck for worker in self.workers) > self.target

    def add_worker(self) -> bool:
        """Start one worker more, for the time that another sits in a step that does not end."""
        with self.lock:
            if not self.running or self.capacity >= self.target + MOST_EXTRA:
                return False
            seat = Seat(self, self._made, extra=True)
            self._made += 1
            self.capacity += 1
        seat.unpark()
        return True

    def stand_in(self, worker: Worker) -> None:
        """The step of ``worker``, in whose OS thread this is called, is about to make a call that may take
        long: have another worker take over at once, as the monitor would after a while. The next step of
        ``worker`` takes this back."""
        with self.lock:
            worker.stuck = True
            worker.attention |= PING
        # published; what this worker has can be taken by others from now on
        if self.idle:
            self.wake()
        else:
            self.add_worker()

    def own_os_threads(self) -> set[threading.Thread]:
        """The OS threads that only run this runtime's tasks, or wait for that."""
        ours = self._os_threads | self.blocked
        if self.monitor.thread is not None:
            ours.add(self.monitor.thread)
        return ours

    # -- what others see -----------------------------------------------------------------------

    def report(self, task: Task, error: BaseException) -> None:
        """A task failed and nobody else takes the error."""
        import traceback  # rarely needed, and it takes long

        text = "".join(traceback.format_exception(error))
        sys.stderr.write(f"uncaught exception in {task!r}:\n{text}")

    def set_trace(self, trace: Callable[[str, float, int, Any], object] | None) -> None:
        """Call ``trace(what, when, worker, task)`` around each step (``"step"``, ``"step-end"``), or stop it.

        ``when`` is in seconds on the runtime's clock. While off, tracing costs nothing.
        """
        if trace is not None and not callable(trace):
            raise TypeError(f"set_trace: trace must be callable or None, got {trace!r}")
        with self.lock:
            self.trace = trace
            for worker in self.workers:
                if trace is not None:
                    worker.attention |= TRACE
                else:
                    worker.attention &= ~TRACE

    def stats(self) -> dict[str, Any]:
        """Counts since `start`: ``steps``, ``steals``, ``parks``, ``wakes``, ``timers`` armed,
        ``timer_buckets``, ``queues`` (length for each worker that has begun), ``injected``, ``workers``,
        ``idle``, ``extra``.

        Workers publish their steps every few dozen steps and when they park, so ``steps`` may lag.
        """
        workers = self.workers
        totals = {
            key: self.departed[key] + sum(getattr(worker, key) for worker in workers)
            for key in ("steps", "steals", "parks")
        }
        return {
            **totals,
            "wakes": self.wakes,
            "timers": len(self.timers),
            "timer_buckets": self.timers.buckets,
            "queues": [len(worker.queue) + len(worker.next) for worker in workers],
            "injected": len(self.injected),
            "workers": self.capacity,
            "idle": len(self.idle),
            "extra": sum(worker.extra for worker in workers),
        }

    def refuse_fork(self, task: Any) -> None:
        """In the child of a fork, on what was a worker: tell the task that forked, unless it has ended, and
        end the process: there is no runtime to go on with."""
        if task.coro.cr_frame is None:
            end_child(task.failure())
        here.driver.task = task
        for _ in range(100):
            try:
                parking = task.context.run(task.coro.throw, ForkError())
            except StopIteration:
                end_child(None)
            except BaseException as error:
                end_child(error)
            if parking is not None:  # it has parked, and been claimed
                task.waiter, commit = parking
                commit.release()
        end_child(ForkError())


def end_child(error: BaseException | None) -> NoReturn:
    """In the child of a fork: the task that forked has ended, by ``error`` if it is not ``None``. The process
    ends with it, for there is no caller to return to."""
    status = 0
    if isinstance(error, SystemExit):
        if isinstance(error.code, int):
            status = error.code
        elif error.code is not None:
            sys.stderr.write(f"{error.code}\n")
            status = 1
    elif error is not None:
        import traceback  # rarely needed, and it takes long

        traceback.print_exception(error)
        status = 70  # EX_SOFTWARE
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def default_workers() -> int:
    """The number of processors that this process may use."""
    return os.process_cpu_count() or 1


def _after_fork_in_child() -> None:
    """None of the OS threads exist here, and any lock may be held by one of them for ever."""
    for runtime in list(runtimes.values()):
        runtime.running = False
        runtime.forked = True
        runtime.poller.forked()
        # Other tasks stay where they are for ever; only the one that forked is told.
        runtime.injected = deque()
        for worker in runtime.workers:
            worker.attention |= FORKED
            worker.queue.clear()
            worker.next.clear()
    runtimes.clear()
    me = current_driver()
    if me is not None:
        me.forked = me.task


os.register_at_fork(after_in_child=_after_fork_in_child)
