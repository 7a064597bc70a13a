"""The rows in TonIO, in its ``async`` notation."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import tonio.colored as tonio
from tonio.colored import time
from tonio.colored.sync import Semaphore
from tonio.colored.sync.channel import channel as bounded
from tonio.colored.sync.channel import unbounded

from perf.load import BATCH, LIMIT, compute, deadlines, resident


def run(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any, workers: int) -> Any:
    return tonio.run(main(*args), threads=workers)


async def nothing() -> None:
    pass


async def spawn(n: int) -> None:
    for _ in range(n):
        await tonio.spawn(nothing())


async def yields(n: int) -> None:
    for _ in range(n):
        await tonio.yield_now()


async def yield_100(n: int) -> None:
    await tonio.spawn(*[yields(n // 100) for _ in range(100)])


async def channel(n: int) -> None:
    put_there, get_there = bounded(1)
    put_back, get_back = bounded(1)

    async def echo() -> None:
        for _ in range(n):
            await put_back.send(await get_there.receive())

    task = tonio.spawn(echo())
    for i in range(n):
        await put_there.send(i)
        await get_back.receive()
    await task


async def select(n: int) -> None:
    put_there, get_there = bounded(1)
    put_back, get_back = bounded(1)
    stop = tonio.Event()

    async def echo() -> None:
        for _ in range(n):
            await put_back.send(await tonio.select(get_there.receive(), stop.wait()))

    task = tonio.spawn(echo())
    for i in range(n):
        await put_there.send(i)
        await tonio.select(get_back.receive(), stop.wait())
    await task


async def semaphore(n: int) -> None:
    there, back = Semaphore(0), Semaphore(0)

    async def echo() -> None:
        for _ in range(n):
            await there.__aenter__()
            back.release()

    task = tonio.spawn(echo())
    for _ in range(n):
        there.release()
        await back.__aenter__()
    await task


async def mailbox(n: int) -> None:
    put_there, get_there = unbounded()
    put_back, get_back = unbounded()

    async def echo() -> None:
        for _ in range(n):
            put_back.send(await get_there.receive())

    task = tonio.spawn(echo())
    for i in range(n):
        put_there.send(i)
        await get_back.receive()
    await task


async def fan(n: int) -> None:
    put, get = bounded(LIMIT)

    async def produce() -> None:
        for i in range(n // 4):
            await put.send(i)

    async def consume() -> None:
        for _ in range(n // 4):
            await get.receive()

    await tonio.spawn(*[f() for f in (produce, consume) for _ in range(4)])


async def sleepers(n: int) -> None:
    async def nap(seconds: float) -> None:
        await tonio.sleep(seconds)

    await tonio.spawn.without_results(*[nap(seconds) for seconds in deadlines(n)])


async def timeout(n: int) -> None:
    put_there, get_there = bounded(1)
    put_back, get_back = bounded(1)

    async def echo() -> None:
        for _ in range(n):
            i, _ = await time.timeout(get_there.receive(), 5)
            await put_back.send(i)

    task = tonio.spawn(echo())
    for i in range(n):
        await put_there.send(i)
        await time.timeout(get_back.receive(), 5)
    await task


async def million(n: int) -> None:
    for _ in range(n // BATCH):
        await tonio.spawn.without_results(*[nothing() for _ in range(BATCH)])


async def memory(n: int) -> float:
    before = resident()
    put, get = unbounded()
    task = tonio.spawn.without_results(*[get.receive() for _ in range(n)])
    await tonio.sleep(0.3)
    size = (resident() - before) / n
    for i in range(n):
        put.send(i)
    await task
    return size


async def cpu(n: int) -> None:
    async def work() -> None:
        compute()

    await tonio.spawn(*[work() for _ in range(n)])
