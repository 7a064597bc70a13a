"""The servers in terms of asyncio's protocols, for asyncio, uvloop and mt_asyncio."""

from __future__ import annotations

from asyncio import Protocol
from collections.abc import Callable
from typing import Any

from perf.io.http import Conversation


class Echo(Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    # A client that does not read is not read from: what streams do by `drain`.
    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class Http(Echo):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.conversation = Conversation()

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.conversation.received(data))


async def serve(asyncio: Any, kind: str, tell: Callable[[int], object]) -> None:
    protocol = {"echo": Echo, "http": Http}[kind]
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=1024)
    tell(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()
