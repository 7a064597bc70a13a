"""Random programs of nested threads, scopes, groups and enabled breaks, while others kill, suspend, resume
and break them.

Whatever the schedule: nobody waits who could go on, every unit of a semaphore is somewhere, every thread ends
when its custodian is shut down, and when all are gone no queue holds anything.
"""

import random

import pytest

import rtsync as rt
from rtsync.testing import run_deterministic
from rtsync.waiter import living
from tests.chaos import chaos

UNITS = 2


class Failure(Exception):
    """What threads of scopes fail with."""


class World:
    def __init__(self):
        self.custodian = rt.Custodian()
        self.channels = [rt.Channel() for _ in range(2)]
        self.semaphore = rt.Semaphore(UNITS)
        outer = rt.ThreadGroup()
        self.groups = [rt.current_thread_group(), outer, rt.ThreadGroup(outer), rt.ThreadGroup()]
        self.taken = []
        self.returned = []
        self.threads = []


async def act(world, draw, depth=0):
    """One random operation."""
    kind = draw.randrange(8 if depth < 2 else 5)
    channel = draw.choice(world.channels)
    if kind == 0:
        await rt.sync(channel, timeout=0.01)
    elif kind == 1:
        await rt.sync(channel.put_evt(1), timeout=0.01)
    elif kind == 2:
        await rt.sleep(0)
    elif kind == 3:
        with rt.breaks(False):
            await world.semaphore.wait_enable_break()
            world.taken.append(True)  # a list, because OS threads must not lose each other's counts
            try:
                await rt.sleep(0)
            finally:
                world.returned.append(True)
                world.semaphore.post()
    elif kind == 4:
        with rt.breaks(False):
            await rt.sync(channel, world.custodian.closed(), timeout=0.01, enable_break=True)
    elif kind == 5:
        await rt.call_in_nested_thread(some, world, random.Random(draw.random()), depth + 1)
    else:
        async with rt.Scope() as scope:
            for _ in range(draw.randrange(3)):
                with draw.choice(world.groups):
                    scope.thread(some, world, random.Random(draw.random()), depth + 1)
            await act(world, draw, depth + 1)


async def some(world, draw, depth=0):
    """A few of them; it may fail."""
    world.threads.append(rt.current_thread())
    for _ in range(draw.randrange(1, 4)):
        await act(world, draw, depth)
    if draw.random() < 0.2:
        raise Failure


async def citizen(world, draw, rounds):
    world.threads.append(rt.current_thread())
    for _ in range(rounds):
        try:
            await act(world, draw)
        except* (rt.Break, rt.ThreadDead, Failure):
            pass


async def controller(world, draw, rounds):
    for _ in range(rounds):
        await rt.sleep(draw.random() * 0.002)
        if not world.threads:
            continue
        target = draw.choice(world.threads)
        what = draw.randrange(6)
        if what == 0:
            target.kill()
        elif what == 1:
            target.suspend()
        elif what < 4:
            target.resume()
        else:
            target.break_(draw.choice([None, "hang-up", "terminate"]))


async def program(seed, rounds=6):
    draw = random.Random(seed)
    world = World()
    with rt.parameterize(rt.uncaught_exception_handler, lambda thread, error: None):
        with world.custodian:
            for _ in range(4):
                with draw.choice(world.groups):
                    rt.thread(citizen, world, random.Random(draw.random()), rounds)
        others = [rt.thread(controller, world, random.Random(draw.random()), 2 * rounds) for _ in range(2)]
        for t in others:
            await t.join()
        for t in world.threads:
            t.resume()
        await rt.sleep(0.1)  # all timeouts are over
        for t in world.custodian.everything():
            if isinstance(t, rt.Thread):
                t.resume()
        world.custodian.shutdown_all()
        for t in list(world.threads):
            await t.wait()
    assert all(t.dead for t in world.threads)
    await rt.sync(rt.idle())  # a turn behind which nobody waits any more may still be on its way home
    assert world.custodian.everything() == []
    assert len(world.taken) == len(world.returned)
    assert world.semaphore.count == UNITS
    assert living(world.semaphore._queue) == 0
    for channel in world.channels:
        assert living(channel._getters) == 0
        assert living(channel._putters) == 0
    for group in world.groups[1:]:
        assert not group._queue
        assert len(group._home) == 1


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed):
    run_deterministic(program, seed, seed=seed)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_on_real_workers(seed):
    rt.run(program, 1000 + seed, workers=1 + seed % 3)


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_under_chaos(seed):
    with chaos(seed, rate=0.01):
        rt.run(program, 2000 + seed, 3, workers=1 + seed % 3)
