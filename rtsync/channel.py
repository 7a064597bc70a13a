"""Channels: a value passes from one thread to another at the moment when both are there.

Each side looks into the queue of the other under the channel's lock. An entry whose waiter it can claim is
its partner: from the claim on the exchange has happened, for both. Otherwise it queues itself and parks.

Source: Racket Reference 11.2.2 (Channels).
"""

from __future__ import annotations

from _thread import RLock
from collections import deque
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Self, overload

from scheduler import Parking, direct, nested, published

from .current import let_go
from .errors import ContractError
from .evt import BaseEvt
from .waiter import NOT_READY, RETRY, SPARE, Pair, claim_first, give, sweep


class TwoSided[T = Any](BaseEvt[T]):
    """What channels of both kinds have: a queue of those who wait to get, and one of those who wait to put.

    The entry of a putter is (waiter, case, value, event), that of a getter (waiter, case), or its bare waiter
    if it need not know which case it is. The queues need the lock.
    """

    __slots__ = ("__weakref__", "_dead", "_getters", "_lock", "_pair", "_putters")

    def __init__(self) -> None:
        # Re-entrant, here and in semaphores: see `scheduler.deferred`. It costs no more than a plain lock.
        self._lock = published(RLock())
        self._getters: deque[Any] = published(deque())
        self._putters: deque[Any] = published(deque())
        self._dead = 0  # entries in both that have died early
        self._pair: Pair | None = None  # our lock and that of the channel we were waited for beside last
        published(self)

    __init__.__qualname__ = "Channel.__init__"  # in what a wrong call raises

    def get(self) -> Coroutine[Any, Any, T]:
        """Take a value, waiting for one."""
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await self.get()

    def __reduce__(self) -> Any:
        raise ContractError(
            f"{type(self).__name__}: cannot be copied or pickled; between places use a place channel"
        )

    def _leave(self, waiter: list[Any]) -> None:
        # Without the lock: an increment lost to another OS thread only delays a sweep.
        dead = self._dead
        self._dead = dead + 1
        if dead >= SPARE:
            self._sweep()

    def _leave_putters(self) -> None:
        self._dead += 1
        self._sweep()

    def _give_up(self, waiter: list[Any]) -> None:
        """Our thread is stopped at a `get`."""
        let_go(waiter, self._lock)
        self._leave(waiter)

    def _give_up_put(self, waiter: list[Any]) -> None:
        """Our thread is stopped at a `put`."""
        let_go(waiter, self._lock)
        self._leave_putters()

    def _sweep(self) -> None:
        """Take out the dead if they outnumber the living. Takes _lock."""
        getters, putters = self._getters, self._putters
        if self._dead * 2 > len(getters) + len(putters) and sweep(self._lock, getters, putters):
            self._dead = 0


class Channel[T = Any](TwoSided[T]):
    """A rendezvous without a buffer. As an event: ready when a value can be got, which is the result.

    ``async for value in channel`` gets for ever. Usable from any OS thread (`block_on`). For a type checker
    ``Channel[int]()`` carries integers.
    Source: Racket Reference, ``make-channel``.
    """

    __slots__ = ()

    @direct
    def put(self, value: T) -> Generator[Parking, Any]:
        """Wait for a thread that gets, and give it ``value``. Source: Racket Reference, ``channel-put``."""
        lock = self._lock
        while True:
            lock.acquire()
            getters = self._getters
            while getters:
                try:
                    entry = getters.popleft()
                    if type(entry) is list:
                        task = entry.pop()
                        given: Any = value
                    else:
                        task = entry[0].pop()
                        given = entry[1], value
                except IndexError:
                    if nested(lock):
                        getters.appendleft(entry)
                        break
                    continue
                lock.release()
                # `give`, written out here and in get: the call costs 5% of a round trip.
                task.value = given
                task.ready()
                return
            mine: list[Any] = []
            self._putters.append((mine, None, value, None))
            try:
                if (yield mine, lock) is not RETRY:
                    return
                self._leave_putters()
            except BaseException:
                self._give_up_put(mine)
                raise

    @direct
    def get(self) -> Generator[Parking, Any, T]:
        """Wait for a thread that puts, and take its value. Source: Racket Reference, ``channel-get``."""
        # Few variables: with one more the coroutine takes 320 bytes instead of 256, and of a hundred thousand
        # threads most may wait here.
        lock = self._lock
        while True:
            lock.acquire()
            putters = self._putters
            while putters:
                try:
                    entry = putters.popleft()  # waiter, case, value, event
                    task = entry[0].pop()
                except IndexError:
                    if nested(lock):
                        putters.appendleft(entry)
                        break
                    continue
                lock.release()
                if entry[1] is not None:
                    task.value = (entry[1], entry[3])
                task.ready()
                return entry[2]  # type: ignore[no-any-return]
            waiter: list[Any] = []
            self._getters.append(waiter)
            try:
                value: T = yield waiter, lock
            except BaseException:
                self._give_up(waiter)
                raise
            if value is not RETRY:
                return value
            self._leave(waiter)

    if TYPE_CHECKING:

        @overload
        def try_get(self, default: None = None) -> T | None: ...
        @overload
        def try_get[D](self, default: D) -> T | D: ...

    def try_get(self, default: Any = None) -> Any:
        """Take the value of a thread that waits to put, or give ``default`` at once.

        Source: Racket Reference, ``channel-try-get``."""
        with self._lock:
            value = self._poll()
        return default if value is NOT_READY else value

    def put_evt(self, value: T) -> ChannelPut:
        """An event ready when a thread gets ``value`` from here; its result is itself.

        Source: Racket Reference, ``channel-put-evt``."""
        return ChannelPut(self, value)

    def __repr__(self) -> str:
        return f"<Channel at {id(self):#x}>"

    # -- as an event ---------------------------------------------------------------------------

    def _poll(self) -> Any:
        putters = self._putters
        if not putters or (found := claim_first(putters, self._lock)) is None:
            return NOT_READY
        task, case, value, evt = found
        give(task, case, evt)
        return value

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._getters.append((waiter, case))


class ChannelPut(BaseEvt["ChannelPut"]):
    """`Channel.put_evt`: the putting side of a channel as an event."""

    __slots__ = ("_channel", "_lock", "_value")

    def __init__(self, channel: Channel, value: Any) -> None:
        self._channel = channel
        self._lock = channel._lock
        self._value = value

    def _poll(self) -> Any:
        getters = self._channel._getters
        if not getters or (found := claim_first(getters, self._lock)) is None:
            return NOT_READY
        task, case = found
        give(task, case, self._value)
        return self

    def _block(self, waiter: list[Any], case: Any) -> None:
        self._channel._putters.append((waiter, case, self._value, self))

    def _leave(self, waiter: list[Any]) -> None:
        self._channel._leave_putters()

    def __repr__(self) -> str:
        return f"<put to {self._channel!r}>"
