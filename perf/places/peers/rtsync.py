"""The rows in places."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from statistics import median
from time import perf_counter
from typing import Any

import rtsync
from perf.places.load import ELEMENTS, KIBIBYTE, LENGTH, PARTS, check, look, part_of
from rtsync.place import Place, PlaceChannel, place

_started: dict[Any, Any] = {}


def run(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any, workers: int) -> Any:
    return rtsync.run(main, *args, workers=workers)


def kept(work: Callable[[PlaceChannel], Any], number: int = 0) -> Place:
    """The place that does ``work``."""
    key = work, number
    if key not in _started:
        _started[key] = place(work)
    return _started[key]  # type: ignore[no-any-return]


async def hello(channel: PlaceChannel) -> None:
    channel.put("hello")


async def startup(n: int) -> float:
    figures = []
    for _ in range(n):
        began = perf_counter()
        p = place(hello)
        await p.get()
        figures.append(perf_counter() - began)
        await p.wait()
    return median(figures)


async def echo(channel: PlaceChannel) -> None:
    while True:
        channel.put(await channel.get())


async def round_trip(n: int) -> None:
    p = kept(echo)
    for i in range(n):
        p.put(i)
        await p.get()


async def sink(channel: PlaceChannel) -> None:
    while True:
        for _ in range(await channel.get()):
            await channel.get()
        channel.put(None)


async def throughput(n: int) -> None:
    p = kept(sink)
    p.put(n)
    for _ in range(n):
        p.put(KIBIBYTE)
    await p.get()


async def looker(channel: PlaceChannel) -> None:
    while True:
        channel.put(look(await channel.get()))


async def array(n: int) -> None:
    import numpy

    if "array" not in _started:
        _started["array"] = numpy.ones(ELEMENTS)
    p = kept(looker)
    for _ in range(n):
        p.put(_started["array"])
        await p.get()


async def first_array(n: int) -> float:
    """As `array`, each time by a place that has sent and received none before."""
    import numpy

    ones = numpy.ones(ELEMENTS)
    figures = []
    for _ in range(n):
        p = place(looker)
        p.put(ones[:1])
        await p.get()
        await rtsync.sleep(1.5)  # what was kept for the next message is given back by now
        began = perf_counter()
        p.put(ones)
        await p.get()
        figures.append(perf_counter() - began)
        p.kill()
        await p.wait()
    return median(figures)


async def reducer(channel: PlaceChannel) -> None:
    while True:
        vector, start, stop = await channel.get()
        channel.put(part_of(memoryview(vector), start, stop))


async def reduce(n: int) -> None:
    if "vector" not in _started:
        _started["vector"] = rtsync.SharedFlvector(LENGTH, 1.0)
    places = [kept(reducer, number) for number in range(len(PARTS))]
    for _ in range(n):
        for p, (start, stop) in zip(places, PARTS, strict=True):
            p.put((_started["vector"], start, stop))
        check(sum([await p.get() for p in places]))
