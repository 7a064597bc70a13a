"""Scopes: threads that do not outlive the block they were started in.

A `Scope` is a custodian and a wait in one. The custodian is the current one in the block and in the threads
started there, so all that is made there is managed by it, and ends with it at the latest. The block ends
when all of these threads have.

The first thread that fails tells the scope (``Rare.on_fail``) before its end is known, so whoever sees it
ended sees the failure. Then, in the OS thread of the one that failed: the body gets a break, of a kind of
its own (`BreakScope`), and the custodian is shut down. The break ends in `Scope.__aexit__`, which raises the
group instead. A break that comes too late for the body is taken back there. One that was for an outer scope,
whose threads have failed too, is sent again: one is pending at most, so an inner scope may have swallowed it.

Not in Racket. After Trio's nurseries and asyncio's task groups; what differs: threads are not asked to end
but killed, and the body is broken only where it allows breaks.
"""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from scheduler import NoRuntime, current_driver, defer

from .breaks import SCOPE, BreakScope, NoBreaks, break_error
from .control import KILL, Controlled
from .current import current, current_or_none
from .custodian import Custodian
from .errors import ContractError, ShutDown, check_body, refuse
from .os_thread import block_on
from .spawn import prepare, start
from .thread import Thread


class Scope:
    """``async with Scope() as scope:`` starts threads by ``scope.thread(f)`` and waits for them at its end.

    If one of them fails, the others are shut down, the body is broken, and the block raises an
    ``ExceptionGroup`` of all failures, that of the body among them. If the body fails, the threads are shut
    down. A break or kill of the thread that runs the block shuts them down and goes on. Threads that are
    killed have not failed. Threads started otherwise in the block, or by its threads, are waited for and shut
    down too, but their failures are only reported.

    In an OS-backed thread ``with Scope() as scope:`` does the same.
    """

    __slots__ = ("_custodian", "_errors", "_failed", "_left", "_lock", "_outer", "_owner")

    def __init__(self) -> None:
        self._lock = RLock()
        self._custodian: Custodian | None = None
        self._owner: Thread | None = None
        self._outer: Scope | None = None  # the one whose block in the same thread is around ours
        self._errors: list[tuple[Thread | None, BaseException]] = []
        self._failed = False  # one of our threads has
        self._left = False  # the body has ended: it is not to be broken any more

    @property
    def custodian(self) -> Custodian:
        """What manages all that is made in the block. ``ContractError`` before it is entered."""
        if self._custodian is None:
            raise ContractError("Scope: it has not been entered; use `async with Scope() as scope:`")
        return self._custodian

    if TYPE_CHECKING:

        @overload
        def thread[*Ts, T](
            self,
            fn: Callable[[*Ts], Coroutine[Any, Any, T]],
            *args: *Ts,
            keep: Literal[True] = True,
            name: str | None = None,
        ) -> Thread[T]: ...
        @overload
        def thread[*Ts, T](
            self, fn: Callable[[*Ts], T], *args: *Ts, keep: Literal[True] = True, name: str | None = None
        ) -> Thread[T]: ...
        @overload
        def thread[*Ts](
            self, fn: Callable[[*Ts], object], *args: *Ts, keep: Literal[False], name: str | None = None
        ) -> Thread[None]: ...
        @overload
        def thread[*Ts, T](
            self, fn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts, keep: bool, name: str | None = None
        ) -> Thread[T | None]: ...
        @overload
        def thread[*Ts, T](
            self, fn: Callable[[*Ts], T], *args: *Ts, keep: bool, name: str | None = None
        ) -> Thread[T | None]: ...

    def thread(  # type: ignore[misc]
        self, fn: Callable[..., Any], *args: Any, keep: bool = True, name: str | None = None
    ) -> Thread:
        """Run ``fn(*args)`` in a new thread of the scope, and give that at once. As `thread`, but for its
        failure, which is the scope's. ``ContractError`` if the block has ended."""
        check_body("Scope.thread", "fn", fn)
        if not isinstance(keep, bool):
            raise refuse("Scope.thread", "keep", "a bool", keep, TypeError)
        if name is not None and not isinstance(name, str):
            raise refuse("Scope.thread", "name", "a string", name, TypeError)
        custodian = self.custodian
        if custodian.is_shut_down:
            if self._failed and not self._left and current_or_none() is self._owner:
                raise break_error(SCOPE)  # it is on its way
            raise ShutDown("Scope.thread: the scope has ended")
        if current_driver() is None:
            raise NoRuntime("Scope.thread")
        with custodian:
            made = prepare("Scope.thread", fn, args)
        rare = made._rarely()
        rare.on_fail = self._thread_failed
        rare.name = name
        rare.keep = keep
        start(made)
        return made

    # -- failure of a thread, in its OS thread ------------------------------------------------------

    def _thread_failed(self, thread: Thread, error: BaseException) -> Callable[[], object] | None:
        """See ``Rare.on_fail``."""
        with self._lock:
            if isinstance(error, ShutDown) and self.custodian.is_shut_down:
                return None  # it was about to be killed; this only came first
            self._errors.append((thread, error))
            self._failed = True
        return self._stop

    def _stop(self) -> None:
        """One of the threads has failed: stop the body and the others."""
        broken = None
        with self._lock:  # who leaves the block takes back what was registered before; nothing comes after
            if not self._left and self._owner is not None:
                broken = self._owner.break_scope()
        if broken is not None:
            broken.poke_break()
        self.custodian.shutdown_all()

    # -- the block, in its owner --------------------------------------------------------------------

    def _enter(self) -> None:
        me = current("Scope")
        if self._custodian is not None:
            raise ContractError("Scope: it can be entered only once")
        outer = me._rarely().scope
        if outer is not None and outer._has_failed():
            raise break_error(SCOPE)
        self._custodian = Custodian()
        self._owner = me
        self._outer = outer
        me._rarely().scope = self
        self._custodian.__enter__()

    def _has_failed(self) -> bool:
        """Whether its body, or one around it, is to be broken."""
        return self._failed or (self._outer is not None and self._outer._has_failed())

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        me, custodian = self._owner, self.custodian
        assert me is not None
        with self._lock:
            self._left = True
            if isinstance(error, Exception) and not (isinstance(error, ShutDown) and self._failed):
                self._errors.append((None, error))
        if current_or_none() is me:
            custodian.__exit__()
            me._rarely().scope = self._outer
        if isinstance(error, GeneratorExit):  # the coroutine is being closed, maybe in the middle of anything
            defer(custodian.shutdown_all)
            return
        me.take_back_break_scope()
        interruption = None
        try:
            if error is None and not self._failed:
                await self._all_ended()
        except BaseException as caught:
            interruption = caught
        left = self._living()
        custodian.shutdown_all()
        if not me.pending & KILL:  # then it could not wait
            with NoBreaks():
                for thread in left:
                    if not thread._is_suspend_to_kill():
                        await thread._end()
        if self._outer is not None and self._outer._has_failed():
            me.break_scope()
        if interruption is None and isinstance(error, BreakScope) and self._failed:
            error = None  # it has done what it was for
        if interruption is not None or not isinstance(error, Exception | None):
            for failed, lost in self._errors:
                if failed is not None:
                    failed.runtime.report(failed, lost)
            me.poke_break()
            if interruption is not None:
                raise interruption
            return
        if self._errors:
            me.poke_break()  # not on top of the errors; soon after
            _raise(BaseExceptionGroup("unhandled errors in a Scope", [e for _, e in self._errors]))
        me.deliver_break()

    def __enter__(self) -> Self:
        driver = current_driver()
        if driver is not None and driver.key:
            raise ContractError("Scope: this is a coroutine thread; use `async with`")
        self._enter()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        block_on(self.__aexit__(kind, error, trace))

    def _living(self) -> list[Any]:
        return [member for member in self.custodian.everything() if isinstance(member, Controlled)]

    async def _all_ended(self) -> None:
        """Wait until no thread is left. Those that wait with us may start others."""
        while left := self._living():
            for thread in left:
                await thread._end()

    def __reduce__(self) -> Any:
        raise ContractError("Scope: cannot be copied or pickled; it belongs to its process")

    def __repr__(self) -> str:
        state = "not entered" if self._custodian is None else "ended" if self._left else "open"
        return f"<Scope {state} at {id(self):#x}>"


def _raise(error: BaseException) -> None:
    """Raise ``error`` as if nothing were being handled here: what it stands for would make what handles it
    count as the clean-up of a break."""
    try:
        raise error from None
    except BaseException:
        error.__context__ = None
        raise
