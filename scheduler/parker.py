"""What a worker sleeps on until somebody wakes it.

A queue of permits: ``put(None)`` gives one, ``get()`` takes one or sleeps until there is one. Who waits for
a lock first calls ``sched_yield`` forty times, in case it is let go of at once. That is right for two OS
threads that answer each other (`scheduler.osthread`: 20 µs a round trip instead of 47), but workers rest for
longer, and for them it doubles the price.
"""

from __future__ import annotations

import threading
from _queue import Empty, SimpleQueue

from .timers import FAR

type Permits = SimpleQueue[None]


def got_permit(parker: Permits, timeout: float) -> bool:
    """Wait at most ``timeout`` seconds for a permit; whether there was one."""
    if timeout == FAR:
        parker.get()
        return True
    try:
        parker.get(timeout=min(timeout, threading.TIMEOUT_MAX))
    except Empty:
        return False
    return True
