"""The Mandelbrot set, computed by several places in one shared vector, which becomes a picture.

Each place gets the vector (the memory itself, not a copy) and the end of one channel of work that all share,
from which it takes rows as long as there are any: who is faster takes more.
``python examples/places_mandelbrot.py [--size 400] [--places 2] [--out mandelbrot.png]``
"""

import argparse
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import rtsync as rt
from rtsync import SharedBytes
from rtsync.place import PlaceChannel, place, place_channel

LIMIT = 100


def rows(channel: PlaceChannel) -> None:
    """What each place runs: plain code, in an OS thread of its own."""
    picture, size, work = rt.block_on(channel.get())
    done = 0
    while (y := rt.block_on(work.get())) is not None:
        picture[y * size : (y + 1) * size] = bytes(row(y, size))
        done += 1
    channel.put(done)


def row(y: int, size: int) -> Iterator[int]:
    """The brightness of each point in a row: how soon it leaves the circle of radius 2."""
    for x in range(size):
        c = complex(3.0 * x / size - 2.2, 3.0 * y / size - 1.5)
        z = 0j
        for step in range(LIMIT):
            z = z * z + c
            if z.real * z.real + z.imag * z.imag > 4.0:
                yield 255 - 255 * step // LIMIT
                break
        else:
            yield 0


async def draw(size: int, number: int) -> tuple[SharedBytes, list[int]]:
    """The picture, and how many rows each place has computed."""
    picture = SharedBytes(size * size)
    ours, theirs = place_channel()
    places = [place(rows) for _ in range(number)]
    for p in places:
        p.put((picture, size, theirs))
    for y in range(size):
        ours.put(y)
    for _ in places:
        ours.put(None)
    return picture, [await p.get() for p in places]


def png(picture: SharedBytes, size: int) -> bytes:
    """The picture as a grey PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + bytes(picture[y * size : (y + 1) * size]) for y in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The Mandelbrot set by several places.")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--places", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("mandelbrot.png"))
    options = parser.parse_args()
    picture, shares = rt.run(draw, options.size, options.places)
    options.out.write_bytes(png(picture, options.size))
    print(f"{options.out}: {options.size} rows, by place: {shares}")


if __name__ == "__main__":
    main()
