"""Futures of ``concurrent.futures`` as events: ready when they are done, with their result as the result.

A future that failed or was cancelled raises its exception out of the `sync`. One that was not chosen is left
alone. Those of asyncio: `rtsync.aio.futures`. Imported with the first (see `rtsync.evt.register_late`).
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any
from weakref import WeakKeyDictionary

from .evt import Evt, Latch, register_evt

_latches: WeakKeyDictionary[Any, Latch] = WeakKeyDictionary()
"""One latch and one callback for each future, however often a thread waits for it. A latch does not know its
future, or the dictionary would keep both for ever."""


def latch_of(future: Any) -> tuple[Latch, bool]:
    """The latch of ``future``, and whether it is new."""
    latch = _latches.get(future)
    if latch is not None:
        return latch, False
    made = Latch()
    latch = _latches.setdefault(future, made)
    return latch, latch is made


def _evt(future: Future[Any]) -> Evt:
    latch, new = latch_of(future)
    if new:
        future.add_done_callback(lambda _: latch.set())
    return latch.handle(lambda _: future.result())


register_evt(Future, _evt)
