"""What the engine itself complains about. Users meet these under `rtsync`'s names."""

from __future__ import annotations


class SchedulerError(RuntimeError):
    """The engine was used in a way that it cannot serve."""


class ForkError(SchedulerError):
    """A runtime was used in a child made by ``fork``, where its OS threads do not exist."""

    def __init__(self) -> None:
        super().__init__(
            "this process was forked from one with a running rtsync runtime, whose OS threads do not exist "
            "here; exec a new program in the child, or start a runtime of its own with rtsync.run(main)"
        )


class BadYield(SchedulerError, TypeError):
    """A coroutine awaited something that is none of ours, such as an asyncio future."""

    def __init__(self, got: object) -> None:
        kind = type(got)
        super().__init__(
            f"await: this thread was handed a {kind.__module__}.{kind.__qualname__}, which rtsync cannot "
            "wait for; an asyncio or trio awaitable has to run in its own event loop"
        )


class NoRuntime(SchedulerError):
    """An operation that needs a runtime was called where none runs."""

    def __init__(self, operation: str) -> None:
        super().__init__(
            f"{operation}: no rtsync runtime runs in this OS thread; start one with rtsync.run(main), and "
            "from another OS thread use rtsync.block_on(operation), in asyncio rtsync.aio.wait(operation)"
        )
