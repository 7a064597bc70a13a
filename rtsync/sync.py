"""`sync`: wait for the first of several events. The commit protocol.

1. *Expand.* Guards are run, choices flattened; what remains is a list of *cases*: a base event, the
   functions to apply to its result (innermost first) and the nacks of the guards around it.
2. *Lock* all base events involved, in the order of the addresses of their locks. Two threads that each
   synchronize on both ends of the same channels would otherwise each hold what the other wants.
3. *Poll* each case, beginning at a pseudo-random one. A poll takes the event, and where there is another
   side (who puts to the channel) claims that side's waiter: its thread cannot be claimed by anyone else
   from then on, nor can ours, which no queue holds yet. So we need not claim ourselves, and cannot meet
   ourselves in a queue.
4. If none is ready, *enqueue* the same waiter on all, and park; the locks are let go as the commit of the
   parking. Until then nobody sees any of the entries.
5. Whoever claims the waiter leaves ``(position, value)``. Back in our thread: leave the other queues, let the
   nacks of what was not chosen happen, apply the functions.

While all locks are held nothing but deque operations, pushes to run queues and claims happen: no code of
users, no other lock of ours (the engine's own locks are leaves). Deadlines are armed by the commit.

Source: Racket Reference 11.2.1; J. Reppy, *Concurrent Programming in ML*; Go's ``selectgo`` for the order.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import nullcontext
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Never, overload

from scheduler import NoRuntime, Parking, current_driver, direct, here, returns_coroutine, shared
from scheduler.safepoint import transparent
from scheduler.timers import FAR, Timer, TimerQueue

from .breaks import EnableBreaks, NoBreaks
from .channel import Channel
from .current import let_go, was_given
from .env import Parameter
from .errors import check_seconds, refuse
from .evt import (
    BaseEvt,
    Choice,
    Evt,
    Guard,
    Latch,
    LocalEvt,
    Ready,
    Replace,
    Tail,
    Wrap,
    _Never,
    check_evt,
    is_evt,
    settle,
    to_evt,
)
from .waiter import NOT_READY, RETRY, SPARE, Locks, Pair

if TYPE_CHECKING:
    from random import Random

    from .evt import Waitable

# What is to be done with the result of a case: `None` for nothing, or (what, function, and so on for its
# result), with a `Replacing` for the function of the last kind.
_WRAP: Final = 0
_HANDLE: Final = 1
_REPLACE: Final = 2


class _NOTHING:
    """The result of a poll that found nothing, or of a timeout."""


class _Generator(Parameter):
    """`current_evt_pseudo_random_generator`; knows whether it was ever set, so that `sync` need not look."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        super().__init__("current_evt_pseudo_random_generator", None, _check_generator)
        self.used = False

    def write(self, value: Any) -> None:
        """Set the generator of this thread."""
        self.used = True
        super().write(value)


def _check_generator(value: Any) -> Any:
    if value is not None and not callable(getattr(value, "random", None)):
        raise refuse(
            "current_evt_pseudo_random_generator", "generator", "a random.Random or None", value, TypeError
        )
    return value


_generator = shared(_Generator())
current_evt_pseudo_random_generator: Parameter[Random | None] = _generator
"""The generator (a `random.Random`) by which `sync` chooses among several ready events; ``None`` for the
worker's own, which the runtime's seed decides. A parameter: read without an argument, set with one.

Source: Racket Reference, ``current-evt-pseudo-random-generator``."""


def _choice(driver: Any) -> Any:
    """What draws the number of a choice in this thread."""
    generator = _generator.read()
    return driver.choose if generator is None else generator.random


class Deadline(BaseEvt):
    """A time on the clock of one timer queue, for one `sync`. Result: given at its making.

    The lock of the timers is taken last, by the commit: it is one for a whole runtime, and is not to be held
    while others are waited for. The waiter has been armed by then, so the timer may fire at once.
    """

    __slots__ = ("_case", "_deadline", "_timer", "_timers", "_value", "_waiter")

    _lock = None

    def __init__(self, timers: Any, deadline: float, value: Any) -> None:
        self._timers = timers
        self._deadline = deadline
        self._value = value
        self._timer: Any = None

    def _poll(self) -> Any:
        return self._value if self._timers.clock() >= self._deadline else NOT_READY

    def _block(self, waiter: list[Any], case: Any) -> bool:
        self._waiter = waiter
        self._case = case
        return True

    def arm(self) -> None:
        """Begin to run. As part of the commit."""
        timers = self._timers
        with timers.lock:
            self._timer = timers.arm(self._deadline, self._waiter, (self._case, self._value))

    def _leave(self, waiter: list[Any]) -> None:
        if self._timer is not None:
            self._timers.disarm(self._timer)


if TYPE_CHECKING:

    @overload
    def sync[A = Never, B = Never, C = Never, D = Never, More = Never](
        one: Waitable[A] = ...,
        two: Waitable[B] = ...,
        three: Waitable[C] = ...,
        four: Waitable[D] = ...,
        /,
        *evts: Waitable[More],
        timeout: None = None,
        default: object = None,
        enable_break: bool = False,
    ) -> Coroutine[Any, Any, A | B | C | D | More]: ...
    @overload
    def sync[A = Never, B = Never, C = Never, D = Never, More = Never, X = None](
        one: Waitable[A] = ...,
        two: Waitable[B] = ...,
        three: Waitable[C] = ...,
        four: Waitable[D] = ...,
        /,
        *evts: Waitable[More],
        timeout: float | None,
        default: X = ...,
        enable_break: bool = False,
    ) -> Coroutine[Any, Any, A | B | C | D | More | X]: ...
    @overload
    def sync[A = Never, B = Never, C = Never, D = Never, More = Never, X = None](
        one: Waitable[A] = ...,
        two: Waitable[B] = ...,
        three: Waitable[C] = ...,
        four: Waitable[D] = ...,
        /,
        *evts: Waitable[More],
        timeout: Callable[[], Coroutine[Any, Any, X]],
        default: object = None,
        enable_break: bool = False,
    ) -> Coroutine[Any, Any, A | B | C | D | More | X]: ...
    @overload
    def sync[A = Never, B = Never, C = Never, D = Never, More = Never, X = None](
        one: Waitable[A] = ...,
        two: Waitable[B] = ...,
        three: Waitable[C] = ...,
        four: Waitable[D] = ...,
        /,
        *evts: Waitable[More],
        timeout: Callable[[], X],
        default: object = None,
        enable_break: bool = False,
    ) -> Coroutine[Any, Any, A | B | C | D | More | X]: ...


@returns_coroutine
def sync(
    *evts: Any, timeout: Any = None, default: Any = None, enable_break: bool = False
) -> Coroutine[Any, Any, Any]:
    """Wait until one of ``evts`` is ready and give its result; among several ready ones the choice is
    pseudo-random.

    ``timeout``: ``None`` waits for ever; a number of seconds (0: only look) after which the result is
    ``default``; or a function, called when nothing is ready at once, whose result is then given.
    ``enable_break``: breaks are enabled while it waits. If they are disabled otherwise, either none of the
    events is chosen and a `Break` is raised, or one is and none is raised.
    Raises ``TypeError`` for what is no event, ``ValueError`` for a negative time, and whatever the
    functions inside the events raise.

    Source: Racket Reference, ``sync``, ``sync/timeout``, ``sync/enable-break``.
    """
    if enable_break is not False:
        return _sync_enable_break(evts, timeout, default, enable_break)
    if timeout is None:
        if len(evts) == 2:
            one, two = evts
            if type(one) is Channel and type(two) is Channel and one is not two and not _generator.used:
                return _get_either(one, two)
            if isinstance(one, BaseEvt) and isinstance(two, BaseEvt):
                return _choose_two(one, two)
    elif len(evts) == 1 and (type(timeout) is int or type(timeout) is float) and 0 < timeout < FAR:
        (one,) = evts
        if isinstance(one, BaseEvt) and one._lock is not None:
            return _choose_one(one, timeout, default)
    plain = True
    for evt in evts:
        if not isinstance(evt, BaseEvt):
            plain = False
            if not isinstance(evt, Evt):
                check_evt("sync", f"evts[{evts.index(evt)}]", evt)
    if timeout is not None:
        if callable(timeout):
            return _sync(evts, timeout, default)
        check_seconds("sync", "timeout", timeout)
        if timeout == FAR:
            timeout = None
    if plain:
        return _choose(evts, timeout, None, default)
    if len(evts) == 1:
        (one,) = evts
        if isinstance(one, Wrap) and one.is_handle and isinstance(one.evt, BaseEvt) and timeout != 0:
            return _handle(one, timeout, default)
    return _sync(evts, timeout, default)


def _sync_enable_break(
    evts: tuple[Any, ...], timeout: Any, default: Any, enable_break: Any
) -> Coroutine[Any, Any, Any]:
    """`sync` with its rarest argument: check all of them."""
    if not isinstance(enable_break, bool):
        raise refuse("sync", "enable_break", "a bool", enable_break, TypeError)
    for position, evt in enumerate(evts):
        check_evt("sync", f"evts[{position}]", evt)
    if timeout is not None and not callable(timeout):
        check_seconds("sync", "timeout", timeout)
    return _sync(evts, None if timeout == FAR else timeout, default, True)


@transparent
async def _sync(evts: tuple[Any, ...], timeout: Any, default: Any, enable_break: bool = False) -> Any:
    driver = current_driver()
    if driver is None:
        raise NoRuntime("sync")
    poll = timeout is not None and (callable(timeout) or timeout == 0)
    cases = Cases(poll)
    try:
        if enable_break:
            with EnableBreaks():  # nothing has been taken yet
                for evt in evts:
                    await cases.add(evt, None, ())
        else:
            for evt in evts:
                await cases.add(evt, None, ())
        if callable(timeout):
            limit: Any = 0
        elif timeout is None or poll:
            limit = timeout
        else:
            started = driver.clock()
            limit = timeout
        while True:
            if enable_break:
                position, value = await _choose_enable_break(cases, limit)
            else:
                position, value = await _choose(cases.bases, limit, cases, None)
            if value is _NOTHING:
                break
            steps = cases.steps[position]
            if cases.nacks:
                cases.chose(position)
            while steps is not None:
                what, f, steps = steps
                if what == _WRAP or (what == _HANDLE and steps is not None):
                    with NoBreaks():
                        value = f(value)
                        if isinstance(value, (CoroutineType, Tail)):
                            value = await settle(value)
                    continue
                if what == _REPLACE:
                    # Its place is taken by the event f gave, with what was around it; the others stay.
                    value = f.evt.f(value)
                    if isinstance(value, CoroutineType):
                        value = await value
                    cases.remove(f)
                    with EnableBreaks() if enable_break else nullcontext():
                        await cases.add(value if is_evt(value) else Ready(f.evt), steps, f.kept)
                    if limit:  # what is left of the time
                        limit = max(0, started + timeout - current_driver().clock())
                    break
                value = f(value)
                return await value if isinstance(value, CoroutineType) else value
            else:
                return value
    finally:
        if cases.nacks:  # nothing was chosen: control leaves, or the time is over
            cases.deny(())
    if callable(timeout):
        value = timeout()
        return await value if isinstance(value, CoroutineType) else value
    return default


@transparent
async def _handle(evt: Wrap, timeout: Any, default: Any) -> Any:
    """`_sync` for one base event with one handler around it, as the events of ports are, at half the cost."""
    value = await _choose((evt.evt,), timeout, None, _NOTHING)
    if value is _NOTHING:
        return default
    value = evt.f(value)
    return await value if isinstance(value, CoroutineType) else value


@direct
def _choose(bases: Any, timeout: Any, cases: Cases | None, default: Any) -> Generator[Parking, Any, Any]:
    """Steps 2 to 5 of the protocol: position and result of the chosen one of ``bases`` (which are those of
    ``cases``), and `_NOTHING` as the result after ``timeout`` seconds; without ``cases`` only the result, or
    ``default``.

    The case of an event is its position, which costs nothing to make and to compare.
    """
    try:
        driver = here.driver
    except AttributeError:
        raise NoRuntime("sync") from None
    many = len(bases)
    limit: Deadline | None = None
    while True:
        if many == 1:
            lock = bases[0]._lock
            commit: Any = lock
            if lock is None:
                commit = Locks()
            else:
                lock.acquire()
            order: Any = (0,)
        else:
            first = int((driver.choose if not _generator.used else _choice(driver))() * many)
            order = (*range(first, many), *range(first))
            commit = _in_order([base._lock for base in bases])
            for lock in commit:
                lock.acquire()
        for position in order:
            value = bases[position]._poll()
            if value is not NOT_READY:
                commit.release()
                return value if cases is None else (position, value)
        if timeout is not None:
            if timeout == 0:
                for position in order:
                    if bases[position]._look_again():
                        value = bases[position]._poll()
                        if value is not NOT_READY:
                            commit.release()
                            return value if cases is None else (position, value)
                commit.release()
                return default if cases is None else (None, _NOTHING)
            if limit is None:
                limit = Deadline(driver.timers, driver.clock() + timeout, _NOTHING)
            if limit._poll() is _NOTHING:
                commit.release()
                return default if cases is None else (None, _NOTHING)
        waiter: list[Any] = []
        late: Any = None
        for position, base in enumerate(bases):
            if base._block(waiter, position):
                late = [base] if late is None else [*late, base]
        if limit is not None:
            limit._block(waiter, None)
            late = [limit] if late is None else [*late, limit]
        if late is not None:
            commit = ArmAndRelease(late, commit)
        try:
            chosen = yield waiter, commit
        except BaseException:
            _abandon(bases, waiter, commit, limit, cases)
            raise
        if chosen is RETRY:
            _leave(bases, waiter, limit)
            continue
        position, value = chosen
        if value is _NOTHING:
            _leave(bases, waiter, None)
            return default if cases is None else chosen
        for other, base in enumerate(bases):
            if other != position:
                base._leave(waiter)
        if limit is not None:
            limit._leave(waiter)
        return value if cases is None else chosen


async def _choose_enable_break(cases: Cases, timeout: Any) -> Any:
    """`_choose` with breaks enabled. A function of its own, and not `transparent`: so no break is raised at a
    safepoint after the choice while they still are."""
    with EnableBreaks():
        return await _choose(cases.bases, timeout, cases, None)


@direct
def _choose_two(one: Any, two: Any) -> Generator[Parking, Any, Any]:
    """`_choose` for the most frequent case, two base events and no timeout, at half the cost: the result."""
    try:
        driver = here.driver
    except AttributeError:
        raise NoRuntime("sync") from None
    first, second = one._lock, two._lock
    if first is None or second is None or first is second:
        commit = _in_order((first, second))
    else:
        commit = Locks((first, second) if id(first) < id(second) else (second, first))
    if (driver.choose if not _generator.used else _choice(driver))() < 0.5:
        one, two = two, one
    while True:
        for lock in commit:
            lock.acquire()
        value = one._poll()
        if value is NOT_READY:
            value = two._poll()
        if value is not NOT_READY:
            commit.release()
            return value
        waiter: list[Any] = []
        publish: Any = commit
        late = one._block(waiter, False)
        if two._block(waiter, True) or late:
            deadlines = [evt for evt in (one, two) if isinstance(evt, Deadline)]
            publish = ArmAndRelease(deadlines, commit)
        try:
            chosen = yield waiter, publish
        except BaseException:
            _abandon((one, two), waiter, commit, None, None)
            raise
        if chosen is RETRY:
            _leave((one, two), waiter, None)
            continue
        # The case of an event is whether it is the second.
        (one if chosen[0] else two)._leave(waiter)
        return chosen[1]


@direct
def _get_either(one: Channel, two: Channel) -> Generator[Parking, Any, Any]:
    """`_choose_two` for two channels, in two thirds of the time: the value.

    Who has one of the locks does not wait for the other here: so nobody waits for us for ever, in whatever
    order he takes them, and they need not be put in order.
    """
    first, second = one._lock, two._lock
    while True:
        first.acquire()
        if not second.acquire(False):
            first.release()
            first, second = second, first
            continue
        if one._putters or two._putters:
            value = _poll_either(one, two)
            if value is not NOT_READY:
                return value
        waiter: list[Any] = []
        one._getters.append(waiter)  # bare: from which of them the value came makes no difference
        two._getters.append(waiter)
        pair = one._pair
        if pair is None or pair.second is not two._lock:
            one._pair = pair = Pair(one._lock, two._lock)
        try:
            value = yield waiter, pair
        except BaseException:
            let_go(waiter, (first, second))
            _leave((one, two), waiter, None)
            raise
        # `_leave`, written out. Of the two queues one has lost our entry; if others are in it, we are counted
        # there all the same, and it is looked through a little early.
        if one._getters:
            one._dead = dead = one._dead + 1
            if dead >= SPARE:
                one._sweep()
        if two._getters:
            two._dead = dead = two._dead + 1
            if dead >= SPARE:
                two._sweep()
        if value is not RETRY:
            return value


def _poll_either(one: Channel, two: Channel) -> Any:
    """A value from one of them, in random order; `NOT_READY` if those who wait there have gone. Holds both
    locks, and lets go of them unless it is that."""
    driver = current_driver()
    if driver is not None:
        if one._putters and two._putters and driver.choose() < 0.5:
            one, two = two, one
        value = one._poll()
        if value is NOT_READY:
            value = two._poll()
            if value is NOT_READY:
                return value
    one._lock.release()
    two._lock.release()
    if driver is None:
        raise NoRuntime("sync")
    return value


_LATE: Final = (None, _NOTHING)


class Limit(Timer):
    """The timeout of a `sync` on one event; its commit."""

    __slots__ = ("deadline", "lock", "timers")

    def __init__(self, timers: TimerQueue, deadline: float, waiter: list[Any], lock: Any) -> None:
        self.waiter = waiter
        self.case = _LATE
        self.fire = None
        self.timers = timers
        self.deadline = deadline
        self.lock = lock

    def release(self) -> None:
        """Begin to run, then let go of the lock of the event."""
        timers = self.timers
        timers.lock.acquire()
        timers.insert(self, self.deadline)
        timers.lock.release()
        self.lock.release()


@direct
def _choose_one(one: Any, timeout: float, default: Any) -> Generator[Parking, Any, Any]:
    """`_choose` for one base event with a lock, and a timeout that is not 0: the result."""
    try:
        driver = here.driver
    except AttributeError:
        raise NoRuntime("sync") from None
    lock = one._lock
    deadline = None
    while True:
        lock.acquire()
        value = one._poll()
        if value is not NOT_READY:
            lock.release()
            return value
        timers = driver.timers
        if deadline is None:
            deadline = timers.clock() + timeout
        elif timers.clock() >= deadline:
            lock.release()
            return default
        waiter: list[Any] = []
        limit = Limit(timers, deadline, waiter, lock)
        one._block(waiter, 0)
        try:
            chosen = yield waiter, limit
        except BaseException:
            timers.disarm(limit)
            _abandon((one,), waiter, lock, None, None)
            raise
        if chosen is _LATE:
            one._leave(waiter)
            return default
        timers.disarm(limit)
        if chosen is not RETRY:
            return chosen[1]
        one._leave(waiter)


# What a warning or a stack shows for the coroutine that `sync` gives.
for _made in (_choose, _choose_one, _choose_two, _get_either, _handle, _sync):
    _made.__name__ = _made.__qualname__ = "sync"
del _made


def _leave(bases: Any, waiter: list[Any], limit: Deadline | None) -> None:
    """The waiter was claimed through none of ``bases``."""
    for base in bases:
        base._leave(waiter)
    if limit is not None:
        limit._leave(waiter)


def _abandon(bases: Any, waiter: list[Any], commit: Any, limit: Deadline | None, cases: Cases | None) -> None:
    """The thread is stopped at its `sync`. It may have been chosen already, and killed before it could run:
    then the event is passed on, or has happened; its nacks must not."""
    let_go(waiter, commit._locks if isinstance(commit, ArmAndRelease) else commit)
    given = was_given(waiter)
    _leave(bases, waiter, limit)
    if given is RETRY or given[1] is _NOTHING:
        return
    position = given[0]
    if not bases[position]._pass_on() and cases is not None and cases.nacks:
        cases.chose(position)


class ArmAndRelease:
    """The commit of a `sync` with deadlines."""

    __slots__ = ("_deadlines", "_locks")

    def __init__(self, deadlines: list[Deadline], locks: Any) -> None:
        self._deadlines = deadlines
        self._locks = locks

    def release(self) -> None:
        """Arm them, then let go of the locks."""
        for deadline in self._deadlines:
            deadline.arm()
        self._locks.release()


def _in_order(locks: Any) -> Locks:
    """Each lock once, in the global order."""
    return Locks(sorted({lock for lock in locks if lock is not None}, key=id))


class Replacing:
    """A `Replace` in one `sync`: a choice of its own among the cases in it, which are there only until one of
    them has been chosen."""

    __slots__ = ("evt", "kept")

    def __init__(self, evt: Replace, kept: tuple[Latch, ...]) -> None:
        self.evt = evt
        self.kept = kept
        """The nacks around it."""

    def holds(self, steps: Any) -> bool:
        """Whether what has ``steps`` around it is in it."""
        return any(f is self for _, f in _each(steps))


def _each(steps: Any) -> Iterator[tuple[int, Any]]:
    """``steps`` one by one, from the inside."""
    while steps is not None:
        what, f, steps = steps
        yield what, f


class Cases:
    """The cases of one `sync` that is not plain."""

    __slots__ = ("_poll", "bases", "kept", "nacks", "steps")

    def __init__(self, poll: bool) -> None:
        self._poll = poll
        self.bases: list[BaseEvt] = []
        self.steps: list[Any] = []  # what is to be done with each result
        self.kept: list[tuple[Latch, ...]] = []  # nacks that do not happen if it is chosen
        self.nacks: list[tuple[Latch, Any]] = []  # with the steps around: what may yet happen

    def remove(self, replacing: Replacing) -> None:
        """Forget the cases in ``replacing``, one of which has been chosen."""
        for position in reversed(range(len(self.bases))):
            if replacing.holds(self.steps[position]):
                del self.bases[position]
                del self.steps[position]
                del self.kept[position]

    def chose(self, position: int) -> None:
        """Let the nacks of the others happen: of all, or if this one is to be replaced, of those that were to
        be replaced with it."""
        for what, f in _each(self.steps[position]):
            if what == _REPLACE:
                self.deny(self.kept[position], f)
                return
        self.deny(self.kept[position])

    def deny(self, kept: tuple[Latch, ...], inside: Replacing | None = None) -> None:
        """Let all nacks happen (those in ``inside``, if it is given) but those around the chosen case, which
        never do; once."""
        left = []
        for nack, steps in self.nacks:
            if inside is not None and not inside.holds(steps):
                left.append((nack, steps))
            elif nack not in kept:
                nack.set()
        self.nacks = left

    @transparent
    async def add(self, evt: Any, steps: Any, kept: tuple[Latch, ...]) -> None:
        """Take ``evt`` apart, which has ``steps`` around it and stands in the guards of ``kept``."""
        others: list[Any] = []  # of the choices that it stands in, what comes after it, the last first
        while True:
            if isinstance(evt, BaseEvt):
                self._add_base(evt, steps, kept)
            elif isinstance(evt, Wrap):
                steps = (_HANDLE if evt.is_handle else _WRAP, evt.f, steps)
                evt = evt.evt
                continue
            elif isinstance(evt, LocalEvt):
                self._add_base(evt._localize(), steps, kept)
            elif isinstance(evt, Choice):
                others.extend((part, steps, kept) for part in reversed(evt.evts))
            elif isinstance(evt, Replace):
                steps = (_REPLACE, Replacing(evt, kept), steps)
                evt = evt.evt
                continue
            elif not isinstance(evt, _Never):
                if isinstance(evt, Guard):
                    if evt.kind == "nack_guard":
                        nack = Latch()
                        self.nacks.append((nack, steps))
                        kept = (*kept, nack)
                        made = evt.f(nack)
                    elif evt.kind == "poll_guard":
                        made = evt.f(self._poll)
                    else:
                        made = evt.f()
                    if isinstance(made, CoroutineType):
                        made = await made
                    evt = made if is_evt(made) else Ready(evt)
                else:
                    made = evt.__evt__() if callable(getattr(type(evt), "__evt__", None)) else to_evt(evt)
                    evt = made if made is not evt and is_evt(made) else Ready(evt)
                continue
            if not others:
                return
            evt, steps, kept = others.pop()

    def _add_base(self, evt: BaseEvt, steps: Any, kept: tuple[Latch, ...]) -> None:
        self.bases.append(evt)
        self.steps.append(steps)
        self.kept.append(kept)
