"""Calls that cannot be made here and now, made by an OS thread of our own a moment later.

A garbage collection may run a user's clean-up anywhere, in the middle of one of our locked sections too,
and a signal handler runs between two bytecodes of the main OS thread. If such code calls an operation
on the very object whose lock this OS thread holds, the operation would see it half changed. Our locks are
re-entrant, so that nothing deadlocks, and each operation that could go wrong asks `nested` on its way (never
on the path where it hands over to a partner that it could claim) and, if so, is made from here instead.
"""

from __future__ import annotations

import threading
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable
from typing import Any


def nested(lock: Any) -> bool:
    """Whether this OS thread held ``lock``, an ``RLock``, already before it took it last."""
    return bool(lock._recursion_count() > 1)


class _Deferred:
    """The OS thread that makes the calls; started with the first, ended when there are no more."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._lock = threading.RLock()
        self.busy = False
        """Whether there are calls to be made."""

    def __call__(self, call: Callable[[], object]) -> None:
        """Have ``call()`` made soon, by another OS thread. From anywhere."""
        with self._lock:
            self._calls.append(call)
            if not self.busy:
                # Not a threading.Thread: we may be inside the start of one.
                self.busy = True
                start_new_thread(self._main, ())

    def _main(self) -> None:
        while True:
            try:
                call = self._calls.popleft()
            except IndexError:
                with self._lock:
                    if not self._calls:
                        self.busy = False
                        return
                continue
            try:
                call()
            except BaseException:
                start_new_thread(self._main, ())  # goes on with the others; the interpreter reports this one
                raise


defer = _Deferred()
"""``defer(call)``."""
