"""A moment's wait inside a step, for an answer that is about to come.

To park, find nothing else to do, go to sleep in the poller and be woken by it costs far more than to wait
right here for a descriptor; when the answer of another process takes some microseconds, that is most of the
time. So an operation may *linger* before it parks, where that keeps nobody from anything: the worker has no
other task, no timer is about to be due, and no other descriptor relies on this worker. What comes up
meanwhile waits for `MOMENT` at most. Whether lingering has paid so far is the caller's to remember.

It looks again and again at first: a processor that has been let rest takes longer to begin again (20 µs, in a
virtual machine) than a short answer takes in all. That needs a second processor for who answers, which he may
not get where others work too: then it makes each answer later by as long as we look. So the caller is told
whether that was of use.

The moment is no shorter because the system's own clock ticks about as often: a timer before the next tick is
one more that the processor has to be told of, and told to forget, which was a quarter of a round trip.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from .task import here

MOMENT: Final = 0.001
"""Seconds."""

AWAKE: Final = 0.00005 if (os.process_cpu_count() or 1) > 1 else 0.0
"""Seconds of it in which the processor is kept busy."""


LATE: Final = 1
"""It came when the processor had been let rest."""

SOON: Final = 2
"""It came while the processor was kept busy."""


def linger(poll: Callable[[int], Any], awake: float = AWAKE) -> int:
    """Wait a moment by ``poll``, which belongs to a `select.poll`, if this OS thread has nothing else to do,
    ``awake`` seconds of it with the processor busy: whether there was anything, and if so `LATE` or `SOON`.
    In a step, under no locks."""
    try:
        if not here.driver.may_linger():
            return 0
        if awake:
            until = perf_counter() + awake
            while perf_counter() < until:
                if poll(0):
                    return SOON
        return LATE if poll(1) else 0
    except (AttributeError, RuntimeError):  # no driver here, or another OS thread polls by it now
        return 0
