"""The servers in terms of asyncio's streams, for asyncio, uvloop and mt_asyncio."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from perf.io.http import Conversation


async def serve(asyncio: Any, kind: str, tell: Callable[[int], object]) -> None:
    async def echo(reader: Any, writer: Any) -> None:
        with suppress(OSError):  # reset
            while data := await reader.read(1 << 18):
                writer.write(data)
                await writer.drain()
                del data
        writer.close()

    async def http(reader: Any, writer: Any) -> None:
        conversation = Conversation()
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(conversation.received(data))
                await writer.drain()
        writer.close()

    handler = {"echo": echo, "http": http}[kind]
    server = await asyncio.start_server(handler, "127.0.0.1", 0, backlog=1024, limit=1 << 18)
    tell(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()
