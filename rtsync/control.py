"""How threads are stopped by others: kill, suspend, resume, break.

Whoever wants something of a thread leaves a bit in ``pending``, under the thread's lock, and then tries to
*seize* the thread, that is to become the only one who may run it:

* blocked: by claiming its waiter, as any event would. So it is either given a value or interrupted, never
  both and never neither; the waiter's other queues see an empty waiter. The claimant leaves `RETRY` as the
  value, which says that the operation was never begun: after a `resume` it begins again;
* runnable: by taking it out of the run queue it stands in;
* suspended: it stands nowhere; changing its state under the lock is enough.

A thread that can be seized in none of these ways is in a step on some OS thread. A worker looks at
``pending`` before each step and at each park, when the thread can be found by its waiter (the append to that
is the fence between the two), and at safepoints within a step, for which the requester asks when a
millisecond has passed. `kill` and `suspend` wait until the thread has acknowledged in one of these ways.

| bit | effect |
|---|---|
| KILL | `ThreadKilled` is raised where the thread stands, and again wherever it stands still after |
| SUSPEND | the thread takes no step, and stands in no queue, until `resume` |
| BREAK | a `Break` is raised where it stands, if breaks are enabled; never after its operation happened |
| RAISE | one exception (a `Deadlock`) is raised at the operation that was just given up |
| NO_BLOCK | an operation that would block is given up, and `ContractError` raised there (`rtsync.modes`) |

Kill, suspend and break wait for the end of the modes of `rtsync.atomic`. Who kills or suspends a thread in
one waits for that, if the thread runs; for one that is blocked in uninterruptible mode nobody waits.

Source: Racket Reference 11.1.2, 10.6 (Breaks).
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from time import monotonic, sleep
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from scheduler import Task, current_driver, here, safepoints
from scheduler.safepoint import interruptible, is_ours
from scheduler.task import runtimes
from scheduler.worker import GATE

from .breaks import SCOPE, Break, Breaks, break_error, check_kind, handled
from .current import current_or_none
from .custodian import Custodian, current_custodian_or_none
from .deadlock import operation
from .errors import ContractError, SchedulerError, ThreadKilled, refuse
from .evt import Evt, Latch
from .modes import Modes
from .waiter import RETRY, StandIn, not_taken

if TYPE_CHECKING:
    from .thread import Thread

# Bits of pending
KILL: Final = 1
SUSPEND: Final = 2
RAISE: Final = 4
BREAK: Final = 8
NO_BLOCK: Final = 16

# States. From RESULT on the thread has ended.
ALIVE: Final = 0
HELD: Final = 1  # suspended, and in no queue
FROZEN: Final = 2  # suspended inside a step; its OS thread waits
RESULT: Final = 3
FAILED: Final = 4
KILLED: Final = 5

_COOPERATIVE: Final = 0.001  # seconds before a requester asks for a safepoint
_IN_C: Final = 0.05  # seconds after which a step that reaches no safepoint is looked at: does it sit in C?
_PATIENCE: Final = 2.0  # seconds after which it is taken to compute in C
_CLEAN_UP: Final = 10.0  # seconds for which clean-up that computes is left alone
_MOST_THROWS: Final = 1000  # how often clean-up that blocks is told again before the thread is given up


class Rare:
    """The fields of a thread that few threads need."""

    __slots__ = (
        "asked",
        "beneficiaries",
        "breaks",
        "dead_evt",
        "given",
        "keep",
        "killed",
        "kind",
        "modes",
        "name",
        "nested",
        "on_fail",
        "pool",
        "raising",
        "resume_evt",
        "scope",
        "suspend_evt",
        "suspend_to_kill",
        "thaw",
        "throws",
        "told",
        "unbegun",
    )

    def __init__(self) -> None:
        self.asked = False  # safepoints are on for it
        self.beneficiaries: list[Any] | None = None  # weak references: resumed with us
        self.breaks: Breaks | None = None  # None: enabled
        self.dead_evt: Latch | None = None
        self.given: Any = RETRY  # what the operation gave, all the same, at which it was interrupted last
        self.keep = True  # the result
        self.killed: Any = None  # weak reference to the `ThreadKilled` that was raised last
        self.kind: str | None = None  # of the pending break
        self.modes: Modes | None = None  # made with the first
        self.name: str | None = None
        self.nested: Any = None  # the nested thread that it waits for, see `rtsync.nested`
        # on_fail(thread, error) is called with its exception, instead of a report, before its end is known;
        # what that gives, if anything, after.
        self.on_fail: Callable[[Any, BaseException], Callable[[], object] | None] | None = None
        self.pool: Any = None  # the parallel pool that it runs in, see `rtsync.pool`
        self.raising: BaseException | None = None  # see RAISE
        self.resume_evt: Latch | None = None
        self.scope: Any = None  # the innermost whose block it runs, see `rtsync.scope`
        self.suspend_evt: Latch | None = None
        self.suspend_to_kill = False
        self.thaw: Any = None  # the lock that a frozen thread waits on
        self.unbegun: Any = None  # the finalizer of one that is suspended before it began
        self.throws = 0  # how often it was told to die
        self.told = 0.0  # when it was told to die


class Controlled(Task):
    """The part of `Thread` that control is about."""

    __slots__ = ("_custodians", "_lock", "_rare", "_state")

    can_be_run: ClassVar[bool] = True  # by whoever has seized it; an OS-backed thread only runs itself

    _custodians: Any  # the one that manages it, a list of several, or None
    _lock: Any
    """Re-entrant, for moments. Other threads may have the same one (`scheduler.worker.LOCKS`)."""
    _rare: Rare | None
    _state: int

    # -- what it is ----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Neither ended nor suspended. Source: Racket Reference, ``thread-running?``."""
        return self._state == ALIVE and not self.pending & (KILL | SUSPEND)

    @property
    def dead(self) -> bool:
        """Whether it has ended. Source: Racket Reference, ``thread-dead?``."""
        return self._state >= RESULT

    def _ended(self) -> bool:
        return self._state >= RESULT

    @staticmethod
    def end_all(threads: list[Any]) -> None:
        """Their last custodian has been shut down."""
        kill_all(threads)

    def _rarely(self) -> Rare:
        """What few threads need, made when one does. Holds _lock, or nobody else knows the thread."""
        if self._rare is None:
            self._rare = Rare()
        return self._rare

    def _managers(self) -> list[Custodian]:
        """The custodians that manage it."""
        custodians = self._custodians
        if custodians is None:
            return []
        return list(custodians) if isinstance(custodians, list) else [custodians]

    def _check_authority(self, operation: str) -> None:
        """Refuse unless it is dead or the current custodian solely manages it. Outside a runtime all may."""
        mine = current_custodian_or_none()
        if mine is None or self._state >= RESULT:
            return
        for custodian in self._managers():
            if custodian is not mine and not mine.manages(custodian):
                raise ContractError(f"{operation}: the current custodian does not solely manage {self!r}")

    # -- requests --------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it where it stands. When this returns it is dead, or sits in a call into C, after which it
        executes nothing more of its own. Its ``finally`` blocks run. Killing a dead thread does nothing;
        killing oneself does not return. A thread made with ``suspend_to_kill`` is only suspended.
        ``ContractError`` unless the current custodian solely manages it; `SchedulerError` if it computes
        and there are no safepoints to be had (`scheduler.safepoint`): it dies at its next operation then.

        Source: Racket Reference, ``kill-thread``."""
        self._check_authority("kill")
        kill_all([self])

    def suspend(self) -> None:
        """Stop it where it stands, until `resume`. When this returns it takes no step and completes no
        operation. Suspending a suspended or dead thread does nothing; suspending oneself returns after the
        resumption. ``ContractError`` unless the current custodian solely manages it; `SchedulerError` as for
        `kill`: it stops at its next operation then.

        Source: Racket Reference, ``thread-suspend``."""
        self._check_authority("suspend")
        self._suspend()

    def _suspend(self) -> None:
        with self._lock:
            if self._state >= HELD:
                return
            happened = None
            if not self.pending & SUSPEND:  # else another one who asked for it could not, or cannot yet
                self.pending |= SUSPEND
                rare = self._rarely()
                happened, rare.suspend_evt, rare.resume_evt = rare.suspend_evt, None, None
        if happened is not None:
            happened.set(self)
        me = current_or_none()
        if self is me:
            self.at_safepoint()
        elif _in_atomic(me):
            _settle_later([self], [], SUSPEND, me)
        else:
            _settle([self], SUSPEND, me)

    def resume(self, benefactor: Any = None) -> None:
        """Let it go on if it is suspended and has a custodian. With ``benefactor``, a thread or custodian:
        it first gets its custodians; and with a thread, it is from now on resumed whenever that is, and
        gets the custodians that that gets.

        Source: Racket Reference, ``thread-resume``."""
        if benefactor is not None:
            if isinstance(benefactor, Custodian):
                self._add_custodians([benefactor])
            elif isinstance(benefactor, Controlled):
                if benefactor is not self and not benefactor._ended():
                    benefactor._add_beneficiary(self)
                    self._add_custodians(benefactor._managers())
            else:
                raise refuse("resume", "benefactor", "a thread or a custodian", benefactor, TypeError)
        self._resume()

    def _resume(self) -> None:
        self._and_beneficiaries(Controlled._resume_alone)

    def _and_beneficiaries(self, change: Callable[[Controlled], bool]) -> None:
        """``change`` it, and whoever benefits from one that was changed. At any depth."""
        todo = [self]
        while todo:
            one = todo.pop()
            if change(one):
                todo.extend(reversed(one._living_beneficiaries()))

    def _resume_alone(self) -> bool:
        """`_resume`, but for its beneficiaries; whether it was to be."""
        with self._lock:
            if self._state >= RESULT or not self.pending & SUSPEND or not self._managers():
                return False
            self.pending &= ~SUSPEND
            rare = self._rarely()
            happened, rare.resume_evt, rare.suspend_evt = rare.resume_evt, None, None
            held = self._state == HELD
            if held:
                self._state = ALIVE
                if rare.unbegun is not None:
                    rare.unbegun.detach()
                    rare.unbegun = None
            elif self._state == FROZEN:
                self._state = ALIVE
                self.runtime.thaw(self, rare.thaw)
        if happened is not None:
            happened.set(self)
        if held:
            self.ready()
        return True

    def _add_beneficiary(self, other: Controlled) -> None:
        """``other`` is resumed, and gets custodians, whenever we are and do."""
        with self._lock:
            rare = self._rarely()
            known = [r for r in rare.beneficiaries or () if (t := r()) is not None and not t._ended()]
            if not any(r() is other for r in known):
                known.append(weakref.ref(other))
            rare.beneficiaries = known

    def _living_beneficiaries(self) -> list[Controlled]:
        rare = self._rare
        if rare is None or rare.beneficiaries is None:
            return []
        return [t for r in list(rare.beneficiaries) if (t := r()) is not None]

    def _add_custodians(self, more: list[Custodian]) -> None:
        """Let ``more`` manage it too; redundant subordinates are dropped. And so for its beneficiaries."""
        more = [custodian for custodian in more if not custodian.is_shut_down]
        self._and_beneficiaries(lambda one: one._add_alone(more))

    def _add_alone(self, more: list[Custodian]) -> bool:
        """`_add_custodians`, but for its beneficiaries; whether it has got any."""
        with self._lock:
            if self._state >= RESULT:
                return False
            old = self._managers()
            every = old + [c for c in more if c not in old]
            kept = [c for c in every if not any(o is not c and o.manages(c) for o in every)]
            if kept == old:
                return False
            self._custodians = kept[0] if len(kept) == 1 else kept
        for custodian in kept:
            if custodian not in old:
                custodian.adopt(self)
        return True

    def _disown(self, custodian: Custodian) -> bool:
        """``custodian`` has been shut down and manages it no more; whether nobody does now."""
        with self._lock:
            left = [c for c in self._managers() if c is not custodian]
            self._custodians = None if not left else left[0] if len(left) == 1 else left
            return not left and self._state < RESULT

    def break_(self, kind: str | None = None) -> None:
        """Register a break: ``None`` (as by Ctrl-C), ``'hang-up'`` or ``'terminate'``. It is raised in the
        thread as a `Break` as soon as breaks are enabled there; one is pending at most, and a stronger kind
        replaces a weaker one. Breaking a dead thread does nothing.

        While it waits for a nested thread, that gets the break.

        Source: Racket Reference, ``break-thread``."""
        check_kind("break_", kind)
        target = self._register_break(kind) if self._state < RESULT else None
        if target is None:
            return
        if target is current_or_none():
            target.deliver_break()
            return
        target._poke()

    def _register_break(self, kind: str | None) -> Controlled | None:
        """Register a break with it, or with the innermost of its nested threads that has not ended: with
        whom; ``None`` if they all have. Takes their locks, one after the other."""
        while True:
            chain = [self]
            while (rare := chain[-1]._rare) is not None and rare.nested is not None:
                chain.append(rare.nested)
            inner = None
            for target in reversed(chain):
                with target._lock:
                    rare = target._rarely()
                    if rare.nested is not inner:  # a nested call has begun or ended meanwhile
                        break
                    inner = target
                    if target._state < RESULT:
                        target._add_break(kind)
                        return target
            else:
                return None

    def take_over_break(self, other: Controlled) -> None:
        """Register the break that is pending in ``other`` with it instead."""
        for kind in other._withdraw_break():
            with self._lock:
                self._add_break(kind)

    def _add_break(self, kind: str | None) -> None:
        """Holds _lock."""
        rare = self._rarely()
        rare.kind = Breaks.stronger(rare.kind, kind) if self.pending & BREAK else kind
        self.pending |= BREAK

    def break_scope(self) -> Controlled | None:
        """Register the break of a `Scope` whose body it runs; with whom, see `_register_break`."""
        return self._register_break(SCOPE) if self._state < RESULT else None

    def take_back_break_scope(self) -> None:
        """The body has ended: no such break is to be raised any more."""
        with self._lock:
            pending = self.pending & BREAK and self._rarely().kind == SCOPE
        if pending:
            self._withdraw_break()

    def _is_suspend_to_kill(self) -> bool:
        return self._rare is not None and self._rare.suspend_to_kill

    def _poke(self) -> None:
        """A break was registered, or enabled: see to it that it is noticed soon."""
        if not self._breakable():
            return
        if self.waiter:
            if self.can_be_run and self.read_blocked(self._cleans_up):
                return
            if self._claim():
                self.ready()
                return
        if self._state == ALIVE:
            self._ask_safepoint()

    def poke_break(self) -> None:
        """If a break is pending and breaks are enabled again: it is to be raised soon, but not just here."""
        if self.pending & BREAK:
            try:
                self._poke()
            except SchedulerError:  # at the next operation then
                pass
            if not self._breaks_enabled():
                self._unask_safepoint()  # until they are

    def _breaks_enabled(self) -> bool:
        rare = self._rare
        return rare is None or rare.breaks is None or rare.breaks.on

    # -- modes: see rtsync.modes and rtsync.atomic -------------------------------------------------

    def modes(self) -> Modes:
        """Its modes. In the thread itself."""
        rare = self._rare
        if rare is None:
            with self._lock:
                rare = self._rarely()
        modes = rare.modes
        if modes is None:
            modes = rare.modes = Modes()
        return modes

    def steady(self) -> bool:
        """Whether it is in a mode in which kill and suspend have to wait. See `scheduler.Task.steady`."""
        rare = self._rare
        return rare is not None and rare.modes is not None and rare.modes.defers

    def wanted(self) -> bool:
        """See `scheduler.Task.wanted`."""
        if self.steady():
            return False
        return bool(self.pending & (KILL | SUSPEND) or (self.pending & BREAK and self._breakable()))

    def _breakable(self) -> bool:
        """Whether breaks are enabled, and no mode holds them back."""
        rare = self._rare
        if rare is not None and rare.modes is not None and rare.modes.defers_breaks:
            return False
        return self._breaks_enabled()

    def may_wait(self) -> bool:
        """Whether it is in no mode in which it must not block. In one, a waiter that it has is taken back at
        once."""
        return not self.pending & NO_BLOCK

    def allow_blocking(self, allowed: bool) -> None:
        """Whether its operations may block, from now on. In the thread itself."""
        with self._lock:
            if allowed:
                self.pending &= ~NO_BLOCK
            else:
                self.pending |= NO_BLOCK
        # No operation is under way: who finds one here will know that it was begun since.
        self.waiter = None

    def _refusal(self) -> BaseException:
        """What to raise at the operation that it may not block in."""
        modes = self.modes()
        where = "in atomic mode" if modes.in_atomic else "while an uninterruptible lock is held"
        return ContractError(f"{operation(self)}: would block {where}")

    def _leave_modes(self) -> None:
        """It ends."""
        rare = self._rare
        if rare is not None and rare.modes is not None and rare.modes.defers:
            with self._lock:
                self.pending &= ~NO_BLOCK
            rare.modes.leave_all(self)  # type: ignore[arg-type]

    def deliver_break(self) -> None:
        """Raise the pending break, if there is one and breaks are enabled; soon after the clean-up, if the
        thread is on the way out of another. In the thread itself."""
        if self.pending & BREAK and self._breakable():
            if self._handles_break(sys.exception()):
                self._ask_safepoint_if_possible()
                return
            error = self._take_break()
            if error is not None:
                raise error

    def _take_break(self) -> BaseException | None:
        """Take the pending break, as the exception to raise. Takes _lock."""
        for kind in self._withdraw_break():
            return break_error(kind)
        return None

    def _withdraw_break(self) -> list[str | None]:
        """Take the pending break, if there is one: its kind. Takes _lock."""
        with self._lock:
            if not self.pending & BREAK:
                return []
            self.pending &= ~BREAK
            rare = self._rarely()
            kind, rare.kind = rare.kind, None
            asked, rare.asked = rare.asked, False
        if asked:
            safepoints.update(self)
        return [kind]

    def raise_in(self, error: BaseException) -> None:
        """Raise ``error`` at the operation on which it was blocked. The caller has claimed its waiter."""
        with self._lock:
            self._rarely().raising = error
            self.pending |= RAISE
        self.value = RETRY
        self.ready()

    # -- what the thread does about them ---------------------------------------------------------

    def interruption(self, parked: bool) -> BaseException | None:
        """What to raise where the thread stands; ``parked``: at an operation that was given up, or between
        two, not at one that has happened. The thread is ours alone."""
        if self.pending & KILL and not self.steady():
            return self._killing()
        if not parked:
            if self.pending & BREAK and self._breakable():
                self._ask_safepoint_if_possible()
            return None
        if self.pending & RAISE:
            with self._lock:
                self.pending &= ~RAISE
                rare = self._rarely()
                error, rare.raising = rare.raising, None
            return error
        if self.pending & BREAK and self._breakable():
            if not self._cleans_up():
                return self._take_break()
            self._ask_safepoint_if_possible()  # the clean-up may end, and the thread compute
        if self.pending & NO_BLOCK:
            return self._refusal()
        return None

    def _killing(self) -> BaseException:
        """The exception to raise in it, which is to die."""
        error = ThreadKilled()
        with self._lock:
            rare = self._rarely()
            rare.throws += 1
            rare.told = monotonic()
            rare.killed = weakref.ref(error)
        return error

    def _handles_break(self, error: Any) -> bool:
        """Whether its code that handles ``error`` is in the clean-up on the way out of a `Break`, in which no
        other is raised unless breaks were enabled there. It is parked, or ours alone."""
        own = self._rare and self._rare.breaks
        return isinstance(error, BaseException) and any(
            isinstance(e, Break) and not (own and own.admits(e)) for e in handled(error)
        )

    def _cleans_up(self) -> bool:
        """Whether it is in such a clean-up; it is parked, or ours alone.

        The exception that a stopped coroutine handles is the last of the objects that it refers to; no
        attribute gives it. What a coroutine refers to before that is its frame, and the top of that one's
        stack is what it awaits. (Nobody may resume it meanwhile: see `read_blocked`.)
        """
        coro = self.coro
        while isinstance(coro, (CoroutineType, GeneratorType, AsyncGeneratorType)):
            referents = gc.get_referents(coro)
            if referents and self._handles_break(referents[-1]):
                return True
            if isinstance(coro, CoroutineType):
                coro = coro.cr_await
            elif isinstance(coro, GeneratorType):
                coro = coro.gi_yieldfrom
            else:
                coro = coro.ag_await
            if not isinstance(coro, (CoroutineType, GeneratorType)):  # the step of an async generator?
                coro = next((r for r in gc.get_referents(coro) if isinstance(r, AsyncGeneratorType)), None)
        return False

    def on_pending(self) -> bool:
        """See `scheduler.Task.on_pending`. The thread is ours alone."""
        if self._state >= RESULT:
            return False
        if self._hold():
            return False
        if self.pending & KILL and self._rare is not None and self._rare.throws > _MOST_THROWS:
            self._end_as(KILLED, None)
            return False
        parked = self.waiter is None or self.value is RETRY
        if self.pending & NO_BLOCK:
            self.waiter = None  # see allow_blocking
        elif self.pending & BREAK and not parked:
            parked = operation(self) == "sleep"  # which has nothing to give
        error = self.interruption(parked)
        if error is None:
            return True
        self._rarely().given = given = RETRY if parked else self.value
        not_taken(given)
        # Nothing may be left of the value: who is given none (a putter) would find it at its next operation.
        self.value = None
        here.driver.step(self, self.coro.throw, error)
        return False

    def must_go_on(self, waiter: Any) -> bool:
        """See `scheduler.Task.must_go_on`."""
        if not self.pending & NO_BLOCK:
            return False
        if waiter is not None:
            try:
                waiter.pop()
            except IndexError:
                # It is not published, and nobody claims it who wants to stop us (see `_claim`); but this OS
                # thread, which has the locks, may have run a finalizer. So the operation has happened.
                return self._unqueue()
        self.value = RETRY
        return True

    def on_parked(self, waiter: Any) -> None:
        """See `scheduler.Task.on_parked`."""
        if self.steady():
            return
        if self.pending == BREAK:
            if not self._breakable():
                return
            if self.read_blocked(self._cleans_up):
                self._unask_safepoint()  # until it goes on
                return
        try:
            claimed = waiter.pop()
        except IndexError:  # somebody else resumes us; on_pending will see to it
            return
        claimed.value = RETRY
        if claimed is not self or not self._hold():
            claimed.ready()

    def _hold(self) -> bool:
        """If it is to be suspended: mark it so, and whether it was. The thread is ours alone."""
        with self._lock:
            if self.pending & (SUSPEND | KILL) != SUSPEND or self.steady():
                return False
            self._state = HELD
            if self._rare is not None and self._rare.asked:
                self._rare.asked = False
                safepoints.update(self)
            if self.can_be_run and _is_unbegun(self.coro):
                # If nobody ever resumes it, its end is not that somebody forgot to await it.
                unbegun = weakref.finalize(self, self.coro.close)
                unbegun.atexit = False
                self._rarely().unbegun = unbegun
            return True

    def at_safepoint(self) -> None:
        """See `scheduler.safepoint`. In the thread's own OS thread, between two bytecodes."""
        self._stand_still()
        if self.pending & KILL and not self.steady():
            rare = self._rarely()
            if (
                rare.killed is None
                or monotonic() - rare.told > _CLEAN_UP
                or rare.killed() not in handled(sys.exception())
            ):
                raise self._killing()
            return
        self.deliver_break()

    def _stand_still(self) -> None:
        """While it is to be suspended: block. In the thread's own OS thread."""
        while self.pending & SUSPEND and not self.pending & KILL and not self.steady():
            with self._lock:
                if self.pending & (SUSPEND | KILL) != SUSPEND:
                    break
                rare = self._rarely()
                if rare.thaw is None:
                    rare.thaw = threading.Lock()
                    rare.thaw.acquire()
                self._state = FROZEN
                asked, rare.asked = rare.asked, False
            if asked:  # it has been reached
                safepoints.update(self)
            if not self.runtime.freeze(self, rare.thaw):
                self._state = ALIVE
                break

    def _ask_safepoint(self) -> None:
        """Have `at_safepoint` called until it is acknowledged, or the thread has ended or stands still: by
        what it finds when it goes on. `SchedulerError`, and nothing has changed, if there is no way to do so.
        """
        safepoints.prepare()
        with self._lock:
            rare = self._rarely()
            if self._state == ALIVE and not rare.asked:
                rare.asked = True
                safepoints.update(self)

    def _ask_safepoint_if_possible(self) -> None:
        """`_ask_safepoint`, by who can do nothing if that fails: it is told at its next operation."""
        try:
            self._ask_safepoint()
        except SchedulerError:
            pass

    def is_asked_for(self) -> bool:
        """See `scheduler.safepoint`."""
        return self._rare is not None and self._rare.asked

    def _unask_safepoint(self) -> None:
        """Take back `_ask_safepoint`, if it was for a break."""
        with self._lock:
            if self.pending & ~(BREAK | NO_BLOCK):
                return
            rare = self._rarely()
            asked, rare.asked = rare.asked, False
        if asked:
            safepoints.update(self)

    def _corner(self) -> None:
        """It seems to sit in a call into C: see to it that it comes no further than that. If it is in an
        operation of ours, that is to give its result, and safepoints come soon enough."""
        frame = self._innermost_call()
        if frame is not None and not is_ours(frame.f_code):
            safepoints.corner(self, frame.f_code)

    def _innermost_call(self) -> Any:
        """Of the frames of the step that it makes, the innermost that is the user's or one of our operations;
        ``None`` if it makes none."""
        os_thread = self._os_thread()
        frame = None if os_thread is None else sys._current_frames().get(os_thread.ident)
        while frame is not None and not interruptible(frame, self) and not is_ours(frame.f_code):
            frame = frame.f_back
        return frame

    def _sits_in_c(self) -> bool:
        """Whether it seems to wait in a call into C of the user's. (One that waits in an operation of ours,
        for an OS thread to start maybe, will soon look what is asked of it.)"""
        if not self._sleeps():
            return False
        frame = self._innermost_call()
        return frame is None or not is_ours(frame.f_code)

    def _sleeps(self) -> bool:
        """Whether the OS thread in which it runs waits in the kernel rather than for a processor."""
        os_thread = self._os_thread()
        if os_thread is None:
            return False
        try:
            with open(f"/proc/self/task/{os_thread.native_id}/stat", "rb") as stat:
                return stat.read().rpartition(b")")[2].split()[0] in (b"S", b"D")
        except OSError:  # not Linux, or gone
            return True

    def _os_thread(self) -> Any:
        """The OS thread in which it runs."""
        runtime = runtimes.get(self.key)
        for worker in () if runtime is None else runtime.workers:
            if worker.task is self:
                return worker.os_thread
        return None

    def seize(self) -> bool:
        """Try to become the only one who may run it; not for one that is suspended, or in a mode."""
        return not self.steady() and (self._claim() or self._unqueue())

    def _claim(self) -> bool:
        """Claim its waiter, if it is blocked, by which its operation is given up; whether it was. One that
        must not block goes on in this step, and has said that it must not under the lock, before."""
        with self._lock:
            waiter = self.waiter
            if not waiter or not self.may_wait():
                return False
            try:
                claimed = waiter.pop()
            except IndexError:
                return False
        if claimed is not self:  # we have interrupted somebody who reads it, and passes that on
            claimed.value = RETRY
            claimed.ready()
            return False
        self.value = RETRY
        return True

    def read_blocked[R](self, read: Callable[[], R]) -> R | None:
        """``read()``, which looks at its coroutine and calls no code of users', if it is blocked: nobody can
        resume it meanwhile. Else ``None``. Any OS thread. Takes _lock, and holds it for ``read``.

        Of several readers one comes after the other, by _lock. One that has interrupted another in the same
        OS thread finds the stand-in of that, and is safe as well."""
        stand_in = StandIn(self)
        claimed = False
        try:
            with self._lock:
                waiter: Any = self.waiter
                if not waiter or not self.may_wait():
                    return None
                try:
                    if type(waiter[0]) is StandIn:
                        return read()
                    waiter[0] = stand_in
                except IndexError:  # it has been claimed
                    return None
                try:
                    return read()
                finally:
                    claimed = stand_in.give_back(waiter)
        finally:
            if claimed:
                stand_in.go_on()

    def read_held[R](self, read: Callable[[], R]) -> R | None:
        """`read_blocked` for one that is suspended outside of a step."""
        with self._lock:  # who resumes or kills it changes its state under that
            return read() if self._state == HELD else None

    def read_ready[R](self, read: Callable[[], R]) -> R | None:
        """`read_blocked` for one that waits for its next step; it goes to the end of the queue."""
        if not self.can_be_run or self.steady() or not self._unqueue():
            return None
        try:
            return read()
        finally:
            self.ready()

    def _unqueue(self) -> bool:
        """Take it out of the run queue that it stands in, if it does; whether it did. Any OS thread."""
        runtime = runtimes.get(self.key)
        return runtime is not None and runtime.unqueue(self)

    def _in_step(self) -> bool:
        """Whether it runs right now. A hint."""
        return not (self.waiter and self.may_wait()) and self._os_thread() is not None

    def give_up(self, given: bool, value: Any) -> None:
        """See `scheduler.osthread`."""
        self._rarely().given = value if given else RETRY
        if given:
            not_taken(value)

    def _end_as(self, state: int, outcome: Any) -> None:
        raise NotImplementedError

    # -- events of its state -----------------------------------------------------------------------

    def resume_evt(self) -> Evt[Self]:
        """An event ready when it runs, with the thread as its result. It stays ready if the thread is
        suspended later; a fresh one is given after that.

        Source: Racket Reference, ``thread-resume-evt``."""
        with self._lock:
            rare = self._rarely()
            if rare.resume_evt is None or self._state >= RESULT:
                rare.resume_evt = Latch()
                if self._state < RESULT and not self.pending & SUSPEND:
                    rare.resume_evt.set(self)
            return rare.resume_evt

    def suspend_evt(self) -> Evt[Self]:
        """An event ready when it is suspended, with the thread as its result. It stays ready if the thread
        is resumed later; a fresh one is given after that.

        Source: Racket Reference, ``thread-suspend-evt``."""
        with self._lock:
            rare = self._rarely()
            if rare.suspend_evt is None or self._state >= RESULT:
                rare.suspend_evt = Latch()
                if self._state < RESULT and self.pending & SUSPEND:
                    rare.suspend_evt.set(self)
            return rare.suspend_evt


def _is_unbegun(coro: Any) -> bool:
    return not (coro.cr_frame is None or coro.cr_running or coro.cr_suspended)


# -- for several at once ---------------------------------------------------------------------------


def kill_all(threads: list[Any], really: bool = False) -> None:
    """Kill ``threads``, the current one last. See `Controlled.kill`. ``really``: also those that are made to
    be suspended instead."""
    me = current_or_none()
    if me is not None and me._state >= RESULT:  # a scope is shut down by the end of one of its threads
        me = None
    myself = False
    targets: list[Any] = []
    held: list[Any] = []
    for target in threads:
        if not really and target._is_suspend_to_kill():
            target._suspend()
            continue
        if target is me:
            myself = True
            continue
        with target._lock:
            if target._state >= RESULT:
                continue
            target.pending |= KILL
            if target._state == FROZEN:
                target._state = ALIVE
                target.runtime.thaw(target, target._rare.thaw)
            if target._state == HELD:
                target._state = ALIVE
                held.append(target)
        targets.append(target)
    if really:
        for target in targets:
            if target.steady() and not target._in_step():
                target._leave_modes()  # blocked in uninterruptible mode, of which there will be no end
    try:
        if _in_atomic(me):
            _settle_later(targets, held, KILL, me)
        else:
            _settle_now(targets, held, KILL, me)
    except SchedulerError:  # some of them compute on; but the caller goes, too
        if not myself:
            raise
    if myself:
        with me._lock:
            me.pending |= KILL
        if not me.steady():
            raise me._killing()


def _act(target: Any, bit: int) -> None:
    """``target`` has been seized: kill or hold it."""
    if bit == SUSPEND:
        if not target._hold():  # it was resumed meanwhile, or is to die
            target.ready()
        return
    driver = current_driver()
    if not target.can_be_run:
        target.ready()
        target.runtime.os_threads.let_end(target)
    elif _may_run(driver, target):
        if target.on_pending():  # it has come to be in a mode
            target.ready()
    elif (runtime := runtimes.get(target.key)) is not None and runtime.home is not runtime:
        runtime.home.inject(target)  # its pool may be busy with others, the place has workers for its end
    else:
        target.inject()


def _may_run(driver: Any, target: Any) -> bool:
    """Whether ``target`` may make a step in a step of this OS thread: on a worker of its own runtime, or of
    the place that the pool it belongs to is in. (Not the other way round: atomic mode does not stop
    pools.)"""
    if driver is None or not driver.key:
        return False
    if driver.key == target.key:
        return True
    runtime = runtimes.get(target.key)
    return runtime is not None and runtime.home is driver.runtime


def _in_pool(target: Any) -> bool:
    """Whether ``target`` belongs to a parallel pool, by whose workers it may have to wait for long."""
    return target._rare is not None and target._rare.pool is not None


def _settle(targets: list[Any], bit: int, me: Thread | None) -> None:
    """Wait until all ``targets`` have done what ``bit`` asks for: they are seized where that is possible,
    and those in a step get a moment, then safepoints. One that reaches none sits in a C call, or runs its
    clean-up elsewhere; it is not waited for, but stays asked."""
    driver = current_driver()
    start = monotonic()
    pause = 0.00005
    asked = False
    while True:
        left = []
        for target in targets:
            if target._state >= HELD or not target.pending & bit:
                continue
            # Published under the lock; now look where it is. See the head.
            # What we cannot run ourselves goes its own way once it is told.
            if (
                bit == SUSPEND or target.waiter or _may_run(driver, target) or _in_pool(target)
            ) and target.seize():
                _act(target, bit)
                if target._state >= HELD:
                    continue
            if target.steady() and not target._in_step():
                continue
            left.append(target)
        targets = left
        if not targets:
            return
        # Two kill each other: neither waits for the other.
        if me is not None and me.pending & KILL and not me.steady():
            for target in targets:
                target._ask_safepoint_if_possible()
            raise me._killing()
        passed = monotonic() - start
        if not asked:
            if passed > _COOPERATIVE:
                try:
                    for target in targets:
                        target._ask_safepoint()
                except SchedulerError:
                    # They stop at their next operation all the same. Who has asked is to know if that is far.
                    if passed > _PATIENCE:
                        raise
                else:
                    asked = True
                    start = monotonic()  # from here on it has a chance to notice
        elif passed > _PATIENCE or (passed > _IN_C and all(target._sits_in_c() for target in targets)):
            for target in targets:
                target._corner()
            return
        sleep(pause)
        if driver is not None and driver.key and driver.attention & GATE:
            driver.stop()  # who waits for us may be who has stopped the one that we wait for
        pause = min(pause * 2, 0.001)


def _in_atomic(me: Any) -> bool:
    return me is not None and me.steady() and me.modes().in_atomic


def _settle_later(targets: list[Any], seized: list[Any], bit: int, me: Any) -> None:
    """`_settle` in atomic mode, where nobody is waited for and no code of another thread may run: those who
    can be seized are, and those in a step stand still anyway. The rest is done when ``me`` leaves the mode.
    ``seized`` are those whom we have already."""
    for target in targets:
        if target._state < HELD and target not in seized and target.seize():
            if bit == SUSPEND:
                _act(target, bit)
            else:
                seized.append(target)

    me.modes().leaves.append(lambda: _settle_now(targets, seized, bit, me))


def _settle_now(targets: list[Any], seized: list[Any], bit: int, me: Any) -> None:
    """`_settle`, and have ``seized`` do what ``bit`` asks for."""
    home = getattr(current_driver(), "home", None)
    with nullcontext() if home is None else home.as_worker():
        for target in seized:
            _act(target, bit)
        _settle(targets, bit, me)
