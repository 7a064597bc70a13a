"""Code that runs in the middle of ours, in the same OS thread: as a finalizer does that a garbage collection
starts, or a signal handler.

The interpreter runs such code where a function begins, where a call into C returns, and where a loop jumps
back. `sys.monitoring` has an event for each of these, so that a test can be at every such point in turn.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

_TOOL = 1  # the conventional id of coverage tools

_monitoring = sys.monitoring
_events = sys.monitoring.events


class Interjection:
    """What `interject` gives."""

    def __init__(self) -> None:
        self.points = 0
        self.where: str | None = None
        """Where it happened, if it has."""
        self.over = False
        """Set when it has happened; to be set when it is too late."""


@contextmanager
def interject(call: Callable[[], object], at: int, codes: list[CodeType]) -> Iterator[Interjection]:
    """Make ``call()`` once in the middle of ``codes``, at point number ``at`` of the block. What it raises is
    dropped, as it is with a finalizer."""
    seen = Interjection()

    def point(code: CodeType, *rest: Any) -> None:
        if seen.over:
            return
        seen.points += 1
        if seen.points == at:
            seen.over = True
            seen.where = f"{code.co_qualname}:{sys._getframe(1).f_lineno}"
            try:
                call()
            except BaseException:
                pass

    def jump(code: CodeType, start: int, end: int) -> None:
        if end < start:
            point(code)

    calls = {_events.C_RETURN: point, _events.PY_START: point, _events.JUMP: jump}
    _monitoring.use_tool_id(_TOOL, "interjection")
    try:
        for event, back in calls.items():
            _monitoring.register_callback(_TOOL, event, back)
        for code in codes:
            # The return of a call comes with the call.
            _monitoring.set_local_events(_TOOL, code, _events.CALL | _events.PY_START | _events.JUMP)
        yield seen
    finally:
        for code in codes:
            _monitoring.set_local_events(_TOOL, code, 0)
        for event in calls:
            _monitoring.register_callback(_TOOL, event, None)
        _monitoring.free_tool_id(_TOOL)
