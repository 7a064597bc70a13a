"""TonIO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tonio.colored as tonio
from tonio.colored import net

from perf.io.http import Conversation


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    tonio.run(main({"echo": echo, "http": http}[kind], tell), threads=workers)


async def main(handler: Callable[..., Any], tell: Callable[[int], object]) -> None:
    (listener,) = await net.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
    tell(listener.socket.getsockname()[1])
    await net.serve_listeners(handler, [listener])


async def echo(stream: Any) -> None:
    while data := await stream.receive_some(1 << 18):
        await stream.send_all(data)
        del data


async def http(stream: Any) -> None:
    conversation = Conversation()
    while data := await stream.receive_some(1 << 16):
        await stream.send_all(conversation.received(data))
