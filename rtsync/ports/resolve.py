"""Names to addresses, without blocking a worker.

The system's resolver only exists as a blocking call. What is written as an address is converted in place; a
name is looked up by an OS-backed thread, or, where the caller cannot wait for one, in its own step, while
another worker takes over."""

from __future__ import annotations

import socket
from typing import Any

from rtsync.spawn import thread
from scheduler import current_driver

type Address = tuple[Any, ...]
"""What ``socket.getaddrinfo`` gives: family, type, protocol, canonical name, address."""


def _look_up(host: str | None, port: int | str, flags: int) -> list[Address]:
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"{error.strerror}: {host}") from None


def resolve_now(host: str | None, port: int | str, passive: bool) -> list[Address]:
    """The addresses of ``host``. Blocks, if it is a name, but nobody else: if this is a worker, another one
    takes its place meanwhile."""
    flags = socket.AI_PASSIVE if passive else 0
    try:
        return _look_up(host, port, flags | socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except socket.gaierror:
        pass  # a name
    driver = current_driver()
    if driver is not None and driver.key:
        driver.runtime.stand_in(driver)
    return _look_up(host, port, flags)


async def resolve(host: str, port: int | str, passive: bool = False) -> list[Address]:
    """The addresses of ``host``, in the order of preference; ``OSError`` if there are none."""
    flags = socket.AI_PASSIVE if passive else 0
    try:
        return _look_up(host, port, flags | socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except socket.gaierror:
        pass  # a name

    def look_up() -> Any:
        try:
            return _look_up(host, port, flags)
        except OSError as error:
            return error

    driver = current_driver()
    if driver is None or driver.home is None or not driver.key:
        found = look_up()  # an OS thread may block
    else:
        found = await thread(look_up, name=f"resolve {host}").join()
    if isinstance(found, OSError):
        raise found
    return found  # type: ignore[no-any-return]
