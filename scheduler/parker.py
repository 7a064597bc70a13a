"""Where an OS thread sleeps until another one lets it go on.

A lock would do, but on a free-threaded build who waits for one first yields the processor some forty times,
in the hope that he gets it soon. The system takes him at his word: he stands behind all who want to run, also
when he wakes up again. Beside two threads that compute, on two processors, sleepers woke up a tenth of a
second late. Who waits at an empty queue of the standard library goes to sleep at once.
"""

from __future__ import annotations

from _queue import Empty, SimpleQueue  # `queue` imports much besides
from threading import TIMEOUT_MAX
from time import perf_counter

from .linger import AWAKE
from .refcount import published

SHORT = 2 * AWAKE
"""Seconds: a wait of that, with falling asleep and waking up, would have been over sooner if spent awake."""


class Parker:
    """One OS thread parks here, others unpark it: once for each time, before or while it parks."""

    __slots__ = ("__weakref__", "_eager", "_permits")

    def __init__(self) -> None:
        self._permits: SimpleQueue[None] = published(SimpleQueue())
        self._eager = False
        published(self)

    def unpark(self) -> None:
        """Let it go on. Any OS thread, anywhere."""
        self._permits.put(None)

    def park(self, timeout: float | None = None) -> bool:
        """Wait until it is let go on, or for ``timeout`` seconds; whether it was let go on."""
        try:
            self._permits.get(timeout=None if timeout is None else min(timeout, TIMEOUT_MAX))
        except Empty:
            return False
        return True

    def park_eagerly(self, timeout: float | None = None) -> bool:
        """`park`, for one with nobody beside who could use the processor: to sleep and be woken takes tens of
        microseconds, so if the last wait took no longer, it looks again and again for a moment first."""
        start = perf_counter()
        if self._eager:
            until = start + (AWAKE if timeout is None else min(AWAKE, timeout))
            while self._permits.empty() and perf_counter() < until:
                pass
        try:
            return self.park(timeout)
        finally:
            self._eager = perf_counter() - start < SHORT
