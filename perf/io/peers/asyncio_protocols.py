"""asyncio, protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perf.io.peers import protocols


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    asyncio.run(protocols.serve(asyncio, kind, tell))
