"""TCP and Unix sockets: listen, connect, and the two ports of a connection.

The ports of a connection share its socket, which is closed when both are. Closing the output port tells the
other end that no more will come; it may go on sending (a half-closed connection).

Source: Racket Reference 15.3.1 (TCP).
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Coroutine
from inspect import markcoroutinefunction
from typing import Any, Final

from rtsync.alarm import sleep
from rtsync.custodian import check_custodian
from rtsync.errors import check_count, refuse
from rtsync.evt import Evt
from rtsync.waiter import NOT_READY

from .descriptor import Descriptor
from .ends import check_socket
from .files import path_of
from .input import InputPort
from .listener import Listener
from .output import OutputPort, Writing
from .port import Port, check_encoding
from .resolve import resolve, resolve_now
from .tls import check_context, start_tls, upgrade

BACKLOG: Final = 128
"""Connections that the kernel keeps for a listener until they are accepted."""

_BUSY: Final = 0.01
"""Seconds between two tries to connect to a Unix socket whose backlog is full."""


# -- the ports of a connection ------------------------------------------------------------------------


def _name(kind: str, address: Any) -> str:
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"{kind} [{host}]:{port}" if ":" in str(host) else f"{kind} {host}:{port}"
    return f"{kind} {address!r}" if address else kind


def make_ports(
    conn: socket.socket, address: Any, encoding: str = "utf-8", tls: ssl.SSLContext | None = None
) -> tuple[InputPort, OutputPort]:
    """The ports of a connected, non-blocking socket, of which they take possession; with ``tls`` those of a
    server."""
    kind = "tcp"
    if conn.family in (socket.AF_INET, socket.AF_INET6):
        try:
            # The port collects small writes itself.
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # reset already; reading will tell
            pass
    else:
        kind = "unix"
    name = _name(kind, address)
    end = Descriptor.of_socket(conn.detach(), name, True, True)
    inp = InputPort(end, name, encoding=encoding)
    out = OutputPort(end, name, encoding=encoding)
    try:
        inp._adopt()
        out._adopt()
        if tls is not None:
            upgrade("accept", inp, out, tls, True, None)
    except BaseException:
        inp.abort()
        out.abort()
        raise
    return inp, out


def socket_ports(sock: socket.socket, *, encoding: str = "utf-8") -> tuple[InputPort, OutputPort]:
    """The input and the output port of a connected stream socket, which becomes theirs."""
    if not isinstance(sock, socket.socket):
        raise refuse("socket_ports", "sock", "a socket", sock, TypeError)
    check_socket("socket_ports", "sock", sock)
    if sock.type != socket.SOCK_STREAM:
        raise refuse("socket_ports", "sock", "a stream socket", sock, ValueError)
    check_encoding("socket_ports", encoding, "strict")
    check_custodian("socket_ports")
    try:
        address = sock.getpeername()
    except OSError:
        raise refuse("socket_ports", "sock", "a connected socket", sock, ValueError) from None
    sock.setblocking(False)
    return make_ports(sock, address, encoding)


def _check_port_number(operation: str, argument: str, value: object, least: int) -> None:
    check_count(operation, argument, value, least)
    if value > 65535:  # type: ignore[operator]
        raise refuse(operation, argument, f"an integer from {least} to 65535", value, ValueError)


def _check_host(operation: str, argument: str, value: object, none: bool) -> None:
    if not isinstance(value, str) and not (none and value is None):
        raise refuse(operation, argument, "a host name" + (" or None" if none else ""), value, TypeError)


# -- listening ------------------------------------------------------------------------------------------


def tcp_listen(
    port: int = 0,
    host: str | None = None,
    *,
    backlog: int = BACKLOG,
    reuse: bool = True,
    tls: ssl.SSLContext | None = None,
    encoding: str = "utf-8",
) -> Listener:
    """Listen for connections at ``port`` (0: any free one, see `Listener.port`) of ``host``, by default of
    all of this machine's addresses, IPv6 and IPv4.

    ``backlog``: connections the kernel keeps until they are accepted. ``reuse``: also if connections of a
    former listener have not been forgotten yet. A name as ``host`` is looked up on the spot; another worker
    takes over meanwhile.
    Source: Racket Reference, ``tcp-listen``."""
    _check_port_number("tcp_listen", "port", port, 0)
    _check_host("tcp_listen", "host", host, True)
    check_count("tcp_listen", "backlog", backlog, 1)
    if not isinstance(reuse, bool):
        raise refuse("tcp_listen", "reuse", "a bool", reuse, TypeError)
    check_context("tcp_listen", "tls", tls, True)
    check_encoding("tcp_listen", encoding, "strict")
    check_custodian("tcp_listen")
    socks: list[socket.socket] = []
    try:
        if host is None and socket.has_dualstack_ipv6():
            socks.append(_bind(socket.AF_INET6, ("::", port), backlog, reuse, dual=True))
        else:
            for family, _, _, _, (where, _, *scope) in resolve_now(host, port, True):
                if any(sock.family == family and sock.getsockname()[0] == where for sock in socks):
                    continue
                number = socks[0].getsockname()[1] if socks else port  # the same for all
                socks.append(_bind(family, (where, number, *scope), backlog, reuse))
        name = _name("tcp listener", socks[0].getsockname())
        return Listener(socks, name, lambda conn, address: make_ports(conn, address, encoding, tls))
    except BaseException:
        for sock in socks:
            sock.close()
        raise


def _bind(family: int, address: Any, backlog: int, reuse: bool, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        _bind_to(sock, address, "listening at")
        sock.listen(min(backlog, 0x7FFFFFFF))
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_to(sock: socket.socket, address: Any, what: str) -> None:
    try:
        sock.bind(address)
    except OSError as error:  # says of itself only that it is in use
        if error.errno is None:  # that it is no address
            raise
        raise OSError(error.errno, f"{error.strerror}: {_name(what, address)}") from None


def unix_listen(path: str | os.PathLike[str], *, backlog: int = BACKLOG, encoding: str = "utf-8") -> Listener:
    """Listen for connections at a Unix socket, which is made at ``path`` and removed when the listener is
    closed.

    Source: Racket Reference 15.12 (Unix domain sockets)."""
    where = path_of("unix_listen", path)
    check_count("unix_listen", "backlog", backlog, 1)
    check_encoding("unix_listen", encoding, "strict")
    check_custodian("unix_listen")
    sock = _bind(socket.AF_UNIX, where, backlog, False)
    try:
        file = None
        if not where.startswith("\0"):  # else it has a name, but no file
            found = os.stat(where)
            file = os.path.abspath(where), found.st_dev, found.st_ino
        return Listener(
            [sock], f"unix listener {where!r}", lambda conn, address: make_ports(conn, where, encoding), file
        )
    except BaseException:
        sock.close()
        raise


def tcp_accept(listener: Listener) -> Coroutine[Any, Any, tuple[InputPort, OutputPort]]:
    """Wait for a connection; its ports. Source: Racket Reference, ``tcp-accept``."""
    return check_listener("tcp_accept", listener).accept()


def tcp_accept_evt(listener: Listener) -> Evt[tuple[InputPort, OutputPort]]:
    """`tcp_accept` as an event. Source: Racket Reference, ``tcp-accept-evt``."""
    return check_listener("tcp_accept_evt", listener).accept_evt()


def tcp_close(listener: Listener) -> Any:
    """Close a listener. Source: Racket Reference, ``tcp-close``."""
    return check_listener("tcp_close", listener).close()


def check_listener(operation: str, value: object) -> Listener:
    """Refuse what is no listener."""
    if not isinstance(value, Listener):
        raise refuse(operation, "listener", "a listener", value, TypeError)
    return value


# -- connecting -----------------------------------------------------------------------------------------


@markcoroutinefunction
def tcp_connect(
    host: str,
    port: int,
    *,
    local_host: str | None = None,
    local_port: int | None = None,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    encoding: str = "utf-8",
) -> Coroutine[Any, Any, tuple[InputPort, OutputPort]]:
    """Connect to ``host`` at ``port``; the ports of the connection. All addresses of the host are tried in
    order. ``OSError`` of the last one if none answers.

    ``local_host``, ``local_port``: where the connection is to begin. ``tls``: encrypt it; the certificate is
    to be that of ``server_hostname``, by default ``host``.
    Source: Racket Reference, ``tcp-connect``."""
    _check_host("tcp_connect", "host", host, False)
    _check_port_number("tcp_connect", "port", port, 1)
    _check_host("tcp_connect", "local_host", local_host, True)
    if local_port is not None:
        _check_port_number("tcp_connect", "local_port", local_port, 0)
    check_encoding("tcp_connect", encoding, "strict")
    check_context("tcp_connect", "tls", tls, True)
    _check_host("tcp_connect", "server_hostname", server_hostname, True)
    connecting = _connect(host, port, local_host, local_port, encoding)
    return connecting if tls is None else _connect_encrypted(connecting, tls, server_hostname or host)


async def _connect_encrypted(
    connecting: Coroutine[Any, Any, tuple[InputPort, OutputPort]], tls: ssl.SSLContext, server_hostname: str
) -> tuple[InputPort, OutputPort]:
    inp, out = await connecting
    try:
        return await start_tls(inp, out, tls, server_hostname=server_hostname)
    except BaseException:
        inp.abort()
        out.abort()
        raise


async def _connect(
    host: str, port: int, local_host: str | None, local_port: int | None, encoding: str
) -> tuple[InputPort, OutputPort]:
    check_custodian("tcp_connect")
    here: list[Any] = []
    if local_host is not None or local_port is not None:
        here = await resolve(local_host or "::", local_port or 0, True)
        if local_host is None:
            here += await resolve("0.0.0.0", local_port or 0, True)
    problem: OSError | None = None
    for family, kind, protocol, _, address in await resolve(host, port):
        start = next((entry[4] for entry in here if entry[0] == family), None)
        if here and start is None:
            continue
        try:
            sock = socket.socket(family, kind, protocol)
            return await _connect_to(sock, address, start, encoding)
        except OSError as error:
            problem = error
    raise problem or OSError(
        errno.EADDRNOTAVAIL, f"tcp_connect: {host} has no address of the family of the local one"
    )


for _made in (_connect, _connect_encrypted):
    _made.__name__ = _made.__qualname__ = "tcp_connect"
del _made


@markcoroutinefunction
def unix_connect(
    path: str | os.PathLike[str], *, encoding: str = "utf-8"
) -> Coroutine[Any, Any, tuple[InputPort, OutputPort]]:
    """Connect to a Unix socket; the ports of the connection.

    Source: Racket Reference, ``unix-socket-connect``."""
    where = path_of("unix_connect", path)
    check_encoding("unix_connect", encoding, "strict")
    return _connect_unix(where, encoding)


async def _connect_unix(path: str, encoding: str) -> tuple[InputPort, OutputPort]:
    check_custodian("unix_connect")
    while True:
        try:
            return await _connect_to(socket.socket(socket.AF_UNIX), path, None, encoding)
        except BlockingIOError:  # too many connect at once, and there is nothing to wait for
            await sleep(_BUSY)


_connect_unix.__name__ = _connect_unix.__qualname__ = "unix_connect"


async def _connect_to(
    sock: socket.socket, address: Any, start: Any, encoding: str
) -> tuple[InputPort, OutputPort]:
    """Connect ``sock``, of which this takes possession, from ``start``."""
    try:
        sock.setblocking(False)
        if start is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind_to(sock, start, "connecting from")
        number = sock.connect_ex(address)
        if number == errno.EINPROGRESS:
            number = await _connected(sock)
        if number:
            raise OSError(number, os.strerror(number) + f": {_name('connecting to', address)}")
    except BaseException:
        sock.close()
        raise
    return make_ports(sock, address, encoding)


async def _connected(sock: socket.socket) -> int:
    """Wait until the kernel has connected ``sock`` or has given up: the number of the error, or 0."""
    end = Descriptor.of_socket(os.dup(sock.fileno()), "connection", False, True)
    attempt = OutputPort(end, "connection")
    try:
        while True:
            # First this, then the look: a report that comes in between says that the look was too early. (One
            # that comes too early was meant for a former descriptor of the same number.)
            attempt._ready = False
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # which forgets it
            if number:
                return number
            try:
                sock.getpeername()
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    return error.errno or errno.EIO
            else:
                return 0
            await attempt._flush(Connected(attempt))
    finally:
        attempt.abort()


class Connected(Writing):
    """That the kernel reports on a connection that is being made."""

    __slots__ = ()

    operation = "tcp_connect"

    def _find(self) -> Any:
        return self._port if self._port._ready else NOT_READY


# -- either ---------------------------------------------------------------------------------------------


def tcp_abandon_port(port: Port) -> Any:
    """Close a port of a connection; the other end does not learn of it as long as the other port is open.

    Source: Racket Reference, ``tcp-abandon-port``."""
    if not isinstance(port, (InputPort, OutputPort)):
        raise refuse("tcp_abandon_port", "port", "a port of a connection", port, TypeError)
    return port.abandon()


def tcp_addresses(port: Port, port_numbers: bool = False) -> tuple[Any, ...]:
    """The addresses of this machine and of the other one, as strings, as the connection of ``port`` sees
    them; with ``port_numbers`` four values, each address followed by its port number. Of a listener the
    second is that of no machine.

    Source: Racket Reference, ``tcp-addresses``."""
    if isinstance(port, Listener):
        end: Any = port._ears[0].descriptor
    elif isinstance(port, (InputPort, OutputPort)):
        end = getattr(port._end, "descriptor", port._end)
    else:
        raise refuse("tcp_addresses", "port", "a port of a connection or a listener", port, TypeError)
    if port.closed:
        raise port._refusal().raised()
    if not isinstance(end, Descriptor) or not end.is_socket:
        raise refuse("tcp_addresses", "port", "a port of a connection or a listener", port, TypeError)
    here, there = end.addresses()
    if not isinstance(here, tuple):
        raise refuse("tcp_addresses", "port", "a TCP port", port, TypeError)
    if there is None:
        there = ("::" if ":" in here[0] else "0.0.0.0", 0)
    if port_numbers:
        return here[0], here[1], there[0], there[1]
    return here[0], there[0]
