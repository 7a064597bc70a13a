"""The rows in OS threads, with the standard library's `threading` and `queue`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Queue, SimpleQueue
from threading import Semaphore, Thread
from typing import Any

from perf.load import LIMIT, compute, resident

_workers = 1


def run(main: Callable[..., Any], *args: Any, workers: int) -> Any:
    global _workers  # noqa: PLW0603  one row in one process: nothing else can see it
    _workers = workers
    return main(*args)


def start(f: Callable[..., Any], *args: Any) -> Thread:
    thread = Thread(target=f, args=args, daemon=True)
    thread.start()
    return thread


def nothing() -> None:
    pass


def spawn(n: int) -> None:
    for _ in range(n):
        start(nothing).join()


def yields(n: int) -> None:
    for _ in range(n):
        time.sleep(0)


def channel(n: int) -> None:
    there, back = Queue(1), Queue(1)

    def echo() -> None:
        for _ in range(n):
            back.put(there.get())

    thread = start(echo)
    for i in range(n):
        there.put(i)
        back.get()
    thread.join()


def semaphore(n: int) -> None:
    there, back = Semaphore(0), Semaphore(0)

    def echo() -> None:
        for _ in range(n):
            there.acquire()
            back.release()

    thread = start(echo)
    for _ in range(n):
        there.release()
        back.acquire()
    thread.join()


def mailbox(n: int) -> None:
    there, back = SimpleQueue(), SimpleQueue()

    def echo() -> None:
        for _ in range(n):
            back.put(there.get())

    thread = start(echo)
    for i in range(n):
        there.put(i)
        back.get()
    thread.join()


def fan(n: int) -> None:
    queue = Queue(LIMIT)

    def produce() -> None:
        for i in range(n // 4):
            queue.put(i)

    def consume() -> None:
        for _ in range(n // 4):
            queue.get()

    for thread in [start(f) for f in (produce, consume) for _ in range(4)]:
        thread.join()


def timeout(n: int) -> None:
    there, back = Queue(1), Queue(1)

    def echo() -> None:
        for _ in range(n):
            back.put(there.get(timeout=5))

    thread = start(echo)
    for i in range(n):
        there.put(i)
        back.get(timeout=5)
    thread.join()


def million(n: int) -> None:
    batch = 100
    for _ in range(n // batch):
        for thread in [start(nothing) for _ in range(batch)]:
            thread.join()


def memory(n: int) -> float:
    n //= 100  # the kernel has its limits
    before = resident()
    queue = SimpleQueue[int]()
    blocked = [start(queue.get) for _ in range(n)]
    time.sleep(0.3)
    return (resident() - before) / len(blocked)


def cpu(n: int) -> None:
    with ThreadPoolExecutor(_workers) as pool:
        list(pool.map(lambda _: compute(), range(n)))
