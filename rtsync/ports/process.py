"""Other programs: run them with ports to talk to them, and wait for their end like for any event.

The end of a process is reported by a descriptor that stands for it (a pidfd), so waiting for it costs no OS
thread; where there is none, an OS thread waits.

Source: Racket Reference 15.4 (Processes).
"""

from __future__ import annotations

import os
import subprocess as system
import threading
from collections.abc import Coroutine
from inspect import markcoroutinefunction
from typing import Any, Final

from rtsync.custodian import check_custodian
from rtsync.errors import refuse
from rtsync.waiter import NOT_READY
from scheduler import poller_here
from scheduler.poller import READ

from . import standard
from .descriptor import Descriptor
from .ends import Object
from .input import InputPort
from .output import OutputPort
from .port import Port, Request, check_encoding, performing

PIPE: Final = "pipe"
INHERIT: Final = "inherit"
NULL: Final = "null"
STDOUT: Final = "stdout"


class Process(Port["Process"]):
    """A process that `subprocess` has started. As an event: ready when it has ended, with itself as the
    result.

    Source: Racket Reference, ``subprocess?``."""

    __slots__ = ("_kill", "_popen", "stderr", "stdin", "stdout")

    _what = READ
    _kind = "process"

    stdin: OutputPort | None
    """What it reads, if that was to be a pipe."""
    stdout: InputPort | None
    """What it writes, if that was to be a pipe."""
    stderr: InputPort | None
    """Its errors, if they were to be a pipe."""

    def __init__(self, popen: Any, name: str, kill: bool) -> None:
        self._popen = popen
        self._kill = kill
        self.stdin = self.stdout = self.stderr = None
        end: Any = _Nothing
        if hasattr(os, "pidfd_open"):
            try:
                end = Descriptor(os.pidfd_open(popen.pid), name, True, False)
            except OSError:  # this system's kernel has none, or there is no descriptor left
                pass
        super().__init__(end, name, "utf-8", "replace")
        if self._watched is None:
            threading.Thread(target=self._wait_for_it, name=f"wait for {name}", daemon=True).start()
        else:
            end.reader = self
            poller_here().want(end, READ)  # so that it is reaped even if nobody waits
        self._adopt()

    @property
    def pid(self) -> int:
        """Its number. Source: Racket Reference, ``subprocess-pid``."""
        return self._popen.pid  # type: ignore[no-any-return]

    @property
    def status(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it, or ``None`` while it runs.

        Source: Racket Reference, ``subprocess-status``."""
        with self._lock:
            return self._look()

    @markcoroutinefunction
    def wait(self) -> Coroutine[Any, Any, int]:
        """Wait for its end: its exit code. Source: Racket Reference, ``subprocess-wait``."""
        return self._wait(Ended(self))  # type: ignore[no-any-return]

    _wait = performing("Process.wait")

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing if it has ended."""
        with self._lock:
            if self._look() is None:
                self._popen.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end. Source: Racket Reference, ``subprocess-kill``."""
        with self._lock:
            if self._look() is None:
                self._popen.terminate()

    def kill(self) -> None:
        """End it. Source: Racket Reference, ``subprocess-kill`` with ``force?``."""
        with self._lock:
            if self._look() is None:
                self._popen.kill()

    def abort(self) -> None:
        """Its custodian has been shut down."""
        if self._kill:
            self.kill()

    def _disown(self, custodian: Any) -> bool:
        return not self._ended()

    def _ended(self) -> bool:
        return self._popen.returncode is not None

    # -- holds _lock -----------------------------------------------------------------------------------

    def _request(self) -> Request:
        return Over(self)

    def _look(self) -> int | None:
        """Its exit code if it has ended; it is reaped then."""
        code: int | None = self._popen.poll()
        if code is not None and not self._closed:
            self._closed = True
            self._end.close_read()
        return code

    def on_ready(self, look_closely: bool) -> None:
        with self._lock:
            self._look()
            if self._queue:
                self._serve()

    def _wait_for_it(self) -> None:
        """On an OS thread of its own, where the kernel does not report ends."""
        try:
            os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass
        self.on_ready(True)

    def __repr__(self) -> str:
        code = self._popen.returncode
        return f"<Process {self.name} {'running' if code is None else f'ended with {code}'}>"


class _NothingEnd(Object):
    __slots__ = ()


_Nothing = _NothingEnd()


class Ended(Request):
    """`Process.wait`."""

    __slots__ = ()

    operation = "wait"

    _port: Process

    def _find(self) -> Any:
        code = self._port._look()
        return NOT_READY if code is None else code


class Over(Ended):
    """A process as an event."""

    __slots__ = ()

    def _take(self, found: Any) -> Any:
        return self._port


def subprocess(
    command: str | os.PathLike[str],
    *args: str | bytes | os.PathLike[str],
    stdin: Any = PIPE,
    stdout: Any = PIPE,
    stderr: Any = PIPE,
    kill: bool = True,
    env: dict[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    encoding: str = "utf-8",
) -> Process:
    """Run the program ``command`` with ``args``, at once.

    ``stdin``, ``stdout``, ``stderr``: ``'pipe'`` makes a port, to be found in the result under the same name;
    ``'inherit'`` and ``'null'`` are this process's stream and the empty one; a port over a descriptor is used
    as it is; ``stderr='stdout'`` sends errors the same way. ``kill``: whether the process is killed when the
    current custodian is shut down. ``env``, ``cwd``: its environment and folder, by default this process's.
    ``OSError`` if the program cannot be started.
    Source: Racket Reference, ``subprocess``."""
    line = [_argument(position, value) for position, value in enumerate((command, *args))]
    if not isinstance(kill, bool):
        raise refuse("subprocess", "kill", "a bool", kill, TypeError)
    check_encoding("subprocess", encoding, "strict")
    check_custodian("subprocess")
    streams = [
        _stream("stdin", stdin, InputPort),
        _stream("stdout", stdout, OutputPort),
        _stream("stderr", stderr, OutputPort),
    ]
    popen = system.Popen(line, stdin=streams[0], stdout=streams[1], stderr=streams[2], env=env, cwd=cwd)
    name = os.path.basename(os.fsdecode(line[0]))
    made: list[Any] = []
    try:
        process = Process(popen, name, kill)
        for which, kind in (("stdin", OutputPort), ("stdout", InputPort), ("stderr", InputPort)):
            pipe = getattr(popen, which)
            if pipe is not None:
                port = kind(os.dup(pipe.fileno()), f"{which} of {name}", encoding=encoding)
                made.append(port)
                setattr(process, which, port)
    except BaseException:
        popen.kill()
        popen.wait()
        for port in made:
            port.abort()
        raise
    finally:
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            if pipe is not None:
                pipe.close()
    return process


def _argument(position: int, value: object) -> Any:
    if not isinstance(value, (str, bytes, os.PathLike)):
        argument = f"args[{position - 1}]" if position else "command"
        raise refuse("subprocess", argument, "a string or a path", value, TypeError)
    return value


def _stream(argument: str, value: object, kind: type) -> Any:
    """What ``subprocess.Popen`` is to be given. What has been written there before is sent first."""
    if isinstance(value, str):
        found = {PIPE: system.PIPE, INHERIT: None, NULL: system.DEVNULL}
        if argument == "stderr":
            found[STDOUT] = system.STDOUT
        if value in found:
            if value == INHERIT and kind is OutputPort:
                standard.send(argument)
            return found[value]
        raise refuse("subprocess", argument, f"one of {', '.join(map(repr, found))}", value, ValueError)
    if isinstance(value, kind) and isinstance(value, Port) and isinstance(value._end, Descriptor):
        if value.closed:
            raise value._refusal().raised()
        if isinstance(value, OutputPort):
            value.send()
        return value._end.fd
    raise refuse("subprocess", argument, "'pipe', 'inherit', 'null' or a port", value, TypeError)
