"""Places on this machine: processes that run the same interpreter with the same options and the same
``sys.path``.

They are spawned and not forked: a fork of a process with many OS threads is a copy in which all but one of
them are missing. The new process has its control socket as standard input until it has taken it over.

Its end is seen by a descriptor of the process (pidfd), which the poller watches, and by which it is killed:
so it cannot be mistaken for another process that got its number. Where there is none an OS thread waits for
it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from scheduler.io_thread import io_poller
from scheduler.poller import READ

from .location import PlaceLocation

_HAS_PIDFD = hasattr(os, "pidfd_open")


@cache
def place_enabled() -> bool:
    """Whether places can be created here, which run in parallel: Linux, with an interpreter to start.

    Source: Racket Reference, ``place-enabled?``."""
    return sys.platform == "linux" and bool(sys.executable)


class LocalLocation(PlaceLocation):
    """This machine."""

    def launch(self, control: socket.socket, out: int, err: int, named: Any) -> Process:
        """See `PlaceLocation.launch`."""
        copies: list[int] = []
        try:
            with control:
                # Above 2, so that putting one in its place does not overwrite another.
                sources = control.fileno(), out, err
                copies.extend(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in sources)
                pid = os.posix_spawn(
                    sys.executable,
                    _command(),
                    os.environ,
                    file_actions=[(os.POSIX_SPAWN_DUP2, copy, fd) for fd, copy in enumerate(copies)],
                    # Until it has said what Ctrl-C means there, which is nothing.
                    setsigmask=(signal.SIGINT,),
                )
        finally:
            for fd in copies:
                os.close(fd)
        return Process(pid)


def _command() -> list[str]:
    # What reproduces the options of this interpreter is known to subprocess only.
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    given: list[Any] = sys.path
    path = [item for item in given if isinstance(item, (str, bytes))]  # imports overlook anything else
    prepare = f"import gc, sys; gc.disable(); sys.path[:] = {path!r}"
    begin = "from rtsync.place.child import main; main()"
    return [sys.executable, *_args_from_interpreter_flags(), "-c", f"{prepare}; {begin}"]


class Process:
    """A place's process. See `rtsync.place.location.Body`."""

    def __init__(self, pid: int) -> None:
        self.id = pid
        self._lock = threading.RLock()
        self._over = False
        self._ended: Callable[[int | None], object] | None = None
        self.poller: Any = None
        self.pollers: list[Any] = []
        self.fd = -1
        if _HAS_PIDFD:
            try:
                self.fd = os.pidfd_open(pid)
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM, errno.ESRCH, errno.EMFILE, errno.ENFILE):
                    raise

    def watch(self, ended: Callable[[int | None], object]) -> None:
        """See `Body.watch`."""
        self._ended = ended
        if self.fd >= 0:
            io_poller().want(self, READ)
        else:
            threading.Thread(target=self._reap, args=(0,), name=f"place-{self.id}", daemon=True).start()

    def on_ready(self, what: int) -> None:
        """See `scheduler.poller.Watched`."""
        self._reap(os.WNOHANG)

    def _reap(self, options: int) -> None:
        status: int | None = None
        if options:
            with self._lock:
                if self._over:
                    return
                try:
                    pid, raw = os.waitpid(self.id, options)
                    if not pid:
                        return
                    status = os.waitstatus_to_exitcode(raw)
                except ChildProcessError:  # the program waits for all children itself
                    pass
                self._over = True
                for poller in self.pollers:
                    poller.drop(self, self.fd)
                os.close(self.fd)
                self.fd = -1
        else:
            try:
                os.waitid(os.P_PID, self.id, os.WEXITED | os.WNOWAIT)  # its number stays taken
                with self._lock:
                    self._over = True
                    status = os.waitstatus_to_exitcode(os.waitpid(self.id, 0)[1])
            except ChildProcessError:
                self._over = True
        ended, self._ended = self._ended, None  # it knows us: a cycle
        if ended is not None:
            ended(status)

    def kill(self) -> None:
        """See `Body.kill`."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        with self._lock:
            if self._over:
                return
            try:
                if self.fd >= 0:
                    signal.pidfd_send_signal(self.fd, number)
                else:
                    os.kill(self.id, number)
            except ProcessLookupError:  # ended, and not reaped yet
                pass

    def join(self, seconds: float) -> bool:
        """Wait until it has ended, ``seconds`` at most, and reap it if nobody has; whether it has ended. Any
        OS thread, also the one that watches it (a finalizer may run there)."""
        with self._lock:
            if self._over:
                return True
            if self.fd < 0:  # an OS thread reaps it
                return False
            try:
                fd = os.dup(self.fd)  # whoever reaps it closes the other
            except OSError:
                return False
        try:
            end = select.poll()
            end.register(fd, select.POLLIN)
            ended = bool(end.poll(seconds * 1000))
        finally:
            os.close(fd)
        self._reap(os.WNOHANG)
        return ended

    def close_after_fork(self) -> None:
        """In the child of a fork: it is the parent's."""
        self._lock = threading.RLock()
        self._over = True
        self.pollers = []
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
