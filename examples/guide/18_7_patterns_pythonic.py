"""Guide 18.7, Building Your Own Synchronization Patterns. In the Pythonic naming.

A class whose operations are channels, and whose state belongs to the one thread that serves them. Nobody
else sees that state, so it may be ordinary mutable objects without a lock. In each round the thread offers
what is possible now; what is not is not offered. A semaphore is enough to answer those who wait.

This queue gives its items in the order in which they came (the Guide's gives the latest first).
"""

from collections import deque
from random import randrange
from typing import Any

import rtsync as rt


class PatientQueue:
    """A queue of any length that can also be asked to wait until so many items have been produced."""

    def __init__(self) -> None:
        self._produced = rt.Channel()
        self._consumed = rt.Channel()
        self._asked = rt.Channel()
        self._server = rt.thread(self._serve)

    async def produce(self, item: Any) -> None:
        await self._produced.put(item)

    async def consume(self) -> Any:
        return await self._consumed.get()

    async def wait_at_least(self, count: int) -> None:
        enough = rt.Semaphore(0)
        await self._asked.put((count, enough))
        await enough.wait()

    async def _serve(self) -> None:
        items: deque[Any] = deque()
        waiters: list[tuple[int, rt.Semaphore]] = []
        seen = 0

        def produced(item: Any) -> None:
            nonlocal seen
            items.append(item)
            seen += 1

        while True:
            offer = self._consumed.put_evt(items[0]) if items else rt.never
            await rt.sync(
                self._produced.handle(produced),
                self._asked.handle(waiters.append),
                offer.handle(lambda _: items.popleft()),
            )
            for waiter in list(waiters):
                count, enough = waiter
                if count <= seen:
                    enough.post()
                    waiters.remove(waiter)


async def produce_and_consume() -> None:
    queue = PatientQueue()

    async def produce_soon(item: int) -> None:
        await rt.sleep(randrange(10) / 100)
        await queue.produce(item)

    rt.thread(produce_soon, 1)
    rt.thread(produce_soon, 2)
    print([await queue.consume(), await queue.consume()])


async def wait_for_ten() -> None:
    queue = PatientQueue()

    async def work(i: int) -> str:
        await queue.produce(i)
        await queue.wait_at_least(10)
        return f"{i} -> {await queue.consume()}"

    for thread in [rt.thread(work, i) for i in range(10)]:
        print(await thread.join())


async def main() -> None:
    await produce_and_consume()
    await wait_for_ten()


if __name__ == "__main__":
    rt.run(main)
