"""trio."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from perf.io.http import Conversation


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    trio.run(main, {"echo": echo, "http": http}[kind], tell)


async def main(handler: Callable[..., object], tell: Callable[[int], object]) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handler, 0, host="127.0.0.1", backlog=1024)
        listeners = await nursery.start(serve)
        tell(listeners[0].socket.getsockname()[1])


async def echo(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):  # reset
        while data := await stream.receive_some(1 << 18):
            await stream.send_all(data)
            del data


async def http(stream: trio.SocketStream) -> None:
    conversation = Conversation()
    with suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(1 << 16):
            await stream.send_all(conversation.received(data))
