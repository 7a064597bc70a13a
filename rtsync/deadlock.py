"""Who is blocked, on what and where: the text of a deadlock report and of a thread dump.

Nothing is recorded for this while threads run; what a thread waits on is read off its coroutines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runtime import Runtime
    from .thread import Thread

_OWN = ("rtsync.", "scheduler.")

outside: set[Any] = set()
"""What may wake somebody in this process although nothing in it runs: places that have not ended."""


def stack(thread: Thread) -> list[Any]:
    """The frames of a thread that is not running, outermost first."""
    frames = []
    part: Any = thread.coro
    if hasattr(thread, "stack"):  # OS-backed: what its OS thread shows, then the operation it drives
        part, frame = thread.stack()
        while frame is not None:
            if not _is_own(frame) and frame.f_globals.get("__name__") != "threading":
                frames.append(frame)
            frame = frame.f_back
        frames.reverse()
    frames.extend(_awaiting(part))
    return frames


def _awaiting(part: Any) -> Iterator[Any]:
    """The frames of a coroutine and of what it awaits, outermost first."""
    while part is not None:
        frame = getattr(part, "cr_frame", None) or getattr(part, "gi_frame", None)
        if frame is None:
            break
        yield frame
        part = getattr(part, "cr_await", None) or getattr(part, "gi_yieldfrom", None)


def _is_own(frame: Any) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_OWN)


def _name(frame: Any) -> str:
    """The operation that a function of ours is part of."""
    name = str(frame.f_code.co_qualname)
    return {
        "_choose": "sync",
        "_choose_two": "sync",
        "_sync": "sync",
        "_sleep": "sleep",
        "_yield": "sleep",
    }.get(name, name).replace("._", ".")


def operation(thread: Any) -> str:
    """The name of the operation that a thread stands in."""
    driver = getattr(thread, "_driver", None)
    name = "block_on"
    was_own = False
    for frame in _awaiting(thread.coro if driver is None else driver.op):
        own = _is_own(frame)
        if own and not was_own:
            name = _name(frame)
        was_own = own
    return name


def describe(thread: Thread) -> str:
    """One thread: its name, what it waits on, and where in the user's code."""
    frames = stack(thread)
    where, what = "", ""
    for frame in frames:
        if _is_own(frame):
            if not what:
                owner = frame.f_locals.get("self")
                what = _name(frame) + (f" of {owner!r}" if owner is not None else "")
                local = frame.f_locals
                evts = local.get("evts", local.get("bases"))
                if "one" in local:
                    evts = (local["one"], local["two"])
                if "request" in local:  # of a port
                    what = repr(local["request"])
                if evts is not None:
                    what += f"{tuple(evts)!r}"
        else:
            where = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
            what = ""
    state = f"waits in {what}" if what else "does not run" if frames else "has no coroutine stack"
    return f"  thread {thread.name}: {state}" + (f"\n    at {where}" if where else "")


def deadlock_report(runtime: Runtime) -> str:
    """All threads of ``runtime``, for `Deadlock`."""
    threads = [member for member in runtime.root.everything() if hasattr(member, "_state")]
    lines = [describe(thread) for thread in threads]
    return (
        "run: the main thread waits for something that can never happen; nothing in the process can wake any "
        f"of its {len(lines)} thread(s):\n" + "\n".join(lines)
    )
