"""asyncio of the standard library, on uvloop's event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from . import asyncio_family
from .asyncio_family import *  # noqa: F403

asyncio_family.use(asyncio)


def run(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any, workers: int) -> Any:
    return uvloop.run(main(*args))
