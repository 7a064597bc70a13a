"""Testing concurrent code: the deterministic scheduler, virtual time, and many seeds.

``run_deterministic(main, seed=7)`` runs a program step by step in an order that the seed decides, with time
that jumps; ``explore(main, seeds=200)`` does so for many seeds and names the one that fails, by which the
failure can be repeated; ``explore_all(main)`` runs a small program in every order there is. With the pytest
plugin (loaded automatically) ``async def`` tests run too:

    @pytest.mark.rtsync(seeds=100)      # deterministic, one run per seed
    async def test_handover(): ...

    @pytest.mark.rtsync(workers=2)      # on a real runtime
    async def test_for_real(): ...
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, overload

from scheduler import current_driver, defer
from scheduler.deterministic import QUIET, Baton, Deterministic

from . import asyncgens
from .blocking import Blocking
from .deadlock import outside
from .errors import check_body, check_count, refuse
from .evt import Evt
from .os_thread import OsThread
from .os_threads import OsThreads
from .runtime import Runtime
from .thread import Thread

__all__ = ["DeterministicRuntime", "explore", "explore_all", "run_deterministic"]

_EPOCH = 1_700_000_000.0
"""What the wall clock shows when virtual time begins."""


class DeterministicRuntime(Deterministic, Runtime):
    """A `Runtime` whose every choice comes from a seed. Time is virtual and starts at 0."""

    def __init__(
        self,
        seed: int = 0,
        *,
        name: str = "deterministic",
        schedule: Sequence[int] | _Decisions | None = None,
    ) -> None:
        """``seed``: any integer; the same one gives the same run of the same program. ``schedule``: the
        decisions themselves, as `explore_all` reports them, instead of a seed."""
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise refuse("DeterministicRuntime", "seed", "an integer", seed, TypeError)
        if schedule is not None and not isinstance(schedule, _Decisions):
            _check_schedule(schedule)
        Deterministic.__init__(self, seed, name=name)
        self.os_threads: OsThreads = _BatonThreads(self)
        self.blocking = Blocking(self)
        self.pools = ()
        self._asyncio = None
        if schedule is not None:
            self.random: Any = schedule if isinstance(schedule, _Decisions) else _Decisions(schedule)

    @property
    def asyncio(self) -> None:
        """None: it has a clock and an order of its own."""

    def start(self) -> None:
        super().start()
        if isinstance(self.random, _Decisions):
            self.worker.choose = self.random.random

    def wall_time(self) -> float:
        return _EPOCH + self.time

    def foreign_os_threads(self) -> list[threading.Thread]:
        return []  # an outsider would not be deterministic

    def freeze(self, thread: Thread, thaw: Any) -> bool:
        # There is no other OS thread to go on. Who suspends itself stops at its next operation.
        return isinstance(thread, OsThread) and self.os_threads.hold(thread)  # type: ignore[attr-defined]

    def thaw(self, thread: Thread, thaw: Any) -> None:
        self.inject(thread)

    def as_worker(self) -> AbstractContextManager[object]:
        # An OS-backed thread that has the baton is alone, as a worker is, and others do not move meanwhile.
        return self.worker_here()

    @contextmanager
    def worker_here(self) -> Iterator[None]:
        old = sys.get_asyncgen_hooks()
        asyncgens.watch(self)
        try:
            with super().worker_here():
                yield
        finally:
            sys.set_asyncgen_hooks(*old)

    def close_generator(self, agen: Any) -> None:
        if self.running and not self.root.is_shut_down:
            asyncgens.close_in_a_thread(self, agen)
        else:
            super().close_generator(agen)

    def step(self, task: Any) -> None:
        if isinstance(task, OsThread):
            self.os_threads.step(task)  # type: ignore[attr-defined]
        else:
            super().step(task)

    def nothing_runs(self) -> bool:  # type: ignore[override]
        if self.poller.busy and self.poller.glance():
            return True
        if self._idle_evt.fire():
            return True
        if outside and self._hears():
            return True
        if Deterministic.nothing_runs(self) or outside:
            return True
        Runtime.nothing_runs(self)  # a deadlock is raised in the main thread
        # If the main thread was not blocked above, another OS thread was about to make it ready, and still is
        # or has: a signal is passed on so.
        return bool(defer.busy or self.injected or self.worker.next or self.worker.queue)

    def _hears(self) -> bool:
        """Whether a place lets something happen here. It is waited for in real time, for as long as for a
        descriptor."""
        deadline = time.monotonic() + QUIET
        while not self.injected and not (self.poller.busy and self.poller.glance()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True

    def _start_main(self, main: Callable[..., Any], args: tuple[Any, ...]) -> Thread:
        return self._make_main(main, args)

    def _wait_for(self, thread: Thread, patience: float | None = None, or_for: tuple[Evt, ...] = ()) -> None:
        self.run_until(lambda: thread.dead)


class _BatonThreads(OsThreads):
    """OS-backed threads that run one at a time, when the scheduler picks them."""

    def __init__(self, runtime: DeterministicRuntime) -> None:
        super().__init__(runtime)
        self.timers = runtime.timers
        self._baton = Baton()

    def start(self, thread: OsThread) -> None:
        os_thread = threading.Thread(target=self._run, args=(thread,), daemon=True)
        os_thread.start()
        self.runtime.inject(thread)

    def _run(self, thread: OsThread) -> None:
        asyncgens.watch(self.runtime)
        thread.parker.park()
        try:
            after: OsThread | None = thread
            while after is not None:
                after = after.main()
        finally:
            self._baton.give_back()

    def step(self, thread: OsThread) -> None:
        """Let it run until it blocks, gives way or ends. By the scheduler."""
        self._baton.hand_to(thread.parker)

    def ready(self, thread: OsThread) -> None:
        self.runtime.inject(thread)

    def block(self, thread: OsThread, wait: Callable[[], None] | None) -> None:
        self._baton.give_back()
        thread.parker.park()

    def hold(self, thread: OsThread) -> bool:
        """Block until it has been thawed and is picked."""
        self.block(thread, None)
        return True

    def give_way(self, thread: OsThread) -> None:
        self.runtime.inject(thread)
        self.block(thread, None)

    def unqueue(self, thread: OsThread) -> bool:
        return self.runtime.unqueue(thread)

    def runs(self, thread: OsThread) -> bool:
        return False  # the caller does

    def let_end(self, thread: OsThread) -> None:
        driver = current_driver()
        if driver is not None and driver.runtime is self.runtime:
            while not thread.dead and self.runtime.unqueue(thread):
                self.step(thread)


class _Decisions:
    """What decides a run in place of a seeded generator: given decisions first, then always the first
    possibility. Keeps what it decided and among how many possibilities."""

    def __init__(self, given: Sequence[int], expected: Sequence[int] = ()) -> None:
        """``expected``: among how many possibilities those given are."""
        self._given = given
        self._expected = expected
        self.taken: list[int] = []
        self.possible: list[int] = []

    def random(self) -> Any:
        """What a scheduling point or `sync` takes for a number from 0 to 1."""
        return _Undecided(self)

    def pick(self, many: int) -> int:
        """Decide for one of ``many`` possibilities."""
        if many == 1:
            return 0
        number = len(self.taken)
        one = self._given[number] if number < len(self._given) else 0
        before = self._expected[number] if number < len(self._expected) else many
        if one >= many or before != many:
            self._given = self._expected = ()  # so that the run can be wound up
            raise RuntimeError(
                f"decision {number} was among {before} possibilities and is among {many}: the program does "
                "something else each time it runs"
            )
        self.taken.append(one)
        self.possible.append(many)
        return one

    def following(self) -> _Decisions | None:
        """With what the next run is to begin: the last decision that has a possibility left takes that."""
        for number in reversed(range(len(self.taken))):
            if self.taken[number] + 1 < self.possible[number]:
                return _Decisions([*self.taken[:number], self.taken[number] + 1], self.possible[: number + 1])
        return None


class _Undecided:
    """A number between 0 and 1 that is decided when it becomes known what for: ``int(x * many)`` picks one of
    many, ``x < 0.5`` one of two."""

    __slots__ = ("_decisions",)

    def __init__(self, decisions: _Decisions) -> None:
        self._decisions = decisions

    def __mul__(self, many: int) -> int:
        return self._decisions.pick(many)

    def __lt__(self, half: float) -> bool:
        return not self._decisions.pick(2)


def _check_schedule(schedule: Any) -> None:
    if (
        isinstance(schedule, str)
        or not isinstance(schedule, Sequence)
        or not all(type(one) is int and one >= 0 for one in schedule)
    ):
        raise refuse(
            "DeterministicRuntime", "schedule", "a list of non-negative integers", schedule, TypeError
        )


if TYPE_CHECKING:

    @overload
    def run_deterministic[*Ts, T](
        main: Callable[[*Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        seed: int = 0,
        schedule: Sequence[int] | None = None,
    ) -> T: ...
    @overload
    def run_deterministic[*Ts, T](
        main: Callable[[*Ts], T], *args: *Ts, seed: int = 0, schedule: Sequence[int] | None = None
    ) -> T: ...


def run_deterministic(  # type: ignore[misc]
    main: Callable[..., Any], *args: Any, seed: int = 0, schedule: Sequence[int] | None = None
) -> Any:
    """Run ``main(*args)`` as `run` does, on the deterministic scheduler with ``seed``, or with the decisions
    of ``schedule``; its result or exception."""
    check_body("run_deterministic", "main", main)
    return DeterministicRuntime(seed, schedule=schedule).run(main, *args)


def explore[*Ts](main: Callable[[*Ts], object], *args: *Ts, seeds: Any = 100) -> None:
    """Run ``main(*args)`` once for each of ``seeds`` (a number of them, or the seeds themselves). The first
    failure is raised with a note that names its seed."""
    check_body("explore", "main", main)
    if isinstance(seeds, int):
        check_count("explore", "seeds", seeds, 1)
        seeds = range(seeds)
    elif isinstance(seeds, str) or not hasattr(seeds, "__iter__"):
        raise refuse("explore", "seeds", "a number of seeds or the seeds", seeds, TypeError)
    for seed in seeds:
        try:
            run_deterministic(main, *args, seed=seed)
        except BaseException as error:
            error.add_note(f"failed with seed {seed}; repeat with run_deterministic(..., seed={seed})")
            raise


def explore_all[*Ts](main: Callable[[*Ts], object], *args: *Ts, most: int = 100_000) -> int:
    """Run ``main(*args)`` in every order in which its threads' steps can be made, and with every choice that
    `sync` can make among ready events: how many there were. The first failure is raised with a note that
    names its schedule. ``RuntimeError`` if there are more than ``most``: the number grows exponentially with
    the length of the program.
    """
    check_body("explore_all", "main", main)
    check_count("explore_all", "most", most, 1)
    schedule: _Decisions | None = _Decisions(())
    runs = 0
    while schedule is not None:
        if runs == most:
            raise RuntimeError(f"explore_all: there are more than {most} schedules")
        runs += 1
        try:
            DeterministicRuntime(schedule=schedule).run(main, *args)
        except BaseException as error:
            error.add_note(
                f"failed with schedule {schedule.taken}; repeat with run_deterministic(..., schedule=...)"
            )
            raise
        schedule = schedule.following()
    return runs


def wait_real(predicate: Callable[[], bool], seconds: float = 10.0) -> bool:
    """In an OS thread outside a runtime: look until ``predicate()`` holds, at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True
