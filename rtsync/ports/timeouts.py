"""The time that an operation on a port may take: `TimedPort.timeout`.

Each waiter has a deadline, but there is only one timer for all of a port's (in each timer queue of those who
wait), and it is not moved when somebody goes: when it fires it looks who is late, and is armed again for the
first of the others, if any. It is armed anew for who comes with a deadline before that, which nobody does
unless the timeout was made shorter. So a thread that is always in time costs one timer for each time the
timeout passes, not two operations on the timers of the runtime, with their lock, for each time it waits.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

from rtsync.errors import check_seconds
from rtsync.waiter import give
from scheduler import Timer, TimerQueue, here
from scheduler.timers import FAR

from .errors import Failed
from .port import Port, Request


class TimedRequest(Request):
    """What a thread wants of a port, perhaps for so long only."""

    __slots__ = ("_deadline",)

    _deadline: float
    """By the clock of the timers where it waits; there only once it waits at a port that has a timeout."""

    def _since(self, other: TimedRequest | None) -> None:
        """It is the rest of the operation of ``other``, whose time goes on."""
        deadline = getattr(other, "_deadline", None)
        if deadline is not None:
            self._deadline = deadline

    def _late(self) -> Failed:
        """What it gives when its time is over."""
        return Failed(TimeoutError(f"{self._port.name}: {self.operation} has taken too long"))


class TimedPort[Me = Any](Port[Me]):
    """A port whose operations may be given a time."""

    __slots__ = ("_armed", "_timeout")

    def __init__(self, end: Any, name: str, encoding: str, errors: str) -> None:
        super().__init__(end, name, encoding, errors)
        self._timeout: float | None = None
        self._armed: dict[TimerQueue, tuple[float, Timer]] = {}  # for when; see `_expire`

    @property
    def timeout(self) -> float | None:
        """Seconds that each operation may take, as a whole; ``None`` (at first): any time. It raises
        ``TimeoutError`` then. One that reads has consumed nothing: what has come stays for the next one. Of
        one that writes, either nothing was taken, or all was and is still pending; a closing that was awaited
        in vain drops that.

        That is the cheap way to be rid of peers that say nothing or do not listen, as `socket.settimeout`: it
        costs a look at the clock, and no timer is touched as long as something moves. Changes hold for
        operations that begin later. Events (`read_line_evt` and its like) have no timeout of their own but
        that of their `sync`."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        if seconds is not None:
            check_seconds(f"{type(self)._public}.timeout", "seconds", seconds)
            if seconds == FAR:
                seconds = None
        with self._lock:
            if self._quick:
                self._quick_to_queue()
            self._timeout = seconds
            self._restart()

    _public = "Port"
    """The class that users know."""

    def _restart(self) -> None:
        """There is another timeout. Holds _lock."""

    def _set_deadline(self, request: Any) -> None:
        """``request``, of an operation, waits from now on; or again, and then its time goes on. Holds
        _lock."""
        assert self._timeout is not None
        driver = here.driver
        home = getattr(driver, "home", None)
        # The timers of an OS thread's own are fired by itself only, while it waits; nobody else's waiter may
        # depend on them.
        timers = driver.timers if driver.key or home is None else home.timers
        deadline = getattr(request, "_deadline", None)
        if deadline is None:
            request._deadline = deadline = timers.clock() + self._timeout
        armed = None if home is None else self._armed.get(timers)
        if armed is None or deadline < armed[0]:
            self._arm(timers, deadline, home is not None)

    def _arm(self, timers: TimerQueue, deadline: float, remember: bool = True) -> None:
        """Have `_expire` called. Holds _lock."""
        port = ref(self)  # a port that is forgotten is not kept by its timer

        def fire(timer: Timer) -> None:
            found = port()
            if found is not None:
                found._expire(timers, timer)

        with timers.lock:
            timer = timers.arm(deadline, [], None, fire)
        if remember:
            armed = self._armed.get(timers)
            self._armed[timers] = deadline, timer
            if armed is not None:
                timers.disarm(armed[1])

    def _expire(self, timers: TimerQueue, timer: Timer) -> None:
        """``timer`` of ``timers`` has fired. Takes _lock."""
        with self._lock:
            armed = self._armed.get(timers)
            remembered = armed is not None and armed[1] is timer
            if remembered:
                del self._armed[timers]
            if self._closed:
                return
            if self._quick:
                self._quick_to_queue()
            now = timers.clock()
            first = FAR
            living = []
            for entry in self._queue:
                waiter, case, request = entry
                deadline = getattr(request, "_deadline", FAR)
                if waiter and deadline <= now:
                    try:
                        task = waiter.pop()
                    except IndexError:
                        continue
                    give(task, case, request._late())
                elif waiter:
                    living.append(entry)
                    first = min(first, deadline)
            self._queue.clear()
            self._queue.extend(living)
            if not living:
                self._idle()
            elif remembered and first < FAR:
                self._arm(timers, first)

    def _shut(self) -> bool:
        was_open = super()._shut()
        with self._lock:
            armed, self._armed = self._armed, {}
        for timers, (_, timer) in armed.items():
            timers.disarm(timer)
        return was_open
