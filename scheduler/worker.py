"""One OS thread of the pool, and the loop that runs steps in it.

A worker takes its next task from, in this order: its ``next`` slot (the task just readied by the one that
ran: its data is warm), its own queue, the injection queue, another worker's queue (from the other end),
the timers. Every `TICK` steps that order is turned round once, so that two tasks that wake each other for
ever through the slot cannot starve the others, nor a busy pool those who come from outside.

``attention`` is the one flag that a worker checks before each step, beside the task's own ``pending``;
what it stands for is looked at in `Worker._attend` only. So stopping, tracing and the monitor's question
"are you still there?" cost nothing while unused.

The parking protocol (*publish, fence, check*) is described in `scheduler.runtime`.
"""

from __future__ import annotations

import sys
import threading
from _thread import RLock
from collections import deque
from collections.abc import Callable
from itertools import cycle
from random import Random
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from .errors import BadYield
from .linger import MOMENT
from .parker import Parker
from .refcount import published, shared
from .safepoint import base
from .task import Task, here
from .timers import FAR, TimerQueue

if TYPE_CHECKING:
    from .runtime import Runtime

TICK = 64
"""Steps between two looks at the clock, the injection queue and the end of the own queue."""

ROUND = range(TICK)

STEAL_MOST = 32
"""How many tasks one theft takes at the most; otherwise half of what is there."""

WAKING = 0.0002
"""Seconds of work that have to wait in a worker's queue before another worker is woken for what gives way,
and for what timers and ends of threads make ready: twice what it costs to wake one, with the cost of two
using the same objects."""

FEW = 64
"""So many tasks are worth it, however short their steps are."""

AT_THE_END = 1000
"""How many steps a task that must not give way may still make when the runtime ends: it may be about to leave
its mode, and to end; or go on for ever."""

LOCKS = 64
"""How many locks a worker has for objects that need one rarely and only for a moment, and need not have their
own: 80 bytes each saved, and a twentieth of the time that it takes to make a thread."""

# Bits of Worker.attention
STOP = 1  # leave the loop
PING = 2  # the monitor asks whether this step is still the same one
TRACE = 4  # tell runtime.trace about every step
FORKED = 8  # this is the child of a fork: refuse
GATE = 16  # leave the gate to the owner of the place lock, and wait
TURN = 32  # others wait for the turn that the worker of a pool has: see runtime.pass_turn


class Seat:
    """A place in the pool that no worker has taken yet: waking it starts one."""

    __slots__ = ("_index", "_key", "_runtime", "extra", "searching")

    def __init__(self, runtime: Runtime, index: int, extra: bool = False) -> None:
        self._runtime = runtime
        self._key = runtime.key
        self._index = index
        self.extra = extra
        self.searching = False

    def unpark(self) -> None:
        """Start the OS thread. By whoever took us out of ``runtime.idle``."""
        kind = "extra" if self.extra else "worker"
        os_thread = threading.Thread(
            target=self._main, name=f"{self._runtime.name}-{kind}-{self._index}", daemon=True
        )
        self._runtime.seated(os_thread)
        try:
            os_thread.start()
        except RuntimeError:  # the system has none left
            if not self._runtime.goes_without(self, os_thread):
                raise

    def _main(self) -> None:
        # Made here, not before: a worker's objects are to be owned by its own OS thread, for which
        # counting references to them is cheap (20 ns instead of 60 ns for each look at a field).
        worker = Worker(self._runtime, self._index, self.extra)
        worker.searching = self.searching
        here.driver = worker
        worker.seated.acquire()
        try:
            if worker.key == self._key and self._runtime.entered(worker):
                worker.run()
        finally:
            del here.driver
            worker.seated.release()
            worker.hand_over()  # what a clean-up has made ready since it left its loop
            worker.task = None
            self._runtime.left(worker)


class Worker:
    """A pool worker. All fields are written by its own OS thread unless a comment says otherwise."""

    __slots__ = (
        "again",
        "attention",
        "choose",
        "clock",
        "extra",
        "forked",
        "gate",
        "going",
        "home",
        "index",
        "key",
        "locks",
        "next",
        "os_thread",
        "parker",
        "parks",
        "polling",
        "queue",
        "runtime",
        "searching",
        "seated",
        "steals",
        "steps",
        "steps_seen",
        "stuck",
        "task",
        "timers",
        "traced",
        "weighed",
        "weighed_steps",
        "worth",
    )

    def __init__(self, runtime: Runtime, index: int, extra: bool = False) -> None:
        shared(self)
        self.runtime = runtime
        self.key = runtime.key
        self.home = runtime.home
        self.index = index
        self.extra = extra
        self.queue: deque[Task] = published(deque())  # others: popped by thieves
        self.next: list[Task] = []  # at most one; others: popped by thieves while we are stuck
        self.task: Task | None = None  # what runs in this OS thread, also for current()
        self.timers: TimerQueue = runtime.timers
        self.clock = runtime.clock
        self.choose: Callable[[], float] = Random(runtime.seed_for(index)).random
        self.attention = 0  # others: bits are set under runtime.lock
        self.locks = cycle([published(RLock()) for _ in range(LOCKS)])  # for the objects that its tasks make
        self.parker = Parker()
        self.seated = published(RLock())  # held by its OS thread while it takes tasks: see Task.ready
        self.gate = published(threading.Lock())  # see scheduler.place_lock
        self.going: Task | None = None  # whom `_go_on` sees through; the innermost, if there are several
        self.again = False  # `going` has ended another step in which it must not stay
        self.os_thread = threading.current_thread()
        self.searching = False  # others: set by the waker that holds the search token
        self.polling = False  # waits in the selector, not on `parker`
        self.stuck = False  # others: set by the monitor
        self.traced: Task | None = None
        self.forked: Task | None = None  # in the child of a fork: the task that forked
        # From how many tasks in the queue on `WAKING` seconds of work wait there, judging by the steps made
        # lately; 1 if nobody can tell. Others: the monitor, which looks every 5 ms, wakes somebody for what
        # waits all the same, and sets this to 1 if a step takes long.
        self.worth = 1
        self.weighed: float = 0.0  # since when steps are counted for that
        self.weighed_steps = 0
        self.steps = 0
        self.steps_seen = -1  # others: by the monitor, when it looked last
        self.steals = 0
        self.parks = 0

    def unpark(self) -> None:
        """Give the permit. Only by the one that took us out of ``runtime.idle``."""
        self.parker.unpark()
        if self.polling:
            self.runtime.poller.interrupt()

    def may_linger(self) -> bool:
        """See `scheduler.linger`: whether a wait of a moment inside this step keeps nobody from anything."""
        runtime = self.runtime
        if self.next or self.queue or self.attention & ~PING or runtime.injected or not runtime.real_time:
            return False
        poller = runtime.poller
        if poller.busy and not poller.sleeper:
            return False
        due = self.timers.due
        return due == FAR or due > self.clock() + MOMENT

    # -- in the worker's own OS thread from here on --------------------------------------------

    @base
    def run(self) -> None:
        """The step loop. Locals instead of attributes: 15 ns saved for each of them and step."""
        queue, slot = self.queue, self.next
        append, popleft = queue.append, queue.popleft
        send = CoroutineType.send  # with the coroutine as an argument: no bound method to make or keep
        counted = 0  # of this round's steps, how many are in self.steps already
        while True:
            for number in ROUND:
                try:
                    if slot:
                        task = slot.pop()
                    elif queue:
                        task = popleft()
                    else:
                        self.steps += number - counted
                        counted = number
                        # While we sleep, what ran last must not be kept alive by our variables.
                        task = parking = waiter = commit = value = None  # type: ignore[assignment]
                        task = self._find()  # type: ignore[assignment]
                        if task is None:
                            return
                except IndexError:  # a thief took the one we saw
                    counted += 1
                    continue
                self.task = task
                if self.attention and not self._attend(task):
                    return
                if task.pending and not task.on_pending():
                    continue
                value = task.value
                if value is not None:
                    task.value = None
                try:
                    parking = task.context.run(send, task.coro, value)
                except StopIteration as stop:
                    task.finish(stop.value)
                except BaseException as error:
                    task.fail(error)
                else:
                    if parking is None:
                        if task.pending and task.must_go_on(None):
                            self._go_on(task)
                        else:
                            append(task)
                        continue
                    try:
                        waiter, commit = parking
                    except Exception:
                        self.step(task, task.coro.throw, BadYield(parking))
                        continue
                    # From the append on the task can be found by who wants to stop it, from the commit on by
                    # everyone. The append, a read-modify-write, is the fence before the look at `pending`.
                    task.waiter = waiter
                    waiter.append(task)
                    if task.pending:
                        self._parks(task, waiter, commit)
                    else:
                        commit.release()
            self.steps += TICK - counted
            counted = 0
            self._tick()

    @base
    def step(self, task: Task, call: Callable[[Any], Any], argument: Any) -> None:
        """One step by ``call(argument)``, in full: what `run` does inline for ``task.coro.send(value)``.

        For throwing exceptions into a task and for the deterministic scheduler. ``task`` may belong to
        another runtime of the same place.
        """
        outer = self.task
        self.task = task
        try:
            parking = task.context.run(call, argument)
        except StopIteration as stop:
            task.finish(stop.value)
        except BaseException as error:
            task.fail(error)
        else:
            if parking is None:
                if task.pending and task.must_go_on(None):
                    self._go_on(task)
                elif task.key == self.key:
                    task.give_way(self)
                else:
                    task.inject()
                return
            try:
                waiter, commit = parking
            except Exception:
                self.step(task, task.coro.throw, BadYield(parking))
                return
            task.waiter = waiter
            waiter.append(task)
            if task.pending:
                self._parks(task, waiter, commit)
            else:
                commit.release()
        finally:
            self.task = outer

    def _parks(self, task: Task, waiter: Any, commit: Any) -> None:
        """``task`` parks, and ``pending`` is not zero."""
        goes_on = task.must_go_on(waiter)
        commit.release()
        if goes_on:
            self._go_on(task)
        else:
            task.on_parked(waiter)

    def _go_on(self, task: Task) -> None:
        """``task`` has ended its step where it must neither wait nor give way: it goes on right here, as if
        the step had not ended, until that is over. It stands in no queue meanwhile, so nobody overtakes it
        who may then wait for it, and this worker keeps its gate and its turn.

        Most of its steps are made by `Task.on_pending`, from which we are called again at their ends: who
        is further down in the stack sees to the next."""
        outer = self.going
        if task is outer:
            self.again = True
            return
        self.going = task
        left = AT_THE_END
        while True:
            self.again = False
            if not task.pending or task.on_pending():
                value, task.value = task.value, None
                self.step(task, task.coro.send, value)
            if not self.again:
                break
            if self.attention & STOP:
                left -= 1
                if not left:
                    task.give_way(self)
                    break
        self.again = False
        self.going = outer

    def _tick(self) -> None:
        """Every TICK steps: fire timers, and turn the order round once: the slot goes to the end."""
        runtime = self.runtime
        if runtime.timers.due <= self.clock():
            runtime.timers.fire()
        if runtime.poller.busy:
            runtime.poller.glance()
        if self.extra and runtime.too_many():
            with runtime.lock:
                self.attention |= STOP
        try:
            self.queue.append(self.next.pop())
        except IndexError:
            pass
        try:
            self.queue.appendleft(runtime.injected.popleft())
        except IndexError:
            pass
        if runtime.idle and len(self.queue) > 1:  # tasks that gave way were announced to nobody
            self._weigh()
            if len(self.queue) > self.worth:
                runtime.wake()

    def _weigh(self) -> None:
        """Set ``worth`` by the steps since the last time."""
        now = self.clock()
        steps = self.steps - self.weighed_steps
        if steps:
            self.weighed_steps += steps
            took = now - self.weighed
            self.worth = FEW if took * FEW <= WAKING * steps else int(WAKING * steps / took) or 1
        self.weighed = now

    def _attend(self, task: Task) -> bool:
        """Someone set ``attention``: whether to go on with the step of ``task``."""
        runtime = self.runtime
        bits = self.attention
        if bits & FORKED:
            runtime.refuse_fork(self.forked)
        if bits & PING:
            with runtime.lock:
                self.attention &= ~PING
                self.stuck = False
        if bits & TRACE:
            self.trace_step(task)
        if bits & TURN:
            runtime.pass_turn(self)
        while self.attention & GATE:
            self.stop()
        if bits & STOP:
            self.queue.appendleft(task)
            self.hand_over()
            return False
        return True

    # -- the place lock: see scheduler.place_lock ----------------------------------------------

    def aside(self) -> None:
        """This OS thread is about to wait, in a step or between two: until it has taken ``gate`` again, it
        counts as stopped. No code of a task may run meanwhile."""
        self.gate.release()
        # published (a read-modify-write, the fence); now check: `PlaceLock._close`
        if self.attention & GATE:
            self.runtime.place_lock.stood_aside(self)

    def stop(self) -> None:
        """Leave the gate to the owner, who asks for it, until it is done."""
        if self.runtime.place_lock.left_to_owner(self):
            self.gate.acquire()

    def is_asked_for(self) -> bool:
        """See `scheduler.safepoint`."""
        return self.runtime.place_lock.asks(self)

    def at_safepoint(self) -> None:
        """The owner has us stopped inside a step. See `scheduler.safepoint`."""
        while self.attention & GATE and not (self.task is not None and self.task.steady()):
            self.stop()

    def trace_step(self, task: Task | None) -> None:
        """Tell the tracer that the step before has ended and that the one of ``task`` begins."""
        runtime = self.runtime
        if task is not None and task.coro is None:  # it makes the step of another, and will tell of that
            task = None
        trace = runtime.trace
        before, self.traced = self.traced, task
        if trace is None:
            return
        now = self.clock()
        try:
            if before is not None:
                trace("step-end", now, self.index, before)
            if task is not None:
                trace("step", now, self.index, task)
        except Exception:
            import traceback  # rarely needed, and it takes long

            runtime.set_trace(None)
            sys.stderr.write(
                "rtsync: the trace function failed and was taken off:\n" + traceback.format_exc()
            )

    def hand_over(self) -> None:
        """Leave what we have to the others (or, at the end, to `Runtime.close`)."""
        runtime = self.runtime
        if runtime.key != self.key:  # that life is over
            return
        try:
            while self.next:
                runtime.injected.append(self.next.pop())
            while self.queue:
                runtime.injected.append(self.queue.popleft())
        except IndexError:  # a thief took the last
            pass
        # Even if there is nothing: it may be we who saw to the timers, and somebody else is to do that now.
        if runtime.idle and runtime.running:
            runtime.wake()

    def _find(self) -> Task | None:
        """Nothing of our own to run: find a task elsewhere or park until there may be one.

        ``None`` means that the loop is to end.
        """
        runtime = self.runtime
        self.task = None
        self._weigh()
        while True:
            if self.attention:
                if self.attention & TRACE:
                    self.trace_step(None)
                if self.attention & PING:
                    with runtime.lock:
                        self.attention &= ~PING
                        self.stuck = False
                if self.attention & FORKED:
                    runtime.refuse_fork(self.forked)
                if self.attention & TURN:
                    runtime.pass_turn(self)
                while self.attention & GATE:
                    self.stop()
                if self.attention & STOP:
                    self._stop_searching()
                    return None
            if runtime.timers.due <= self.clock():
                runtime.timers.fire()
            task = self._take()
            if task is not None:
                self._stop_searching()
                return task
            if self.extra and runtime.too_many():
                self._stop_searching()
                return None
            if runtime.poller.busy and runtime.poller.glance():  # 0.2 µs; going to sleep costs ten times that
                continue
            if self.searching:
                # Hand the token back before we publish ourselves as idle: a producer that still saw
                # it taken has published its work before our look in `park`.
                self.searching = False
                runtime.search.append(None)
            self.parks += 1
            runtime.park(self)
            self.weighed = self.clock()

    def _take(self) -> Task | None:
        """A task from our own queue, the injection queue or another worker."""
        runtime = self.runtime
        try:
            if self.next:
                return self.next.pop()
            if self.queue:
                return self.queue.popleft()
        except IndexError:  # a thief
            pass
        try:
            return runtime.injected.popleft()
        except IndexError:
            pass
        workers = runtime.workers
        many = len(workers)
        start = int(self.choose() * many) if many > 1 else 0
        for step in range(many):
            victim = workers[(start + step) % many]
            if victim is self:
                continue
            try:
                if victim.queue:
                    task = victim.queue.pop()
                elif victim.stuck and victim.next:
                    task = victim.next.pop()
                else:
                    continue
            except IndexError:  # the owner or another thief was faster
                continue
            self.steals += 1
            try:
                for _ in range(min(len(victim.queue) // 2, STEAL_MOST)):
                    self.queue.appendleft(victim.queue.pop())
            except IndexError:
                pass
            return task
        return None

    def _stop_searching(self) -> None:
        """We were woken to look for work and have found some: pass the search on if there is more."""
        if self.searching:
            self.searching = False
            runtime = self.runtime
            runtime.search.append(None)  # a read-modify-write: the fence between this and the look
            if runtime.idle and runtime.has_work():
                runtime.wake()
