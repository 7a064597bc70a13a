"""Threads, mailboxes, semaphores, channels, events, breaks and custodians, under their Racket names.

The order is that of the reference: threads, control, state, mailboxes, semaphores, channels,
asynchronous channels, events, breaks, custodians, parameters, pools.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from rtsync.alarm import at, idle
from rtsync.alarm import monotonic as _monotonic
from rtsync.alarm import sleep as _sleep
from rtsync.alarm import wall_time as _wall_time
from rtsync.async_channel import AsyncChannel
from rtsync.breaks import BreaksBlock, break_enabled, breaks
from rtsync.channel import Channel, ChannelPut
from rtsync.custodian import Custodian, current_custodian
from rtsync.env import parameterize
from rtsync.errors import ContractError, ThreadDead, check_callable, is_number, is_real, refuse
from rtsync.evt import Choice, Evt, Wrap, always, call, check_evt, choice, is_evt, never, tail
from rtsync.evt import guard as _guard
from rtsync.evt import nack_guard as _nack_guard
from rtsync.evt import poll_guard as _poll_guard
from rtsync.mailbox import receive, receive_evt, rewind_receive, try_receive
from rtsync.os_thread import block_on
from rtsync.runtime import run
from rtsync.semaphore import Semaphore, SemaphorePeek, call_holding
from rtsync.spawn import thread as _thread
from rtsync.sync import current_evt_pseudo_random_generator
from rtsync.sync import sync as _sync
from rtsync.thread import Thread, current_thread
from scheduler.runtime import default_workers

__all__ = [
    "alarm_evt",
    "always_evt",
    "async_channel_get",
    "async_channel_put",
    "async_channel_put_evt",
    "async_channel_try_get",
    "block_on",
    "break_enabled",
    "break_thread",
    "call",
    "call_with_semaphore",
    "channel_get",
    "channel_put",
    "channel_put_evt",
    "channel_try_get",
    "choice_evt",
    "current_custodian",
    "current_evt_pseudo_random_generator",
    "current_inexact_milliseconds",
    "current_inexact_monotonic_milliseconds",
    "current_thread",
    "custodian_managed_list",
    "custodian_shutdown_all",
    "guard_evt",
    "handle_evt",
    "is_async_channel",
    "is_channel",
    "is_channel_put_evt",
    "is_custodian",
    "is_custodian_shut_down",
    "is_evt",
    "is_handle_evt",
    "is_semaphore",
    "is_semaphore_peek_evt",
    "is_thread",
    "is_thread_dead",
    "is_thread_running",
    "kill_thread",
    "make_async_channel",
    "make_channel",
    "make_custodian",
    "make_semaphore",
    "nack_guard_evt",
    "never_evt",
    "parameterize",
    "parameterize_break",
    "poll_guard_evt",
    "processor_count",
    "replace_evt",
    "run",
    "semaphore_peek_evt",
    "semaphore_post",
    "semaphore_try_wait",
    "semaphore_wait",
    "sleep",
    "sync",
    "sync_timeout",
    "system_idle_evt",
    "tail",
    "thread",
    "thread_dead_evt",
    "thread_receive",
    "thread_receive_evt",
    "thread_resume",
    "thread_resume_evt",
    "thread_rewind_receive",
    "thread_send",
    "thread_suspend",
    "thread_suspend_evt",
    "thread_suspend_to_kill",
    "thread_try_receive",
    "thread_wait",
    "wrap_evt",
]


def _check(operation: str, argument: str, value: object, kind: type, expected: str) -> None:
    if not isinstance(value, kind):
        raise refuse(operation, argument, expected, value, TypeError)


def _check_thread(operation: str, thd: object) -> None:
    _check(operation, "thd", thd, Thread, "a thread")


def _check_semaphore(operation: str, sema: object) -> None:
    _check(operation, "sema", sema, Semaphore, "a semaphore")


def _check_channel(operation: str, ch: object) -> None:
    _check(operation, "ch", ch, Channel, "a channel")


def _check_async_channel(operation: str, ach: object) -> None:
    _check(operation, "ach", ach, AsyncChannel, "an async channel")


def _check_custodian(operation: str, argument: str, cust: object) -> None:
    _check(operation, argument, cust, Custodian, "a custodian")


# -- threads -----------------------------------------------------------------------------------


def thread(thunk: Callable[[], Any], *, pool: Any = None, keep: Literal["results"] | None = None) -> Thread:
    """Call ``thunk`` in a new thread, which is the result; at once.

    ``thunk`` takes no arguments. An ``async def`` makes a coroutine thread, a plain function one on
    an OS thread of its own. ``pool``: the parallel thread pool it runs in, or ``None``.
    ``keep="results"``: `thread_wait` gives what ``thunk`` returned.
    Raises ``TypeError`` for what cannot be called, `NoRuntime` outside a runtime, and
    `ContractError` if the current custodian has been shut down.

    Source: Racket Reference 11.1.1, ``thread``.
    """
    if keep is not None and keep != "results":
        kind = ValueError if isinstance(keep, str) else TypeError
        raise refuse("thread", "keep", "None or 'results'", keep, kind)
    return _thread(thunk, pool=pool, keep=keep is not None)


def is_thread(v: object) -> bool:
    """Whether ``v`` is a thread. Source: Racket Reference 11.1.1, ``thread?``."""
    return isinstance(v, Thread)


# current_thread: the same under both names.


def thread_suspend_to_kill(thunk: Callable[[], Any]) -> Thread:
    """Like `thread`, but what would kill the new thread only suspends it.

    Source: Racket Reference 11.1.1, ``thread/suspend-to-kill``."""
    return _thread(thunk, keep=False, suspend_to_kill=True)


# -- control -----------------------------------------------------------------------------------


def thread_suspend(thd: Thread) -> None:
    """Stop ``thd`` where it stands, until `thread_resume`. Suspending a suspended or dead thread does
    nothing.

    Raises `ContractError` unless the current custodian solely manages ``thd``.
    Source: Racket Reference 11.1.2, ``thread-suspend``."""
    _check_thread("thread_suspend", thd)
    thd.suspend()


def thread_resume(thd: Thread, benefactor: Thread | Custodian | None = None) -> None:
    """Let ``thd`` go on if it is suspended and has a custodian. ``benefactor``, a thread or a
    custodian, first gives it its own custodians; and a thread also resumes it, from now on, whenever
    it is resumed itself.

    Source: Racket Reference 11.1.2, ``thread-resume``."""
    _check_thread("thread_resume", thd)
    thd.resume(benefactor)


def kill_thread(thd: Thread) -> None:
    """End ``thd`` where it stands; its ``finally`` blocks run. Killing a dead thread does nothing,
    killing oneself does not return.

    Raises `ContractError` unless the current custodian solely manages ``thd``.
    Source: Racket Reference 11.1.2, ``kill-thread``."""
    _check_thread("kill_thread", thd)
    thd.kill()


def break_thread(thd: Thread, kind: Literal["hang-up", "terminate"] | None = None) -> None:
    """Register a break of the given kind with ``thd``, where it is raised as soon as breaks are enabled.

    Raises ``ValueError`` for another kind.
    Source: Racket Reference 11.1.2, ``break-thread``."""
    _check_thread("break_thread", thd)
    thd.break_(kind)


def sleep(secs: float = 0) -> Coroutine[Any, Any, None]:
    """Sleep for at least ``secs`` seconds; 0 lets others run. Result: ``None``.

    Raises ``TypeError`` for what is no number, ``ValueError`` for a negative one and for NaN.
    Source: Racket Reference 11.1.2, ``sleep``."""
    return _sleep(secs)


def is_thread_running(thd: Thread) -> bool:
    """Whether ``thd`` has neither ended nor been suspended.

    Source: Racket Reference 11.1.2, ``thread-running?``."""
    _check_thread("is_thread_running", thd)
    return thd.running


def is_thread_dead(thd: Thread) -> bool:
    """Whether ``thd`` has ended. Source: Racket Reference 11.1.2, ``thread-dead?``."""
    _check_thread("is_thread_dead", thd)
    return thd.dead


# -- thread state ------------------------------------------------------------------------------


def thread_wait(thd: Thread, fail_k: Callable[[], Any] | None = None) -> Coroutine[Any, Any, Any]:
    """Wait until ``thd`` has ended.

    Result: that of its thunk if it was made with ``keep="results"`` and ended normally, ``None`` if
    without and normally; otherwise that of ``fail_k()``, or ``None`` without ``fail_k``.
    Source: Racket Reference 11.1.3, ``thread-wait``."""
    _check_thread("thread_wait", thd)
    return thd.wait(fail_k)


def thread_dead_evt(thd: Thread) -> Evt:
    """An event that is ready when ``thd`` has ended, with itself as the result: for one thread always
    the same event. Unlike ``thd`` as an event it does not keep the thread from being collected.

    Source: Racket Reference 11.1.3, ``thread-dead-evt``."""
    _check_thread("thread_dead_evt", thd)
    return thd.dead_evt()


def thread_resume_evt(thd: Thread) -> Evt:
    """An event that is ready when ``thd`` runs, with ``thd`` as the result: at once if it does. The same
    event until the thread is suspended, a fresh one after; one that was ready stays so.

    Source: Racket Reference 11.1.3, ``thread-resume-evt``."""
    _check_thread("thread_resume_evt", thd)
    return thd.resume_evt()


def thread_suspend_evt(thd: Thread) -> Evt:
    """An event that is ready when ``thd`` is suspended, with ``thd`` as the result: at once if it is. The
    same event until the thread is resumed, a fresh one after; one that was ready stays so.

    Source: Racket Reference 11.1.3, ``thread-suspend-evt``."""
    _check_thread("thread_suspend_evt", thd)
    return thd.suspend_evt()


# -- mailboxes ---------------------------------------------------------------------------------


def thread_send(
    thd: Thread, v: Any, fail_thunk: Callable[[], Any] | type[ThreadDead] | None = ThreadDead
) -> Any:
    """Queue ``v`` in the mailbox of ``thd``, without waiting. Result: ``None``.

    If ``thd`` has ended: the result of ``fail_thunk()``, ``None`` if that is ``None``; if it is not
    given, `ThreadDead` is raised.
    Source: Racket Reference 11.1.4, ``thread-send``."""
    _check_thread("thread_send", thd)
    return thd.send(v, fail_thunk)


def thread_receive() -> Coroutine[Any, Any, Any]:
    """Take the oldest message of the current thread, waiting for one. Result: the message.

    Source: Racket Reference 11.1.4, ``thread-receive``."""
    return receive()


def thread_try_receive() -> Any:
    """Take the oldest message of the current thread and give it, or ``None`` at once if there is none.

    Source: Racket Reference 11.1.4, ``thread-try-receive``."""
    return try_receive()


def thread_receive_evt() -> Evt:
    """An event that is ready when the thread that synchronizes on it has a message; it takes nothing.
    Result of the event: itself. Always the same event.

    Source: Racket Reference 11.1.4, ``thread-receive-evt``."""
    return receive_evt()


def thread_rewind_receive(lst: list[Any]) -> None:
    """Push the elements of ``lst`` back to the front of the current thread's mailbox, one by one: the
    last one is the next message.

    Raises ``TypeError`` for what is no list.
    Source: Racket Reference 11.1.4, ``thread-rewind-receive``."""
    rewind_receive(lst)


# -- semaphores --------------------------------------------------------------------------------


def make_semaphore(init: int = 0) -> Semaphore:
    """A new semaphore whose count is ``init``. As an event: ready when the count is positive, which
    it decrements; the result is the semaphore.

    Raises ``TypeError`` or ``ValueError`` for what is no count.
    Source: Racket Reference 11.2.3, ``make-semaphore``."""
    return Semaphore(init)


def is_semaphore(v: object) -> bool:
    """Whether ``v`` is a semaphore. Source: Racket Reference 11.2.3, ``semaphore?``."""
    return isinstance(v, Semaphore)


def semaphore_post(sema: Semaphore) -> None:
    """Increment the count of ``sema``, which lets one waiting thread go on.

    Source: Racket Reference 11.2.3, ``semaphore-post``."""
    _check_semaphore("semaphore_post", sema)
    sema.post()


def semaphore_wait(sema: Semaphore) -> Coroutine[Any, Any, None]:
    """Wait until the count of ``sema`` is positive, and decrement it. Result: ``None``.

    Source: Racket Reference 11.2.3, ``semaphore-wait``."""
    _check_semaphore("semaphore_wait", sema)
    return sema.wait()


def semaphore_try_wait(sema: Semaphore) -> bool:
    """Decrement the count of ``sema`` if it is positive, without waiting. Result: whether it was.

    Source: Racket Reference 11.2.3, ``semaphore-try-wait?``."""
    _check_semaphore("semaphore_try_wait", sema)
    return sema.try_wait()


def semaphore_peek_evt(sema: Semaphore) -> SemaphorePeek:
    """An event that is ready when the count of ``sema`` is positive, without decrementing it.
    Result of the event: itself.

    Source: Racket Reference 11.2.3, ``semaphore-peek-evt``."""
    _check_semaphore("semaphore_peek_evt", sema)
    return sema.peek_evt()


def is_semaphore_peek_evt(v: object) -> bool:
    """Whether ``v`` was made by `semaphore_peek_evt`.

    Source: Racket Reference 11.2.3, ``semaphore-peek-evt?``."""
    return isinstance(v, SemaphorePeek)


def call_with_semaphore(
    sema: Semaphore,
    proc: Callable[..., Any],
    try_fail_thunk: Callable[[], Any] | None = None,
    *args: Any,
) -> Coroutine[Any, Any, Any]:
    """Wait on ``sema``, call ``proc(*args)``, and post to ``sema`` however that ends.

    Result: that of ``proc``, which may be ``async``, or its exception. With ``try_fail_thunk``
    nothing is waited for: if the count is not positive, the result is that of ``try_fail_thunk()``.
    Source: Racket Reference 11.2.3, ``call-with-semaphore``."""
    _check_semaphore("call_with_semaphore", sema)
    check_callable("call_with_semaphore", "proc", proc)
    if try_fail_thunk is not None:
        check_callable("call_with_semaphore", "try_fail_thunk", try_fail_thunk)
    return call_holding(sema, proc, args, try_fail_thunk)


# -- channels ----------------------------------------------------------------------------------


def make_channel() -> Channel:
    """A new channel. As an event: ready when a value can be got, which is the result.

    Source: Racket Reference 11.2.2, ``make-channel``."""
    return Channel()


def is_channel(v: object) -> bool:
    """Whether ``v`` is a channel (not an asynchronous one).

    Source: Racket Reference 11.2.2, ``channel?``."""
    return isinstance(v, Channel)


def channel_get(ch: Channel) -> Coroutine[Any, Any, Any]:
    """Wait for a thread that puts to ``ch``, and take its value. Result: the value.

    Source: Racket Reference 11.2.2, ``channel-get``."""
    _check_channel("channel_get", ch)
    return ch.get()


def channel_try_get(ch: Channel) -> Any:
    """Take and give the value of a thread that waits to put to ``ch``, or ``None`` at once if none does.

    Source: Racket Reference 11.2.2, ``channel-try-get``."""
    _check_channel("channel_try_get", ch)
    return ch.try_get()


def channel_put(ch: Channel, v: Any) -> Coroutine[Any, Any, None]:
    """Wait for a thread that gets from ``ch``, and give it ``v``. Result: ``None``.

    Source: Racket Reference 11.2.2, ``channel-put``."""
    _check_channel("channel_put", ch)
    return ch.put(v)


def channel_put_evt(ch: Channel, v: Any) -> ChannelPut:
    """An event that is ready when a thread gets ``v`` from ``ch``. Result of the event: itself.

    Source: Racket Reference 11.2.2, ``channel-put-evt``."""
    _check_channel("channel_put_evt", ch)
    return ch.put_evt(v)


def is_channel_put_evt(v: object) -> bool:
    """Whether ``v`` was made by `channel_put_evt`.

    Source: Racket Reference 11.2.2, ``channel-put-evt?``."""
    return isinstance(v, ChannelPut)


# -- asynchronous channels ---------------------------------------------------------------------


def make_async_channel(limit: int | None = None) -> AsyncChannel:
    """A new channel that stores up to ``limit`` values, any number if that is ``None``. As an event:
    ready when there is a value, which is the result.

    Raises ``TypeError`` or ``ValueError`` for a limit that is no positive integer.
    Source: Racket Reference 11.2.4, ``make-async-channel``."""
    return AsyncChannel(limit)


def is_async_channel(v: object) -> bool:
    """Whether ``v`` is an asynchronous channel.

    Source: Racket Reference 11.2.4, ``async-channel?``."""
    return isinstance(v, AsyncChannel)


def async_channel_get(ach: AsyncChannel) -> Coroutine[Any, Any, Any]:
    """Take the oldest value of ``ach``, waiting for one. Result: the value.

    Source: Racket Reference 11.2.4, ``async-channel-get``."""
    _check_async_channel("async_channel_get", ach)
    return ach.get()


def async_channel_try_get(ach: AsyncChannel) -> Any:
    """Take and give the oldest value of ``ach``, or ``None`` at once if there is none.

    Source: Racket Reference 11.2.4, ``async-channel-try-get``."""
    _check_async_channel("async_channel_try_get", ach)
    return ach.try_get()


def async_channel_put(ach: AsyncChannel, v: Any) -> Coroutine[Any, Any, None]:
    """Store ``v`` in ``ach``, waiting only while its limit is reached. Result: ``None``.

    Source: Racket Reference 11.2.4, ``async-channel-put``."""
    _check_async_channel("async_channel_put", ach)
    return ach.put(v)


def async_channel_put_evt(ach: AsyncChannel, v: Any) -> Evt:
    """An event that is ready when ``v`` has been stored in ``ach``. Result of the event: itself.

    Source: Racket Reference 11.2.4, ``async-channel-put-evt``."""
    _check_async_channel("async_channel_put_evt", ach)
    return ach.put_evt(v)


# -- events ------------------------------------------------------------------------------------


# is_evt: the same under both names.


def sync(*evts: Any) -> Coroutine[Any, Any, Any]:
    """Wait until one of ``evts`` is ready. Result: that of the event; of several ready ones, of one
    chosen pseudo-randomly.

    Raises ``TypeError`` for what is no event, and whatever the functions inside the events raise.
    Source: Racket Reference 11.2.1, ``sync``."""
    return _sync(*evts)


def sync_timeout(timeout: float | Callable[[], Any] | None, *evts: Any) -> Coroutine[Any, Any, Any]:
    """Like `sync`, but with a limit, which comes first.

    ``timeout``: ``None`` for no limit; or seconds, after which the result is ``None`` (0 only looks);
    or a function, called when nothing is ready at once, whose result is then given.
    Raises ``ValueError`` for a negative time; ``TypeError`` and others as `sync` does.
    Source: Racket Reference 11.2.1, ``sync/timeout``."""
    return _sync(*evts, timeout=timeout)


def choice_evt(*evts: Any) -> Evt:
    """An event that is ready when any of ``evts`` is, with the result of the one chosen. Without
    ``evts`` it is never ready.

    Source: Racket Reference 11.2.1, ``choice-evt``."""
    return choice(*evts)


def wrap_evt(evt: Any, wrap: Callable[[Any], Any]) -> Evt:
    """An event that is ready when ``evt`` is, with ``wrap(result)`` as the result. Breaks are disabled
    during ``wrap``, which may be ``async``; what it raises comes out of `sync`.

    Source: Racket Reference 11.2.1, ``wrap-evt``."""
    check_evt("wrap_evt", "evt", evt)
    return Evt.wrap(evt, wrap)  # so, because an event by __evt__ or register_evt has no methods


def handle_evt(evt: Any, handle: Callable[[Any], Any]) -> Evt:
    """Like `wrap_evt`, but ``handle`` is called in tail position (a loop goes on by returning
    ``tail(loop, ...)``) and with breaks as they are.

    Source: Racket Reference 11.2.1, ``handle-evt``."""
    check_evt("handle_evt", "evt", evt)
    return Evt.handle(evt, handle)


def is_handle_evt(evt: Any) -> bool:
    """Whether ``evt`` was made by `handle_evt`, or by `choice_evt` from one that was.

    Raises ``TypeError`` for what is no event.
    Source: Racket Reference 11.2.1, ``handle-evt?``."""
    check_evt("is_handle_evt", "evt", evt)
    parts = [evt]
    while parts:
        part = parts.pop()
        if isinstance(part, Choice):
            parts.extend(part.evts)
        elif type(part) is Wrap and part.is_handle:
            return True
    return False


def guard_evt(maker: Callable[[], Any]) -> Evt:
    """An event that ``maker()`` makes anew for each `sync`. A result that is no event stands for one
    that is ready, with the guard itself as its result.

    Source: Racket Reference 11.2.1, ``guard-evt``."""
    return _guard(maker)


def nack_guard_evt(maker: Callable[[Evt], Any]) -> Evt:
    """Like `guard_evt`, with ``maker(nack)``: ``nack`` becomes ready when the event is not chosen.

    Source: Racket Reference 11.2.1, ``nack-guard-evt``."""
    return _nack_guard(maker)


def poll_guard_evt(maker: Callable[[bool], Any]) -> Evt:
    """Like `guard_evt`, with ``maker(polling)``: ``True`` when the `sync` only polls.

    Source: Racket Reference 11.2.1, ``poll-guard-evt``."""
    return _poll_guard(maker)


def replace_evt(evt: Any, maker: Callable[[Any], Any]) -> Evt:
    """Once ``evt`` is ready, `sync` goes on with the event ``maker(result)`` in its place. ``evt`` stays
    consumed even if another event is chosen in the end. If ``maker`` gives something that is no event, the
    whole is ready at once with itself as its result.

    Source: Racket Reference 11.2.1, ``replace-evt``."""
    check_evt("replace_evt", "evt", evt)
    return Evt.replace(evt, maker)


always_evt = always
"""An event that is always ready, with itself as the result. Racket Reference 11.2.1."""

never_evt = never
"""An event that is never ready. Racket Reference 11.2.1."""


def system_idle_evt() -> Evt:
    """An event that is ready when no thread could run, because all are blocked, suspended or waiting for
    time. Result of the event: itself.

    Source: Racket Reference 11.2.1, ``system-idle-evt``."""
    return idle()


def alarm_evt(msecs: float, monotonic: bool = False) -> Evt:
    """An event that is ready from ``msecs`` on: milliseconds as `current_inexact_milliseconds` counts
    them, or if ``monotonic`` as `current_inexact_monotonic_milliseconds` does. Its result is itself.

    Raises ``TypeError`` for what is no number, ``ValueError`` for NaN.
    Source: Racket Reference 11.2.1, ``alarm-evt``."""
    if not is_real(msecs):
        raise refuse("alarm_evt", "msecs", "a number of milliseconds", msecs, TypeError)
    if not is_number(msecs):
        raise refuse("alarm_evt", "msecs", "a number of milliseconds", msecs, ValueError)
    return at(msecs / 1000, monotonic=monotonic)


def current_inexact_milliseconds() -> float:
    """Milliseconds since the epoch; in a test on virtual time, of that.

    Source: Racket Reference 15.1, ``current-inexact-milliseconds``."""
    return _wall_time() * 1000


def current_inexact_monotonic_milliseconds() -> float:
    """Milliseconds since some fixed moment, on a clock that nobody sets.

    Source: Racket Reference 15.1, ``current-inexact-monotonic-milliseconds``."""
    return _monotonic() * 1000


# current_evt_pseudo_random_generator: the same under both names.


# -- breaks ------------------------------------------------------------------------------------


# break_enabled: the same under both names.


def parameterize_break(on: bool) -> BreaksBlock:
    """``with parameterize_break(on):`` enables or disables breaks for the block. A pending break is raised
    as soon as they are enabled.

    Raises ``TypeError`` for what is no bool.
    Source: Racket Reference 10.6, ``parameterize-break``."""
    return breaks(on)


# -- custodians --------------------------------------------------------------------------------


# current_custodian: the same under both names.


def make_custodian(cust: Custodian | None = None) -> Custodian:
    """A new custodian that is subordinate to ``cust``, by default to the current one.

    Raises `ContractError` if that has been shut down.
    Source: Racket Reference 14.7, ``make-custodian``."""
    return Custodian(cust)


def is_custodian(v: object) -> bool:
    """Whether ``v`` is a custodian. Source: Racket Reference 14.7, ``custodian?``."""
    return isinstance(v, Custodian)


def custodian_shutdown_all(cust: Custodian) -> None:
    """Shut down ``cust`` and its subordinates: threads that no other custodian manages are killed, other
    resources closed, boxes emptied; the calling thread last, if it is among them.

    Source: Racket Reference 14.7, ``custodian-shutdown-all``."""
    _check_custodian("custodian_shutdown_all", "cust", cust)
    cust.shutdown_all()


def is_custodian_shut_down(cust: Custodian) -> bool:
    """Whether ``cust`` has been shut down. Source: Racket Reference 14.7, ``custodian-shut-down?``."""
    _check_custodian("is_custodian_shut_down", "cust", cust)
    return cust.is_shut_down


def custodian_managed_list(cust: Custodian, supervisor: Custodian) -> list[Any]:
    """What ``cust`` itself manages now, and its subordinate custodians.

    Raises `ContractError` unless ``cust`` is subordinate to ``supervisor``, at any depth.
    Source: Racket Reference 14.7, ``custodian-managed-list``."""
    _check_custodian("custodian_managed_list", "cust", cust)
    _check_custodian("custodian_managed_list", "supervisor", supervisor)
    if cust is supervisor or not supervisor.manages(cust):
        raise ContractError("custodian_managed_list: cust is not subordinate to supervisor")
    return cust.managed_list()


# -- parameters --------------------------------------------------------------------------------


# parameterize: the same under both names.


# -- pools -------------------------------------------------------------------------------------


def processor_count() -> int:
    """How many processors this process may use.

    Source: Racket Reference 11.5, ``processor-count``."""
    return default_workers()
