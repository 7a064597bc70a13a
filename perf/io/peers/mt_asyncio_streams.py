"""mt_asyncio, streams."""

from __future__ import annotations

from collections.abc import Callable

import mt_asyncio.asyncio as asyncio

from perf.io.peers import streams


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    asyncio.run(streams.serve(asyncio, kind, tell), threads=workers)
