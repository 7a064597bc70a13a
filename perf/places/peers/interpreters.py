"""The rows in ``concurrent.interpreters`` (3.14) with its queues: several interpreters in one process.

There is no row for arrays: numpy cannot be imported in a second interpreter."""

from __future__ import annotations

from array import array as values
from collections.abc import Callable
from concurrent import interpreters
from typing import Any

from perf.places.load import KIBIBYTE, LENGTH, PARTS, check, part_of, timed

__all__ = ["reduce", "round_trip", "run", "startup", "throughput"]


def run(main: Callable[..., Any], *args: Any, workers: int) -> Any:
    return main(*args)


def begin(work: Callable[[Any, Any], None]) -> tuple[Any, Any, Any]:
    there, back = interpreters.create_queue(), interpreters.create_queue()
    thread = interpreters.create().call_in_thread(work, there, back)
    return there, back, thread


def hello(there: Any, back: Any) -> None:
    back.put("hello")


def startup(n: int) -> float:
    def start() -> Any:
        _, back, thread = begin(hello)
        back.get()
        return thread

    return timed(start, lambda thread: thread.join(), n)


def echo(there: Any, back: Any) -> None:
    while (message := there.get()) is not None:
        back.put(message)


def round_trip(n: int) -> None:
    there, back = begin(echo)[:2]
    for i in range(n):
        there.put(i)
        back.get()
    there.put(None)


def sink(there: Any, back: Any) -> None:
    for _ in range(there.get()):
        there.get()
    back.put(None)


def throughput(n: int) -> None:
    there, back = begin(sink)[:2]
    there.put(n)
    for _ in range(n):
        there.put(KIBIBYTE)
    back.get()


def reducer(there: Any, back: Any) -> None:
    view = there.get()
    while (part := there.get()) is not None:
        back.put(part_of(view, *part))


def reduce(n: int) -> None:
    vector = memoryview(values("d", (1.0,)) * LENGTH)
    queues = [begin(reducer)[:2] for _ in PARTS]
    for there, _ in queues:
        there.put(vector)
    for _ in range(n):
        for (there, _back), part in zip(queues, PARTS, strict=True):
            there.put(part)
        check(sum(back.get() for _, back in queues))
    for there, _ in queues:
        there.put(None)
