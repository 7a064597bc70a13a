"""Places: parallel processes that exchange messages, shared vectors and the ends of their channels.

    import rtsync as rt
    from rtsync.place import dynamic_place

    async def main():
        p = dynamic_place("worker", "main")     # calls worker.main(channel) in a process of its own
        p.put("hello")
        print(await p.get(), await p.wait())

    rt.run(main)

Read `place` (what a place is), `channel` (how messages travel), `message` (which may), `packet` (as what),
`location` (where places can be). Source: Racket Reference 11.5 (Places).
"""

from . import handles as handles  # so that they can be sent
from .channel import PlaceChannel, Queued, place_channel
from .local import LocalLocation, place_enabled
from .location import Body, PlaceLocation, is_place_location
from .log import PlaceEvent
from .message import is_place_message_allowed
from .place import (
    Place,
    dynamic_place,
    dynamic_place_star,
    place,
    place_context,
    place_star,
)

__all__ = [
    "Body",
    "LocalLocation",
    "Place",
    "PlaceChannel",
    "PlaceEvent",
    "PlaceLocation",
    "Queued",
    "dynamic_place",
    "dynamic_place_star",
    "is_place_location",
    "is_place_message_allowed",
    "place",
    "place_channel",
    "place_context",
    "place_enabled",
    "place_star",
]
