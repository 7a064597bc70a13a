"""Tests of ports run as those of the core do: see there. Pipes are deterministic; sockets are real, also in
virtual time."""

from collections.abc import Callable
from typing import Any

import pytest

from rtsync import thread
from rtsync.ports import InputPort, OutputPort, tcp_connect, tcp_listen
from tests.core.conftest import pytest_generate_tests, run, script

__all__ = ["pytest_generate_tests", "run", "script"]


@pytest.fixture
def connected() -> Callable[..., Any]:
    """``await connected()``: the four ports of a TCP connection with itself: ours, then the other end's."""

    async def connect() -> tuple[InputPort, OutputPort, InputPort, OutputPort]:
        with tcp_listen(0, "127.0.0.1") as listener:
            accepting = thread(listener.accept)
            ours = await tcp_connect("127.0.0.1", listener.port)
            theirs = await accepting.join()
        return *ours, *theirs

    return connect
