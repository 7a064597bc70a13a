"""Nested threads, breaks around a wait, break parameterizations, custodian boxes, thread groups.

All under their Racket names, in the order of the reference: threads, semaphores, events, breaks, custodian
boxes, thread groups.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from rtsync.breaks import BreakParameterization, breaks, current_break_parameterization
from rtsync.custodian import Custodian, CustodianBox
from rtsync.errors import check_callable, refuse
from rtsync.evt import call
from rtsync.nested import call_in_nested_thread as _call_in_nested_thread
from rtsync.semaphore import Semaphore, call_holding
from rtsync.sync import sync as _sync
from rtsync.thread_group import ThreadGroup, current_thread_group
from scheduler.safepoint import transparent

__all__ = [
    "call_in_nested_thread",
    "call_with_break_parameterization",
    "call_with_semaphore_enable_break",
    "current_break_parameterization",
    "current_thread_group",
    "custodian_box_value",
    "is_break_parameterization",
    "is_custodian_box",
    "is_thread_group",
    "make_custodian_box",
    "make_thread_group",
    "semaphore_wait_enable_break",
    "sync_enable_break",
    "sync_timeout_enable_break",
]


def _check(operation: str, argument: str, value: object, kind: type, expected: str) -> None:
    if not isinstance(value, kind):
        raise refuse(operation, argument, expected, value, TypeError)


# -- threads -----------------------------------------------------------------------------------


def call_in_nested_thread(
    thunk: Callable[[], Any], cust: Custodian | None = None
) -> Coroutine[Any, Any, Any]:
    """Call ``thunk`` in a nested thread that ``cust`` manages, by default the current custodian, and wait for
    it. Result: that of ``thunk``, or its exception; `ThreadDead` if the nested thread dies before.

    Source: Racket Reference 11.1.1, ``call-in-nested-thread``."""
    return _call_in_nested_thread(thunk, custodian=cust)


# -- semaphores --------------------------------------------------------------------------------


def semaphore_wait_enable_break(sema: Semaphore) -> Coroutine[Any, Any, None]:
    """`semaphore_wait` with breaks enabled while it waits. If they are disabled when it is called, either the
    count is decremented or a `Break` is raised, but not both.

    Source: Racket Reference 11.2.3, ``semaphore-wait/enable-break``."""
    _check("semaphore_wait_enable_break", "sema", sema, Semaphore, "a semaphore")
    return sema.wait_enable_break()


def call_with_semaphore_enable_break(
    sema: Semaphore,
    proc: Callable[..., Any],
    try_fail_thunk: Callable[[], Any] | None = None,
    *args: Any,
) -> Coroutine[Any, Any, Any]:
    """`call_with_semaphore` with `semaphore_wait_enable_break`; with ``try_fail_thunk``, breaks are enabled
    while it tries. ``proc`` is called with breaks as they are.

    Source: Racket Reference 11.2.3, ``call-with-semaphore/enable-break``."""
    _check("call_with_semaphore_enable_break", "sema", sema, Semaphore, "a semaphore")
    check_callable("call_with_semaphore_enable_break", "proc", proc)
    if try_fail_thunk is not None:
        check_callable("call_with_semaphore_enable_break", "try_fail_thunk", try_fail_thunk)
    return call_holding(sema, proc, args, try_fail_thunk, enable_break=True)


# -- events ------------------------------------------------------------------------------------


def sync_enable_break(*evts: Any) -> Coroutine[Any, Any, Any]:
    """`sync` with breaks enabled while it waits. If they are disabled when it is called, either none of
    ``evts`` is chosen and a `Break` is raised, or one is chosen and none is raised.

    Source: Racket Reference 11.2.1, ``sync/enable-break``."""
    return _sync(*evts, enable_break=True)


def sync_timeout_enable_break(
    timeout: float | Callable[[], Any] | None, *evts: Any
) -> Coroutine[Any, Any, Any]:
    """`sync_enable_break` with the limit of `sync_timeout`, which comes first.

    Source: Racket Reference 11.2.1, ``sync/timeout/enable-break``."""
    return _sync(*evts, timeout=timeout, enable_break=True)


# -- breaks ------------------------------------------------------------------------------------


# current_break_parameterization: the same under both names.


def is_break_parameterization(v: object) -> bool:
    """Whether ``v`` was made by `current_break_parameterization`.

    Source: Racket Reference 10.6, ``break-parameterization?``."""
    return isinstance(v, BreakParameterization)


def call_with_break_parameterization(
    param: BreakParameterization, thunk: Callable[[], Any]
) -> Coroutine[Any, Any, Any]:
    """Call ``thunk``, which may be ``async``, with breaks as ``param`` says. Result: that of ``thunk``.

    Source: Racket Reference 10.6, ``call-with-break-parameterization``."""
    _check(
        "call_with_break_parameterization",
        "param",
        param,
        BreakParameterization,
        "a break parameterization",
    )
    check_callable("call_with_break_parameterization", "thunk", thunk)
    return _call_with_break_parameterization(param, thunk)


@transparent
async def _call_with_break_parameterization(param: BreakParameterization, thunk: Callable[[], Any]) -> Any:
    with breaks(param):
        return await call(thunk)


_call_with_break_parameterization.__name__ = "call_with_break_parameterization"
_call_with_break_parameterization.__qualname__ = "call_with_break_parameterization"


# -- custodian boxes ---------------------------------------------------------------------------


def make_custodian_box(cust: Custodian, v: Any) -> CustodianBox:
    """A box that holds ``v`` until ``cust`` is shut down. As an event: ready from then on; the result is the
    box. ``cust`` does not keep it.

    Raises `ContractError` if ``cust`` has been shut down already.
    Source: Racket Reference 14.7, ``make-custodian-box``."""
    _check("make_custodian_box", "cust", cust, Custodian, "a custodian")
    return CustodianBox(cust, v)


def is_custodian_box(v: object) -> bool:
    """Whether ``v`` is a custodian box. Source: Racket Reference 14.7, ``custodian-box?``."""
    return isinstance(v, CustodianBox)


def custodian_box_value(cb: CustodianBox) -> Any:
    """What ``cb`` holds, or ``None`` once its custodian has been shut down.

    Source: Racket Reference 14.7, ``custodian-box-value``."""
    _check("custodian_box_value", "cb", cb, CustodianBox, "a custodian box")
    return cb.value


# -- thread groups -----------------------------------------------------------------------------


# current_thread_group: the same under both names.


def make_thread_group(group: ThreadGroup | None = None) -> ThreadGroup:
    """A new thread group in ``group``, by default in the current one. It and each of its members share the
    processor equally with their siblings.

    Source: Racket Reference 14.11, ``make-thread-group``."""
    return ThreadGroup(group)


def is_thread_group(v: object) -> bool:
    """Whether ``v`` is a thread group. Source: Racket Reference 14.11, ``thread-group?``."""
    return isinstance(v, ThreadGroup)
