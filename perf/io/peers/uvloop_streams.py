"""uvloop, streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop

from perf.io.peers import streams


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    uvloop.run(streams.serve(asyncio, kind, tell))
