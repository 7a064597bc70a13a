"""asyncio of the standard library, on its own event loop."""

import asyncio

from . import asyncio_family
from .asyncio_family import *  # noqa: F403

asyncio_family.use(asyncio)
