"""mt_asyncio: the interface of asyncio on several OS threads."""

from collections.abc import Callable, Coroutine
from typing import Any

import mt_asyncio.asyncio

from . import asyncio_family
from .asyncio_family import *  # noqa: F403

asyncio_family.use(mt_asyncio.asyncio)


def run(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any, workers: int) -> Any:
    return mt_asyncio.asyncio.run(main(*args), threads=workers)
