"""What places report: events to the logger ``place``.

Nothing is made unless the logger takes it: a program that never imported `logging` has no handlers either.
Events of a place go to the creator's logger too if that took such events when the place was created.

Source: Racket Reference 11.5.2 (Places Logging).
"""

from __future__ import annotations

import sys
import time
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from scheduler import defer


# Not typing.NamedTuple, which imports annotationlib and with that the compiler's syntax trees.
class PlaceEvent(namedtuple("PlaceEvent", ("place_id", "action", "value", "time"))):
    """Something that happened to a place: a named tuple.

    ``place_id``, an ``int``: which place reports: 0 for the process that the user started, else its process
    id. ``action``, a ``str``: ``create`` and ``reap`` (in the creator; the value is the created place's id),
    ``enter`` and ``exit`` (in the place itself; no value), ``put`` and ``get`` (the value is about the
    message's size in bytes). ``time``, a ``float``: milliseconds since the epoch.

    Source: Racket Reference, ``place-event``."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"place {self.place_id}: {self.action}" + ("" if self.value is None else f" {self.value}")


class _Log:
    """This process's part in it."""

    def __init__(self) -> None:
        self.place_id = 0
        self.forward: Callable[[PlaceEvent], object] | None = None  # to the creator
        self._logger: Any = None

    def wanted(self) -> bool:
        """Whether anybody takes such events now."""
        return self.forward is not None or ("logging" in sys.modules and self._taker() is not None)

    def __call__(self, action: str, value: Any = None) -> None:
        event = PlaceEvent(self.place_id, action, value, time.time() * 1000)
        if self.forward is not None:
            self.forward(event)
        self._write(event)

    def arrived(self, event: PlaceEvent) -> None:
        """A place that we created, or one that it created, has reported ``event``."""
        if self.forward is not None:
            self.forward(event)
        # Handlers are the program's and may block: not in the OS thread that serves all descriptors.
        defer(lambda: self._write(event))

    def _taker(self) -> Any:
        logger = self._logger
        if logger is None:
            get = getattr(sys.modules["logging"], "getLogger", None)
            if get is None:  # it is being imported
                return None
            logger = self._logger = get("place")
        return logger if logger.isEnabledFor(10) else None

    def _write(self, event: PlaceEvent) -> None:
        """As the argument of the record and as its attribute ``place_event``."""
        if "logging" in sys.modules and (logger := self._taker()) is not None:
            logger.debug("%s", event, extra={"place_event": event})


log = _Log()
"""``if log.wanted(): log("put", size)``."""
