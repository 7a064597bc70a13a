"""What the measured programs of all peers share: the computation, the deadlines, the memory in use."""

from __future__ import annotations

import gc
import os
from random import Random

BATCH = 1000
"""Threads that are started before the first of them is waited for, in the row of a million."""

LIMIT = 64
"""What the bounded queues of the fan-in/fan-out row hold."""

HORIZON = 1.0
"""Seconds within which the deadlines of the sleepers lie."""

CHUNK = 250_000
"""Rounds of one piece of the CPU-bound work: some 15 ms."""


def compute(rounds: int = CHUNK) -> int:
    """Work on locals only, so that nothing but the processor is shared."""
    state = 1
    for _ in range(rounds):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return state


def deadlines(count: int) -> list[float]:
    """``count`` times to sleep, the same in every process."""
    draw = Random(count).random
    return [draw() * HORIZON for _ in range(count)]


def resident() -> int:
    """Bytes of memory that the process has in use now, after a collection."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
