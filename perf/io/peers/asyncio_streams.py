"""asyncio, streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perf.io.peers import streams


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    asyncio.run(streams.serve(asyncio, kind, tell))
