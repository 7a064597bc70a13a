"""`thread`: how a new thread comes to be.

Source: Racket Reference 11.1.1 (Creating Threads).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any, Final, Literal, overload
from weakref import ref

from scheduler import NoRuntime, current_driver, here
from scheduler.task import CO_COROUTINE

from .breaks import Breaks
from .control import ALIVE, KILLED
from .env import Env, current_env
from .errors import ContractError, ShutDown, check_body, refuse
from .evt import settle
from .os_thread import Call, OsThread
from .pool import Core, ParallelThreadPool, PoolThread
from .thread import Thread, new_thread
from .thread_group import GroupThread, ThreadGroup


def is_async(fn: Any) -> bool:
    """Whether calling ``fn`` gives a coroutine, as far as one can know before: an ``async def``, a
    `functools.partial` or method of one, an object whose ``__call__`` is one, or what is marked as one."""
    if type(fn) is FunctionType and "inspect" not in sys.modules:
        return bool(
            fn.__code__.co_flags & CO_COROUTINE
        )  # nobody can have marked it, and importing takes long
    from inspect import iscoroutinefunction

    return iscoroutinefunction(fn) or iscoroutinefunction(type(fn).__call__)


def _thread(
    fn: Callable[..., Any],
    *args: Any,
    pool: Any = None,
    keep: bool = True,
    name: str | None = None,
    suspend_to_kill: bool = False,
) -> Thread:
    """`thread`, in full."""
    check_body("thread", "fn", fn)
    coroutine = is_async(fn)
    driver = current_driver()
    runtime = None if driver is None else driver.home
    if runtime is None:
        raise NoRuntime("thread")
    _check_options(pool, keep, name, suspend_to_kill)
    options = keep, name, suspend_to_kill
    if pool is not None:
        return _in_pool(pool, fn, args, coroutine, options)
    env = current_env.get()
    made: Thread
    if coroutine:
        made = in_group(runtime, _coroutine(fn, args), env.custodian, env.group)
    else:
        made = OsThread(runtime.key, Call(fn, args) if args else fn, copy_context(), env.custodian)
    _inherit_breaks(made, driver)
    if options != _USUAL:
        _set_options(made, *options)
    _manage(env.custodian, made)
    start(made)
    return made


_USUAL: Final = (True, None, False)
_thread.__name__ = _thread.__qualname__ = "thread"  # in what a wrong call raises


if TYPE_CHECKING:

    @overload
    def thread[*Ts, T](
        fn: Callable[[*Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        pool: ParallelThreadPool | Literal["own"] | None = None,
        keep: Literal[True] = True,
        name: str | None = None,
        suspend_to_kill: bool = False,
    ) -> Thread[T]: ...
    @overload
    def thread[*Ts, T](
        fn: Callable[[*Ts], T],
        *args: *Ts,
        pool: ParallelThreadPool | Literal["own"] | None = None,
        keep: Literal[True] = True,
        name: str | None = None,
        suspend_to_kill: bool = False,
    ) -> Thread[T]: ...
    @overload
    def thread[*Ts](
        fn: Callable[[*Ts], object],
        *args: *Ts,
        pool: ParallelThreadPool | Literal["own"] | None = None,
        keep: Literal[False],
        name: str | None = None,
        suspend_to_kill: bool = False,
    ) -> Thread[None]: ...
    @overload
    def thread[*Ts, T](
        fn: Callable[[*Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        pool: ParallelThreadPool | Literal["own"] | None = None,
        keep: bool,
        name: str | None = None,
        suspend_to_kill: bool = False,
    ) -> Thread[T | None]: ...
    @overload
    def thread[*Ts, T](
        fn: Callable[[*Ts], T],
        *args: *Ts,
        pool: ParallelThreadPool | Literal["own"] | None = None,
        keep: bool,
        name: str | None = None,
        suspend_to_kill: bool = False,
    ) -> Thread[T | None]: ...


def thread(fn: Callable[..., Any], *args: Any, **options: Any) -> Thread:  # type: ignore[misc]
    """Run ``fn(*args)`` in a new thread, and give that at once.

    An ``async def`` makes a coroutine thread, which the runtime's workers run; a plain function makes a
    thread on an OS thread of its own, with the same operations through `block_on`. ``pool`` is the
    `ParallelThreadPool` that it runs in, or ``'own'`` for one of its own, of one processor. ``keep=False``
    drops the result; ``suspend_to_kill=True`` has it suspended where others would be killed. The thread is
    managed by the current custodian and inherits a copy of the context.

    Source: Racket Reference, ``thread``.
    """
    # `_thread` for an ``async def`` without options, on a worker, in the root group; two fifths of the cost.
    # That four keywords have defaults would alone cost 5%.
    try:
        driver = here.driver
        locks = driver.locks
        coroutine = fn.__code__.co_flags & CO_COROUTINE
    except AttributeError:
        coroutine = 0
    if not coroutine or options:
        return _thread(fn, *args, **options)
    runtime = driver.home
    if Env.varies:
        env = current_env.get()
        if env.group is not None:
            return _thread(fn, *args)
        custodian = env.custodian
    else:
        custodian = runtime.env.custodian
    coro = fn(*args)
    if type(coro) is not CoroutineType:
        coro = settle(coro)
    # Thread.set_up, but for the lock
    made: Thread = Thread()
    made.key = key = runtime.key
    made.coro = coro
    made.context = copy_context()
    made.value = None
    made.pending = 0
    made.waiter = None
    made._custodians = custodian
    made._lock = next(locks)
    made._mail = None
    made._rare = None
    made._state = ALIVE
    made._waiters = None
    rare = driver.task._rare
    if rare is not None:
        _inherit_breaks(made, driver)
    # Custodian.adopt
    members = custodian.members
    members.append(ref(made))
    if len(members) > custodian.limit:
        _look_after(custodian, made)
    # Task.ready, but those that are made one after the other also run in that order
    if driver.key != key:
        made.worker = None
        made.inject()
        return made
    made.worker = driver
    if not driver.next:
        driver.next.append(made)
    else:
        driver.queue.append(made)
        # publish (append above), then check: see scheduler.runtime
        if runtime.idle:
            runtime.wake()
    return made


thread.__wrapped__ = _thread  # type: ignore[attr-defined]  # what `inspect.signature` looks at


def _inherit_breaks(made: Thread, driver: Any) -> None:
    """The new thread starts with breaks enabled or not, as the creator's innermost block began."""
    rare = driver.task._rare
    if rare is not None and rare.breaks is not None and not rare.breaks.entered:
        made._rarely().breaks = Breaks(False)


def _set_options(made: Thread, keep: bool, name: str | None, suspend_to_kill: bool) -> None:
    rare = made._rarely()
    rare.name = name
    rare.keep = keep
    rare.suspend_to_kill = suspend_to_kill


def _in_pool(pool: Any, fn: Any, args: tuple[Any, ...], coroutine: Any, options: Any) -> Thread:
    """`thread`, in a parallel pool."""
    own = pool == "own"
    if own:
        pool = ParallelThreadPool(1)
    core: Core = pool._core
    core.check_open("thread")
    custodian = current_env.get().custodian
    deterministic = core.key() == core.place.key
    made: Thread
    if coroutine:
        made = new_thread(core.key(), _coroutine(fn, args), copy_context(), custodian)
    elif deterministic:
        made = OsThread(core.place.key, Call(fn, args) if args else fn, copy_context(), custodian)
    else:
        made = PoolThread(core.place.key, Call(fn, args) if args else fn, copy_context(), custodian, core)
    _inherit_breaks(made, here.driver)
    _set_options(made, *options)
    _manage(custodian, made)
    core.adopt(made)
    made._rarely().pool = core
    if own:
        pool.close()
    if isinstance(made, PoolThread):
        made.line_up()
    else:
        start(made)
    return made


def prepare(operation: str, fn: Callable[..., Any], args: tuple[Any, ...], custodian: Any = None) -> Thread:
    """The first half of `thread`, for those who have something to set up before the new thread runs: it is
    managed, by the current custodian or another, and `start` lets it run."""
    driver = current_driver()
    runtime = None if driver is None else driver.home
    if runtime is None:
        raise NoRuntime(operation)
    env = current_env.get()
    if custodian is None:
        custodian = env.custodian
    if custodian.is_shut_down:
        raise ShutDown(f"{operation}: the custodian has been shut down")
    made: Thread
    if is_async(fn):
        made = in_group(runtime, _coroutine(fn, args), custodian, env.group)
    else:
        made = OsThread(runtime.key, Call(fn, args) if args else fn, copy_context(), custodian)
    made._rarely()  # here, where nobody else knows the thread: a killer may make it, too, once it is managed
    _inherit_breaks(made, driver)
    _manage(custodian, made)
    return made


def _coroutine(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """What the coroutine thread that calls the ``async`` function ``fn`` runs."""
    coro = fn(*args)
    return coro if type(coro) is CoroutineType else settle(coro)


def _manage(custodian: Any, made: Thread) -> None:
    """Let ``custodian`` manage the new thread; its end and ``ContractError`` if that has been shut down."""
    custodian.members.append(ref(made))
    _look_after(custodian, made)


def in_group(runtime: Any, coro: Any, custodian: Any, group: ThreadGroup | None) -> Thread:
    """A coroutine thread of ``group``; of the root if that is ``None`` or belongs to another runtime."""
    if group is None or group.key != runtime.key:
        return new_thread(runtime.key, coro, copy_context(), custodian)
    return GroupThread(runtime.key, coro, copy_context(), custodian, group)


def start(made: Thread) -> None:
    """The second half."""
    if isinstance(made, OsThread):
        made.runtime.os_threads.start(made)
    else:
        made.ready()


def _look_after(custodian: Any, made: Thread) -> None:
    try:
        custodian.look_after(made)
    except ContractError:
        if made.can_be_run:
            made.coro.close()  # it is not to be missed that it was never awaited
        made._end_as(KILLED, None)  # who has found it among the members meanwhile may wait for its end
        raise


def _check_options(pool: Any, keep: Any, name: Any, suspend_to_kill: Any) -> None:
    if pool is not None and pool != "own" and not isinstance(pool, ParallelThreadPool):
        kind = ValueError if isinstance(pool, str) else TypeError
        raise refuse("thread", "pool", "a parallel thread pool, 'own' or None", pool, kind)
    if not isinstance(keep, bool):
        raise refuse("thread", "keep", "a bool", keep, TypeError)
    if name is not None and not isinstance(name, str):
        raise refuse("thread", "name", "a string", name, TypeError)
    if not isinstance(suspend_to_kill, bool):
        raise refuse("thread", "suspend_to_kill", "a bool", suspend_to_kill, TypeError)
