"""The rows in a ``multiprocessing.Pool``: a message is a call."""

from __future__ import annotations

from functools import cache
from typing import Any

from perf.places.load import KIBIBYTE, PARTS, check, look, part_of, timed

from .plain import memory, ones, run, spawn, view

__all__ = ["array", "reduce", "round_trip", "run", "startup", "throughput"]


@cache
def kept(workers: int = 1) -> Any:
    return spawn.Pool(workers)


def same(value: Any) -> Any:
    return value


def size(value: Any) -> int:
    return len(value)


def startup(n: int) -> float:
    def start() -> Any:
        pool = spawn.Pool(1)
        pool.apply(same, ("hello",))
        return pool

    return timed(start, lambda pool: (pool.close(), pool.join()), n)


def round_trip(n: int) -> None:
    apply = kept().apply
    for i in range(n):
        apply(same, (i,))


def throughput(n: int) -> None:
    for _ in kept().imap(size, (KIBIBYTE for _ in range(n))):
        pass


def array(n: int) -> None:
    for _ in range(n):
        kept().apply(look, (ones(),))


def reducer(name: str, start: int, stop: int) -> float:
    return part_of(view(name), start, stop)


def reduce(n: int) -> None:
    for _ in range(n):
        check(sum(kept(len(PARTS)).starmap(reducer, [(memory().name, *part) for part in PARTS], 1)))
