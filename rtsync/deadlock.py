"""Who stands where: the text of a deadlock report and of a thread dump.

Nothing is recorded for this while threads run; what a thread waits on is read off its coroutines. But those
may only be read while nobody can resume them, or the interpreter crashes. So each thread is read in the way
that fits where it stands:

* blocked: with a stand-in in its waiter (`rtsync.waiter.StandIn`), of which it does not notice anything;
* suspended: under its lock, without which nobody resumes it;
* between two steps: taken out of its run queue, and put back at the end of it;
* in a step, or in code of its own on an OS thread: not at all. The interpreter stops all OS threads for a
  moment and writes down file, line and name of every call (`faulthandler`, the one part of it that does so;
  the frames that `sys._current_frames` gives run on while one looks at them);
* the current thread itself: as it is.

Whoever fits nowhere is on its way from one to the next, and is shown as one that can run. No code of users'
(the ``__repr__`` of what is waited for) is called before a thread has been let go.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from scheduler import current_driver
from scheduler.deterministic import Deterministic
from scheduler.safepoint import is_our_file
from scheduler.task import runtimes

from .current import current_or_none
from .errors import shown

if TYPE_CHECKING:
    from .runtime import Runtime
    from .thread import Thread

_OWN = ("rtsync.", "scheduler.")

# Functions of ours that only stand between the user's code and the operation that is to be named.
_BETWEEN: Final = frozenset(("call", "call_with_break_parameterization", "call_with_semaphore", "settle"))


def _is_between(qualname: str) -> bool:
    return qualname in _BETWEEN or qualname.endswith((".__aenter__", ".__anext__"))


_WORKER: Final = sys.modules["scheduler.worker"].__file__
"""Where the calls are that a worker makes around a step."""

outside: set[Any] = set()
"""What may wake somebody in this process although nothing in it runs: places that have not ended."""


class _Call:
    """A call that a thread is in: what is to be known of a frame, which is not kept."""

    # (A named tuple would import modules that take longer than a place takes to start.)
    __slots__ = ("about", "name", "own", "where")

    def __init__(
        self, own: bool, name: str, where: str = "", about: tuple[str, tuple[Any, ...]] | None = None
    ) -> None:
        self.own = own  # one of our functions
        self.name = name
        self.where = where  # of a user's
        self.about = about  # of ours: what kind of thing it is about, and what


def _call(frame: Any, qualname: str) -> _Call:
    """``frame`` cannot go on meanwhile."""
    if _is_own(frame):
        return _Call(True, qualname, about=_about(frame.f_locals, qualname))
    code = frame.f_code
    return _Call(False, qualname, f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}")


def _about(local: Any, qualname: str) -> tuple[str, tuple[Any, ...]] | None:
    """What the function of ours with these variables is about."""
    if "request" in local:  # of a port
        return "request", (local["request"],)
    for subject in ("self", "made"):
        if subject in local:
            return "of", (local[subject],)
    if "one" in local:
        return "events", tuple(local[evt] for evt in ("one", "two") if evt in local)
    evts = local.get("evts", local.get("bases"))
    if evts is None and _name(qualname) == "sync" and "evt" in local:
        evts = (local["evt"],)
    return None if evts is None else ("events", tuple(evts))


def _what(call: _Call) -> str:
    """The operation of ours that ``call`` is, and what it is about."""
    name = _name(call.name)
    if call.about is None:
        return name
    kind, subjects = call.about
    if kind == "request":
        return shown(subjects[0])
    if kind == "of":
        return f"{name} of {shown(subjects[0])}"
    return f"{name}({', '.join(shown(evt) for evt in subjects)})"


def _is_own(frame: Any) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_OWN)


def _awaiting(part: Any) -> Iterator[tuple[Any, str]]:
    """The frames of a coroutine and of what it awaits, outermost first. Nobody can resume it meanwhile."""
    while part is not None:
        frame = getattr(part, "cr_frame", None) or getattr(part, "gi_frame", None)
        if frame is None:
            break
        # Of the coroutine, not of the code: an operation is called by the name under which users know it.
        yield frame, str(part.__qualname__)
        part = getattr(part, "cr_await", None) or getattr(part, "gi_yieldfrom", None)


def _name(qualname: str) -> str:
    """The operation that a function of ours is part of."""
    if qualname == "Scope.__aexit__":
        return "Scope"
    return qualname.replace("._", ".")


def operation(thread: Any) -> str:
    """The name of the operation that a thread stands in, which is ours alone, or runs in this OS thread."""
    driver = getattr(thread, "_driver", None)
    name = "block_on"
    named = False
    for frame, qualname in _awaiting(thread.coro if driver is None else driver.op):
        if not _is_own(frame):
            named = False
        elif not named:
            name = _name(qualname)
            named = not _is_between(qualname)
    return name


def _awaited(thread: Any) -> list[_Call]:
    """The calls on the coroutine stack of ``thread``, outermost first. Nobody can resume it meanwhile."""
    part = thread.coro if thread.can_be_run else thread.operation()
    return [_call(frame, qualname) for frame, qualname in _awaiting(part)]


def _called_here(thread: Any) -> list[_Call]:
    """The calls of ``thread``, outermost first, which runs in this OS thread."""
    found: list[_Call] = []
    frame: Any = sys._getframe()
    while frame is not None:
        if not _is_own(frame):
            if frame.f_globals.get("__name__") != "threading":
                found.append(_call(frame, frame.f_code.co_qualname))
        elif found and thread.can_be_run and frame.f_code.co_filename == _WORKER:
            break
        frame = frame.f_back
    found.reverse()
    return found


class _Stacks:
    """What all OS threads were running at one moment, and which threads of ours that was."""

    def __init__(self, threads: list[Any]) -> None:
        backed = {thread: (thread._mine, thread.waiter) for thread in threads if not thread.can_be_run}
        before = self._steps()
        self._calls = dict(_written())
        # Who makes the same step before and after has made it meanwhile.
        self._in_step = {
            task: os_thread for task, os_thread in self._steps().items() if before.get(task) is os_thread
        }
        self._backed = backed

    @staticmethod
    def _steps() -> dict[Any, Any]:
        return {
            worker.task: worker.os_thread
            for runtime in list(runtimes.values())
            for worker in runtime.workers
            if worker.task is not None
        }

    def of(self, thread: Any) -> list[_Call]:
        """The calls of users' that ``thread``, in a step or OS-backed, was in, outermost first."""
        os_thread = self._in_step.get(thread) if thread.can_be_run else self._backed[thread][0]
        found: list[_Call] = []
        for path, line, name in () if os_thread is None else self._calls.get(os_thread.ident, ()):
            if not is_our_file(path):
                if path != threading.__file__:
                    found.append(_Call(False, name, f"{path}:{line} in {name}"))
            elif found and thread.can_be_run and path == _WORKER:
                break
        found.reverse()
        return found

    def stood(self, thread: Any) -> bool:
        """Whether ``thread``, OS-backed and blocked now, was so in the same operation."""
        return thread.can_be_run or self._backed[thread][1] is thread.waiter


def _written() -> Iterator[tuple[int, list[tuple[str, str, str]]]]:
    """For each OS thread (up to 100, the youngest) its innermost calls (up to 100): file, line, name."""
    with _unnamed_file() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        text = file.read().decode("ascii", "replace")
    calls: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        if line.startswith(("Thread 0x", "Current thread 0x")):
            calls = []
            yield int(line.partition(" 0x")[2].partition(" ")[0], 16), calls
        elif line.startswith('  File "'):
            path, _, rest = line[8:].rpartition('", line ')
            number, _, name = rest.partition(" in ")
            calls.append((_unescaped(path), number, _unescaped(name)))


def _unnamed_file() -> Any:
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("rtsync"), "w+b")
    import tempfile  # rarely needed, and it takes long

    return tempfile.TemporaryFile()


def _unescaped(name: str) -> str:
    """``name`` with what is not ASCII, for which `faulthandler` writes escapes."""
    if "\\" not in name or os.sep == "\\":
        return name
    return name.encode().decode("unicode_escape", "replace")


def _look(thread: Any, stacks: _Stacks) -> tuple[str, list[_Call]]:
    """How ``thread`` stands, and its calls, outermost first. Any OS thread, anywhere."""

    def awaited() -> list[_Call]:
        return _awaited(thread) if stacks.stood(thread) else []

    def outer() -> list[_Call]:
        return [] if thread.can_be_run else stacks.of(thread)

    if thread.dead:
        return "has ended", []
    if thread is current_or_none() and not thread.waiter:
        return "", _called_here(thread)
    if (calls := thread.read_blocked(awaited)) is not None:
        return "waits in", outer() + calls
    if (calls := thread.read_held(awaited)) is not None:
        return "is stopped", outer() + calls
    running = thread.running
    if (calls := _between_steps(thread, awaited)) is not None:
        return "" if running else "is stopped", calls
    return "" if running else "is stopped", stacks.of(thread)


def _between_steps(thread: Any, awaited: Callable[[], list[_Call]]) -> list[_Call] | None:
    """Its calls, which ``awaited`` gives, if ``thread`` waits for its next step."""
    runtime = runtimes.get(thread.key)
    if not isinstance(runtime, Deterministic):
        return thread.read_ready(awaited)  # type: ignore[no-any-return]
    # Where one thing runs at a time, the order of its queues is part of what is to be repeatable; who is in
    # one of its OS threads has all others standing still.
    driver = current_driver()
    return awaited() if thread.can_be_run and driver is not None and driver.home is runtime else None


def _describe(thread: Thread, stacks: _Stacks, whole: bool) -> str:
    """One thread: its name, what it waits on, and where in the user's code; ``whole``: all calls that lead
    there, the innermost first."""
    state, calls = _look(thread, stacks)
    subject: _Call | None = None
    places: list[str] = []
    for call in calls:
        if not call.own:
            places.append(f"\n    at {call.where}")
            subject = None
        elif subject is None or _is_between(subject.name):
            subject = call
    if subject is not None:
        state = {"": "is", "is stopped": "is stopped"}.get(state, "waits") + " in " + _what(subject)
    places.reverse()
    return f"  thread {thread.name}: {state or 'can run'}" + "".join(places if whole else places[:1])


def _threads(runtime: Runtime) -> list[Thread]:
    # Once each, also those that several custodians manage.
    return list(dict.fromkeys(member for member in runtime.root.everything() if hasattr(member, "_state")))


def deadlock_report(runtime: Runtime) -> str:
    """All threads of ``runtime``, for `Deadlock`."""
    threads = _threads(runtime)
    stacks = _Stacks(threads)
    lines = [_describe(thread, stacks, whole=False) for thread in threads]
    return (
        "run: the main thread waits for something that can never happen; nothing in the process can wake any "
        f"of its {len(lines)} thread(s):\n" + "\n".join(lines)
    )


def thread_dump() -> str:
    """All threads of the runtimes of this process, as text: the name of each, what it waits on, and the calls
    in the user's code that have led there, the innermost first.

    In any OS thread, with or without a runtime, and in signal handlers. The threads go on meanwhile, so what
    runs is seen at slightly different moments. None notices: who is blocked stays so and keeps its place in
    every queue; only who waits for its next step goes to the end of the run queue. Of OS threads that run,
    up to 100 are shown with their calls, of each the innermost 100.
    Source: SPEC §9; Java's thread dump.
    """
    parts = []
    for runtime in list(runtimes.values()):
        if hasattr(runtime, "root"):
            with runtime.os_threads.one_more():  # or who is taken out of a queue looks like a deadlock
                threads = _threads(runtime)
                stacks = _Stacks(threads)
                parts.append(f"runtime {runtime.name}: {len(threads)} thread(s)")
                parts.extend(_describe(thread, stacks, whole=True) for thread in threads)
    return "\n".join(parts) if parts else "no runtime"
