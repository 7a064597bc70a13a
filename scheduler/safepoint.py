"""Safepoints: reach a task that is *inside* a step, on its own OS thread, between two bytecodes.

While somebody wants something of a running task, `sys.monitoring` events (every jump, every start of a
function) are on, for the whole process; the callback looks whether the task that runs in
its own OS thread is asked for and whether it is interruptible here, and if so calls its ``at_safepoint``,
which may raise or block. When no request is outstanding the events are off and cost nothing.

A task is interruptible in users' code, where no code of ours is on its stack above the worker's loop save for
functions marked `transparent`, which call users' code and hold no lock, nor code of a few modules of the
standard library that would be torn. In the transparent functions themselves it is not: an operation that has
happened is to give its result. So neither our own invariants nor those of
the libraries that we call can be torn; nor is a user's clean-up that a garbage collection has started in the
middle of one of our functions.
"""

from __future__ import annotations

import os
import sys
import threading
from opcode import EXTENDED_ARG, opmap
from types import CodeType
from typing import Any, Protocol

from .errors import SchedulerError
from .task import current_driver

_monitoring = sys.monitoring
# Not the resumption of a coroutine: the value that it is resumed with has not been taken yet, and an
# exception would lose it. In 3.13 an exception at a jump counts as raised at the jump's target, which may
# lie outside of the ``try`` that the jump is in; so there at the instruction that is about to jump.
_JUMP = _monitoring.events.JUMP if sys.version_info >= (3, 14) else _monitoring.events.INSTRUCTION
# A worker that is to stop, which raises nothing, may do so at the resumption of a coroutine, too.
_EVENTS = _JUMP | _monitoring.events.PY_START | _monitoring.events.PY_RESUME
_JUMPS = frozenset(opmap[name] for name in ("JUMP_BACKWARD", "JUMP_FORWARD"))
# Where an exception is on the stack, but not yet being handled: another one would go past the handler.
_HANDLER_HEADS = frozenset(opmap[name] for name in ("PUSH_EXC_INFO", "CLEANUP_THROW"))
_TOOLS = (4, 3)  # the ids that have no conventional owner
_OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep

# The interpreter drops what is raised in the callbacks of weak references; and a condition variable that is
# interrupted at the wrong bytecode leaves its lock to the wrong thread.
_SPARED = tuple(
    os.path.join(os.path.dirname(threading.__file__), *name.split("/"))
    for name in ("_weakrefset.py", "weakref.py", "threading.py", "queue.py", "concurrent/futures/")
)

_bases: set[CodeType] = set()  # where the stack of a task begins
_transparent: set[CodeType] = set()
_last_calls: set[CodeType] = set()
_own_folders: list[str] = [_OWN]


class Interruptible(Protocol):
    """What may be asked for: a task, or a worker whatever it runs."""

    def at_safepoint(self) -> None:
        """Do what is wanted: return, raise, or block. In the task's own OS thread, in a user's frame."""


def base[F: Any](function: F) -> F:
    """Mark the function that runs a task's step: the search of the stack ends there."""
    _bases.add(function.__code__)
    return function


def transparent[F: Any](function: F) -> F:
    """Mark a function of ours that calls users' code while no lock is held and nothing is half done."""
    _transparent.add(function.__code__)
    return function


def last_call[F: Any](function: F) -> F:
    """Mark a function of ours that calls a user's one when the coroutine of the task has ended and no more
    than its end is left to do: who calls it expects whatever is raised. The search ends there."""
    _last_calls.add(function.__code__)
    return function


def own_folder(path: str) -> None:
    """Count the files below ``path`` as ours."""
    _own_folders.append(os.path.dirname(os.path.abspath(path)) + os.sep)


class _Safepoints:
    """The outstanding requests of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[Interruptible, int] = {}  # how many ask for it
        self._cornered: dict[Interruptible, set[CodeType]] = {}
        self._thorough: set[Interruptible] = set()  # cornered, with all other code watched as well
        self._tool: int | None = None

    def want(self, task: Interruptible) -> None:
        """Have ``task.at_safepoint()`` called at its safepoints until `unwant`, as often as it gets there."""
        with self._lock:
            self._wanted[task] = self._wanted.get(task, 0) + 1
            if self._tool is None:
                self._on()
            elif task not in self._cornered:
                _monitoring.set_events(self._tool, _EVENTS)

    def unwant(self, task: Interruptible) -> None:
        """Take back one `want`."""
        with self._lock:
            count = self._wanted.get(task, 0) - 1
            if count > 0:
                self._wanted[task] = count
                return
            self._wanted.pop(task, None)
            self._thorough.discard(task)
            for code in self._cornered.pop(task, ()):
                if self._tool is not None and not any(code in codes for codes in self._cornered.values()):
                    _monitoring.set_local_events(self._tool, code, 0)
            if not self._wanted and self._tool is not None:
                self._off()

    def corner(self, task: Interruptible, code: CodeType, thorough: bool = False) -> None:
        """``task`` sits in a call into C made from ``code``: stop it at its next bytecode there, and unless
        ``thorough`` spare all other code meanwhile. After a `want`, of which `unwant` takes back both."""
        with self._lock:
            if self._tool is None or task not in self._wanted:
                return
            self._cornered.setdefault(task, set()).add(code)
            _monitoring.set_local_events(self._tool, code, _monitoring.events.INSTRUCTION)
            if thorough:
                self._thorough.add(task)
            if not self._thorough and self._wanted.keys() == self._cornered.keys():
                _monitoring.set_events(self._tool, 0)

    def _on(self) -> None:
        """Holds _lock."""
        for tool in _TOOLS:
            try:
                _monitoring.use_tool_id(tool, "rtsync")
            except ValueError:
                continue
            break
        else:
            raise SchedulerError("safepoint: both free sys.monitoring tool ids (3 and 4) are taken")
        self._tool = tool
        self._register(self._callback, self._at_instruction, self._at_resumption)
        _monitoring.set_events(tool, _EVENTS)

    def _off(self) -> None:
        """Holds _lock."""
        assert self._tool is not None
        _monitoring.set_events(self._tool, 0)
        self._register(None, None, None)
        _monitoring.free_tool_id(self._tool)
        self._tool = None

    def _register(self, call: Any, at_instruction: Any, at_resumption: Any) -> None:
        """Holds _lock."""
        assert self._tool is not None
        _monitoring.register_callback(self._tool, _monitoring.events.JUMP, call)
        _monitoring.register_callback(self._tool, _monitoring.events.PY_START, call)
        _monitoring.register_callback(self._tool, _monitoring.events.INSTRUCTION, at_instruction)
        _monitoring.register_callback(self._tool, _monitoring.events.PY_RESUME, at_resumption)

    def _at_instruction(self, code: CodeType, offset: int) -> None:
        mine = current_driver()
        if mine is None:
            return
        self._stop_worker(mine, sys._getframe(1))
        if mine.task not in self._wanted:
            return
        opcodes = code.co_code
        if code in self._cornered.get(mine.task, ()):
            stop = opcodes[offset] not in _HANDLER_HEADS
        else:
            while opcodes[offset] == EXTENDED_ARG:
                offset += 2
            stop = opcodes[offset] in _JUMPS
        if stop:
            self._stop(sys._getframe(1))

    def _callback(self, code: CodeType, *where: Any) -> None:
        if globals().get("sys") is not None:  # else the interpreter ends, and its last clean-up runs
            self._stop(sys._getframe(1))

    def _stop(self, frame: Any) -> None:
        """``frame`` is about to go on in this OS thread."""
        mine = current_driver()
        if mine is None:
            return
        self._stop_worker(mine, frame)
        task = mine.task
        if task in self._wanted and interruptible(frame, task):
            task.at_safepoint()

    def _stop_worker(self, mine: Any, frame: Any) -> None:
        """``mine``, the driver of this OS thread, may be asked for itself, whatever it runs."""
        if mine in self._wanted and interruptible(frame, mine.task):
            mine.at_safepoint()

    def _at_resumption(self, code: CodeType, offset: int) -> None:
        mine = current_driver()
        if mine is not None:
            self._stop_worker(mine, sys._getframe(1))


def interruptible(frame: Any, task: Any) -> bool:
    """Whether ``task``, whose innermost frame is ``frame``, may be stopped there. A worker that is stopped
    whatever it runs may run nothing: ``None``."""
    if task is None:
        return False
    own = tuple(_own_folders)
    inner = None
    while frame is not None:
        code = frame.f_code
        if code in _bases:
            # Above the loop stands the task's own code; else it is a finalizer that runs in the loop.
            coro_code = getattr(task.coro, "cr_code", None)
            return inner is not None and (coro_code is None or inner is coro_code)
        if code in _last_calls:
            return inner is not None
        if code.co_filename.startswith(own) and (inner is None or code not in _transparent):
            return False
        if code.co_name == "__del__" or code.co_filename.startswith(_SPARED):
            return False
        inner = code
        frame = frame.f_back
    return False


def is_ours(code: CodeType) -> bool:
    """Whether ``code`` is the library's own."""
    return is_our_file(code.co_filename)


def is_our_file(path: str) -> bool:
    """Whether the library's own code is in the file ``path``."""
    return path.startswith(tuple(_own_folders))


def comes_back_to(frame: Any, task: Any) -> CodeType | None:
    """The code to which ``task``, whose innermost frame is ``frame``, returns from a call into C, or from one
    into the few library functions that are spared; ``None`` if it may run other code before it can be
    stopped."""
    while frame is not None and frame.f_code.co_filename.startswith(_SPARED):
        frame = frame.f_back
    return frame.f_code if frame is not None and interruptible(frame, task) else None


safepoints = _Safepoints()
