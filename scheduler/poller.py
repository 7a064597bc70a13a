"""Readiness of file descriptors, and the sleep of the worker that waits for it and for the timers.

A descriptor is enrolled once and stays so until it is closed. From then on
`Watched.on_ready` is called whenever something has *changed*: data came, there is room again, the other end
has gone. So an operation that has to wait costs no system call: it tries first, and knows when trying again
makes sense. The owner remembers what it was told; that is why nothing is lost if nobody waits at that moment.

`EpollPoller` has the kernel do it that way (edge-triggered). `SelectorPoller` is for systems without epoll:
a descriptor is registered there for one report at a time and for the directions that somebody wants.

**Who polls.** The idle worker that holds the poller's role sleeps in `wait`; busy workers `glance` every few
dozen steps and before they go idle. Both may happen at once. A wake-up that was meant for the sleeper may be
seen by one who glances, who then passes it on.

While nothing is enrolled the sleeper waits on its own lock, which costs half as much to wake; who enrols a
descriptor then nudges it. The descriptors of the poller itself are made with the first enrolment.

`waiting` and `Enrolment.reader` hold those for whom some task waits, strongly: such a task is not garbage.
All other enrolled ones are only known weakly, so that one that nobody uses any more can be collected, which
closes it.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import sys
import threading
import time
import weakref
from _thread import RLock
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from .refcount import published, shared
from .task import current_driver

_AGAIN = 0.05
"""Seconds after which a descriptor is enrolled for which the system had no room."""

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}

READ = 1
WRITE = 2
END = 4
"""Something out of the ordinary: an end, an error, urgent data. Reading and writing will tell what."""


class Watched(Protocol):
    """What can be enrolled: the owner of a descriptor."""

    fd: int
    pollers: list[Any]  # all that it is enrolled in; written here only

    def on_ready(self, what: int) -> None:
        """Readiness has changed: `READ`, `WRITE`, `END` or several. A hint; it may be stale. Any OS
        thread."""


class Waits(Protocol):
    """What may stand in `Poller.waiting`."""

    def has_waiters(self) -> bool:
        """Whether a task waits for it now. Any OS thread."""


class Reader(Waits, Protocol):
    """What may stand in `Enrolment.reader`."""

    def on_data(self) -> Any:
        """Data has come, and nothing else is to be told. A task that was claimed because of that and has its
        value may be given back, for the poller to make ready together with others. Any OS thread."""


class Enrolment:
    """One descriptor in one poller."""

    __slots__ = ("__weakref__", "poller", "reader", "watched")

    def __init__(self, poller: Poller, watched: Watched) -> None:
        self.poller = poller
        self.watched = weakref.ref(watched)
        published(self)
        self.reader: Reader | None = None
        """Who is told of data instead of ``watched``, and is kept alive, because some task waits there.
        Written under its own lock. To set this and to take it back at each wait costs a fifth of a set's
        entry."""


class Poller:
    """What the two kinds share."""

    def __init__(self, nudge: Callable[[], object] | None = None) -> None:
        """``nudge()`` is called when a descriptor is enrolled where there was none, for one that sleeps
        elsewhere."""
        self._lock = shared(RLock())
        self._nudge = nudge
        self._known: dict[int, Enrolment] = shared({})
        self.busy = 0  # descriptors enrolled; read without the lock as a hint
        self.sleeper = False  # somebody sleeps in `wait` or is about to
        self.dispatching: list[None] = shared([])  # one for each `dispatch` under way
        self.waiting: set[Any] = shared(set())
        self._seen: Any = None  # one that was waited for when somebody looked last: a weak reference
        self._seen_at: Enrolment | None = None  # the same, among the enrolments
        self.closed = False

    def want(self, watched: Watched, what: int) -> Enrolment | None:
        """Somebody waits for ``watched`` to be ready for ``what``. Under the owner's lock of that direction.
        ``None`` if the poller is closed.

        Once is enough if the poller is `persistent`."""
        raise NotImplementedError

    persistent = True
    """Whether one enrolment is for good."""

    def drop(self, watched: Watched, fd: int) -> None:
        """Forget it: its descriptor ``fd`` is about to be closed. Any OS thread."""
        raise NotImplementedError

    def waits(self) -> bool:
        """Whether any task waits for a descriptor."""
        # Who did usually still does: then this costs the same for any number of them.
        at = self._seen_at
        if at is not None and _waits_at(at):
            return True
        seen = None if self._seen is None else self._seen()
        if seen is not None and seen in self.waiting and seen.has_waiters():
            return True
        self._seen_at = next((at for at in list(self._known.values()) if _waits_at(at)), None)
        seen = next((port for port in list(self.waiting) if port.has_waiters()), None)
        self._seen = None if seen is None else weakref.ref(seen)
        return seen is not None or self._seen_at is not None

    def wait(self, timeout: float | None) -> Any:
        """Sleep until something is ready or `interrupt`, at most ``timeout`` seconds (``None``: for ever).
        Gives what `dispatch` is to be called with. By the one who has set ``sleeper``."""
        raise NotImplementedError

    def glance(self) -> bool:
        """Tell the owners of what is ready now, without waiting; whether there was any. Any OS thread."""
        raise NotImplementedError

    def dispatch(self, ready: Any) -> bool:
        """Tell the owners; whether there was any."""
        raise NotImplementedError

    def poll(self, timeout: float | None) -> bool:
        """`wait` and `dispatch` in one, for those who need do nothing in between."""
        return self.dispatch(self.wait(timeout))

    def interrupt(self) -> None:
        """Make a `wait` return. Any OS thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the poller's own descriptors; those enrolled are their owners'."""
        with self._lock:
            self.closed = True
            self.interrupt()  # who may still sleep here
            self.busy = 0
            self._known = {}
            self.waiting = set()
            self._seen = self._seen_at = None
            self._close()

    def _close(self) -> None:
        """Holds _lock."""

    def forked(self) -> None:
        """This is the child of a fork: what the kernel knows by our descriptors is the parent's business."""
        self._lock = RLock()
        self.close()

    def _remember(self, watched: Watched) -> Enrolment:
        """Holds _lock."""
        if self not in watched.pollers:
            watched.pollers.append(self)
        found = self._known.get(watched.fd)
        if found is None or found.watched() is not watched:
            found = self._known[watched.fd] = Enrolment(self, watched)
            self.busy = len(self._known)
        return found

    def _call_here(self) -> None:
        """There is a descriptor where there was none, so the sleeper may sleep elsewhere. Not under _lock:
        ``busy`` is published; now check. See `Runtime.park` for the other side."""
        if not self.sleeper and self._nudge is not None:
            self._nudge()

    def _forget(self, watched: Watched, fd: int) -> bool:
        """Whether it was known. Holds _lock."""
        known = self._known.get(fd)
        if known is None or known.watched() not in (watched, None):
            return False
        del self._known[fd]
        self.busy = len(self._known)
        return True


def _waits_at(enrolment: Enrolment) -> bool:
    reader = enrolment.reader
    return reader is not None and reader.has_waiters()


def _report(watched: Any) -> None:
    """An owner failed: that is its own fault, and not to be that of the worker that happened to poll."""
    import traceback  # rarely needed, and it takes long

    sys.stderr.write(f"rtsync: {watched!r} failed when it became ready:\n" + traceback.format_exc())


class EpollPoller(Poller):
    """By Linux' epoll, edge-triggered."""

    def __init__(self, nudge: Callable[[], object] | None = None) -> None:
        super().__init__(nudge)
        self._epoll: Any = None
        self._wake = -1
        self._asked: dict[int, int] = {}  # for which directions each descriptor is enrolled

    def want(self, watched: Watched, what: int) -> Enrolment | None:
        with self._lock:
            if self.closed:
                return None
            known = self._known.get(watched.fd)
            enrolled = known is not None and known.watched() is watched
            # Writing is asked for with the first write that does not go through: most never have to wait, and
            # each report of data that came would tell of room too. The kernel reports at once if it is
            # ready already.
            asked = what | (self._asked.get(watched.fd, 0) if enrolled else 0)
            self._asked[watched.fd] = asked
            mask = select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
            if asked & READ:
                mask |= select.EPOLLIN
            if asked & WRITE:
                mask |= select.EPOLLOUT
            alone = not self.busy
            # Before the kernel knows: who polls may be told at once, and has to know whom it is about.
            enrolment = self._remember(watched)
            try:
                if self._epoll is None:
                    alone = True
                    self._create()
                if enrolled:
                    try:
                        self._epoll.modify(watched.fd, mask)
                    except FileNotFoundError:  # there was no room for it
                        self._epoll.register(watched.fd, mask)
                else:
                    try:
                        self._epoll.register(watched.fd, mask)
                    except FileExistsError:  # somebody closed the descriptor behind its owner's back
                        self._epoll.modify(watched.fd, mask)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    self._forget(watched, watched.fd)
                    raise
                # Who waits is in the middle of something, under locks; it waits until there is room.
                again = threading.Timer(_AGAIN, self._want_again, (weakref.ref(watched), what))
                again.daemon = True
                again.start()
        if alone and self._epoll is not None:
            self._call_here()
        return enrolment

    def _create(self) -> None:
        """Holds _lock."""
        epoll = select.epoll()
        try:
            wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            # Edge-triggered too: it need never be read.
            epoll.register(wake, select.EPOLLIN | select.EPOLLET)
        except OSError:
            epoll.close()
            raise
        self._wake = wake
        self._epoll = shared(epoll)

    def _want_again(self, ref: weakref.ref[Watched], what: int) -> None:
        """The system had no room; by now it may have."""
        watched = ref()
        if watched is not None:
            known = self._known.get(watched.fd)
            if known is not None and known.watched() is watched:
                self.want(watched, what)

    def drop(self, watched: Watched, fd: int) -> None:
        with self._lock:
            if self._forget(watched, fd) and self._epoll is not None:
                try:
                    self._epoll.unregister(fd)
                except OSError:  # closed behind its owner's back
                    pass

    def wait(self, timeout: float | None) -> Any:
        epoll = self._epoll
        if epoll is None:
            if self.busy:  # there was no room for it
                time.sleep(_AGAIN if timeout is None else min(timeout, _AGAIN))
            return ()
        try:
            return epoll.poll(timeout, 256)
        except (ValueError, OSError):  # closed meanwhile
            if self.closed:
                return ()
            raise

    def glance(self) -> bool:
        try:
            ready = self._epoll.poll(0, 256)
        except (AttributeError, ValueError, OSError):  # not made yet, or closed
            return False
        if not ready:
            return False
        if self.sleeper and any(fd == self._wake for fd, _ in ready):
            self.interrupt()
        return self.dispatch(ready)

    def dispatch(self, ready: Any) -> bool:
        known = self._known
        plain = READ_ONLY
        missing = 0
        driver = current_driver()
        key = 0 if driver is None else driver.key  # no task's, unless it is a worker's
        queue: Any = driver.queue if key else []
        append = queue.append
        self.dispatching.append(None)
        for fd, flags in ready:
            try:
                enrolment = known[fd]
            except KeyError:  # the wake-up, or dropped meanwhile
                missing += 1
                continue
            told: Any = enrolment.reader
            try:
                if told is not None and flags == plain:  # the usual case, with nobody in between
                    task = told.on_data()
                    if task is not None:
                        if task.key == key and task.queues:
                            append(task)
                        else:
                            task.ready()
                elif (told := enrolment.watched()) is not None:
                    told.on_ready(READ | WRITE | END if flags & ~_ORDINARY else _WHAT[flags])
            except Exception:
                _report(told)
        # publish (append above), then check: see runtime.Runtime.park. One of them is for this worker itself.
        if queue and driver.runtime.idle and len(queue) + len(driver.next) > 1:
            driver.runtime.wake()
        self.dispatching.pop()
        return len(ready) > missing

    def interrupt(self) -> None:
        if self._wake >= 0:
            try:
                os.eventfd_write(self._wake, 1)
            except OSError:  # full, or closed
                pass

    def _close(self) -> None:
        if self._epoll is not None:
            self._epoll.close()
            os.close(self._wake)
            self._wake = -1


class SelectorPoller(Poller):
    """By whatever the ``selectors`` module has: one report for each registration, one OS thread at a time."""

    persistent = False

    def __init__(
        self,
        nudge: Callable[[], object] | None = None,
        make: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector,
    ) -> None:
        super().__init__(nudge)
        self._make = make
        self._selector: selectors.BaseSelector | None = None
        self._turn = threading.Lock()  # held while selecting, and to change what is selected
        self._gate = threading.Lock()  # passed before one sleeps; held by who needs the turn from a sleeper
        self._changes: deque[tuple[Watched, int]] = deque()
        self._asked: dict[int, int] = {}  # descriptor -> directions registered. Holds _turn
        self._wake_in: socket.socket
        self._wake_out: socket.socket | None = None

    def want(self, watched: Watched, what: int) -> Enrolment | None:
        with self._lock:
            if self.closed:
                return None
            if self._selector is None:
                self._wake_in, self._wake_out = socket.socketpair()
                self._wake_in.setblocking(False)
                self._wake_out.setblocking(False)
                self._selector = self._make()
                self._selector.register(self._wake_in, selectors.EVENT_READ)
            alone = not self.busy
            enrolment = self._remember(watched)
            self._changes.append((watched, what))
        # publish (append above), then check: who selects applies the changes before it does
        self.interrupt()
        if alone:
            self._call_here()
        return enrolment

    def drop(self, watched: Watched, fd: int) -> None:
        with self._lock:
            known = self._forget(watched, fd)
        if known and self._selector is not None:
            # Nobody selects meanwhile, so a descriptor of the same number is not mixed up with it.
            with self._gate, self._interrupted():
                if self._asked.pop(fd, 0) and not self.closed:
                    self._selector.unregister(fd)

    def _interrupted(self) -> threading.Lock:
        """The turn, after having told the one who sleeps with it. Holds _gate, so that it does not go on to
        sleep before we have had it."""
        self.interrupt()
        return self._turn

    def _apply(self) -> None:
        """Register what is wanted. Holds _turn."""
        assert self._selector is not None
        while self._changes:
            try:
                watched, what = self._changes.popleft()
            except IndexError:
                return
            with self._lock:
                known = self._known.get(watched.fd)
                if known is None or known.watched() is not watched:
                    continue
            old = self._asked.get(watched.fd, 0)
            self._ask(watched.fd, old, old | what)

    def _ask(self, fd: int, old: int, new: int) -> None:
        """Holds _turn."""
        assert self._selector is not None
        if old == new:
            return
        if not new:
            self._selector.unregister(fd)
            del self._asked[fd]
            return
        events = (selectors.EVENT_READ if new & READ else 0) | (selectors.EVENT_WRITE if new & WRITE else 0)
        if old:
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)
        self._asked[fd] = new

    def _select(self, timeout: float | None) -> tuple[list[tuple[Watched, int]], bool]:
        """What is ready, and whether the wake-up descriptor was. Holds _turn."""
        assert self._selector is not None
        found: list[tuple[Watched, int]] = []
        woken = False
        self._apply()
        for key, events in self._selector.select(timeout):
            fd = key.fd
            if fd == self._wake_in.fileno():
                woken = True
                try:
                    while self._wake_in.recv(4096):
                        pass
                except BlockingIOError:
                    pass
                continue
            what = (READ if events & selectors.EVENT_READ else 0) | (
                WRITE if events & selectors.EVENT_WRITE else 0
            )
            old = self._asked.get(fd, 0)
            self._ask(fd, old, old & ~what)
            known = self._known.get(fd)
            watched = None if known is None else known.watched()
            if watched is not None:
                # An end is reported again as long as it is there, so it need not be told from data.
                found.append((watched, what))
        return found, woken

    def wait(self, timeout: float | None) -> Any:
        if self._selector is None:
            return ()
        with self._gate:
            pass
        with self._turn:
            if self.closed:
                return ()
            return self._select(timeout)[0]

    def glance(self) -> bool:
        if self._selector is None or not self._turn.acquire(blocking=False):
            return False
        try:
            if self.closed:
                return False
            ready, woken = self._select(0)
        finally:
            self._turn.release()
        if woken and self.sleeper:
            self.interrupt()
        return self.dispatch(ready)

    def dispatch(self, ready: Any) -> bool:
        self.dispatching.append(None)
        for watched, what in ready:
            try:
                watched.on_ready(what)
            except Exception:
                _report(watched)
        self.dispatching.pop()
        return bool(ready)

    def interrupt(self) -> None:
        if self._wake_out is not None:
            try:
                self._wake_out.send(b"\0")
            except OSError:  # full, or closed
                pass

    def close(self) -> None:
        if self._selector is not None:
            with self._gate, self._interrupted():
                super().close()
        else:
            super().close()

    def _close(self) -> None:
        if self._selector is not None and self._wake_out is not None:
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()

    def forked(self) -> None:
        self._turn = threading.Lock()
        self._gate = threading.Lock()
        super().forked()


READ_ONLY = -1
_ORDINARY = 0
_WHAT: dict[int, int] = {}
new_poller: type[Poller] = SelectorPoller
"""The kind for this system."""

if hasattr(select, "epoll") and hasattr(os, "eventfd"):
    new_poller = EpollPoller
    READ_ONLY = select.EPOLLIN
    _ORDINARY = select.EPOLLIN | select.EPOLLOUT
    _WHAT = {0: 0, select.EPOLLIN: READ, select.EPOLLOUT: WRITE, _ORDINARY: READ | WRITE}
