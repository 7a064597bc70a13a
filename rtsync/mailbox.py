"""Mailboxes: every thread has one; anybody sends to it, and only the thread itself receives.

`Thread.send` is the other half, in `rtsync.thread`.

Source: Racket Reference 11.1.4 (Thread Mailboxes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, Final

from scheduler import NoRuntime, Parking, defer, direct, here, nested, published

from .current import current, let_go
from .errors import refuse
from .evt import BaseEvt, Evt, LocalEvt
from .waiter import NOT_READY, RETRY


class Mailbox:
    """The messages of a thread, and what that thread waits with for one. Under its lock.

    The thread waits only while there are no messages. A clean-up that sends to the thread in whose OS thread
    it runs, between the thread's look at the messages and its parking, breaks that (`scheduler.deferred`);
    whoever sees it has them brought together by `match`.
    """

    __slots__ = ("__weakref__", "items", "receiver", "watcher")

    def __init__(self) -> None:
        self.items: deque[Any] = published(deque())
        self.receiver: list[Any] | None = None  # the waiter of `receive`, living or dead
        self.watcher: tuple[list[Any], Any] | None = None  # waiter and case of a sync

    def put(self, value: Any, lock: Any) -> Any:
        """Store ``value``; if the thread waits for it, the thread, which is to be made ready once ``lock``,
        the thread's, has been let go. Holds lock."""
        self.items.append(value)
        return self._claim(lock)

    def _claim(self, lock: Any) -> Any:
        """There is a message, and maybe somebody waits: the thread, given what it waits for, or ``None``.
        Holds lock."""
        receiver, watcher = self.receiver, self.watcher
        if receiver is None and watcher is None:
            return None
        task = None
        try:
            if receiver is not None:
                task = receiver.pop()
                task.value = self.items.popleft()
            elif watcher is not None:  # it only wants to know
                task = watcher[0].pop()
                task.value = (watcher[1], mailbox_evt)
        except IndexError:
            if nested(lock):
                self.match_later(lock)
                return None
        self.receiver = self.watcher = None
        return task

    def match_later(self, lock: Any) -> None:
        """Bring together the thread and its messages, from elsewhere. ``lock`` is the thread's."""
        defer(lambda: self._match(lock))

    def _match(self, lock: Any) -> None:
        with lock:
            task = self._claim(lock) if self.items else None
        if task is not None:
            task.ready()


@direct
def receive() -> Generator[Parking, Any, Any]:
    """Take the oldest message of the current thread's mailbox, waiting for one.

    Source: Racket Reference, ``thread-receive``."""
    try:
        me = here.driver.task
        lock = me._lock  # which only a thread has
    except AttributeError:
        raise NoRuntime("receive") from None
    while True:
        lock.acquire()
        mail = me._mail
        if mail is None:
            mail = me._mailbox()
        items = mail.items
        if items:
            value = items.popleft()
            lock.release()
            return value
        waiter: list[Any] = []
        mail.receiver = waiter
        if items:
            mail.match_later(lock)
        try:
            value = yield waiter, lock
        except BaseException:
            let_go(waiter, lock)
            mail.receiver = None
            raise
        if value is not RETRY:
            return value


def try_receive(default: Any = None) -> Any:
    """Take the oldest message, or give ``default`` at once.

    Source: Racket Reference, ``thread-try-receive``."""
    me = current("try_receive")
    with me._lock:
        mail = me._mail
        return mail.items.popleft() if mail is not None and mail.items else default


def rewind_receive(items: Any) -> None:
    """Push ``items`` back to the front of the mailbox one by one, so that the last one is the next message.

    Source: Racket Reference, ``thread-rewind-receive``."""
    me = current("rewind_receive")
    if not isinstance(items, (list, tuple)):
        raise refuse("rewind_receive", "items", "a list", items, TypeError)
    with me._lock:
        me._mailbox().items.extendleft(items)


class MailboxEvt(LocalEvt):
    """`receive_evt`."""

    __slots__ = ()

    def _localize(self) -> BaseEvt:
        return _Messages(current("receive_evt"))

    def __reduce__(self) -> str:
        return "mailbox_evt"

    def __repr__(self) -> str:
        return "receive_evt"


mailbox_evt: Final = MailboxEvt()


def receive_evt() -> Evt[Evt]:
    """An event ready when the thread that synchronizes on it has a message; it takes nothing, and its
    result is itself. Always the same object.

    Source: Racket Reference, ``thread-receive-evt``."""
    return mailbox_evt


class _Messages(BaseEvt):
    """The mailbox of one thread, which alone synchronizes on this."""

    __slots__ = ("_lock", "_thread")

    def __init__(self, thread: Any) -> None:
        self._thread = thread
        self._lock = thread._lock

    def _poll(self) -> Any:
        return mailbox_evt if self._thread._mailbox().items else NOT_READY

    def _block(self, waiter: list[Any], case: Any) -> None:
        mail = self._thread._mailbox()
        mail.watcher = (waiter, case)
        if mail.items:
            mail.match_later(self._lock)

    def _leave(self, waiter: list[Any]) -> None:
        with self._lock:
            mail = self._thread._mailbox()
            if mail.watcher is not None and mail.watcher[0] is waiter:
                mail.watcher = None
