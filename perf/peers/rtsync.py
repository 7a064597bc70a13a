"""The rows in rtsync."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import rtsync
from perf.load import BATCH, LIMIT, compute, deadlines, resident
from rtsync import AsyncChannel, Channel, Semaphore, current_thread, receive, sleep, sync, thread


def run(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any, workers: int) -> Any:
    return rtsync.run(main, *args, workers=workers)


async def nothing() -> None:
    pass


async def spawn(n: int) -> None:
    for _ in range(n):
        await thread(nothing).join()


async def yields(n: int) -> None:
    for _ in range(n):
        await sleep(0)


async def yield_100(n: int) -> None:
    for t in [thread(yields, n // 100) for _ in range(100)]:
        await t.join()


async def channel(n: int) -> None:
    there, back = Channel(), Channel()

    async def echo() -> None:
        for _ in range(n):
            await back.put(await there.get())

    t = thread(echo)
    await sleep(0)  # so that it is the getters that wait, as a server does
    for i in range(n):
        await there.put(i)
        await back.get()
    await t.join()


async def select(n: int) -> None:
    there, back, stop = Channel(), Channel(), Channel()

    async def echo() -> None:
        for _ in range(n):
            await back.put(await sync(there, stop))

    t = thread(echo)
    await sleep(0)  # so that it is the getters that wait, as a server does
    for i in range(n):
        await there.put(i)
        await sync(back, stop)
    await t.join()


async def semaphore(n: int) -> None:
    there, back = Semaphore(), Semaphore()

    async def echo() -> None:
        for _ in range(n):
            await there.wait()
            back.post()

    t = thread(echo)
    for _ in range(n):
        there.post()
        await back.wait()
    await t.join()


async def mailbox(n: int) -> None:
    me = current_thread()

    async def echo() -> None:
        for _ in range(n):
            me.send(await receive())

    t = thread(echo)
    for i in range(n):
        t.send(i)
        await receive()
    await t.join()


async def fan(n: int) -> None:
    queue = AsyncChannel(LIMIT)

    async def produce() -> None:
        for i in range(n // 4):
            await queue.put(i)

    async def consume() -> None:
        for _ in range(n // 4):
            await queue.get()

    for t in [thread(f) for f in (produce, consume) for _ in range(4)]:
        await t.join()


async def sleepers(n: int) -> None:
    async def nap(seconds: float) -> None:
        await sleep(seconds)

    for t in [thread(nap, seconds) for seconds in deadlines(n)]:
        await t.join()


async def timeout(n: int) -> None:
    there, back = Channel(), Channel()

    async def echo() -> None:
        for _ in range(n):
            await back.put(await sync(there, timeout=5))

    t = thread(echo)
    await sleep(0)  # so that it is the getters that wait, as a server does
    for i in range(n):
        await there.put(i)
        await sync(back, timeout=5)
    await t.join()


async def million(n: int) -> None:
    for _ in range(n // BATCH):
        for t in [thread(nothing) for _ in range(BATCH)]:
            await t.join()


async def memory(n: int) -> float:
    before = resident()
    channel = Channel()
    blocked = [thread(channel.get) for _ in range(n)]
    await sleep(0.3)
    return (resident() - before) / len(blocked)


async def cpu(n: int) -> None:
    async def work() -> None:
        compute()

    for t in [thread(work) for _ in range(n)]:
        await t.join()
