"""What the places of test_dask run."""

import os
import signal
import sys

import rtsync as rt
from rtsync.place import place_channel


async def echo(channel):
    async for message in channel:
        if isinstance(message, str) and message == "end":
            return
        channel.put(message)


async def pid_and_wait(channel):
    channel.put(os.getpid())
    await channel.get()


def exits(channel):
    sys.exit(7)


def fails(channel):
    raise LookupError("on purpose")


def dies(channel):
    os.kill(os.getpid(), signal.SIGKILL)


def speaks(channel):
    print("to out", flush=True)
    print("to err", file=sys.stderr, flush=True)
    channel.put(sys.stdin.read())


def much(channel):
    """Ends at once, with much unsent and unwritten."""
    for n in range(2000):
        channel.put((n, "x" * 1000))
    sys.stdout.write("y" * 300_000)


async def write_shared(channel):
    v = await channel.get()
    v[0] = 42
    await channel.put_get("written")


async def over_an_end(channel):
    """Speaks on the end of a channel that it gets, and gives away one of its own."""
    other = await channel.get()
    here, there = place_channel()
    channel.put(there)
    other.put("over yours")
    assert await here.get() == "over mine"
    here.put(await other.get())
    await channel.get()


async def broken(channel):
    try:
        channel.put("up")
        await channel.get()
    except rt.Break as broken:
        channel.put(type(broken).__name__)
