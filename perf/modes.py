"""What the three kinds of mutual exclusion cost, beside ``threading.Lock``: ``python -m perf.modes``.

Prints the figures of ``docs/modes.md``, each the best of several rounds, and how pools scale.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import rtsync as rt
from rtsync.atomic import atomic, uninterruptible

ROUNDS = 15
OPERATIONS = 20_000


def best(body: Callable[[int], Any], operations: int = OPERATIONS) -> float:
    """Microseconds for one of the operations that ``body(operations)`` makes."""
    return min(timed(body, operations) for _ in range(ROUNDS))


def timed(body: Callable[[int], Any], operations: int) -> float:
    """The same for one round."""
    start = perf_counter()
    body(operations)
    return (perf_counter() - start) / operations * 1e6


def with_block(block: Any) -> Callable[[int], None]:
    """A loop over ``with block:``."""

    def body(many: int) -> None:
        for _ in range(many):
            with block:
                pass

    return body


async def costs() -> dict[str, float]:
    """Uncontended, on an otherwise idle place."""
    sem = rt.Semaphore(1)
    figures = {
        "with threading.Lock()": best(with_block(threading.Lock())),
        "with uninterruptible()": best(with_block(uninterruptible())),
        "with UninterruptibleLock()": best(with_block(rt.UninterruptibleLock())),
        "with atomic(), the place idle": best(with_block(atomic())),
    }
    rounds = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(OPERATIONS):
            async with sem:
                pass
        rounds.append((perf_counter() - start) / OPERATIONS * 1e6)
    figures["async with Semaphore(1)"] = min(rounds)
    return figures


async def beside(step: float) -> tuple[float, float]:
    """``with atomic()`` beside a worker whose steps take ``step`` seconds: microseconds to enter, in the
    median and in nine of ten cases."""
    stop: list[int] = []
    steps = 0

    async def busy() -> None:
        nonlocal steps
        while not stop:
            end = perf_counter() + step
            while perf_counter() < end:
                pass
            steps += 1
            await rt.sleep(0)

    t = rt.thread(busy)
    entries: list[float] = []
    while len(entries) < 300:
        before = steps
        while steps < before + 2:  # it does run, on another worker
            pass
        start = perf_counter()
        with atomic():
            entries.append(perf_counter() - start)
    stop.append(1)
    await t.join()
    entries.sort()
    return median(entries) * 1e6, entries[len(entries) * 9 // 10] * 1e6


def work(rounds: int = 300_000) -> int:
    """Something to compute."""
    total = 0
    for n in range(rounds):
        total += n & 7
    return total


async def scaling(n: int) -> tuple[float, float]:
    """How much faster ``n`` calls are made in a pool of ``n``, and by as many OS threads, than one after the
    other. The best of some rounds of each."""
    alone, pooled, threaded = [], [], []
    for _ in range(10):
        start = perf_counter()
        for _ in range(n):
            work()
        alone.append(perf_counter() - start)
        pool = rt.ParallelThreadPool(n)
        start = perf_counter()
        for t in [rt.thread(work, pool=pool) for _ in range(n)]:
            await t.join()
        pooled.append(perf_counter() - start)
        pool.close()
        start = perf_counter()
        os_threads = [threading.Thread(target=work) for _ in range(n)]
        for os_thread in os_threads:
            os_thread.start()
        for os_thread in os_threads:
            os_thread.join()
        threaded.append(perf_counter() - start)
    return min(alone) / min(pooled), min(alone) / min(threaded)


async def main() -> None:
    for name, cost in (await costs()).items():
        print(f"{name:34} {cost:8.3f} µs")
    for step in (5e-6, 50e-6):
        middle, most = await beside(step)
        print(
            f"{f'enter it beside steps of {step * 1e6:.0f} µs':34} {middle:8.1f} µs (nine of ten: {most:.1f})"
        )
    in_pool, in_threads = await scaling(2)
    print(f"{'a pool of 2, plain functions':34} {in_pool:8.2f} times as fast (OS threads: {in_threads:.2f})")


if __name__ == "__main__":
    rt.run(main, workers=2)
