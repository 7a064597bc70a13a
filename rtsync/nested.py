"""Nested threads: a call that runs in a thread of its own while the caller stands still.

Outer and nested thread are two threads to all who kill, suspend or wait for them, and one to those who break
them. While the outer one waits, its ``Rare.nested`` names the nested one, and `Controlled.break_` goes
along these names to the innermost thread that has not ended. What is left of a break when a nested thread
ends is moved out again.

A thread that dies in a nested call leaves its name there: so the next one out finds the thread that it
waited for, and waits for that before it says that its own has died.

Source: Racket Reference 11.1.1, ``call-in-nested-thread``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from scheduler import returns_coroutine

from .breaks import Break, NoBreaks
from .control import FAILED, KILL, NO_BLOCK, RESULT
from .current import current
from .custodian import Custodian
from .errors import ContractError, ThreadDead, ThreadKilled, check_body, refuse
from .spawn import prepare, start
from .thread import Thread

if TYPE_CHECKING:

    @overload
    def call_in_nested_thread[*Ts, T](
        fn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts, custodian: Custodian | None = None
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def call_in_nested_thread[*Ts, T](
        fn: Callable[[*Ts], T], *args: *Ts, custodian: Custodian | None = None
    ) -> Coroutine[Any, Any, T]: ...


@returns_coroutine  # type: ignore[misc]
def call_in_nested_thread(
    fn: Callable[..., Any], *args: Any, custodian: Custodian | None = None
) -> Coroutine[Any, Any, Any]:
    """Run ``fn(*args)``, ``async`` or plain, in a nested thread and wait for it: its result or exception.

    ``custodian`` manages the nested thread, by default the current one; its own current custodian is ours in
    any case. If the nested thread is killed before ``fn`` has returned: `ThreadDead`. If the current thread
    is killed meanwhile, the nested one gets a break. A break for the current thread goes to the nested one
    while there is one; what is pending there at its end comes back. ``ContractError`` if the custodian has
    been shut down.

    Source: Racket Reference 11.1.1, ``call-in-nested-thread``."""
    check_body("call_in_nested_thread", "fn", fn)
    if custodian is not None and not isinstance(custodian, Custodian):
        raise refuse("call_in_nested_thread", "custodian", "a custodian", custodian, TypeError)
    return _call(fn, args, custodian)


async def _call(fn: Callable[..., Any], args: tuple[Any, ...], custodian: Custodian | None) -> Any:
    # We are no user's code: up to the wait, nobody stops us.
    me = current("call_in_nested_thread")
    if me.pending & NO_BLOCK:
        raise ContractError("call_in_nested_thread: would block in atomic mode")
    made = prepare("call_in_nested_thread", fn, args, custodian)
    rare = made._rarely()
    rare.on_fail = partial(_comes_out_in, me)
    with me._lock:
        me._rarely().nested = made
    # From here on breaks for us are registered there; one that came before:
    made.take_over_break(me)
    start(made)
    inner: Any = made
    try:
        with NoBreaks():
            while inner is not None:
                await inner._end()
                # It has ended, so no more breaks are registered with it.
                me.take_over_break(inner)
                inner = None if inner._rare is None else inner._rare.nested
            _forget_nested(me)
    except ThreadKilled:
        if me.pending & KILL:
            if not inner.pending & KILL:  # else it dies with us, and the break would come out further outside
                inner.break_()
        else:
            _forget_nested(me)
        raise
    except BaseException:
        _forget_nested(me)
        raise
    if made._state == RESULT:
        me.deliver_break()
        return made._outcome
    if made._state == FAILED:
        me.poke_break()  # not on top of the error; soon after
        raise made._outcome
    try:
        raise ThreadDead(f"call_in_nested_thread: {made!r} was killed before it returned")
    except ThreadDead:
        me.deliver_break()  # one that did not reach it says more than its death: maybe both have one cause
        raise


_call.__name__ = _call.__qualname__ = "call_in_nested_thread"


def _forget_nested(me: Thread) -> None:
    with me._lock:
        me._rarely().nested = None


def _comes_out_in(outer: Thread, nested: Thread, error: BaseException) -> None:
    """It is reported only if nobody waits for it any more, and not if it is the break that the death of the
    outer thread has sent."""
    if outer.dead and not isinstance(error, Break):
        nested.runtime.report(nested, error)
