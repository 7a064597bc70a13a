"""asyncio side by side with our threads.

`run` runs an asyncio coroutine, and with it any asyncio library, for one of our threads: on a loop of the
runtime's own, in the background. `wait` is the other direction: asyncio code, on any loop, waits for one of
our events. asyncio's futures and tasks are events already (`rtsync.futures`).

Files: `drive` (an operation of ours inside an asyncio task), `crossing` (a coroutine of asyncio for a thread
of ours), `background` (the loop). See docs/asyncio.md.
"""

from .crossing import run
from .drive import wait

__all__ = ["run", "wait"]
