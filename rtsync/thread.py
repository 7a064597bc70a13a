"""Threads: what they are, how they begin and end, and their mailboxes.

A `Thread` is the engine's task, an event, and a mailbox in one object, because there may be a million of
them. How others stop it is in `rtsync.control`; a thread that runs a plain function is in
`rtsync.os_thread`.

Source: Racket Reference 11.1 (Threads).
"""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any, ClassVar, Final, overload

from scheduler import Parking, defer, direct, nested, safepoints
from scheduler.safepoint import transparent
from scheduler.task import runtimes

from .control import ALIVE, FAILED, KILL, KILLED, RESULT, Controlled
from .current import current, let_go
from .errors import ContractError, ShutDown, ThreadDead, ThreadKilled, check_callable
from .evt import BaseEvt, Evt, Latch, Tail, settle
from .mailbox import Mailbox
from .waiter import NOT_READY, RETRY, WaitQueue

_FORERUNNERS: Final = (ShutDown, ThreadDead)
"""What a thread may see of the shutdown of its custodian before it is killed itself."""


class Thread[T = Any](Controlled, BaseEvt["Thread[T]"]):
    """A thread of control. Made by `thread`; as an event: ready when it has ended, result itself.
    ``Thread[T]`` returns a ``T``.

    Source: Racket Reference 11.1.1.
    """

    __slots__ = ("_mail", "_outcome", "_waiters")

    made_by: ClassVar[str] = "thread"  # for messages

    _mail: Mailbox | None
    _outcome: Any  # result or exception; not there before the end
    _waiters: list[Any] | WaitQueue | None  # a lone waiter as it is, which costs nothing to make

    __init__ = object.__init__  # one in Python costs as much as ten fields

    def set_up(self, key: int, coro: Any, context: Context, custodian: Any) -> None:
        """What `__init__` is elsewhere. Also written out in `rtsync.spawn`."""
        # What few threads need is in `Rare`: spawning is a hot path, and each field costs 15 ns and 8 bytes.
        self.key = key
        self.coro = coro
        self.context = context
        self.value = None
        self.pending = 0
        self.waiter = None
        self.worker = None
        self._custodians = custodian
        self._lock = RLock()
        self._mail = None
        self._rare = None
        self._state = ALIVE
        self._waiters = None

    @property
    def name(self) -> str:
        """Given at creation, or made from the function's name."""
        if self._rare is not None and self._rare.name is not None:
            return self._rare.name
        return str(getattr(self.coro, "__qualname__", "thread"))

    def __repr__(self) -> str:
        state = ("running", "suspended", "suspended", "ended", "failed", "killed")[self._state]
        return f"<Thread {self.name} {state} at {id(self):#x}>"

    def __reduce__(self) -> Any:
        raise ContractError("Thread: cannot be copied or pickled; it belongs to its process")

    # -- waiting for its end -------------------------------------------------------------------

    if TYPE_CHECKING:

        @overload
        def wait(self, fail: None = None) -> Coroutine[Any, Any, T | None]: ...
        @overload
        def wait[F](self, fail: Callable[[], Coroutine[Any, Any, F]]) -> Coroutine[Any, Any, T | F]: ...
        @overload
        def wait[F](self, fail: Callable[[], F]) -> Coroutine[Any, Any, T | F]: ...

    def wait(self, fail: Callable[[], Any] | None = None) -> Coroutine[Any, Any, Any]:
        """Wait until it has ended: its result (``None`` if started with ``keep=False``), or if it failed or
        was killed that of ``fail()``, or ``None``.

        Source: Racket Reference, ``thread-wait``."""
        if fail is not None:
            check_callable("wait", "fail", fail)
        return self._wait(fail)

    @transparent
    async def _wait(self, fail: Callable[[], Any] | None) -> Any:
        if self._state < RESULT:
            await self._end()
        if self._state == RESULT:
            return self._outcome
        return None if fail is None else await settle(fail())

    @direct
    def join(self) -> Generator[Parking, Any, T]:
        """Wait until it has ended: its result, or its exception, or `ThreadKilled`."""
        while self._state < RESULT:
            # `_end`, written out: a coroutine less in the path of spawn and join.
            lock = self._lock
            lock.acquire()
            if self._state >= RESULT:
                lock.release()
                break
            waiter: list[Any] = []
            if self._waiters is None:
                self._waiters = waiter
            else:
                self._block(waiter, None)
            try:
                if (yield waiter, lock) is RETRY:
                    self._leave(waiter)
            except BaseException:
                let_go(waiter, lock)
                self._leave(waiter)
                raise
        if self._state == RESULT:
            return self._outcome  # type: ignore[no-any-return]
        if self._state == FAILED:
            raise self._outcome
        raise ThreadKilled(f"join: {self!r} was killed")

    @direct
    def _end(self) -> Generator[Parking, Any]:
        while True:
            lock = self._lock
            lock.acquire()
            if self._state >= RESULT:
                lock.release()
                return
            waiter: list[Any] = []
            self._block(waiter, None)
            try:
                if (yield waiter, lock) is not RETRY:
                    return
            except BaseException:
                let_go(waiter, lock)
                self._leave(waiter)
                raise
            self._leave(waiter)

    def dead_evt(self) -> Evt[Evt]:
        """An event ready when it has ended; always the same object, its result itself, and it does not keep
        the thread alive. Source: Racket Reference, ``thread-dead-evt``."""
        with self._lock:
            rare = self._rarely()
            if rare.dead_evt is None:
                rare.dead_evt = Latch()
                if self._state >= RESULT:
                    rare.dead_evt.set()
            return rare.dead_evt

    def _poll(self) -> Any:
        return self if self._state >= RESULT else NOT_READY

    def _block(self, waiter: list[Any], case: Any) -> None:
        waiters = self._waiters
        if type(waiters) is not WaitQueue:
            queue = WaitQueue()
            if waiters is not None:
                queue.append(waiters)
            self._waiters = waiters = queue
        waiters.append(waiter if case is None else (waiter, case))

    def _leave(self, waiter: list[Any]) -> None:
        with self._lock:
            waiters = self._waiters
            if waiters is waiter:
                self._waiters = None
        if type(waiters) is WaitQueue:
            waiters.left(self._lock)

    # -- its end, in its OS thread -----------------------------------------------------------------

    def ready_last(self) -> None:
        """See `scheduler.Task.ready_last`."""
        worker = self.worker
        if worker is None or not worker.seated._is_owned():
            worker = self._find_worker()
            if worker is None:
                self.inject()
                return
        if worker.queue:
            worker.queue.append(self)
            # publish (append above), then check: see scheduler.runtime
            if worker.runtime.idle and len(worker.queue) >= worker.worth:
                worker.runtime.wake()
        elif not worker.next:
            worker.next.append(self)
        else:
            self.ready()

    def finish(self, value: Any) -> None:
        lock = self._lock
        lock.acquire()
        # Under the lock: what others ask for before it has ended (`dead_evt`, a break) is found here.
        if self.pending or self._rare is not None or type(value) is Tail:
            lock.release()
            self._finish_rarely(value)
            return
        self._outcome = value
        self._state = RESULT
        waiters = self._waiters
        if waiters is not None:
            self._waiters = None
        if self._mail is not None:
            self._mail = None
        lock.release()
        if type(waiters) is list:
            try:
                task = waiters.pop()
            except IndexError:
                return
            task.ready_last()
        elif waiters is not None:
            self._wake(waiters)

    def _wake(self, waiters: Any) -> None:
        """Resume those that have waited for its end. Takes _lock."""
        if type(waiters) is list:
            waiters = (waiters,)
        else:
            with self._lock:
                waiters = waiters.taken()
        for entry in waiters:
            try:
                if type(entry) is list:
                    task = entry.pop()
                else:
                    task = entry[0].pop()
                    task.value = (entry[1], self)
            except IndexError:
                continue
            task.ready_last()

    def _finish_rarely(self, value: Any) -> None:
        """The coroutine returned, and something is special about that."""
        if self.pending & KILL:
            self._end_as(KILLED, None)
        elif type(value) is Tail:
            self.coro = settle(value)  # makes the call in a step, in the thread's context
            self.waiter = None
            self.ready()
        else:
            self._end_as(RESULT, value if self._rare is None or self._rare.keep else None)

    def fail(self, error: BaseException) -> None:
        if self.pending & KILL and isinstance(error, ThreadKilled):
            self._end_as(KILLED, None)
            return
        if type(error) in _FORERUNNERS and all(custodian.is_shut_down for custodian in self._managers()):
            self._end_as(KILLED, None)  # it was about to be killed; this only came first
            return
        if self._rare is not None and self._rare.on_fail is not None:
            after = self._rare.on_fail(self, error)
            self._end_as(FAILED, error)
            if after is not None:
                after()
            return
        runtime = runtimes.get(self.key)
        if runtime is not None and runtime.main is not self:
            if isinstance(error, SystemExit):
                runtime.exited(error)
            else:
                try:
                    runtime.report(self, error, own_end=True)
                except ThreadKilled:
                    self._end_as(KILLED, None)
                    return
        self._end_as(FAILED, error)

    def failure(self) -> BaseException | None:
        if self._state == FAILED:
            return self._outcome  # type: ignore[no-any-return]
        return ThreadKilled() if self._state == KILLED else None

    def _end_as(self, state: int, outcome: Any) -> None:
        self._leave_modes()
        with self._lock:
            if self._state >= RESULT:
                return
            if nested(self._lock):
                defer(lambda: self._end_as(state, outcome))
                return
            self._outcome = outcome
            self._state = state
            waiters, rare = self._waiters, self._rare
            self._waiters = self._mail = None
            asked = rare is not None and rare.asked
            if rare is not None:
                rare.asked = False
        if asked:
            safepoints.update(self)
        if waiters is not None:
            self._wake(waiters)
        if rare is not None and rare.dead_evt is not None:
            rare.dead_evt.set()
        if rare is not None and rare.pool is not None:
            rare.pool.left(self)

    # -- mailbox -------------------------------------------------------------------------------

    if TYPE_CHECKING:

        @overload
        def send(self, value: Any, fail: type[ThreadDead] | None = ...) -> None: ...
        @overload
        def send[F](self, value: Any, fail: Callable[[], F]) -> F | None: ...

    def send(self, value: Any, fail: Any = ThreadDead) -> Any:
        """Queue ``value`` in its mailbox. If it has ended: the result of ``fail()``, ``None`` if ``fail`` is
        ``None``, and by default `ThreadDead`.

        Source: Racket Reference, ``thread-send``."""
        if fail is not ThreadDead and fail is not None:
            check_callable("send", "fail", fail)
        lock = self._lock
        lock.acquire()
        mail = self._mail
        # It has not ended; and now the usual cases of `Mailbox.put`.
        if mail is not None and not self.pending:
            waiter = mail.receiver
            if waiter:
                try:
                    task = waiter.pop()  # ourselves, or who stands in for us
                except IndexError:  # claimed by another since
                    task = mail.put(value, lock)
                else:
                    task.value = value
                    lock.release()
                    # The usual case of `Task.ready`, written out: the calls cost 4% of a round trip. A thread
                    # whose `ready` is another one has no worker.
                    worker = task.worker
                    if worker is not None and worker.seated._is_owned() and not worker.next:
                        worker.next.append(task)
                    else:
                        task.ready()
                    return None
            elif waiter is None and mail.watcher is None:
                mail.items.append(value)
                task = None
            else:
                task = mail.put(value, lock)
        elif self._state < RESULT and not self.pending & KILL:
            task = self._mailbox().put(value, lock)
        else:
            lock.release()
            if fail is None:
                return None
            if fail is ThreadDead:
                raise ThreadDead(f"send: {self!r} has ended")
            return fail()
        lock.release()
        if task is not None:
            task.ready()
        return None

    def _mailbox(self) -> Mailbox:
        """Holds _lock."""
        if self._mail is None:
            made = Mailbox()
            if self._mail is None:  # a finalizer that sends may have made it meanwhile
                self._mail = made
        return self._mail


def new_thread(key: int, coro: Any, context: Context, custodian: Any) -> Thread:
    """A coroutine thread of the runtime ``key`` that runs ``coro`` in ``context``; not yet managed, and not
    yet ready."""
    made: Thread = Thread()
    made.set_up(key, coro, context, custodian)
    return made


Thread._wait.__name__, Thread._wait.__qualname__ = "wait", "Thread.wait"  # for warnings


def current_thread() -> Thread:
    """The thread that runs. Source: Racket Reference, ``current-thread``."""
    return current("current_thread")  # type: ignore[no-any-return]
