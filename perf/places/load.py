"""What is sent and computed, the same for all peers."""

from __future__ import annotations

from collections.abc import Callable
from math import sumprod
from statistics import median
from time import perf_counter
from typing import Any

KIBIBYTE = bytes(1024)
ELEMENTS = 8 << 20
"""Doubles in the array that is sent: 64 MiB."""

LENGTH = 1_000_000
"""Of the vector that is reduced."""

PARTS = ((0, LENGTH // 2), (LENGTH // 2, LENGTH))


def look(array: Any) -> float:
    """Touch an array that came, without reading all of it."""
    return float(array[0] + array[-1])


def part_of(view: Any, start: int, stop: int) -> float:
    """One part of the reduction: the sum of the squares."""
    part = view[start:stop]
    return sumprod(part, part)


def check(total: float) -> None:
    """The vector holds ones."""
    if total != LENGTH:
        raise AssertionError(f"the reduction gave {total}")


def timed(begin: Callable[[], Any], end: Callable[[Any], object], n: int) -> float:
    """The median time that ``begin()`` takes; ``end`` takes what it gave."""
    figures = []
    for _ in range(n):
        began = perf_counter()
        started = begin()
        figures.append(perf_counter() - began)
        end(started)
    return median(figures)
