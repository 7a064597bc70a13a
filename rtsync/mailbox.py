"""Mailboxes: every thread has one; anybody sends to it, and only the thread itself receives.

`Thread.send` is the other half, in `rtsync.thread`.

Source: Racket Reference 11.1.4 (Thread Mailboxes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, Final

from scheduler import Parking, defer, direct, nested

from .current import current
from .errors import refuse
from .evt import BaseEvt, Evt, LocalEvt
from .waiter import NOT_READY, RETRY


class Mailbox:
    """The messages of a thread, and the entry of that thread while it waits for one. Under its lock."""

    __slots__ = ("items", "receiver")

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.receiver: tuple[list[Any], Any] | None = None

    def put(self, value: Any, lock: Any) -> Any:
        """Store ``value`` or hand it to the thread if that waits; the thread, if it is to be made ready
        once ``lock``, the thread's, has been let go. Holds lock."""
        receiver = self.receiver
        if nested(lock):
            defer(lambda: self._put_later(value, lock))
            return None
        if receiver is not None:
            self.receiver = None
            waiter, case = receiver
            try:
                task = waiter.pop()
            except IndexError:
                pass
            else:
                if case is None:  # it receives
                    task.value = value
                else:  # it only wants to know
                    self.items.append(value)
                    task.value = (case, mailbox_evt)
                return task
        self.items.append(value)
        return None

    def _put_later(self, value: Any, lock: Any) -> None:
        with lock:
            task = self.put(value, lock)
        if task is not None:
            task.ready()


@direct
def receive() -> Generator[Parking, Any, Any]:
    """Take the oldest message of the current thread's mailbox, waiting for one.

    Source: Racket Reference, ``thread-receive``."""
    me = current("receive")
    lock = me._lock
    while True:
        lock.acquire()
        mail = me._mail
        if mail is None:
            mail = me._mailbox()
        if mail.items:
            value = mail.items.popleft()
            lock.release()
            return value
        waiter: list[Any] = []
        mail.receiver = (waiter, None)
        try:
            value = yield waiter, lock
        except BaseException:
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


def receive_evt() -> Evt:
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
        self._thread._mailbox().receiver = (waiter, case)

    def _leave(self, waiter: list[Any]) -> None:
        with self._lock:
            mail = self._thread._mailbox()
            if mail.receiver is not None and mail.receiver[0] is waiter:
                mail.receiver = None
