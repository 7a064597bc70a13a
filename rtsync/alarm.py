"""Alarms, sleeping, and the event that nothing else can run.

Source: Racket Reference 11.2.1 (``alarm-evt``, ``system-idle-evt``) and 11.1.2 (``sleep``).
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Generator
from typing import Any

from scheduler import NoRuntime, Parking, current_driver, direct, here, returns_coroutine
from scheduler.timers import FAR, NEAR

from .current import let_go
from .errors import check_seconds, is_number, is_real, refuse
from .evt import BaseEvt, Evt, LocalEvt
from .sync import Deadline
from .waiter import RETRY, Locks


def monotonic() -> float:
    """Seconds on the clock by which this thread sleeps: the monotonic clock, or a test's virtual time."""
    driver = current_driver()
    return time.monotonic() if driver is None else driver.clock()


def wall_time() -> float:
    """Seconds since the epoch; under virtual time it goes forward with that."""
    driver = current_driver()
    if driver is None or driver.home is None:
        return time.time()
    return driver.home.wall_time()  # type: ignore[no-any-return]


class Alarm(LocalEvt):
    """`at` and `after`."""

    __slots__ = ("_kind", "_seconds")

    def __init__(self, seconds: float, kind: str) -> None:
        self._seconds = seconds
        self._kind = kind

    def _localize(self) -> BaseEvt:
        driver = current_driver()
        if driver is None:
            raise NoRuntime("sync")
        deadline = self._seconds
        if self._kind == "wall":
            deadline += driver.clock() - wall_time()
        elif self._kind == "after":
            deadline += driver.clock()
        return Deadline(driver.timers, deadline, self)

    def __repr__(self) -> str:
        return f"<alarm {self._kind} {self._seconds}>"


def at(time: float, monotonic: bool = False) -> Evt[Evt]:
    """An event ready at ``time``: seconds since the epoch, or on the monotonic clock (`monotonic`). Its
    result is itself.

    Source: Racket Reference, ``alarm-evt``."""
    if not is_real(time):
        raise refuse("at", "time", "a number of seconds", time, TypeError)
    if not is_number(time):
        raise refuse("at", "time", "a number of seconds", time, ValueError)
    if not isinstance(monotonic, bool):
        raise refuse("at", "monotonic", "a bool", monotonic, TypeError)
    return Alarm(time, "monotonic" if monotonic else "wall")


def after(secs: float) -> Evt[Evt]:
    """An event ready ``secs`` seconds after a thread begins to synchronize on it; each time anew. Its
    result is itself."""
    check_seconds("after", "secs", secs)
    return Alarm(secs, "after")


@returns_coroutine
def sleep(secs: float = 0) -> Coroutine[Any, Any, None]:
    """Sleep for at least ``secs`` seconds, and up to a millisecond longer; 0 lets others run.

    Source: Racket Reference, ``sleep``."""
    if type(secs) is float and secs > 0:
        return _sleep(secs)
    if type(secs) is int and not secs:
        return _yield()
    check_seconds("sleep", "secs", secs)
    return _sleep(secs) if secs else _yield()


@direct
def _yield() -> Generator[Parking, Any]:
    try:
        here.driver  # noqa: B018
    except AttributeError:
        raise NoRuntime("sleep") from None
    yield None


@direct
def _sleep(secs: float) -> Generator[Parking, Any]:
    try:
        driver = here.driver
    except AttributeError:
        raise NoRuntime("sleep") from None
    deadline = driver.clock() + secs
    while deadline == FAR:
        yield [], Locks()  # until it is stopped; who suspends it claims the waiter too
    timers = driver.timers
    lock = timers.lock
    while True:
        waiter: list[Any] = []
        lock.acquire()
        timers.insert(waiter, deadline, secs > NEAR)
        try:
            if (yield waiter, lock) is not RETRY:
                return
        except BaseException:
            let_go(waiter, lock)
            waiter.clear()  # if its coroutine is being closed where it stands
            timers.left()
            raise
        timers.left()
        if timers.clock() >= deadline:
            return


for _made in (_yield, _sleep):
    _made.__name__ = _made.__qualname__ = "sleep"
del _made


class Idle(LocalEvt):
    """`idle`."""

    __slots__ = ()

    def _localize(self) -> BaseEvt:
        driver = current_driver()
        if driver is None or driver.home is None:
            raise NoRuntime("idle")
        return driver.home.idle_evt(self)  # type: ignore[no-any-return]

    def __reduce__(self) -> str:
        return "_idle"

    def __repr__(self) -> str:
        return "idle"


def idle() -> Evt[Evt]:
    """An event ready when no thread could run: all are blocked, suspended or waiting for time. Its result
    is itself.

    Source: Racket Reference, ``system-idle-evt``."""
    return _idle


_idle = Idle()
