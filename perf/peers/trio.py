"""The rows in trio."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import trio

from perf.load import BATCH, LIMIT, compute, deadlines, resident


def run(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any, workers: int) -> Any:
    return trio.run(main, *args)


async def nothing() -> None:
    pass


async def spawn(n: int) -> None:
    for _ in range(n):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nothing)


async def yields(n: int) -> None:
    for _ in range(n):
        await trio.lowlevel.checkpoint()


async def yield_100(n: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(yields, n // 100)


async def channel(n: int) -> None:
    put_there, get_there = trio.open_memory_channel[int](0)
    put_back, get_back = trio.open_memory_channel[int](0)

    async def echo() -> None:
        for _ in range(n):
            await put_back.send(await get_there.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        await trio.lowlevel.checkpoint()  # so that it is the getters that wait
        for i in range(n):
            await put_there.send(i)
            await get_back.receive()


async def semaphore(n: int) -> None:
    there, back = trio.Semaphore(0), trio.Semaphore(0)

    async def echo() -> None:
        for _ in range(n):
            await there.acquire()
            back.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        for _ in range(n):
            there.release()
            await back.acquire()


async def mailbox(n: int) -> None:
    put_there, get_there = trio.open_memory_channel[int](float("inf"))
    put_back, get_back = trio.open_memory_channel[int](float("inf"))

    async def echo() -> None:
        for _ in range(n):
            put_back.send_nowait(await get_there.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        for i in range(n):
            put_there.send_nowait(i)
            await get_back.receive()


async def fan(n: int) -> None:
    put, get = trio.open_memory_channel[int](LIMIT)

    async def produce() -> None:
        for i in range(n // 4):
            await put.send(i)

    async def consume() -> None:
        for _ in range(n // 4):
            await get.receive()

    async with trio.open_nursery() as nursery:
        for f in (produce, consume):
            for _ in range(4):
                nursery.start_soon(f)


async def sleepers(n: int) -> None:
    async with trio.open_nursery() as nursery:
        for seconds in deadlines(n):
            nursery.start_soon(trio.sleep, seconds)


async def timeout(n: int) -> None:
    put_there, get_there = trio.open_memory_channel[int](0)
    put_back, get_back = trio.open_memory_channel[int](0)

    async def echo() -> None:
        for _ in range(n):
            with trio.move_on_after(5):
                i = await get_there.receive()
            await put_back.send(i)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        await trio.lowlevel.checkpoint()  # so that it is the getters that wait
        for i in range(n):
            await put_there.send(i)
            with trio.move_on_after(5):
                await get_back.receive()


async def million(n: int) -> None:
    for _ in range(n // BATCH):
        async with trio.open_nursery() as nursery:
            for _ in range(BATCH):
                nursery.start_soon(nothing)


async def memory(n: int) -> float:
    _put, get = trio.open_memory_channel[int](0)
    before = resident()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(get.receive)
        await trio.sleep(0.3)
        size = (resident() - before) / n
        nursery.cancel_scope.cancel()
    return size


async def cpu(n: int) -> None:
    async def work() -> None:
        compute()

    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(work)
