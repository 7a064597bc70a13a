"""Buffered asynchronous channels: a put does not wait for a getter, only for room if there is a limit.

The invariant, under the lock: getters wait only while the buffer is empty, putters only while it is full.
So a put that finds a getter hands over directly, and a get from a full buffer lets the first putter in.

Source: Racket Reference 11.2.4 (Buffered Asynchronous Channels).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, overload

from scheduler import Parking, defer, direct, nested, published

from .channel import TwoSided
from .errors import check_count
from .evt import BaseEvt
from .waiter import NOT_READY, RETRY, claim_first, give


class AsyncChannel[T = Any](TwoSided[T]):
    """A queue of values, first in, first out. As an event: ready when there is one, which is the result.

    ``async for value in channel`` gets for ever. Usable from any OS thread (`block_on`). For a type checker
    ``AsyncChannel[int]()`` carries integers.
    Source: Racket Reference, ``make-async-channel``.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int | None = None) -> None:
        """``limit``: how many values may be stored; ``None`` for any number."""
        if limit is not None:
            check_count("AsyncChannel", "limit", limit, 1)
        super().__init__()
        self._limit = sys.maxsize if limit is None else limit
        self._buffer: deque[Any] = published(deque())

    @direct
    def put(self, value: T) -> Generator[Parking, Any]:
        """Store ``value``; waits while the limit is reached.

        Source: Racket Reference, ``async-channel-put``."""
        lock = self._lock
        while True:
            lock.acquire()
            # The usual cases of `_offer`, and in get of `_poll`, written out: a quarter of their time.
            buffer = self._buffer
            stored = len(buffer)
            if stored < self._limit and (stored or not self._getters):
                buffer.append(value)
                lock.release()
                return
            if self._offer(value):
                lock.release()
                return
            mine: list[Any] = []
            self._putters.append((mine, None, value, None))
            if len(buffer) < self._limit:  # as in _block: something was taken since we looked
                defer(self._match)
            try:
                if (yield mine, lock) is not RETRY:
                    return
                self._leave_putters()
            except BaseException:
                self._give_up_put(mine)
                raise

    @direct
    def get(self) -> Generator[Parking, Any, T]:
        """Take the oldest value, waiting for one. Source: Racket Reference, ``async-channel-get``."""
        lock = self._lock
        while True:
            lock.acquire()
            buffer = self._buffer
            stored = len(buffer)
            if stored and (stored < self._limit or not self._putters):
                value = buffer.popleft()
                lock.release()
                return value  # type: ignore[no-any-return]
            value = self._poll()
            if value is not NOT_READY:
                lock.release()
                return value  # type: ignore[no-any-return]
            mine: list[Any] = []
            self._getters.append(mine)
            if buffer:  # as in _block
                defer(self._match)
            try:
                value = yield mine, lock
            except BaseException:
                self._give_up(mine)
                raise
            if value is not RETRY:
                return value  # type: ignore[no-any-return]
            self._leave(mine)

    if TYPE_CHECKING:

        @overload
        def try_get(self, default: None = None) -> T | None: ...
        @overload
        def try_get[D](self, default: D) -> T | D: ...

    def try_get(self, default: Any = None) -> Any:
        """Take the oldest value, or give ``default`` at once.

        Source: Racket Reference, ``async-channel-try-get``."""
        with self._lock:
            if self._putters and nested(self._lock):
                return default  # one of them may be half-way to its place
            value = self._poll()
        return default if value is NOT_READY else value

    def put_evt(self, value: T) -> AsyncChannelPut:
        """An event ready when ``value`` has been stored; its result is itself.

        Source: Racket Reference, ``async-channel-put-evt``."""
        return AsyncChannelPut(self, value)

    def __len__(self) -> int:
        """How many values are stored now."""
        return len(self._buffer)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        limit = "" if self._limit == sys.maxsize else f" of {self._limit}"
        return f"<AsyncChannel with {len(self._buffer)}{limit} at {id(self):#x}>"

    def _offer(self, value: Any) -> bool:
        """Hand ``value`` to a getter or store it; whether that was possible. Holds _lock."""
        getters = self._getters
        if getters and (found := claim_first(getters, self._lock)) is not None:
            task, case = found
            give(task, case, value)
            return True
        if len(self._buffer) < self._limit or nested(self._lock):
            self._buffer.append(value)
            return True
        return False

    # -- as an event ---------------------------------------------------------------------------

    def _poll(self) -> Any:
        buffer = self._buffer
        if not buffer:
            return NOT_READY
        value = buffer.popleft()
        putters = self._putters
        if putters and (found := claim_first(putters, self._lock)) is not None:
            task, case, stored, evt = found
            buffer.append(stored)
            give(task, case, evt)
        elif putters:  # one of them is only just queueing, in this OS thread: see scheduler.deferred
            defer(self._match)
        return value

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._getters.append((waiter, case))
        if self._buffer:  # a clean-up has put something since we looked: see scheduler.deferred
            defer(self._match)

    def _match(self) -> None:
        """Bring together values and getters, and room and putters, that missed each other."""
        lock, buffer = self._lock, self._buffer
        with lock:
            while True:
                while buffer and (found := claim_first(self._getters, lock)) is not None:
                    task, case = found
                    give(task, case, buffer.popleft())
                if len(buffer) >= self._limit or (found := claim_first(self._putters, lock)) is None:
                    return
                task, case, value, evt = found
                buffer.append(value)
                give(task, case, evt)


class AsyncChannelPut(BaseEvt["AsyncChannelPut"]):
    """`AsyncChannel.put_evt`: storing a value as an event."""

    __slots__ = ("_channel", "_lock", "_value")

    def __init__(self, channel: AsyncChannel, value: Any) -> None:
        self._channel = channel
        self._lock = channel._lock
        self._value = value

    def _poll(self) -> Any:
        return self if self._channel._offer(self._value) else NOT_READY

    def _block(self, waiter: list[Any], case: Any) -> None:
        channel = self._channel
        channel._putters.append((waiter, case, self._value, self))
        if len(channel._buffer) < channel._limit:
            defer(channel._match)

    def _leave(self, waiter: list[Any]) -> None:
        self._channel._leave_putters()

    def __repr__(self) -> str:
        return f"<put to {self._channel!r}>"
