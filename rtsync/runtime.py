"""Running a program: `run`, and the runtime object behind it.

A runtime of the library is the engine's, plus what only the library can know: the root custodian, the main
thread, OS-backed threads, and when nothing can ever happen again.

Source: SPEC of `run`; Racket Reference 11.1 (the main thread), 18.3 (exit).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from _thread import RLock
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from functools import reduce
from typing import TYPE_CHECKING, Any, overload

import scheduler
from scheduler import Task, block, current_driver, defer, published, shared, unseated
from scheduler.parker import Parker
from scheduler.safepoint import last_call
from scheduler.task import runtimes
from scheduler.timers import FAR

from . import asyncgens
from .blocking import Blocking
from .breaks import Break, BreakHangUp, Breaks, BreakTerminate, break_error
from .control import FAILED, KILL, KILLED, SUSPEND, Controlled, kill_all
from .custodian import Custodian
from .deadlock import deadlock_report, outside
from .env import Env, Parameter, current_env
from .errors import (
    ContractError,
    Deadlock,
    ForkError,
    ThreadKilled,
    check_body,
    check_callable,
    check_count,
    refuse,
)
from .evt import BaseEvt, Evt, Latch
from .os_thread import Call, OsThread
from .os_threads import OsThreads
from .pool import Engine
from .spawn import is_async
from .sync import sync
from .thread import Thread, new_thread
from .thread_group import ThreadGroup
from .waiter import NOT_READY, RETRY, WaitQueue, wake_all

if TYPE_CHECKING:
    from .aio.background import Background

_RECHECK = 1.0
"""Seconds between two looks for a deadlock while OS threads that are none of ours could still help."""

SIGHUP = getattr(signal, "SIGHUP", 1)
SIGTERM = signal.SIGTERM
_KINDS: dict[int, str | None] = {signal.SIGINT: None, SIGTERM: "terminate"}
if hasattr(signal, "SIGHUP"):
    _KINDS[signal.SIGHUP] = "hang-up"

_PATIENCE = 2.0
"""Seconds that the end of `run` waits for steps that reach no safepoint (calls into C)."""


def report_uncaught(thread: Thread, error: BaseException) -> None:
    """Write the thread's name and the traceback to standard error: the default handler."""
    import traceback  # rarely needed, and it takes long

    text = "".join(traceback.format_exception(error))
    sys.stderr.write(f"uncaught exception in thread {thread.name}:\n{text}")
    sys.stderr.flush()


@last_call
def _tell(handler: Any, thread: Thread, error: BaseException) -> None:
    handler(thread, error)


def _check_handler(handler: Any) -> Any:
    check_callable("uncaught_exception_handler", "handler", handler)
    return handler


uncaught_exception_handler: Parameter[Callable[[Thread, BaseException], object]] = Parameter(
    "uncaught_exception_handler", report_uncaught, _check_handler
)
"""The function that is told ``(thread, error)`` when a thread ends by an exception. A parameter: call it
without an argument to read it, with one to set it for this thread and those it creates.

Source: Racket Reference, ``uncaught-exception-handler``."""


class Runtime(scheduler.Runtime):
    """A place for threads to run: workers, timers, a root custodian.

    ``with Runtime(workers=2) as runtime: runtime.run(main)``; `run` makes one for you.
    """

    def __init__(self, workers: int | None = None, *, name: str = "rtsync", seed: int | None = None) -> None:
        """``workers``: OS threads for coroutine threads (default: the processors this process may use).
        ``seed`` fixes the pseudo-random choices of `sync` on each worker."""
        if workers is not None:
            check_count("Runtime", "workers", workers, 1)
        if not isinstance(name, str):
            raise refuse("Runtime", "name", "a string", name, TypeError)
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise refuse("Runtime", "seed", "an integer or None", seed, TypeError)
        super().__init__(workers, name=name, seed=seed)
        self.env = shared(Env(Custodian.root()))  # of the main thread, and of all others but those in blocks
        self._root_group: ThreadGroup | None = None
        self.main: Thread | None = None
        self._stranded = Latch()  # the main thread is suspended for good; its value: the `Deadlock`
        self.os_threads = OsThreads(self)
        self.blocking = Blocking(self)
        self.pools: tuple[Engine, ...] = ()  # parallel pools with workers; replaced under lock, never changed
        self._asyncio: Background | None = None  # made when first asked for
        self._idle_evt = _IdleEvt()
        self._looking = published(RLock())  # held by the worker that looks whether anybody can run
        self._wall_offset = time.time() - time.monotonic()

    @property
    def root(self) -> Custodian:
        """The custodian at the top."""
        return self.env.custodian

    # -- running a program -----------------------------------------------------------------------

    if TYPE_CHECKING:

        @overload
        def run[*Ts, T](self, main: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T: ...
        @overload
        def run[*Ts, T](self, main: Callable[[*Ts], T], *args: *Ts) -> T: ...

    def run(self, main: Callable[..., Any], *args: Any) -> Any:  # type: ignore[misc]
        """Run ``main(*args)`` as the main thread; its result or exception. Then all other threads are
        killed. Starts the runtime if it does not run, and stops it again in that case."""
        check_body("run", "main", main)
        driver = current_driver()
        if driver is not None and driver.forked is not None:
            with unseated():
                return self.run(main, *args)
        if driver is not None and driver.home is not None:
            raise ContractError(
                "run: this OS thread already runs in a runtime; start a thread with thread(main)"
            )
        if self.forked:
            raise ForkError
        if self.main is not None:
            raise ContractError(
                "run: this runtime already runs a main thread; start another with thread(main)"
            )
        if self.root.is_shut_down:
            self.env = shared(Env(Custodian.root()))
        self._stranded = Latch()
        started = not self.running
        if started:
            self.start()
        trouble: list[Exception] = []
        try:
            with signals_as_breaks() as signals:
                thread = self._start_main(main, args)
                try:
                    signals.go_to(thread)
                    self._wait_for(thread, or_for=(self._stranded,))
                finally:
                    # By an exception here too: the main thread goes first, then the others.
                    self._shut_down()
                    for hook in _hooks:
                        try:
                            hook()
                        except Exception as error:
                            trouble.append(error)
        finally:
            self.main = None
            if started:
                self.close()
        state, outcome = thread._state, thread._outcome
        if not (state == FAILED and isinstance(outcome, Break)):
            for kind in signals.missed(thread):
                late = break_error(kind)
                late.__context__ = outcome if state == FAILED else None
                state, outcome = FAILED, late
        if state == FAILED:
            if isinstance(outcome, (BreakHangUp, BreakTerminate)):
                sys.exit(128 + (SIGTERM if isinstance(outcome, BreakTerminate) else SIGHUP))
            raise outcome
        if state == KILLED:
            if self._stranded.is_set:
                raise self._stranded.value
            raise ThreadKilled("run: the main thread was killed")
        if trouble:
            raise trouble[0]
        return outcome

    def _start_main(self, main: Callable[..., Any], args: tuple[Any, ...]) -> Thread:
        """Make and start the main thread: on a worker, because what an OS thread makes is cheaper to use
        for itself than for others (see `scheduler.refcount`)."""
        made: list[Any] = []
        parker = Parker()

        async def begin() -> None:
            try:
                made.append(self._make_main(main, args))
            except BaseException as error:
                made.append(error)
            parker.unpark()

        coro = begin()
        try:
            self.inject(Task(self, coro, copy_context()))
        except BaseException:  # not even one worker could be started
            coro.close()
            raise
        parker.park()
        if isinstance(made[0], BaseException):
            raise made[0]
        return made[0]  # type: ignore[no-any-return]

    def _make_main(self, main: Callable[..., Any], args: tuple[Any, ...]) -> Thread:
        context = copy_context()
        context.run(current_env.set, self.env)
        thread: Thread
        if is_async(main):
            thread = new_thread(self.key, main(*args), context, self.root)
        else:
            thread = OsThread(self.key, Call(main, args), context, self.root)
        self.main = thread
        self.root.adopt(thread)
        if isinstance(thread, OsThread):
            self.os_threads.start(thread)
        else:
            thread.ready()  # on this worker, to which its objects belong
        return thread

    def _wait_for(self, thread: Thread, patience: float | None = None, or_for: tuple[Evt, ...] = ()) -> None:
        """Wait until ``thread`` has ended, or some seconds. In an OS thread that is no worker."""
        me = threading.current_thread()
        self.blocked.add(me)
        try:
            block(sync(thread, *or_for, timeout=patience))
        finally:
            self.blocked.discard(me)

    def _shut_down(self) -> None:
        """Kill what is left, then close what is open: no thread is to see what it uses being closed. In an OS
        thread that is no worker."""
        left = []
        others: dict[Any, list[Any]] = {}
        for manager, member in self.root.close():
            if isinstance(member, Controlled):
                left.append(member)
            elif member._disown(manager):
                others.setdefault(member.end_all, []).append(member)
        if left:
            context = copy_context()
            context.run(current_env.set, Env(Custodian.root()))
            reaper = new_thread(self.key, _reap(left), context, None)
            self.inject(reaper)
            self._wait_for(reaper, _PATIENCE + len(left) * 0.001)
        for end_all, members in others.items():
            end_all(members)

    def start(self) -> None:
        super().start()
        self.os_threads.retire(False)

    def close(self, patience: float = 5.0) -> list[threading.Thread]:
        """Cancel the asyncio tasks, then stop the workers: see `scheduler.Runtime.close`."""
        if self._asyncio is not None:
            self._asyncio.close(patience)
        pools, self.pools = self.pools, ()
        left = [os_thread for pool in pools for os_thread in pool.close(patience)]
        self.os_threads.retire(True)
        return super().close(patience) + left

    def __enter__(self) -> Runtime:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- for the rest of the library ---------------------------------------------------------------

    def entered(self, worker: scheduler.Worker) -> bool:
        asyncgens.watch(self)
        return super().entered(worker)

    def close_generator(self, agen: Any) -> None:
        """See `rtsync.asyncgens`."""
        asyncgens.close_later(self, agen)

    def wall_time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def report(self, task: Task, error: BaseException, own_end: bool = False) -> None:
        """Tell the handler of ``task``, which may fail in its turn. ``own_end``: ``task`` is the current one
        and does no more after that; it can be stopped in the handler, and `ThreadKilled` comes out."""
        if not isinstance(task, Thread):
            super().report(task, error)
            return
        handler = task.context.get(uncaught_exception_handler._variable, report_uncaught)
        try:
            if own_end:
                _tell(handler, task, error)
            else:
                handler(task, error)
        except BaseException as second:
            if own_end and task.pending & KILL and isinstance(second, ThreadKilled):
                raise
            second.__context__ = error
            super().report(task, second)

    def exited(self, error: SystemExit) -> None:
        """A thread other than the main one has ended by `sys.exit`: that is its own affair, as in any Python
        program. (In a place it is not.)"""

    def freeze(self, thread: Thread, thaw: Any) -> bool:
        """Block this OS thread, in which ``thread`` was stopped inside a step, until `thaw`; whether that is
        possible."""
        if isinstance(thread, OsThread):
            thread.freezing()
            self.os_threads.freeze()
            thaw.acquire()
            thread.thawed()
        else:
            self.freeze_worker(thaw)
        return True

    def thaw(self, thread: Thread, thaw: Any) -> None:
        """Let a frozen thread go on. By whoever has taken it out of that state."""
        if isinstance(thread, OsThread):
            self.os_threads.thaw()
            thaw.release()
        else:
            self.thaw_worker(thaw)

    def as_worker(self) -> AbstractContextManager[object]:
        """A block in which an OS-backed thread of ours may make the steps of others, if it ever may."""
        return nullcontext()

    @property
    def asyncio(self) -> Background | None:
        """Its loop for asyncio. ``None`` where there can be none."""
        from .aio.background import Background

        with self.lock:
            if self._asyncio is None:
                self._asyncio = Background(self)
            return self._asyncio

    @property
    def root_group(self) -> ThreadGroup:
        """The group of threads that were not made in another. The same object from start to close."""
        with self.lock:
            if self._root_group is None or self._root_group.key != self.key:
                self._root_group = ThreadGroup.root(self.key)
            return self._root_group

    def idle_evt(self, result: Evt) -> BaseEvt:
        """The base event of `idle`, which is ready when this runtime is idle."""
        self._idle_evt.result = result
        return self._idle_evt

    def idle_hook(self) -> None:
        """See `scheduler.Runtime.idle_hook`: idle events, then deadlocks."""
        # One at a time: whom another worker, idle as we are, is about to wake for the same reason cannot be
        # seen yet, but is ready, and found below, when it has looked.
        with self._looking:
            turns = self.turns()
            if (
                self.all_idle()
                and not self.os_threads.active
                and not self._has_ready()
                and not defer.busy
                and all(pool.rests() for pool in self.pools)
                # A second look: what was seen above at different moments holds together if nobody has had a
                # turn meanwhile. Whoever had one and is idle again has counted it before: so look, then
                # compare.
                and self.all_idle()
                and all(pool.rests() for pool in self.pools)
                and self.turns() == turns
            ):
                self.nothing_runs(turns)

    def _has_ready(self) -> bool:
        """Whether any queue holds a task, when all workers are idle: what they have in their slots is what
        their own looks, in `idle_hook`, have made ready."""
        return self.has_work() or any(worker.next for worker in self.workers)

    def turns(self) -> tuple[int, ...]:
        """Changes whenever a worker or an OS-backed thread has run in between."""
        counts = [self.os_threads.turns]
        for runtime in (self, *self.pools):
            counts.append(sum(worker.parks for worker in runtime.workers))
            counts.append(runtime.capacity)
        return tuple(counts)

    def is_quiet(self) -> bool:
        """Whether nothing here will happen by itself: nobody runs, no timer, no descriptor. Asked by another
        runtime."""
        if not self._looking.acquire(False):  # somebody may be about to be woken; who asks does so again
            return False
        try:
            return (
                self.all_idle()
                and not self.os_threads.active
                and not self.os_threads.timed
                and not self.timers.waits()
                and not self.poller.waits()
                and not self.poller.dispatching
                and not self._has_ready()
                and not self.awaits_outside()
                and all(pool.rests() and not pool.timers.waits() for pool in self.pools)
            )
        finally:
            self._looking.release()

    def nothing_runs(self, turns: tuple[int, ...] | None = None) -> None:
        """No thread of this runtime can run, nor has since ``turns``: let idle events happen, or else see
        whether that is the end."""
        if turns is None:
            turns = self.turns()
        if self._idle_evt.fire():
            return
        main = self.main
        if main is None or self.timers.waits() or self.os_threads.timed or self._awaits_io():
            return
        if self.awaits_outside():
            return
        if any(pool.timers.waits() for pool in self.pools):
            return
        waiter = main.waiter
        suspended = main.pending & SUSPEND
        if not (waiter or suspended) or self.foreign_os_threads():
            return
        report = deadlock_report(self)
        # A timer may have fired in the meantime, and whoever it woke may wait for idleness now. A foreign OS
        # thread may have put something on its way before it ended, after our first look for that.
        if not self.all_idle() or self.has_work() or self.turns() != turns or self._awaits_io():
            return
        if suspended:  # nothing can be raised in it: `run` kills it
            self._stranded.set(Deadlock(report))
            return
        try:
            claimed = waiter.pop()  # type: ignore[union-attr]
        except IndexError:
            return
        if claimed is not main:  # somebody reads it, and may do other things: look again when all is idle
            claimed.value = RETRY
            claimed.ready()
            return
        main.raise_in(Deadlock(report))

    def awaits_outside(self) -> bool:
        """Whether another process may wake somebody here, although nothing in this one runs."""
        return bool(outside)

    def _awaits_io(self) -> bool:
        """Whether a descriptor may wake somebody. Who dispatches claims waiters one after the other: they are
        seen here either as waiting, or as being dispatched, or have been made ready by now."""
        poller = self.poller
        return bool(poller.busy) and (poller.waits() or bool(poller.dispatching))

    def foreign_os_threads(self) -> list[threading.Thread]:
        """OS threads that the program started itself: while there are any, something may still happen."""
        ours = set(self.os_threads.own)
        for runtime in list(runtimes.values()):
            if runtime is self or (isinstance(runtime, Runtime) and runtime.is_quiet()):
                ours |= runtime.own_os_threads()
        return [
            t
            for t in threading.enumerate()
            if t not in ours and t.is_alive() and not isinstance(t, threading._DummyThread)
        ]

    def longest_sleep(self) -> float:
        # If not all of the process is ours, what is a deadlock changes without our being told.
        return _RECHECK if self.main is not None else FAR

    def own_os_threads(self) -> set[threading.Thread]:
        ours = super().own_os_threads() | self.os_threads.own
        loop = None if self._asyncio is None else self._asyncio.resting()
        if loop is not None:
            ours.add(loop)
        return ours.union(*(pool.own_os_threads() for pool in self.pools))


class _Signals:
    """Ctrl-C, SIGHUP and SIGTERM while a program runs: breaks in its main thread."""

    def __init__(self) -> None:
        self._main: Thread | None = None
        self._early: list[str | None] = []
        self._late: list[str | None] = []
        self._passed_on = False

    def arrive(self, number: int, frame: Any) -> None:
        """The handler."""
        kind = _KINDS[number]
        if self._main is None:
            self._early.append(kind)
        else:
            # We may be in the middle of an operation of ours in this OS thread: so from another one.
            self._passed_on = True
            defer(lambda: self._pass_on(kind))

    def go_to(self, main: Thread) -> None:
        """From now on to ``main``, also those that have come already."""
        self._main = main
        for kind in self._early:
            self._passed_on = True
            self._pass_on(kind)

    def _pass_on(self, kind: str | None) -> None:
        target = self._main._register_break(kind)  # type: ignore[union-attr]
        if target is None:
            self._late.append(kind)
        else:
            target._poke()

    def missed(self, main: Thread) -> list[str | None]:
        """The breaks, at most one, that ``main`` has not seen, although it allows them: they have come in the
        moment of its end, or since. When no more can come."""
        if not self._passed_on:
            return []
        parker = Parker()
        defer(parker.unpark)  # the calls are made one after the other
        parker.park()
        if main._breaks_enabled():
            self._late += main._withdraw_break()
        return [reduce(Breaks.stronger, self._late)] if self._late else []


@contextmanager
def signals_as_breaks() -> Iterator[_Signals]:
    """While the block runs, signals arrive as breaks in the thread that the given object is told. Only the
    main OS thread can have that; elsewhere nothing is changed."""
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    old = {number: signal.signal(number, signals.arrive) for number in _KINDS}
    try:
        yield signals
    finally:
        # That of Ctrl-C last: it may raise an exception at once, and the others would not be put back.
        for number, handler in reversed(old.items()):
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


async def _reap(threads: list[Controlled]) -> None:
    kill_all(threads, really=True)


class _IdleEvt(BaseEvt):
    """Ready when no thread of a runtime can run: fired by the worker that goes idle last."""

    __slots__ = ("_lock", "_queue", "result")

    def __init__(self) -> None:
        self._lock = published(RLock())
        self._queue = published(WaitQueue())
        self.result: Any = None

    def _poll(self) -> Any:
        return NOT_READY  # we run, so it is not idle

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._queue.append((waiter, case))

    def _leave(self, waiter: list[Any]) -> None:
        self._queue.left(self._lock)

    def fire(self) -> bool:
        """Wake who waits for idleness; whether anyone did."""
        with self._lock:
            entries = [entry for entry in self._queue if entry[0]]
            self._queue.clear()
        wake_all(entries, self.result)
        return bool(entries)


_hooks: list[Callable[[], object]] = []


def at_end(hook: Callable[[], object]) -> None:
    """Have ``hook()`` called whenever a program has run, in an OS thread that is no worker. What it raises
    comes out of `run`, unless something else does."""
    _hooks.append(hook)


if TYPE_CHECKING:

    @overload
    def run[*Ts, T](
        main: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts, workers: int | None = None
    ) -> T: ...
    @overload
    def run[*Ts, T](main: Callable[[*Ts], T], *args: *Ts, workers: int | None = None) -> T: ...


def run(main: Callable[..., Any], *args: Any, workers: int | None = None) -> Any:  # type: ignore[misc]
    """Run ``main(*args)``, ``async`` or plain, as the main thread of a new runtime; its result or exception.

    ``workers``: OS threads for coroutine threads, by default the processors this process may use. When
    ``main`` ends, all other threads are killed. Raises `Deadlock` when ``main`` waits for something that
    can never happen.
    """
    check_body("run", "main", main)
    if workers is not None:
        check_count("run", "workers", workers, 1)
    return Runtime(workers).run(main, *args)
