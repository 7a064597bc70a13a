"""A moment's wait inside a step, for an answer that is about to come.

To park, find nothing else to do, go to sleep in the poller and be woken by it costs far more than to wait
right here for a descriptor; when the answer of another process takes some microseconds, that is most of the
time. So an operation may *linger* before it parks, where that keeps nobody from anything: the worker has no
other task, no timer is about to be due, and no other descriptor relies on this worker. What comes up
meanwhile waits for `MOMENT` at most. Whether lingering has paid so far is the caller's to remember.
"""

from __future__ import annotations

import select
from typing import Final

from .task import here

MOMENT: Final = 0.0001
"""Seconds: a few times what a short answer takes."""

_MOST: Final = 1024
"""Descriptors from this number on do not fit into what `select.select` takes, which is the only one that
waits for less than a millisecond."""


def linger(fd: int) -> bool:
    """Wait a moment for ``fd`` to be readable, if this OS thread has nothing else to do; whether it is. In a
    step, under no locks."""
    try:
        if fd >= _MOST or not here.driver.may_linger():
            return False
        return bool(select.select((fd,), (), (), MOMENT)[0])
    except (AttributeError, ValueError, OSError):  # no driver here, or it was closed meanwhile
        return False
