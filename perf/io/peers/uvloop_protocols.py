"""uvloop, protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop

from perf.io.peers import protocols


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    uvloop.run(protocols.serve(asyncio, kind, tell))
