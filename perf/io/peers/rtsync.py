"""rtsync: a thread for each connection."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import rtsync
from perf.io.http import Conversation
from rtsync.ports import InputPort, OutputPort, tcp_listen

EXAMPLE = Path(__file__).parents[3] / "examples" / "http_server.py"


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    rtsync.run({"echo": echo, "http": http, "example": example}[kind], tell, workers=workers)


async def echo(tell: Callable[[int], object]) -> None:
    async def converse(inp: InputPort, out: OutputPort) -> None:
        try:
            async with inp, out:
                while data := await inp.read_bytes_avail():
                    await out.write(data, flush=True)
                    del data
        except OSError:
            pass  # reset

    await accept(converse, tell)


async def http(tell: Callable[[int], object]) -> None:
    async def converse(inp: InputPort, out: OutputPort) -> None:
        conversation = Conversation()
        try:
            async with inp, out:
                while data := await inp.read_bytes_avail():
                    await out.write(conversation.received(data), flush=True)
        except OSError:
            pass  # reset

    await accept(converse, tell)


async def accept(converse: Callable[..., Coroutine[Any, Any, None]], tell: Callable[[int], object]) -> None:
    """A thread for each connection."""
    listener = tcp_listen(0, "127.0.0.1", backlog=1024)
    tell(listener.port)
    async for inp, out in listener:
        rtsync.thread(converse, inp, out, keep=False)


async def example(tell: Callable[[int], object]) -> None:
    """The server of the examples, which does more: time limits, methods, errors, what a client expects."""
    spec = importlib.util.spec_from_file_location("http_server", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    server: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server)
    listener = tcp_listen(0, "127.0.0.1", backlog=1024)
    tell(listener.port)
    await server.serve(listener, EXAMPLE.parent)
