"""Chaos: random delays at every line of our own code, on real workers.

`sys.monitoring` LINE events on the code objects of the library call back before each line; the callback
now and then gives the processor away or sleeps for a moment. So the windows between two lines, in which
other OS threads may come, become wide. Nothing in the product knows of it.

Small delays everywhere never make one window as wide as the rest of a program, which is what the worst
preemption by the operating system does. `chaos(seed, stalls=n)` also chooses n lines by the seed at which
every other OS thread that comes by is held up for milliseconds.
"""

import gc
import random
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType

_TOOL = 2  # the conventional id of profilers; the library's own safepoints use others
_PACKAGES = ("rtsync", "scheduler")
_UNUSED = re.compile(r"/racket/|/testing\.py$|/deterministic\.py$")  # where real workers never come


def codes_of_the_library() -> list[CodeType]:
    """Every code object of the library, nested ones included."""
    found: dict[int, CodeType] = {}

    def add(code: CodeType) -> None:
        found[id(code)] = code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                add(constant)

    for function in gc.get_objects():
        if isinstance(function, FunctionType):
            module = str(function.__module__).partition(".")[0]
            if module in _PACKAGES and function.__module__ != "rtsync.pytest_plugin":
                add(function.__code__)
    return sorted(found.values(), key=lambda code: (code.co_filename, code.co_firstlineno, code.co_qualname))


def _choose_lines(draw: random.Random, codes: list[CodeType], many: int) -> set[tuple[str, int]]:
    """Lines inside of functions."""
    lines = {
        (code.co_filename, line)
        for code in codes
        if not _UNUSED.search(code.co_filename)
        for _, _, line in code.co_lines()
        if line is not None and line != code.co_firstlineno
    }
    return set(draw.sample(sorted(lines), many))


@contextmanager
def chaos(seed: int, rate: float = 0.02, stalls: int = 0, late: float = 0.0) -> Iterator[list[str]]:
    """Delay about ``rate`` of all lines of the library by something between nothing and 0.2 ms, and hold
    threads up at ``stalls`` lines; gives those, for the report of a failure. Every other OS thread comes to
    its first line of ours up to ``late`` seconds late. Within another chaos this one is without effect."""
    if sys.monitoring.get_tool(_TOOL) == "chaos":
        yield []
        return
    choice = random.Random(seed)
    draw = choice.random
    codes = codes_of_the_library()
    held = _choose_lines(choice, codes, stalls)
    mine = threading.local()

    def line(code: CodeType, number: int) -> None:
        chance = draw()
        if late and not hasattr(mine, "seen"):
            mine.seen = True
            if draw() < 0.5:
                time.sleep(draw() * late)
        if chance < rate:
            time.sleep(0 if chance < rate / 2 else chance / rate * 0.0002)
        if held and (code.co_filename, number) in held and draw() < 0.5:
            time.sleep(draw() * 0.004)

    monitoring = sys.monitoring
    interval = sys.getswitchinterval()
    monitoring.use_tool_id(_TOOL, "chaos")
    try:
        sys.setswitchinterval(1e-5)  # on a build with the GIL
        monitoring.register_callback(_TOOL, monitoring.events.LINE, line)
        for code in codes:
            monitoring.set_local_events(_TOOL, code, monitoring.events.LINE)
        yield [f"{name.rpartition('/')[2]}:{number}" for name, number in sorted(held)]
    finally:
        sys.setswitchinterval(interval)
        for code in codes:
            monitoring.set_local_events(_TOOL, code, 0)
        monitoring.register_callback(_TOOL, monitoring.events.LINE, None)
        monitoring.free_tool_id(_TOOL)
