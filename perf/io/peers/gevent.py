"""gevent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.server import StreamServer

from perf.io.http import Conversation


def serve(kind: str, workers: int, tell: Callable[[int], object]) -> None:
    server = StreamServer(("127.0.0.1", 0), {"echo": echo, "http": http}[kind], backlog=1024)
    server.start()
    tell(server.server_port)
    server.serve_forever()


def echo(conn: Any, address: Any) -> None:
    while data := conn.recv(1 << 18):
        conn.sendall(data)
        del data


def http(conn: Any, address: Any) -> None:
    conversation = Conversation()
    while data := conn.recv(1 << 16):
        conn.sendall(conversation.received(data))
