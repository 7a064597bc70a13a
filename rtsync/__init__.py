"""Racket's concurrency system for free-threaded Python. See README.md and docs/."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scheduler.safepoint import own_folder

from .alarm import after, at, idle, sleep
from .async_channel import AsyncChannel
from .atomic import (
    UninterruptibleLock,
    call_as_atomic,
    call_as_nonatomic,
    call_as_uninterruptible,
    end_atomic,
    end_breakable_atomic,
    end_uninterruptible,
    is_in_atomic_mode,
    start_atomic,
    start_breakable_atomic,
    start_uninterruptible,
    uninterruptible,
)
from .blocking import to_os_thread
from .breaks import (
    Break,
    BreakHangUp,
    BreakParameterization,
    BreakScope,
    BreakTerminate,
    break_enabled,
    breaks,
    current_break_parameterization,
)
from .channel import Channel
from .custodian import Custodian, CustodianBox, current_custodian
from .deadlock import thread_dump
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
    register_late,
    tail,
)
from .mailbox import receive, receive_evt, rewind_receive, try_receive
from .nested import call_in_nested_thread
from .os_thread import block_on
from .pool import ParallelThreadPool
from .runtime import Runtime, run, uncaught_exception_handler
from .scope import Scope
from .semaphore import Semaphore
from .shared import SharedBytes, SharedFlvector, SharedFxvector
from .spawn import thread
from .sync import current_evt_pseudo_random_generator, sync
from .thread import Thread, current_thread
from .thread_group import ThreadGroup, current_thread_group

own_folder(__file__)
register_late("concurrent.futures", "rtsync.futures")
register_late("asyncio", "rtsync.aio.futures")

if TYPE_CHECKING:  # a checker takes `rtsync.atomic` for a mere module
    from .atomic import CallableModule

    atomic: CallableModule

__all__ = [
    "AsyncChannel",
    "Break",
    "BreakHangUp",
    "BreakParameterization",
    "BreakScope",
    "BreakTerminate",
    "Channel",
    "ContractError",
    "Custodian",
    "CustodianBox",
    "Deadlock",
    "Evt",
    "ForkError",
    "NoRuntime",
    "ParallelThreadPool",
    "Parameter",
    "Runtime",
    "SchedulerError",
    "Scope",
    "Semaphore",
    "SharedBytes",
    "SharedFlvector",
    "SharedFxvector",
    "Thread",
    "ThreadDead",
    "ThreadGroup",
    "ThreadKilled",
    "UninterruptibleLock",
    "after",
    "aio",
    "always",
    "at",
    "atomic",
    "block_on",
    "break_enabled",
    "breaks",
    "call",
    "call_as_atomic",
    "call_as_nonatomic",
    "call_as_uninterruptible",
    "call_in_nested_thread",
    "choice",
    "current_break_parameterization",
    "current_custodian",
    "current_evt_pseudo_random_generator",
    "current_thread",
    "current_thread_group",
    "end_atomic",
    "end_breakable_atomic",
    "end_uninterruptible",
    "guard",
    "idle",
    "is_evt",
    "is_in_atomic_mode",
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
    "start_atomic",
    "start_breakable_atomic",
    "start_uninterruptible",
    "sync",
    "tail",
    "thread",
    "thread_dump",
    "to_os_thread",
    "try_receive",
    "uncaught_exception_handler",
    "uninterruptible",
]


_LATER = ("aio", "place", "ports", "racket", "testing")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def __getattr__(name: str) -> Any:
    # Without an import of their own, loaded when they are first used: together they take long.
    if name in _LATER:
        return import_module(f"rtsync.{name}")
    raise AttributeError(f"module 'rtsync' has no attribute {name!r}")
