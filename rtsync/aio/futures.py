"""Futures and tasks of asyncio as events, as those of ``concurrent.futures`` are (`rtsync.futures`)."""

from __future__ import annotations

from asyncio import Future
from typing import Any

from rtsync.evt import Evt, register_evt
from rtsync.futures import latch_of


def _evt(future: Future[Any]) -> Evt:
    latch, new = latch_of(future)
    if new:
        # It belongs to the OS thread of its loop, and its callbacks run there.
        if future.done():
            latch.set()
        else:
            future.get_loop().call_soon_threadsafe(future.add_done_callback, lambda _: latch.set())
    return latch.handle(lambda _: future.result())


register_evt(Future, _evt)
