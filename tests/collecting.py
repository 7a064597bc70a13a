"""Waiting for the collector, for tests of what is let go of."""

import gc
import time
from collections.abc import Callable


def collected(happened: Callable[[], object]) -> bool:
    """Collect until ``happened()``, for half a minute at most; whether it has.

    Once is not enough on a free-threaded build: another OS thread may be in the middle of a collection of its
    own, and then ours does nothing; and what an object's own OS thread is to let go of goes when that
    one runs."""
    deadline = time.monotonic() + 30
    gc.collect()
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
        gc.collect()
    return True
