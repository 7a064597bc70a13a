"""The echo example of the Racket Reference, 11.5: two places, a message to each and back.

A place is a process of its own: it runs on another core, and what happens in it does not touch this one.
``python examples/places_echo.py``
"""

import rtsync as rt
from rtsync.place import PlaceChannel, place


async def hello(channel: PlaceChannel) -> None:
    """What each place runs."""
    channel.put(f"Hello from place {await channel.get()}")


async def main() -> None:
    places = [place(hello) for _ in range(2)]
    for number, p in enumerate(places):
        p.put(number)
        print(await p.get())
    for p in places:
        await p.wait()


if __name__ == "__main__":
    rt.run(main)
