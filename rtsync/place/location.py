"""Where places run: the seam between what a place is and how one is brought to life.

A place is created by a `PlaceLocation`, and to the rest of this package it is three things: a *control*
socket on which its creator tells it what to run and hears of its end, the streams that it writes to, and a
`Body` that can be watched and killed. On this machine the body is a process (`rtsync.place.local`), whose
main program (`rtsync.place.child`) has the far end of the control socket. A location elsewhere keeps that far
end itself and relays: what it receives from there are `Packet`s (a pickle, buffers, attachments of a few
kinds), which it carries to the place by its own means and puts into a control socket there; the same with the
channels whose ends are attached. See "Other machines" in docs/places.md.

Source: Racket Reference 11.5.1, ``prop:place-location``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .place import Place


class Body(Protocol):
    """A place, as far as its location knows it."""

    id: int
    """An integer that identifies the place: its process id if it has one."""

    def watch(self, ended: Callable[[int | None], object]) -> None:
        """Call ``ended(status)`` once, when the place is no more: its exit status, minus the number of the
        signal that ended it, or ``None`` if that is not known. Any OS thread, not under locks."""

    def kill(self) -> None:
        """End it at once, but do not wait for that. Any number of times. (A body may have a method
        ``join(seconds)``, which waits: whether it has ended.)"""


class PlaceLocation:
    """Where a place can be created: the ``at=`` of `dynamic_place`.

    A subclass overrides `launch`, or `dynamic_place` as a whole.
    Source: Racket Reference, ``prop:place-location``.
    """

    remote = False
    """Whether places there are on another machine: sockets and files cannot be sent to them then, and shared
    vectors are copied."""

    def dynamic_place(self, module: str | os.PathLike[str], start: str, named: Any = None) -> Place:
        """Create a place there that calls the function ``start`` of ``module``; ``named`` is its name."""
        from .place import dynamic_place_at

        return dynamic_place_at(self, module, start, named)

    def launch(self, control: socket.socket, out: int, err: int, named: Any) -> Body:
        """Begin a place that runs `rtsync.place.child.main` on ``control``, which is the location's from now
        on, and writes to the descriptors ``out`` and ``err``, which stay the caller's."""
        raise NotImplementedError(f"{type(self).__name__}.launch")


def is_place_location(value: object) -> bool:
    """Whether ``value`` may be given as ``at=``. Source: Racket Reference, ``place-location?``."""
    return isinstance(value, PlaceLocation)
