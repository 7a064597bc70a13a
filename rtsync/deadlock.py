"""Who stands where: the text of a deadlock report and of a thread dump.

Nothing is recorded for this while threads run; what a thread waits on is read off its coroutines.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from scheduler.task import runtimes

from .errors import shown

if TYPE_CHECKING:
    from .runtime import Runtime
    from .thread import Thread

_OWN = ("rtsync.", "scheduler.")

# Functions of ours that only stand between the user's code and the operation that is to be named.
_BETWEEN: Final = frozenset(("call", "call_with_break_parameterization", "call_with_semaphore", "settle"))


def _is_between(qualname: str) -> bool:
    return qualname in _BETWEEN or qualname.endswith((".__aenter__", ".__anext__"))


outside: set[Any] = set()
"""What may wake somebody in this process although nothing in it runs: places that have not ended."""


def stack(thread: Thread) -> list[tuple[Any, str]]:
    """The frames of a thread, outermost first, each with the name of its function."""
    found = []
    part: Any = thread.coro
    os_thread = None
    if hasattr(thread, "stack"):  # OS-backed: what its OS thread shows, then the operation it drives
        part, frame = thread.stack()
    elif thread.waiter or (os_thread := thread._os_thread()) is None:
        frame = None
    else:  # in a step: its coroutines show nothing while they run
        part, frame = None, sys._current_frames().get(os_thread.ident)
    while frame is not None:
        if not _is_own(frame) and frame.f_globals.get("__name__") != "threading":
            found.append((frame, frame.f_code.co_qualname))
        elif os_thread is not None and found:  # what the worker does around the step
            break
        frame = frame.f_back
    found.reverse()
    found.extend(_awaiting(part))
    return found


def _awaiting(part: Any) -> Iterator[tuple[Any, str]]:
    """The frames of a coroutine and of what it awaits, outermost first."""
    while part is not None:
        frame = getattr(part, "cr_frame", None) or getattr(part, "gi_frame", None)
        if frame is None:
            break
        # Of the coroutine, not of the code: an operation is called by the name under which users know it.
        yield frame, str(part.__qualname__)
        part = getattr(part, "cr_await", None) or getattr(part, "gi_yieldfrom", None)


def _is_own(frame: Any) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_OWN)


def _name(qualname: str) -> str:
    """The operation that a function of ours is part of."""
    if qualname == "Scope.__aexit__":
        return "Scope"
    return qualname.replace("._", ".")


def operation(thread: Any) -> str:
    """The name of the operation that a thread stands in."""
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


def _what(frame: Any, qualname: str) -> str:
    """The operation of ours that runs in ``frame``, and what it is about."""
    local = frame.f_locals
    if "request" in local:  # of a port
        return shown(local["request"])
    name = _name(qualname)
    for subject in ("self", "made"):
        if subject in local:
            return f"{name} of {shown(local[subject])}"
    if "one" in local:
        evts: Any = tuple(local[evt] for evt in ("one", "two") if evt in local)
    else:
        evts = local.get("evts", local.get("bases"))
        if evts is None and name == "sync" and "evt" in local:
            evts = (local["evt"],)
    return name if evts is None else f"{name}({', '.join(shown(evt) for evt in evts)})"


def describe(thread: Thread, whole: bool = False) -> str:
    """One thread: its name, what it waits on, and where in the user's code; ``whole``: all calls that lead
    there, the innermost first."""
    frames = stack(thread)
    what, named = "", False
    places: list[str] = []
    for frame, qualname in frames:
        if not _is_own(frame):
            places.append(
                f"\n    at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
            )
            what, named = "", False
        elif not named:
            what = _what(frame, qualname)
            named = not _is_between(qualname)
    if thread.dead:
        state = "has ended"
    elif not thread.running:
        state = "is stopped" + (f" in {what}" if what else "")
    elif what:
        state = f"waits in {what}" if thread.waiter else f"is in {what}"
    else:
        state = "can run" if frames else "has no coroutine stack"
    places.reverse()
    return f"  thread {thread.name}: {state}" + "".join(places if whole else places[:1])


def _threads(runtime: Runtime) -> list[Thread]:
    # Once each, also those that several custodians manage.
    return list(dict.fromkeys(member for member in runtime.root.everything() if hasattr(member, "_state")))


def deadlock_report(runtime: Runtime) -> str:
    """All threads of ``runtime``, for `Deadlock`."""
    lines = [describe(thread) for thread in _threads(runtime)]
    return (
        "run: the main thread waits for something that can never happen; nothing in the process can wake any "
        f"of its {len(lines)} thread(s):\n" + "\n".join(lines)
    )


def thread_dump() -> str:
    """All threads of the runtimes of this process, as text: the name of each, what it waits on, and the calls
    in the user's code that have led there, the innermost first.

    In any OS thread, with or without a runtime, and in signal handlers. The threads go on meanwhile, so what
    runs is seen at slightly different moments.
    Source: SPEC §9; Java's thread dump.
    """
    parts = []
    for runtime in list(runtimes.values()):
        if hasattr(runtime, "root"):
            threads = _threads(runtime)
            parts.append(f"runtime {runtime.name}: {len(threads)} thread(s)")
            parts.extend(describe(thread, whole=True) for thread in threads)
    return "\n".join(parts) if parts else "no runtime"
