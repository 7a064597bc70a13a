"""The rows in a ``concurrent.futures.ProcessPoolExecutor``: a message is a call."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

from perf.places.load import KIBIBYTE, PARTS, check, look, timed

from .plain import memory, ones, run, spawn
from .pool import reducer, same, size

__all__ = ["array", "reduce", "round_trip", "run", "startup", "throughput"]


@cache
def kept(workers: int = 1) -> Any:
    return ProcessPoolExecutor(workers, mp_context=spawn)


def startup(n: int) -> float:
    def start() -> Any:
        executor = ProcessPoolExecutor(1, mp_context=spawn)
        executor.submit(same, "hello").result()
        return executor

    return timed(start, lambda executor: executor.shutdown(), n)


def round_trip(n: int) -> None:
    submit = kept().submit
    for i in range(n):
        submit(same, i).result()


def throughput(n: int) -> None:
    for _ in kept().map(size, (KIBIBYTE for _ in range(n))):
        pass


def array(n: int) -> None:
    for _ in range(n):
        kept().submit(look, ones()).result()


def reduce(n: int) -> None:
    for _ in range(n):
        futures = [kept(len(PARTS)).submit(reducer, memory().name, *part) for part in PARTS]
        check(sum(future.result() for future in futures))
