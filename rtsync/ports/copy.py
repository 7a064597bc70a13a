"""Copying from ports to ports.

Source: Racket Reference 13.1.10.1 (``copy-port``).
"""

from __future__ import annotations

from collections.abc import Coroutine
from inspect import markcoroutinefunction
from typing import Any

from rtsync.errors import refuse

from .input import InputPort, check_input
from .output import OutputPort, check_output


@markcoroutinefunction
def copy_port(source: InputPort, *sinks: OutputPort) -> Coroutine[Any, Any, None]:
    """Read from ``source`` until its end, and write all of it to each of ``sinks``, as it comes.

    What has been read is written at once and flushed. A thread that is killed in between may have read a
    block that not all of the sinks have got.
    Source: Racket Reference, ``copy-port``."""
    check_input("copy_port", "source", source)
    if not sinks:
        raise refuse("copy_port", "sinks", "at least one output port", sinks, TypeError)
    for position, sink in enumerate(sinks):
        check_output("copy_port", f"sinks[{position}]", sink)
    return _copy(source, sinks)


async def _copy(source: InputPort, sinks: tuple[OutputPort, ...]) -> None:
    while data := await source.read_bytes_avail():
        for sink in sinks:
            await sink.write(data, flush=True)
        del data  # while it waits for more, it keeps no block; and the next one comes into warm memory


_copy.__name__ = _copy.__qualname__ = "copy_port"
