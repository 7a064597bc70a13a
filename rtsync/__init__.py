"""Racket's concurrency system for free-threaded Python. See README.md and docs/."""

from scheduler.safepoint import own_folder

from . import futures as futures  # registers them
from .alarm import after, at, idle, sleep
from .async_channel import AsyncChannel
from .breaks import Break, BreakHangUp, BreakTerminate, break_enabled, breaks
from .channel import Channel
from .custodian import Custodian, current_custodian
from .env import Parameter, parameterize
from .errors import (
    ContractError,
    Deadlock,
    ForkError,
    NoRuntime,
    SchedulerError,
    ThreadDead,
    ThreadKilled,
)
from .evt import (
    Evt,
    always,
    call,
    choice,
    guard,
    is_evt,
    nack_guard,
    never,
    poll_guard,
    register_evt,
    tail,
)
from .mailbox import receive, receive_evt, rewind_receive, try_receive
from .os_thread import block_on
from .runtime import Runtime, run, uncaught_exception_handler
from .semaphore import Semaphore
from .shared import SharedBytes, SharedFlvector, SharedFxvector
from .spawn import thread
from .sync import current_evt_pseudo_random_generator, sync
from .thread import Thread, current_thread

own_folder(__file__)

__all__ = [
    "AsyncChannel",
    "Break",
    "BreakHangUp",
    "BreakTerminate",
    "Channel",
    "ContractError",
    "Custodian",
    "Deadlock",
    "Evt",
    "ForkError",
    "NoRuntime",
    "Parameter",
    "Runtime",
    "SchedulerError",
    "Semaphore",
    "SharedBytes",
    "SharedFlvector",
    "SharedFxvector",
    "Thread",
    "ThreadDead",
    "ThreadKilled",
    "after",
    "always",
    "at",
    "block_on",
    "break_enabled",
    "breaks",
    "call",
    "choice",
    "current_custodian",
    "current_evt_pseudo_random_generator",
    "current_thread",
    "guard",
    "idle",
    "is_evt",
    "nack_guard",
    "never",
    "parameterize",
    "poll_guard",
    "receive",
    "receive_evt",
    "register_evt",
    "rewind_receive",
    "run",
    "sleep",
    "sync",
    "tail",
    "thread",
    "try_receive",
    "uncaught_exception_handler",
]
