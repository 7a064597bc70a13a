"""Readiness of file descriptors, and the sleep of the worker that waits for it and for the timers.

While no descriptor is registered the sleeper waits on its own lock, which costs half as much to wake as a
selector; the selector and its wake-up descriptor are made with the first registration.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any


class Poller:
    """Calls back when a descriptor becomes ready, once for each registration."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._selector: selectors.BaseSelector | None = None
        self._wake_in: socket.socket | None = None
        self._wake_out: socket.socket | None = None
        self.busy = 0  # descriptors registered; read without the lock as a hint

    def register(self, fd: int, events: int, call: Callable[[int], object]) -> None:
        """Have ``call(events)`` run by a worker as soon as ``fd`` is ready; then it is forgotten.

        A worker that sleeps on its lock has to be nudged afterwards (`Runtime.nudge`).
        """
        with self._lock:
            if self._selector is None:
                self._selector = selectors.DefaultSelector()
                self._wake_in, self._wake_out = socket.socketpair()
                self._wake_in.setblocking(False)
                self._wake_out.setblocking(False)
                self._selector.register(self._wake_in, selectors.EVENT_READ, None)
            self._selector.register(fd, events, call)
            self.busy += 1

    def unregister(self, fd: int) -> None:
        """Forget ``fd`` if it is still registered."""
        with self._lock:
            self._forget(fd)

    def _forget(self, fd: int) -> bool:
        """Whether it was there. Holds _lock."""
        assert self._selector is not None
        try:
            self._selector.unregister(fd)
        except KeyError:
            return False
        self.busy -= 1
        return True

    def poll(self, timeout: float | None) -> int:
        """Wait at most ``timeout`` seconds (``None``: for ever) and call back for what is ready; how many."""
        selector = self._selector
        if selector is None:
            return 0
        calls: list[tuple[Callable[[int], Any], int]] = []
        for key, events in selector.select(timeout):
            if key.data is None:
                self._drain()
                continue
            with self._lock:
                if self._forget(key.fd):
                    calls.append((key.data, events))
        for call, events in calls:
            call(events)
        return len(calls)

    def interrupt(self) -> None:
        """Make a `poll` that waits return."""
        if self._wake_out is not None:
            try:
                self._wake_out.send(b"\0")
            except BlockingIOError:  # full: it will wake
                pass

    def _drain(self) -> None:
        assert self._wake_in is not None
        try:
            while self._wake_in.recv(4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close the selector and its wake-up descriptors; registered descriptors are their owners'."""
        with self._lock:
            if self._selector is not None:
                self._selector.close()
                for end in (self._wake_in, self._wake_out):
                    if end is not None:
                        end.close()
                self._selector = None
                self.busy = 0
