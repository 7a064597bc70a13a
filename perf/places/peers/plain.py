"""What the peers of the standard library share: they have no coroutines."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from perf.places.load import ELEMENTS, LENGTH

spawn = get_context("spawn")


def run(main: Callable[..., Any], *args: Any, workers: int) -> Any:
    try:
        return main(*args)
    finally:
        if memory.cache_info().currsize:
            view.cache_clear()
            memory().unlink()


@cache
def ones() -> Any:
    """The array to be sent."""
    import numpy

    return numpy.ones(ELEMENTS)


@cache
def memory() -> SharedMemory:
    """The vector to be reduced."""
    made = SharedMemory(create=True, size=LENGTH * 8)
    with made.buf[: LENGTH * 8].cast("d") as values:
        for place in range(LENGTH):
            values[place] = 1.0
    return made


_attached: list[SharedMemory] = []  # one that is dropped takes its views away


@cache
def view(name: str) -> Any:
    """In a worker: the vector, which it attaches once."""
    attached = SharedMemory(name, track=False)
    _attached.append(attached)
    return attached.buf[: LENGTH * 8].cast("d")
