"""TLS on both sides of a connection, with the standard ``ssl`` module.

`Tls` stands between the two ports and their descriptor. It has OpenSSL work on memory, and carries what that
has encrypted to the descriptor and what has come from there to it. So nothing ever blocks inside OpenSSL, and
what it does is under one lock, which is taken after that of a port.

Reading may have to write (a handshake, a new key, a farewell), and writing to read. Therefore both ports are
told of every change, and whoever learns that there is room sends what is left over (`unsent`).

The handshake is made by the first operation that needs it, so that an accepted connection costs nobody but
its own thread any time; `start_tls` and `tcp_connect` wait for it.

An end of the connection without TLS' own farewell is an error (``ssl.SSLEOFError``): otherwise who can cut
the line could cut off the end of a message. After that farewell the other direction works on, as with TCP
alone."""

from __future__ import annotations

import ssl
from collections.abc import Coroutine
from inspect import markcoroutinefunction
from threading import Lock
from typing import Any, Final

from rtsync.errors import ContractError, refuse
from rtsync.waiter import NOT_READY
from scheduler.poller import READ, WRITE

from .descriptor import Descriptor
from .errors import Failed
from .input import InputPort, Reading, check_input
from .output import OutputPort, check_output

_BLOCK: Final = 1 << 16
"""Bytes that are encrypted, or read to be decrypted, at once."""


class Tls:
    """The end of both ports of a connection that is encrypted."""

    __slots__ = (
        "_arrived",
        "_cipher",
        "_farewell",
        "_incoming",
        "_input",
        "_lock",
        "_outgoing",
        "_output",
        "descriptor",
        "object",
        "unsent",
    )

    short_means_empty = False
    asks = READ | WRITE

    def __init__(
        self,
        inp: InputPort,
        out: OutputPort,
        context: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
    ) -> None:
        """Takes the place of the descriptor of both ports. Holds the locks of both."""
        self._lock = Lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self.descriptor: Descriptor = inp._end
        self._input = inp
        self._output = out
        self._cipher: Any = b""  # encrypted, and not sent yet
        self._arrived = b""  # decrypted, and not read yet
        self._farewell = False
        self.unsent = False
        if inp.buffered():
            self._incoming.write(inp._look(inp.buffered()))
        if inp._ended_input:
            self._incoming.write_eof()

    @property
    def watched(self) -> Descriptor:
        """What a poller is to be asked about."""
        return self.descriptor

    # -- for the ports, under the lock of one of them --------------------------------------------------

    def read(self, n: int) -> bytes:
        """See `Descriptor.read`."""
        with self._lock:
            if self._arrived:
                data, self._arrived = self._arrived[:n], self._arrived[n:]
                return data
            return self._attempt(lambda: self.object.read(n))  # type: ignore[no-any-return]

    def write(self, data: Any) -> int:
        """See `Descriptor.write`. What is taken is encrypted, and sent as far as possible."""
        with self._lock:
            self._push()
            return self._attempt(lambda: self.object.write(memoryview(data)[:_BLOCK]))  # type: ignore[no-any-return]

    def handshake(self) -> None:
        """Make the handshake; ``BlockingIOError`` if it has to be waited for."""
        with self._lock:
            self._attempt(self.object.do_handshake)
            self._push()

    def push(self) -> None:
        """See `Descriptor.push`."""
        with self._lock:
            self._push()

    def farewell(self) -> None:
        """Say that no more will come. After all that was written; once."""
        with self._lock:
            if self._farewell:
                return
            self._farewell = True
            try:
                # OpenSSL would look for the other's farewell too, and stumble over data that has come.
                while True:
                    data = self.object.read(_BLOCK)
                    if not data:
                        break
                    self._arrived += data
            except ssl.SSLError:  # no more, or what reading will tell
                pass
            try:
                self.object.unwrap()
            except ssl.SSLError:  # the other one's is not there yet, or nothing can be said any more
                pass
            self._collect()
            try:
                self._push()
            except OSError:  # no room yet; or the other end has gone, and there is nobody to say it to
                pass

    def taken(self, n: int) -> None:
        """See `Descriptor.taken`."""

    def close_read(self) -> None:
        """See `Descriptor.close_read`."""
        self.descriptor.close_read()

    def close_write(self, tell: bool = True) -> None:
        """See `Descriptor.close_write`."""
        self.descriptor.close_write(tell)

    # -- with _lock ------------------------------------------------------------------------------------

    def _attempt(self, call: Any) -> Any:
        """``call()`` as often as OpenSSL needs more of what has come; ``BlockingIOError`` if that is not
        here."""
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                self._say()
                raw = self.descriptor.read(_BLOCK)
                if raw:
                    self._incoming.write(raw)
                else:
                    self._incoming.write_eof()
                continue
            except ssl.SSLZeroReturnError:  # the other end's farewell
                self._say()
                return b""
            except ssl.SSLError:
                self._say()  # tell the other end what was wrong
                raise
            self._say()
            return result

    def _collect(self) -> None:
        if self._outgoing.pending:
            data = self._outgoing.read()
            self._cipher = data if not self._cipher else bytes(self._cipher) + data
            self.unsent = True

    def _say(self) -> None:
        """Send what OpenSSL wants to say, as far as possible."""
        self._collect()
        if self._cipher:
            try:
                self._push()
            except BlockingIOError:  # whoever learns that there is room goes on
                pass

    def _push(self) -> None:
        cipher = self._cipher
        while cipher:
            try:
                sent = self.descriptor.write(cipher)
            except BlockingIOError:
                self._cipher = cipher
                raise
            except OSError:
                self._cipher = b""
                self.unsent = False
                raise
            cipher = cipher[sent:] if sent < len(cipher) else b""
        self._cipher = b""
        self.unsent = False

    # -- for the descriptor, which takes us for both of its sides ----------------------------------------

    def on_ready(self, look_closely: bool) -> None:
        """See `descriptor.Side`."""
        if self.unsent:
            try:
                self.push()
            except OSError:  # no room yet, or an error, which the ports will find
                pass
        self._input.on_ready(look_closely)
        self._output.on_ready(look_closely)


class Handshake(Reading):
    """That the handshake has been made."""

    __slots__ = ()

    operation = "start_tls"

    def _find(self) -> Any:
        port = self._port
        over = self._over()
        if over is not NOT_READY:
            return over if type(over) is Failed else Failed(ssl.SSLEOFError(8, "the connection ended"))
        try:
            port._end.handshake()
        except BlockingIOError:
            return NOT_READY
        except Exception as error:
            return Failed(error)
        return True


def upgrade(
    operation: str,
    inp: InputPort,
    out: OutputPort,
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
) -> None:
    """Have both ports speak TLS from now on."""
    # The only place where two ports are locked: the input port first.
    with inp._lock, out._lock:
        for port in (inp, out):
            if port._closed:
                raise port._refusal().raised()
        end = inp._end
        if end is not out._end or not isinstance(end, Descriptor):
            raise ContractError(f"{operation}: the ports must be those of one connection, not encrypted yet")
        if out._pending:
            raise ContractError(f"{operation}: the output port must be flushed before")
        if inp._queue or inp._quick or out._queue:
            raise ContractError(f"{operation}: no other thread may wait at the ports")
        tls = Tls(inp, out, context, server_side, server_hostname)
        for port in (inp, out):
            port._end = tls
            port._fd = -1
            port._look_closely = port._ready = True
            port._asks = tls.asks
            port._wanted = None
            port._told = False
        out._free = -1
        inp._unhold()
        inp._enrolment = None
        inp._key = inp._calm = -1
        inp._buffer = b""
        inp._start = 0
        inp._ended_input = False
        end.reader = end.writer = tls


@markcoroutinefunction
def start_tls(
    inp: InputPort,
    out: OutputPort,
    context: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
) -> Coroutine[Any, Any, tuple[InputPort, OutputPort]]:
    """Encrypt the connection of ``inp`` and ``out`` from now on, and wait for the handshake; the same ports.

    ``server_hostname``: whose certificate a client expects. ``ssl.SSLError`` if the handshake fails.
    Source: Racket's ``openssl`` library, ``ports->ssl-ports``."""
    check_input("start_tls", "inp", inp)
    check_output("start_tls", "out", out)
    check_context("start_tls", "context", context, False)
    _check_names("start_tls", context, server_side, server_hostname)
    return _start(inp, out, context, server_side, server_hostname)


async def _start(
    inp: InputPort,
    out: OutputPort,
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
) -> tuple[InputPort, OutputPort]:
    await out.flush()
    upgrade("start_tls", inp, out, context, server_side, server_hostname)
    await inp._handshake(Handshake(inp))
    return inp, out


_start.__name__ = _start.__qualname__ = "start_tls"


def check_context(operation: str, argument: str, value: object, none: bool) -> None:
    """Refuse what is no TLS context."""
    if not isinstance(value, ssl.SSLContext) and not (none and value is None):
        expected = "an ssl.SSLContext" + (" or None" if none else "")
        raise refuse(operation, argument, expected, value, TypeError)


def _check_names(operation: str, context: ssl.SSLContext, server_side: object, hostname: object) -> None:
    if not isinstance(server_side, bool):
        raise refuse(operation, "server_side", "a bool", server_side, TypeError)
    if hostname is not None and not isinstance(hostname, str):
        raise refuse(operation, "server_hostname", "a host name or None", hostname, TypeError)
    if server_side and hostname is not None:
        raise refuse(operation, "server_hostname", "None for a server", hostname, ValueError)
    if not server_side and hostname is None and context.check_hostname:
        raise refuse(
            operation, "server_hostname", "a host name, which the context checks", hostname, ValueError
        )


def tls_object(port: InputPort | OutputPort) -> ssl.SSLObject | None:
    """The ``ssl`` object of an encrypted connection, to be asked for certificates, protocols and the like;
    ``None`` if it is not encrypted."""
    if not isinstance(port, (InputPort, OutputPort)):
        raise refuse("tls_object", "port", "a port", port, TypeError)
    end: Any = port._end
    return end.object if isinstance(end, Tls) else None
