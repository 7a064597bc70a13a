"""Asynchronous generators that are dropped before their end.

Their clean-up may have to wait (``finally: await ...``), and who drops them, maybe a collector, cannot. So
the interpreter tells the OS thread's hook (`sys.set_asyncgen_hooks`), and a thread of its own closes the
generator, as a task does in asyncio. When the runtime is about to end, no thread can be made any more. Then
the clean-up is run here and now, and told to end where it would wait, as that of a killed thread is.

Source: PEP 525.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from scheduler import NoRuntime, defer

from .control import KILLED
from .env import Env, current_env
from .errors import ContractError, ThreadKilled
from .thread import new_thread

if TYPE_CHECKING:
    from .runtime import Runtime

_MOST_THROWS: Final = 1000  # how often clean-up that waits is told again before it is given up


def watch(runtime: Runtime) -> None:
    """From now on asynchronous generators that are begun in this OS thread are closed by ``runtime``."""
    sys.set_asyncgen_hooks(finalizer=runtime.close_generator)


def close_later(runtime: Runtime, agen: AsyncGenerator[Any, Any]) -> None:
    """Close ``agen``, which nobody else has any more. Maybe in the middle of anything."""
    if runtime.running and not runtime.root.is_shut_down:
        defer(lambda: close_in_a_thread(runtime, agen))
    else:
        _close_now(agen)


def close_in_a_thread(runtime: Runtime, agen: AsyncGenerator[Any, Any]) -> None:
    """Close ``agen`` in a thread of its own."""
    context = Context()
    context.run(current_env.set, Env(runtime.root))
    thread = new_thread(runtime.key, _close(agen), context, runtime.root)
    thread._rarely().name = f"close {getattr(agen, '__qualname__', 'generator')}"
    try:
        runtime.root.adopt(thread)
    except ContractError:
        thread.coro.close()
        thread._end_as(KILLED, None)
        _close_now(agen)
    else:
        runtime.inject(thread)


async def _close(agen: AsyncGenerator[Any, Any]) -> None:
    await agen.aclose()


def _close_now(agen: AsyncGenerator[Any, Any]) -> None:
    closing = agen.aclose().__await__()
    call: Any = closing.send
    argument: Any = None
    for _ in range(_MOST_THROWS):
        try:
            parking = call(argument)
        except (StopIteration, StopAsyncIteration, ThreadKilled, GeneratorExit, NoRuntime):
            return
        if type(parking) is tuple:  # it would wait
            parking[1].release()
        call, argument = closing.throw, ThreadKilled()
