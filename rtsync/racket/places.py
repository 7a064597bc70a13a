"""Places and place channels under their Racket names."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any

from rtsync import place as _places
from rtsync.errors import refuse
from rtsync.evt import Evt
from rtsync.place import Place, PlaceChannel, PlaceLocation
from rtsync.place.streams import CREATORS

__all__ = [
    "dynamic_place",
    "dynamic_place_star",
    "is_place",
    "is_place_channel",
    "is_place_enabled",
    "is_place_location",
    "is_place_message_allowed",
    "place",
    "place_break",
    "place_channel",
    "place_channel_get",
    "place_channel_put",
    "place_channel_put_get",
    "place_context",
    "place_dead_evt",
    "place_kill",
    "place_star",
    "place_wait",
]


def _check_place(operation: str, p: object) -> None:
    if not isinstance(p, Place):
        raise refuse(operation, "p", "a place", p, TypeError)


def _check_place_channel(operation: str, pch: object) -> None:
    if not isinstance(pch, PlaceChannel):
        raise refuse(operation, "pch", "a place channel", pch, TypeError)


def is_place_enabled() -> bool:
    """Whether places can be created here. Source: Racket Reference, ``place-enabled?``."""
    return _places.place_enabled()


def is_place(v: object) -> bool:
    """Whether ``v`` is a place descriptor; every one is a place channel too.

    Source: Racket Reference, ``place?``."""
    return isinstance(v, Place)


def is_place_channel(v: object) -> bool:
    """Whether ``v`` is a place channel. Source: Racket Reference, ``place-channel?``."""
    return isinstance(v, PlaceChannel)


def dynamic_place(
    module_path: str | os.PathLike[str],
    start_name: str,
    *,
    at: PlaceLocation | None = None,
    named: Any = None,
) -> Place:
    """Create a place that calls the function ``start_name`` of ``module_path`` with a place channel.

    Source: Racket Reference, ``dynamic-place``."""
    return _places.dynamic_place(module_path, start_name, at=at, named=named)


def dynamic_place_star(
    module_path: str | os.PathLike[str],
    start_name: str,
    *,
    in_: Any = None,
    out: Any = CREATORS,
    err: Any = CREATORS,
) -> tuple[Place, Any, Any, Any]:
    """Like `dynamic_place` with ports of its own: the place, and the other ends of those given as ``None``.

    Source: Racket Reference, ``dynamic-place*``."""
    return _places.dynamic_place_star(module_path, start_name, in_=in_, out=out, err=err)


def place(fn: Callable[[PlaceChannel], Any]) -> Place:
    """Create a place that calls ``fn``, a function of an importable module, with a place channel.

    Source: Racket Reference, ``place``."""
    return _places.place(fn)


def place_star(
    fn: Callable[[PlaceChannel], Any], *, in_: Any = None, out: Any = CREATORS, err: Any = CREATORS
) -> tuple[Place, Any, Any, Any]:
    """Like `place`, with ports and result as of `dynamic_place_star`.

    Source: Racket Reference, ``place*``."""
    return _places.place_star(fn, in_=in_, out=out, err=err)


def place_context(fn: Callable[[PlaceChannel], Any]) -> Place:
    """Like `place`; ``fn`` may have free variables, whose values are sent along.

    Source: Racket Reference, ``place/context``."""
    return _places.place_context(fn)


def place_wait(p: Place) -> Coroutine[Any, Any, int]:
    """Wait until ``p`` has terminated: its completion value. Source: Racket Reference, ``place-wait``."""
    _check_place("place_wait", p)
    return p.wait()


def place_dead_evt(p: Place) -> Evt:
    """An event ready when ``p`` has terminated; its result is itself.

    Source: Racket Reference, ``place-dead-evt``."""
    _check_place("place_dead_evt", p)
    return p.dead_evt()


def place_kill(p: Place) -> None:
    """Terminate ``p`` at once. Source: Racket Reference, ``place-kill``."""
    _check_place("place_kill", p)
    p.kill()


def place_break(p: Place, kind: str | None = None) -> None:
    """Send the main thread of ``p`` a break. Source: Racket Reference, ``place-break``."""
    _check_place("place_break", p)
    p.break_(kind)


def place_channel() -> tuple[PlaceChannel, PlaceChannel]:
    """The two ends of a new place channel. Source: Racket Reference, ``place-channel``."""
    return _places.place_channel()


def place_channel_put(pch: PlaceChannel, v: Any) -> None:
    """Send the message ``v``; never blocks. Source: Racket Reference, ``place-channel-put``."""
    _check_place_channel("place_channel_put", pch)
    pch.put(v)


def place_channel_get(pch: PlaceChannel) -> Coroutine[Any, Any, Any]:
    """Wait for a message. Source: Racket Reference, ``place-channel-get``."""
    _check_place_channel("place_channel_get", pch)
    return pch.get()


def place_channel_put_get(pch: PlaceChannel, v: Any) -> Coroutine[Any, Any, Any]:
    """Send the message ``v`` and wait for one on the same channel.

    Source: Racket Reference, ``place-channel-put/get``."""
    _check_place_channel("place_channel_put_get", pch)
    return pch.put_get(v)


def is_place_message_allowed(v: Any) -> bool:
    """Whether ``v`` may be sent on a place channel. Source: Racket Reference, ``place-message-allowed?``."""
    return _places.is_place_message_allowed(v)


def is_place_location(v: object) -> bool:
    """Whether ``v`` is a place location. Source: Racket Reference, ``place-location?``."""
    return isinstance(v, PlaceLocation)
