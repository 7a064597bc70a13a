"""The rows in processes with queues: ``multiprocessing``'s `Process` and `Queue`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from perf.places.load import KIBIBYTE, PARTS, check, look, part_of, timed

from .plain import memory, ones, run, spawn, view

__all__ = ["array", "reduce", "round_trip", "run", "startup", "throughput"]


def begin(work: Callable[[Any, Any], None]) -> tuple[Any, Any, Any]:
    there, back = spawn.Queue(), spawn.Queue()
    process = spawn.Process(target=work, args=(there, back), daemon=True)
    process.start()
    return there, back, process


@cache
def kept(work: Callable[[Any, Any], None], number: int = 0) -> tuple[Any, Any]:
    """The queues to and from the process that does ``work``."""
    return begin(work)[:2]


def hello(there: Any, back: Any) -> None:
    back.put("hello")


def startup(n: int) -> float:
    def start() -> Any:
        _, back, process = begin(hello)
        back.get()
        return process

    return timed(start, lambda process: process.join(), n)


def echo(there: Any, back: Any) -> None:
    while True:
        back.put(there.get())


def round_trip(n: int) -> None:
    there, back = kept(echo)
    for i in range(n):
        there.put(i)
        back.get()


def sink(there: Any, back: Any) -> None:
    while True:
        for _ in range(there.get()):
            there.get()
        back.put(None)


def throughput(n: int) -> None:
    there, back = kept(sink)
    there.put(n)
    for _ in range(n):
        there.put(KIBIBYTE)
    back.get()


def looker(there: Any, back: Any) -> None:
    while True:
        back.put(look(there.get()))


def array(n: int) -> None:
    there, back = kept(looker)
    for _ in range(n):
        there.put(ones())
        back.get()


def reducer(there: Any, back: Any) -> None:
    while True:
        name, start, stop = there.get()
        back.put(part_of(view(name), start, stop))


def reduce(n: int) -> None:
    queues = [kept(reducer, number) for number in range(len(PARTS))]
    for _ in range(n):
        for (there, _back), (start, stop) in zip(queues, PARTS, strict=True):
            there.put((memory().name, start, stop))
        check(sum(back.get() for _, back in queues))
