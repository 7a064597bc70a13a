"""Guide 18.4, Channels: a value passes when both sides are there. In the Pythonic naming.

``async for item in channel`` gets one item after another. The results need no thread of their own here:
the main thread puts work while there is some and prints what comes back, whichever is possible first.
"""

from collections import deque

import rtsync as rt


async def main() -> None:
    work = rt.Channel()
    results = rt.Channel()
    waiting = deque("ABCDEFGH")
    workers = [rt.thread(process, number, work, results) for number in (1, 2)]
    unprinted = len(waiting)
    while unprinted:
        offer = work.put_evt(waiting[0]) if waiting else rt.never
        chosen = await rt.sync(offer, results)
        if chosen is offer:
            waiting.popleft()
        else:
            print(chosen)
            unprinted -= 1
    for _ in workers:
        await work.put(None)
    for worker in workers:
        print(await worker.join())


async def process(number: int, work: rt.Channel, results: rt.Channel) -> str:
    async for item in work:
        if item is None:
            break
        await results.put(f"Thread {number} processed {item}")
    return f"Thread {number} done"


if __name__ == "__main__":
    rt.run(main)
