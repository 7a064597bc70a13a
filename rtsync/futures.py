"""Futures of the standard library as events: ready when they are done, with their result as the result.

A future that failed or was cancelled raises its exception out of the `sync`. One that was not chosen is left
alone.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any
from weakref import WeakKeyDictionary

from .evt import Evt, Latch, register_evt

_latches: WeakKeyDictionary[Any, Latch] = WeakKeyDictionary()
"""One latch and one callback for each future, however often a thread waits for it. A latch does not know its
future, or the dictionary would keep both for ever."""


def _latch(future: Any) -> tuple[Latch, bool]:
    """The latch of ``future``, and whether it is new."""
    latch = _latches.get(future)
    if latch is not None:
        return latch, False
    made = Latch()
    latch = _latches.setdefault(future, made)
    return latch, latch is made


def _concurrent_evt(future: concurrent.futures.Future[Any]) -> Evt:
    latch, new = _latch(future)
    if new:
        future.add_done_callback(lambda _: latch.set())
    return latch.handle(lambda _: future.result())


def _asyncio_evt(future: asyncio.Future[Any]) -> Evt:
    latch, new = _latch(future)
    if new:
        # An asyncio future belongs to the OS thread of its loop, and its callbacks run there.
        if future.done():
            latch.set()
        else:
            future.get_loop().call_soon_threadsafe(future.add_done_callback, lambda _: latch.set())
    return latch.handle(lambda _: future.result())


register_evt(concurrent.futures.Future, _concurrent_evt)
register_evt(asyncio.Future, _asyncio_evt)
