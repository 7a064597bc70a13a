"""The rows in asyncio: one text for the standard library's, the same on uvloop, and mt_asyncio."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from perf.load import BATCH, LIMIT, compute, deadlines, resident

aio: Any = None
"""The namespace under test, set before a row runs."""


def run(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any, workers: int) -> Any:
    return aio.run(main(*args))


def use(namespace: Any) -> None:
    global aio  # noqa: PLW0603  one row in one process: nothing else can see it
    aio = namespace


async def nothing() -> None:
    pass


async def spawn(n: int) -> None:
    for _ in range(n):
        await aio.create_task(nothing())


async def yields(n: int) -> None:
    for _ in range(n):
        await aio.sleep(0)


async def yield_100(n: int) -> None:
    await aio.gather(*[yields(n // 100) for _ in range(100)])


async def channel(n: int) -> None:
    there, back = aio.Queue(1), aio.Queue(1)

    async def echo() -> None:
        for _ in range(n):
            await back.put(await there.get())

    task = aio.create_task(echo())
    for i in range(n):
        await there.put(i)
        await back.get()
    await task


async def select(n: int) -> None:
    """A getter and a stop event as tasks, and `asyncio.wait` for the first: what asyncio has for it."""
    there, back, stop = aio.Queue(1), aio.Queue(1), aio.Event()

    async def first(queue: Any, stopped: Any) -> Any:
        getter = aio.create_task(queue.get())
        done, _ = await aio.wait((getter, stopped), return_when="FIRST_COMPLETED")
        return getter.result() if getter in done else None

    async def echo() -> None:
        stopped = aio.create_task(stop.wait())
        for _ in range(n):
            await back.put(await first(there, stopped))

    task = aio.create_task(echo())
    stopped = aio.create_task(stop.wait())
    for i in range(n):
        await there.put(i)
        await first(back, stopped)
    await task
    stop.set()


async def semaphore(n: int) -> None:
    there, back = aio.Semaphore(0), aio.Semaphore(0)

    async def echo() -> None:
        for _ in range(n):
            await there.acquire()
            back.release()

    task = aio.create_task(echo())
    for _ in range(n):
        there.release()
        await back.acquire()
    await task


async def mailbox(n: int) -> None:
    there, back = aio.Queue(), aio.Queue()

    async def echo() -> None:
        for _ in range(n):
            back.put_nowait(await there.get())

    task = aio.create_task(echo())
    for i in range(n):
        there.put_nowait(i)
        await back.get()
    await task


async def fan(n: int) -> None:
    queue = aio.Queue(LIMIT)

    async def produce() -> None:
        for i in range(n // 4):
            await queue.put(i)

    async def consume() -> None:
        for _ in range(n // 4):
            await queue.get()

    await aio.gather(*[f() for f in (produce, consume) for _ in range(4)])


async def sleepers(n: int) -> None:
    await aio.gather(*[aio.sleep(seconds) for seconds in deadlines(n)])


async def timeout(n: int) -> None:
    there, back = aio.Queue(1), aio.Queue(1)

    async def echo() -> None:
        for _ in range(n):
            async with aio.timeout(5):
                i = await there.get()
            await back.put(i)

    task = aio.create_task(echo())
    for i in range(n):
        await there.put(i)
        async with aio.timeout(5):
            await back.get()
    await task


async def million(n: int) -> None:
    for _ in range(n // BATCH):
        await aio.gather(*[nothing() for _ in range(BATCH)])


async def memory(n: int) -> float:
    before = resident()
    queue = aio.Queue()
    blocked = [aio.create_task(queue.get()) for _ in range(n)]
    await aio.sleep(0.3)
    size = (resident() - before) / n
    for i in range(len(blocked)):
        queue.put_nowait(i)
    await aio.gather(*blocked)
    return size


async def cpu(n: int) -> None:
    async def work() -> None:
        compute()

    await aio.gather(*[work() for _ in range(n)])
