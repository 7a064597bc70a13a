"""Safepoints: reach a task that is *inside* a step, on its own OS thread, between two bytecodes.

While somebody wants something of a running task, `sys.monitoring` events (every jump, every start of a
function) are on, for the whole process; the callback looks whether the task that runs in
its own OS thread is asked for and whether it is interruptible here, and if so calls its ``at_safepoint``,
which may raise or block. When no request is outstanding the events are off and cost nothing. The tool id that
this takes is ours from the first request on.

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
_NAME = "rtsync"
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

    def is_asked_for(self) -> bool:
        """Whether it is, now. Any OS thread; who changes that calls `_Safepoints.update`."""

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
    """Who is asked for in this process.

    There is no lock. A signal handler or finalizer may ask for one thread in the middle of our asking for
    another, and wait until that has come; and who comes may have to take back what was asked of it first. So
    everything is done by single operations on dictionaries and on the monitoring, each of which may be
    repeated: who changes something *looks whether it holds after that*, and does it again if not. Whatever is
    put in between by others, who comes last has looked last.
    """

    def __init__(self) -> None:
        self._wanted: dict[Interruptible, None] = {}
        # By task and the identity of the code: the code, and whether all other code is watched as well.
        self._cornered: dict[tuple[Interruptible, int], tuple[CodeType, bool]] = {}
        self._tool: dict[str, int] = {}  # the one that we have, for good: whoever enters it first decides

    def prepare(self) -> int:
        """Have what it takes to ask for somebody: the id of our monitoring tool. To be called before one
        does; `SchedulerError`, with nothing changed, if there is none left."""
        tool = self._tool.get(_NAME)
        if tool is not None:
            return tool
        for tool in _TOOLS:
            try:
                _monitoring.use_tool_id(tool, _NAME)
            except ValueError:
                if _monitoring.get_tool(tool) != _NAME:  # else somebody is preparing at this very moment
                    continue
            break
        else:
            raise SchedulerError(
                "safepoint: a thread that computes cannot be stopped before its next operation, because both "
                "free sys.monitoring tool ids (3 and 4) are taken"
            )
        for events, callback in (
            (_monitoring.events.JUMP, self._callback),
            (_monitoring.events.PY_START, self._callback),
            (_monitoring.events.INSTRUCTION, self._at_instruction),
            (_monitoring.events.PY_RESUME, self._at_resumption),
        ):
            _monitoring.register_callback(tool, events, callback)
        return self._tool.setdefault(_NAME, tool)

    def update(self, task: Interruptible) -> None:
        """``task.is_asked_for()`` has changed: from now on ``task.at_safepoint()`` is called at its
        safepoints, or is not any more. After `prepare`. Any OS thread, anywhere."""
        while True:
            asked = task.is_asked_for()
            if not asked:
                self._wanted.pop(task, None)
                self._uncorner(task)
            elif task not in self._wanted:
                self._uncorner(task)  # it was cornered in another place
                self._wanted[task] = None
            if task.is_asked_for() == asked:
                break
        self._agree()

    def corner(self, task: Interruptible, code: CodeType, thorough: bool = False) -> None:
        """``task`` sits in a call into C made from ``code``: stop it at its next bytecode there, and unless
        ``thorough`` spare all other code meanwhile. Until it is asked for no more."""
        if task not in self._wanted:
            return
        self._cornered[task, id(code)] = code, thorough
        self._agree_in(code)
        if task not in self._wanted:
            self._uncorner(task)
        self._agree()

    def _uncorner(self, task: Interruptible) -> None:
        for key in self._cornered.copy():
            if key[0] is task and (entry := self._cornered.pop(key, None)) is not None:
                self._agree_in(entry[0])

    def _agree(self) -> None:
        """Watch all code, or none."""
        tool = self._tool.get(_NAME)
        if tool is None:
            return
        while True:
            # Copies, which are made in one go.
            spared = dict.fromkeys((task for task, _ in self._cornered.copy()), True)
            for (task, _), (_, thorough) in self._cornered.copy().items():
                if thorough:
                    spared[task] = False
            events = 0 if all(spared.get(task, False) for task in self._wanted.copy()) else _EVENTS
            if _monitoring.get_events(tool) == events:
                return
            _monitoring.set_events(tool, events)

    def _agree_in(self, code: CodeType) -> None:
        """Watch each instruction of ``code``, or not."""
        tool = self._tool[_NAME]
        while True:
            cornered = any(other is code for other, _ in self._cornered.copy().values())
            events = _monitoring.events.INSTRUCTION if cornered else 0
            if _monitoring.get_local_events(tool, code) == events:
                return
            _monitoring.set_local_events(tool, code, events)

    def _at_instruction(self, code: CodeType, offset: int) -> None:
        mine = current_driver()
        if mine is None:
            return
        self._stop_worker(mine, sys._getframe(1))
        if mine.task not in self._wanted:
            return
        opcodes = code.co_code
        if (mine.task, id(code)) in self._cornered:
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
