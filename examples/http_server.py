"""A small HTTP/1.1 server: it serves the files below a folder, and computes, on all cores.

    python examples/http_server.py --root docs --port 8000
    curl http://127.0.0.1:8000/design.md
    curl http://127.0.0.1:8000/primes/100000

The protocol is the business of h11 (``pip install h11``), which does no I/O. What is shown here is the rest:
one thread for each connection, which reads, computes and writes as if it were alone. Threads run on all
cores, and a request for many primes holds up nobody, not even when there are more of those than cores.

A client that is slow to ask is dropped after a while, and one that does not read stops only its own thread.
"""

from __future__ import annotations

import argparse
import mimetypes
import os
from http import HTTPStatus
from math import inf
from pathlib import Path
from time import monotonic
from urllib.parse import unquote, urlsplit

import h11

import rtsync as rt
from rtsync.ports import InputPort, Listener, OutputPort, PortClosed, tcp_listen

PATIENCE = 30.0
"""Seconds after which a client is dropped that does not begin the next request, or does not get on with one,
and that it may take in all for sending one."""

MOST_PRIMES = 5_000_000
CHUNK = 1 << 18


class Refused(Exception):
    """The request is answered by an error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.error_status_hint = status  # as h11's errors have it


async def serve(listener: Listener, root: Path, patience: float = PATIENCE) -> None:
    """Accept connections for ever, each with a thread of its own."""
    async for inp, out in listener:
        rt.thread(Conversation(root, inp, out, patience).run, keep=False)


class Conversation:
    """One connection, request by request."""

    def __init__(self, root: Path, inp: InputPort, out: OutputPort, patience: float) -> None:
        self.root = root
        self.inp = inp
        self.inp.timeout = self.patience = patience
        self.out = out
        self.latest = inf  # until when the present request is to be complete
        self.http = h11.Connection(h11.SERVER)
        self.body = True  # the response is to have one

    async def run(self) -> None:
        try:
            async with self.inp, self.out:
                while await self.exchange():
                    self.http.start_next_cycle()
        except (OSError, PortClosed):
            pass  # the client has gone, or does nothing

    async def exchange(self) -> bool:
        """One request and its response; whether there may be another."""
        http = self.http
        self.body = True
        self.latest = inf
        try:
            while (request := http.next_event()) is h11.NEED_DATA:
                await self.receive()
            if not isinstance(request, h11.Request):
                return False  # the end
            self.body = request.method != b"HEAD"
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    await self.receive()  # what comes with the request is of no interest
            await self.respond(request)
        except (h11.RemoteProtocolError, Refused) as error:
            if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                return False
            await self.answer(error.error_status_hint, f"{error}\n".encode())
        return bool(http.our_state is h11.DONE and http.their_state is h11.DONE)

    async def receive(self) -> None:
        """Have h11 look at more of what the client sends. ``TimeoutError`` if nothing comes for too long, and
        if it does come, but so slowly that the request is not complete in time."""
        http = self.http
        if http.they_are_waiting_for_100_continue:
            await self.out.write(
                http.send(h11.InformationalResponse(status_code=100, headers=[])), flush=True
            )
        data = await self.inp.read_bytes_avail()
        now = monotonic()
        if now > self.latest:
            raise TimeoutError
        self.latest = min(self.latest, now + self.patience)
        http.receive_data(data or b"")  # EOF is false

    async def respond(self, request: h11.Request) -> None:
        """Answer ``request``, or raise `Refused`."""
        if request.method not in (b"GET", b"HEAD"):
            raise Refused(405, "only GET and HEAD")
        path = unquote(urlsplit(request.target.decode("ascii")).path)
        if path == "/":
            await self.answer(200, b"rtsync\n")
        elif path.startswith("/primes/"):
            await self.answer(200, b"%d\n" % primes(path.removeprefix("/primes/")))
        else:
            await self.send_file(path)

    async def answer(self, status: int, text: bytes) -> None:
        """A whole response in one piece."""
        parts = [self.head(status, len(text), "text/plain")]
        if self.body:
            parts.append(self.http.send(h11.Data(text)))
        parts.append(self.http.send(h11.EndOfMessage()))
        await self.out.write(b"".join(parts), flush=True)

    async def send_file(self, path: str) -> None:
        """Send a file piece by piece: never more of it in memory than the client is about to read."""
        fd, size = await rt.to_os_thread(open_file, self.root, path)
        try:
            await self.out.write(
                self.head(200, size, mimetypes.guess_type(path)[0] or "application/octet-stream")
            )
            while size and self.body:
                data = await rt.to_os_thread(os.read, fd, min(size, CHUNK))
                if not data:
                    raise OSError(f"{path}: the file has become shorter")
                size -= len(data)
                await self.out.write(self.http.send(h11.Data(data)))
            await self.out.write(self.http.send(h11.EndOfMessage()), flush=True)
        finally:
            os.close(fd)

    def head(self, status: int, size: int, kind: str) -> bytes:
        """The beginning of a response of ``size`` bytes."""
        headers = [("content-length", str(size)), ("content-type", kind)]
        reason = HTTPStatus(status).phrase
        return self.http.send(h11.Response(status_code=status, headers=headers, reason=reason)) or b""


def open_file(root: Path, path: str) -> tuple[int, int]:
    """A descriptor of the file and its size. Blocks."""
    try:
        found = (root / path.lstrip("/")).resolve()
        if not found.is_relative_to(root) or not found.is_file():
            raise Refused(404, "no such file")
        fd = os.open(found, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        raise Refused(404, "no such file") from None
    return fd, os.fstat(fd).st_size


def primes(text: str) -> int:
    """How many primes there are below the number ``text``."""
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > MOST_PRIMES:
        raise Refused(400, f"a number up to {MOST_PRIMES}")
    below = max(int(text), 2)
    sieve = bytearray(b"\1") * below
    sieve[:2] = b"\0\0"
    for n in range(2, int(below**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, below, n)))
    return sieve.count(1)


async def main(root: Path, host: str, port: int, patience: float) -> None:
    with tcp_listen(port, host, backlog=1024) as listener:
        print(f"http://{host}:{listener.port}/", flush=True)
        await serve(listener, root, patience)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path(), help="the folder (default: this one)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--workers", type=int, help="OS threads (default: the number of processors)")
    parser.add_argument(
        "--patience", type=float, default=PATIENCE, help="seconds that a client may be silent"
    )
    options = parser.parse_args()
    try:
        rt.run(
            main,
            options.root.resolve(),
            options.host,
            options.port,
            options.patience,
            workers=options.workers,
        )
    except KeyboardInterrupt:
        pass
