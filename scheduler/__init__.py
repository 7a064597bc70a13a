"""The engine: coroutine tasks over a pool of OS threads. It knows no event, no semaphore and no place.

Read `task` first (what a step is, how a task parks and who may wake it), then `worker` (the loop), then
`runtime` (how workers sleep and wake without overlooking anything).
"""

from .deferred import defer, nested
from .errors import BadYield, ForkError, NoRuntime, SchedulerError
from .io_thread import poller_here
from .linger import linger
from .osthread import OsDriver, OsTask, block, unseated
from .refcount import published, shared
from .runtime import Runtime, end_child
from .safepoint import safepoints
from .task import Parking, Task, Waiter, current_driver, direct, here, returns_coroutine
from .timers import Timer, TimerQueue
from .worker import Worker

__all__ = [
    "BadYield",
    "ForkError",
    "NoRuntime",
    "OsDriver",
    "OsTask",
    "Parking",
    "Runtime",
    "SchedulerError",
    "Task",
    "Timer",
    "TimerQueue",
    "Waiter",
    "Worker",
    "block",
    "current_driver",
    "defer",
    "direct",
    "end_child",
    "here",
    "linger",
    "nested",
    "poller_here",
    "published",
    "returns_coroutine",
    "safepoints",
    "shared",
    "unseated",
]
