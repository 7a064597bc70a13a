"""The rows in gevent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent.lock import Semaphore
from gevent.queue import Channel, Queue, SimpleQueue

from perf.load import BATCH, LIMIT, compute, deadlines, resident


def run(main: Callable[..., Any], *args: Any, workers: int) -> Any:
    return gevent.spawn(main, *args).get()


def nothing() -> None:
    pass


def spawn(n: int) -> None:
    for _ in range(n):
        gevent.spawn(nothing).join()


def yields(n: int) -> None:
    for _ in range(n):
        gevent.sleep(0)


def yield_100(n: int) -> None:
    gevent.joinall([gevent.spawn(yields, n // 100) for _ in range(100)])


def channel(n: int) -> None:
    there, back = Channel(), Channel()

    def echo() -> None:
        for _ in range(n):
            back.put(there.get())

    greenlet = gevent.spawn(echo)
    gevent.sleep(0)  # so that it is the getters that wait
    for i in range(n):
        there.put(i)
        back.get()
    greenlet.join()


def semaphore(n: int) -> None:
    there, back = Semaphore(0), Semaphore(0)

    def echo() -> None:
        for _ in range(n):
            there.acquire()
            back.release()

    greenlet = gevent.spawn(echo)
    for _ in range(n):
        there.release()
        back.acquire()
    greenlet.join()


def mailbox(n: int) -> None:
    there, back = SimpleQueue(), SimpleQueue()

    def echo() -> None:
        for _ in range(n):
            back.put(there.get())

    greenlet = gevent.spawn(echo)
    for i in range(n):
        there.put(i)
        back.get()
    greenlet.join()


def fan(n: int) -> None:
    queue = Queue(LIMIT)

    def produce() -> None:
        for i in range(n // 4):
            queue.put(i)

    def consume() -> None:
        for _ in range(n // 4):
            queue.get()

    gevent.joinall([gevent.spawn(f) for f in (produce, consume) for _ in range(4)])


def sleepers(n: int) -> None:
    gevent.joinall([gevent.spawn(gevent.sleep, seconds) for seconds in deadlines(n)])


def timeout(n: int) -> None:
    there, back = Channel(), Channel()

    def echo() -> None:
        for _ in range(n):
            back.put(there.get(timeout=5))

    greenlet = gevent.spawn(echo)
    gevent.sleep(0)  # so that it is the getters that wait
    for i in range(n):
        there.put(i)
        back.get(timeout=5)
    greenlet.join()


def million(n: int) -> None:
    for _ in range(n // BATCH):
        gevent.joinall([gevent.spawn(nothing) for _ in range(BATCH)])


def memory(n: int) -> float:
    before = resident()
    channel = Channel()
    blocked = [gevent.spawn(channel.get) for _ in range(n)]
    gevent.sleep(0.3)
    return (resident() - before) / len(blocked)


def cpu(n: int) -> None:
    gevent.joinall([gevent.spawn(compute) for _ in range(n)])
