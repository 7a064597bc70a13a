"""Custodians: who manages what, and what goes when a custodian is shut down.

A custodian holds what it manages weakly: a thread that nobody can reach any more is collected although its
custodian lives. References whose object is gone or has ended are swept when there are four times as many as
the last sweep left, so that a thread costs its custodian one weak reference and one append.

Its subordinates it holds weakly too. What is managed refers to its custodian, and a subordinate to the one
above: so a custodian stays for as long as there is anything that would go with it, and no longer.

Source: Racket Reference 14.7 (Custodians), 11.1; its evaluation model, "Custodians".
"""

from __future__ import annotations

import weakref
from _thread import RLock
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, overload

from scheduler import NoRuntime, nested, published, shared

from .current import current_or_none
from .env import Env, EnvBlock, change_env, current_env
from .errors import ContractError, SchedulerError, ShutDown, check_at_most_one, refuse
from .evt import Evt, Latch

FEW: Final = 1024
"""References that a custodian may hold before it looks which of them are dead."""


class Custodian(EnvBlock):
    """Manages threads and other resources; `shutdown_all` ends them all.

    ``with custodian:`` makes it the current one, in which new threads and resources are placed.
    Source: Racket Reference, ``make-custodian``.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_kept",
        "_lock",
        "_parent",
        "_subordinates",
        "is_shut_down",
        "limit",
        "members",
    )

    def __init__(self, parent: Custodian | None = None) -> None:
        """A subordinate of ``parent``, by default of the current custodian. ``ContractError`` if that has
        been shut down."""
        if parent is None:
            parent = current_custodian_or_none()
            if parent is None:
                raise NoRuntime("Custodian")
        elif not isinstance(parent, Custodian):
            raise refuse("Custodian", "parent", "a custodian", parent, TypeError)
        self._setup(parent)
        with parent._lock:
            if parent.is_shut_down:
                raise ShutDown("Custodian: the parent custodian has been shut down")
            subordinates = parent._subordinates
            subordinates[weakref.ref(self, lambda gone: subordinates.pop(gone, None))] = self._kept

    @classmethod
    def root(cls) -> Custodian:
        """The custodian at the top of a runtime, where all workers place what they make."""
        self = shared(cls.__new__(cls))
        self._setup(None)
        shared(self.members)
        return self

    def _setup(self, parent: Custodian | None) -> None:
        self._parent = parent
        self._lock = published(RLock())  # a collection may run a user's clean-up while we hold it
        self._subordinates: dict[weakref.ref[Custodian], list[Any]] = {}
        self._kept: list[Any] = [self._subordinates]
        """What the custodian above holds of us: all through which a thread waits for our shutdown."""
        self._closed: Latch | None = None  # see `closed`
        self._entered = {}
        self.members: list[weakref.ref[Any]] = []
        """Weak references to what is managed, dead ones among them; see `managed`."""
        self.limit = FEW
        """How long ``members`` may become before the dead are swept out; -1 once it has been shut down."""
        self.is_shut_down = False
        """Whether it has been shut down. Source: Racket Reference, ``custodian-shut-down?``."""

    def manages(self, other: Custodian) -> bool:
        """Whether ``other`` is this custodian or a subordinate of it, at any depth."""
        above: Custodian | None = other
        while above is not None:
            if above is self:
                return True
            above = above._parent
        return False

    def adopt(self, member: Any) -> None:
        """Begin to manage ``member``, which has ``_ended()`` and refers to us. Also in `rtsync.spawn`."""
        self.members.append(weakref.ref(member))
        if len(self.members) > self.limit:
            self.look_after(member)

    def look_after(self, member: Any) -> None:
        """``member`` has just been added: refuse it if we are shut down, sweep if there are many."""
        # It was published in `members` first, and is_shut_down looked at then; who shuts us down sets that
        # first and then goes through `members`. So it is refused here, or found there, or both.
        if self.is_shut_down:
            raise ShutDown(
                f"{getattr(member, 'made_by', type(member).__name__)}: the custodian has been shut down"
            )
        kept = []  # strongly, until the lock is let go: none of them is to be collected in here
        with self._lock:
            members = self.members
            count = len(members)
            if count > self.limit >= 0 and not nested(self._lock):
                swept = []
                for reference in members[:count]:
                    found = reference()
                    if found is not None:
                        kept.append(found)
                        if not found._ended():
                            swept.append(reference)
                # In place: others append meanwhile, at the end.
                members[:count] = swept
                self.limit = max(FEW, 4 * len(members))
        del kept

    def managed(self) -> list[Any]:
        """What this custodian itself manages now, without its subordinates."""
        return [m for r in list(self.members) if (m := r()) is not None and not m._ended()]

    def everything(self) -> list[Any]:
        """What this custodian and all its subordinates manage now."""
        return [member for custodian in self._below() for member in custodian.managed()]

    def subordinates(self) -> list[Custodian]:
        """The custodians right under this one."""
        return [custodian for r in list(self._subordinates) if (custodian := r()) is not None]

    def _below(self) -> Iterator[Custodian]:
        """This custodian and all under it. Those under one are looked for after it was used."""
        todo = [self]
        while todo:
            custodian = todo.pop()
            yield custodian
            todo.extend(reversed(custodian.subordinates()))

    def close(self) -> list[tuple[Custodian, Any]]:
        """Mark this custodian and its subordinates as shut down; what each of them managed."""
        managed: list[tuple[Custodian, Any]] = []
        every = []
        for custodian in self._below():
            with custodian._lock:
                custodian.is_shut_down = True
                custodian.limit = -1
            managed.extend((custodian, member) for member in custodian.managed())
            every.append(custodian)
        for custodian in reversed(every):
            custodian._subordinates.clear()
            if custodian._closed is not None:
                custodian._closed.set()
        return managed

    def closed(self) -> Latch:
        """What happens when it is shut down. Who waits for it is kept as long as a custodian above us is."""
        with self._lock:
            if self._closed is None:
                self._closed = Latch()
                self._kept.append(self._closed)
                if self.is_shut_down:
                    self._closed.set()
            return self._closed

    def shutdown_all(self) -> None:
        """Shut down this custodian and its subordinates: threads that no other custodian manages are killed,
        other resources closed, boxes emptied; the calling thread last, if it is among them. Nothing can
        be created under it any more. Who has a custodian may shut it down; doing it again does nothing.

        Source: Racket Reference, ``custodian-shutdown-all``."""
        me = current_or_none()
        doomed: dict[tuple[int, Any], list[Any]] = {}
        above = self._parent
        if above is not None:
            above._subordinates.pop(weakref.ref(self), None)
        for manager, member in self.close():
            if member._disown(manager):
                # Threads first: they are not to see what they use being closed. The calling one last.
                turn = 2 if member is me else 0 if hasattr(member, "pending") else 1
                doomed.setdefault((turn, member.end_all), []).append(member)
        failed = None
        for (_, end_all), members in sorted(doomed.items(), key=lambda item: item[0][0]):
            try:
                end_all(members)
            except SchedulerError as error:  # a thread that computes cannot be stopped; see to the others
                failed = error
        if failed is not None:
            raise failed

    def managed_list(self) -> list[Any]:
        """What it manages itself now, boxes excepted, and its subordinate custodians.

        Source: Racket Reference, ``custodian-managed-list``."""
        mine = []
        for member in self.managed():
            if isinstance(member, CustodianBox):
                continue
            # A thread that a custodian above us manages since is among our members still.
            if not hasattr(member, "_managers") or self in member._managers():
                mine.append(member)
        return [*mine, *self.subordinates()]

    def _inside(self, outer: Env) -> Env:
        return Env(self, outer.group)

    def __repr__(self) -> str:
        return f"<Custodian{' shut down' if self.is_shut_down else ''} at {id(self):#x}>"


class CustodianBox[T = Any](Evt["CustodianBox[T]"]):
    """Holds a value until its custodian is shut down. As an event: ready from then on, result itself.

    The custodian does not keep the box, so the box and its value can be collected before.
    Source: Racket Reference 14.7, ``make-custodian-box``."""

    __slots__ = ("__weakref__", "_closed", "_custodian", "_value")

    def __init__(self, custodian: Custodian, value: T) -> None:
        """A box that holds ``value`` for as long as ``custodian`` is not shut down. ``ContractError`` if
        it has been."""
        if not isinstance(custodian, Custodian):
            raise refuse("CustodianBox", "custodian", "a custodian", custodian, TypeError)
        self._custodian = custodian
        self._closed = custodian.closed()
        self._value: T | None = value
        custodian.adopt(self)

    @property
    def value(self) -> T | None:
        """What it holds, or ``None`` once its custodian has been shut down.

        Source: Racket Reference 14.7, ``custodian-box-value``."""
        value = self._value
        # Looked at after the value was: it is empty from the moment that the custodian is shut down, not
        # only when the shutdown has come to this box.
        return None if self._custodian.is_shut_down else value

    def _ended(self) -> bool:
        return self._closed.is_set

    def _disown(self, custodian: Custodian) -> bool:
        return True

    @staticmethod
    def end_all(boxes: list[CustodianBox]) -> None:
        """Their custodians have been shut down: let go of the values."""
        for box in boxes:
            box._value = None

    def __reduce__(self) -> Any:
        raise ContractError("CustodianBox: cannot be copied or pickled; it belongs to its process")

    def __evt__(self) -> Evt[CustodianBox[T]]:
        return self._closed.wrap(lambda _: self)

    def __repr__(self) -> str:
        state = "empty" if self._custodian.is_shut_down else f"of {self._value!r}"
        return f"<CustodianBox {state} at {id(self):#x}>"


def current_custodian_or_none() -> Custodian | None:
    """The current thread's custodian, or ``None`` outside a runtime."""
    env = current_env.get(None)
    return None if env is None else env.custodian


def check_custodian(operation: str) -> None:
    """Refuse to create something before anything has happened, if it would be refused anyway."""
    custodian = current_custodian_or_none()
    if custodian is not None and custodian.is_shut_down:
        raise ContractError(f"{operation}: the current custodian has been shut down")


if TYPE_CHECKING:

    @overload
    def current_custodian() -> Custodian: ...
    @overload
    def current_custodian(custodian: Custodian, /) -> None: ...


def current_custodian(*custodian: Custodian) -> Any:
    """The current thread's custodian; with an argument, make that the current one.

    Source: Racket Reference, ``current-custodian``."""
    env = current_env.get(None)
    if env is None:
        raise NoRuntime("current_custodian")
    if not custodian:
        return env.custodian
    check_at_most_one("current_custodian", custodian)
    if not isinstance(custodian[0], Custodian):
        raise refuse("current_custodian", "custodian", "a custodian", custodian[0], TypeError)
    change_env(Env(custodian[0], env.group))
    return None
