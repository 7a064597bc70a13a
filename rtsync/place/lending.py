"""Shared memory for large messages, used again: writing 64 MiB into fresh pages takes ten times as long as
into pages that are there already.

A message does not get our own descriptor of a segment but a second one, opened anew (a *loan*). All who have
the message, in flight or arrived, hold that one or mappings made of it. When they are all gone, and however
they went, ours is the only one that is open, and the kernel grants a write lease, which it does to a sole
holder only: that is how we know. Then the pages are written again for the next large message.

What has not been used for a moment is given back to the system; at once when a segment finds no room.
"""

from __future__ import annotations

import fcntl
import os
import time
from _thread import RLock, start_new_thread
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from weakref import finalize

from scheduler import nested
from shm import Segment
from shm.segment import when_full

if TYPE_CHECKING:
    import mmap

LEAST: Final = 1 << 20
"""Bytes from which it pays."""

MOST: Final = 1 << 28
"""Bytes that are kept at most, in all."""

KEEP: Final = 1.0
"""Seconds for which unused memory is kept."""


class _Page:
    """The memory of a segment, which is ours until we close it. (Not until its last reference goes: that is
    seen only when the OS thread that made it runs again, which may sleep for long.)"""

    __slots__ = ("__weakref__", "_close", "_map", "fd", "lent", "nbytes")

    def __init__(self, segment: Segment) -> None:
        """``OSError`` if there is no descriptor to spare."""
        self.fd = os.dup(segment.fileno())
        self._close = finalize(self, os.close, self.fd)
        self._close.atexit = False
        self.nbytes = segment.nbytes
        self.lent = 0.0
        """When it was lent last."""
        self._map: mmap.mmap | None = None

    def close(self) -> None:
        """Let go of it. Nobody else uses the page."""
        if self._map is not None:
            self._map.close()
        self._close()

    def lend(self) -> Segment:
        """A loan of it. ``OSError`` where it cannot be lent, or if there is no descriptor to spare."""
        return Segment.from_fd(os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC))

    def is_ours_alone(self) -> bool:
        """Whether nobody has a loan of it, in this process or any other."""
        try:
            fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False
        fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True

    def write(self, blocks: Sequence[memoryview]) -> None:
        """Put new contents into it."""
        if self._map is None:
            import mmap

            # All pages at once: one by one, as they are touched, would take longer than the writing.
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            self._map = mmap.mmap(self.fd, self.nbytes, flags=flags, trackfd=False)
        start = 0
        for block in blocks:
            self._map[start : start + len(block)] = block
            start += len(block)


class _Lender:
    """What is lent, or kept for the next message."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._pages: list[_Page] = []  # the least recently lent first
        self._sweeping = False

    def written(self, blocks: Sequence[memoryview], nbytes: int) -> Segment:
        """A segment that begins with the contents of ``blocks``, ``nbytes`` in all. ``OSError`` when there is
        no room."""
        if not LEAST <= nbytes <= MOST:
            return Segment.written(blocks, nbytes)
        page = self._free(nbytes)
        if page is not None:
            page.write(blocks)
            loan = page.lend()
        else:
            segment = Segment.written(blocks, nbytes)
            try:
                page = _Page(segment)
                loan = page.lend()
            except OSError:  # then it goes for good
                return segment
        self._keep(page)
        return loan

    def _free(self, nbytes: int) -> _Page | None:
        """One that is large enough, not much too large, and that nobody has any more; it is the caller's from
        now on."""
        with self._lock:
            if nested(self._lock):  # a finalizer, in the middle of something else here
                return None
            for index, page in enumerate(self._pages):
                if nbytes <= page.nbytes <= 2 * nbytes and page.is_ours_alone():
                    return self._pages.pop(index)
        return None

    def _keep(self, page: _Page) -> None:
        page.lent = time.monotonic()
        with self._lock:
            if nested(self._lock):
                page.close()
                return
            self._pages.append(page)
            total = sum(page.nbytes for page in self._pages)
            while total > MOST:
                oldest = self._pages.pop(0)
                total -= oldest.nbytes
                oldest.close()
            if self._pages and not self._sweeping:
                # No threading.Thread: it is none of the program's, and nobody waits for it.
                start_new_thread(self._sweep, ())
                self._sweeping = True

    def _sweep(self) -> None:
        while True:
            time.sleep(KEEP / 2)
            with self._lock:
                limit = time.monotonic() - KEEP
                self._drop([page for page in self._pages if page.lent <= limit])
                if not self._pages:
                    self._sweeping = False
                    return

    def give_back(self) -> None:
        """Close what nobody uses now. Any OS thread."""
        with self._lock:
            if not nested(self._lock):
                self._drop([page for page in self._pages if page.is_ours_alone()])

    def _drop(self, pages: list[_Page]) -> None:
        """Holds _lock."""
        self._pages = [page for page in self._pages if page not in pages]
        for page in pages:
            page.close()

    def forget(self) -> None:
        """In the child of a fork: it is the parent's."""
        self.__init__()  # type: ignore[misc]


_lender = _Lender()
written = _lender.written
when_full(_lender.give_back)
os.register_at_fork(after_in_child=_lender.forget)
