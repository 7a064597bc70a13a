"""Random programs over the library's operations, and what must hold at their end.

A program is a list of threads, a thread a list of operations drawn from a seed. Values are unique, so that
each can be followed. Whatever the schedule:

* a value that a get gave was put, and was given once; a put that returned gave its value to exactly one get;
* at quiescence nobody waits who could go on: no channel has a getter and a putter, no semaphore a count and
  a waiter, no buffered channel a value and a getter, or room and a putter;
* a nack has happened exactly if its event was not chosen;
* when all threads are gone, no queue holds a living waiter.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import rtsync as rt
from rtsync.waiter import living


@dataclass
class World:
    """The objects that a program's threads share, and the record of what they did."""

    channels: list[rt.Channel]
    buffered: list[rt.AsyncChannel]
    semaphores: list[rt.Semaphore]
    put: list[int] = field(default_factory=list)  # values whose put has returned
    begun: set[int] = field(default_factory=set)  # values whose put has begun
    got: list[int] = field(default_factory=list)
    posted: int = 0
    taken: int = 0
    nacks: list[tuple[rt.Evt, bool]] = field(default_factory=list)  # (nack, whether it must happen)

    @classmethod
    def make(cls) -> "World":
        return cls(
            [rt.Channel() for _ in range(3)],
            [rt.AsyncChannel(1), rt.AsyncChannel(3)],
            [rt.Semaphore(0), rt.Semaphore(1)],
        )


async def operate(world: World, draw: random.Random, me: int, number: int) -> None:
    """One random operation."""
    kind = draw.randrange(8)
    value = me * 1000 + number
    channel = draw.choice(world.channels)
    if kind == 0:
        world.begun.add(value)
        await channel.put(value)
        world.put.append(value)
    elif kind == 1:
        world.got.append(await channel.get())
    elif kind == 2:
        buffer = draw.choice(world.buffered)
        if draw.random() < 0.5:
            world.begun.add(value)
            await buffer.put(value)
            world.put.append(value)
        else:
            world.got.append(await buffer.get())
    elif kind == 3:
        semaphore = draw.choice(world.semaphores)
        if draw.random() < 0.6:
            world.posted += 1
            semaphore.post()
        else:
            await semaphore.wait()
            world.taken += 1
    else:
        await select(world, draw, value)


async def select(world: World, draw: random.Random, value: int) -> None:
    """A random `sync`: gets and puts on several channels, both ways, with guards, nacks and timeouts."""
    putting = False
    evts: list[rt.Evt] = []
    nacks: list[tuple[Any, list[bool]]] = []
    for _ in range(draw.randrange(1, 5)):
        what = draw.randrange(5)
        evt: rt.Evt
        if what == 0 and not putting:
            putting = True
            world.begun.add(value)
            evt = draw.choice(world.channels).put_evt(value).wrap(lambda _: ("put", value))
        elif what == 1:
            evt = draw.choice(world.buffered).wrap(lambda v: ("got", v))
        elif what == 2:
            evt = draw.choice(world.semaphores).wrap(lambda _: ("taken", None))
        else:
            evt = draw.choice(world.channels).handle(lambda v: ("got", v))
        style = draw.randrange(4)
        if style == 0:
            evt = rt.guard(lambda evt=evt: evt)
        elif style == 1:
            chosen: list[bool] = []
            marked = evt.wrap(lambda r, chosen=chosen: (chosen.append(True), r)[1])

            def maker(nack: rt.Evt, marked: rt.Evt = marked, chosen: list[bool] = chosen) -> rt.Evt:
                nacks.append((nack, chosen))
                return marked

            evt = rt.nack_guard(maker)
        elif style == 2:
            evt = rt.choice(evt, rt.never)
        evts.append(evt)
    timeout = draw.choice([None, None, 0, 0.001, 0.05])
    outcome, result = await rt.sync(*evts, timeout=timeout, default=("nothing", None))
    if outcome == "put":
        world.put.append(value)
    elif outcome == "got":
        world.got.append(result)
    elif outcome == "taken":
        world.taken += 1
    for nack, chosen in nacks:
        world.nacks.append((nack, not chosen))


async def run_program(seed: int, threads: int = 5, operations: int = 8, killers: int = 0) -> World:
    """Run the program of ``seed`` to quiescence, check it, end it, check again."""
    draw = random.Random(seed)
    world = World.make()

    async def thread(me: int, own: random.Random) -> None:
        for number in range(operations):
            await operate(world, own, me, number)

    async def killer(own: random.Random, targets: list[rt.Thread]) -> None:
        await rt.sleep(own.random() * 0.002)
        own.choice(targets).kill()

    running = [rt.thread(thread, me, random.Random(draw.random())) for me in range(1, threads + 1)]
    for _ in range(killers):
        rt.thread(killer, random.Random(draw.random()), list(running))
    await rt.sleep(2)  # all timeouts are over, one after the other: `idle` does not wait for time
    await rt.sync(rt.idle())
    check(world, killed=killers > 0)
    for nack, must in world.nacks:
        assert (await rt.sync(nack, timeout=0) is not None) == must
    for t in running:
        t.kill()
    check_empty(world)
    return world


def check(world: World, killed: bool) -> None:
    """What holds at quiescence."""
    got = Counter(world.got)
    assert all(count == 1 for count in got.values()), f"delivered twice: {got}"
    assert got.keys() <= world.begun, "a value from nowhere"
    assert len(set(world.put)) == len(world.put)
    stored = [value for buffer in world.buffered for value in buffer._buffer]
    arrived = set(world.got) | set(stored)
    if not killed:
        assert set(world.put) <= arrived, f"lost: {set(world.put) - arrived}"
        assert world.posted + 1 == world.taken + sum(s.count for s in world.semaphores)
    for channel in world.channels:
        for getter in channel._getters:
            for putter in channel._putters:
                # One `sync` may wait at both ends: it never meets itself.
                alone = not getter[0] or not putter[0] or getter[0] is putter[0]
                assert alone, "two that could meet wait"
    for semaphore in world.semaphores:
        assert not (semaphore.count and living(semaphore._queue))
    for buffer in world.buffered:
        assert not (len(buffer) and living(buffer._getters))
        assert not (len(buffer) < buffer._limit and living(buffer._putters))


def check_empty(world: World) -> None:
    """What holds when all threads are gone."""
    for owner in (*world.channels, *world.buffered):
        assert living(owner._getters) == living(owner._putters) == 0
    for semaphore in world.semaphores:
        assert living(semaphore._queue) == 0
