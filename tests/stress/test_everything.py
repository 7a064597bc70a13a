"""One random program of everything at once: events of all kinds, control, custodians, groups, scopes, nested
threads, modes, pools, OS threads and collections.

Nobody can say what such a program gives. But it comes to its end, nothing is raised in it that is not meant
to be, and nothing goes wrong where no thread would see it.
"""

import gc
import random
import sys

import pytest

import rtsync as rt
from rtsync.atomic import UninterruptibleLock, atomic, uninterruptible
from rtsync.testing import run_deterministic


class Mine(Exception):
    """What its threads fail with."""


EXPECTED = (Mine, rt.Break, rt.ContractError, rt.ThreadDead, rt.ThreadKilled)


def is_expected(error):
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_expected, error.exceptions))
    return isinstance(error, EXPECTED)


class World:
    def __init__(self, pools):
        self.channels = [rt.Channel() for _ in range(3)]
        self.buffers = [rt.AsyncChannel(), rt.AsyncChannel(2)]
        self.semaphores = [rt.Semaphore(1), rt.Semaphore(0)]
        self.custodians = [rt.Custodian() for _ in range(3)]
        self.groups = [rt.ThreadGroup() for _ in range(2)]
        self.lock = UninterruptibleLock()
        self.pools = [rt.ParallelThreadPool(n) for n in pools]
        self.threads = []


def event(world, draw, depth=2):
    kind = draw.randrange(14 if depth else 8)
    if kind == 0:
        return draw.choice(world.channels)
    if kind == 1:
        return draw.choice(world.channels).put_evt(kind)
    if kind == 2:
        return draw.choice(world.buffers)
    if kind == 3:
        return draw.choice(world.buffers).put_evt(kind)
    if kind == 4:
        return draw.choice(world.semaphores)
    if kind == 5:
        return draw.choice(world.semaphores).peek_evt()
    if kind == 6:
        return draw.choice(world.threads) if world.threads else rt.never
    if kind == 7:
        return rt.after(draw.random() * 0.003)
    inner = event(world, draw, depth - 1)
    if kind == 8:
        return rt.choice(inner, event(world, draw, depth - 1))
    if kind == 9:
        return inner.wrap(lambda value: value)
    if kind == 10:
        return inner.handle(lambda _: rt.sleep(0))
    if kind == 11:
        return rt.nack_guard(lambda nack: rt.choice(nack, inner))
    if kind == 12:
        return rt.guard(lambda: inner)
    return inner.replace(lambda _: rt.choice(rt.after(0.002), event(world, draw, depth - 1)))


async def act(world, draw, depth):
    kind = draw.randrange(25)
    timeout = draw.choice([0, 0.001, 0.002, 0.004])
    if kind < 6:
        await rt.sync(event(world, draw), event(world, draw), rt.after(0.005))
    elif kind == 6:
        await rt.sync(event(world, draw), timeout=timeout)
    elif kind == 7:
        await rt.sleep(timeout)
    elif kind == 8 and world.threads:
        draw.choice(world.threads).send(kind, None)
    elif kind == 9:
        await rt.sync(rt.receive_evt(), timeout=timeout)
        rt.try_receive()
    elif kind == 10:
        draw.choice(world.semaphores).post()
    elif kind == 11:
        with atomic():
            draw.choice(world.semaphores).try_wait()
    elif kind == 12:
        with uninterruptible():
            draw.choice(world.semaphores).try_wait()
    elif kind == 13:
        with world.lock:
            pass
    elif kind == 14:
        with rt.breaks(False):
            await rt.sync(event(world, draw), timeout=timeout)
    elif kind == 15:
        await rt.sync(event(world, draw), timeout=timeout, enable_break=True)
    elif kind == 16 and depth:
        async with rt.Scope() as scope:
            for _ in range(draw.randrange(3)):
                scope.thread(work, world, draw.random(), depth - 1, 3)
    elif kind == 17 and depth:
        await rt.call_in_nested_thread(work, world, draw.random(), depth - 1, 3)
    elif kind == 18 and depth:
        begin(world, draw, depth - 1)
    elif kind == 19:
        compute(draw)
    elif kind == 20 and draw.random() < 0.2:
        raise Mine
    elif kind == 21 and draw.random() < 0.2:
        gc.collect()
    elif kind == 22:
        await rt.to_os_thread(compute, draw)
    elif kind == 23:
        await rt.sync(rt.idle(), timeout=0.002)
    elif kind == 24 and world.threads:
        target = draw.choice(world.threads)
        await rt.sync(target.resume_evt(), target.suspend_evt(), rt.after(0.002))


def compute(draw):
    for _ in range(draw.randrange(20_000)):
        pass


async def work(world, seed, depth, many=8):
    draw = random.Random(seed)
    for _ in range(many):
        try:
            await act(world, draw, depth)
        except (rt.Break, rt.ThreadDead):
            pass


def plain_work(world, seed):
    draw = random.Random(seed)
    for _ in range(5):
        try:
            if draw.random() < 0.5:
                compute(draw)
            else:
                rt.block_on(act(world, draw, 0))
        except rt.Break:
            pass


def begin(world, draw, depth):
    """Start a thread of one kind or another, somewhere."""
    options = {}
    if world.pools and draw.random() < 0.2:
        options["pool"] = draw.choice(world.pools)
    if draw.random() < 0.1:
        options["suspend_to_kill"] = True
    try:
        with draw.choice([*world.groups, rt.current_thread_group()]), draw.choice(world.custodians):
            if draw.random() < 0.3:
                made = rt.thread(plain_work, world, draw.random(), **options)
            else:
                made = rt.thread(work, world, draw.random(), depth, **options)
    except rt.ContractError:  # the custodian has been shut down
        return
    world.threads.append(made)
    if len(world.threads) > 60:
        del world.threads[0]


async def controller(world, draw, rounds):
    for _ in range(rounds):
        await rt.sleep(draw.random() * 0.002)
        target = draw.choice(world.threads)
        kind = draw.randrange(12)
        if kind == 0:
            target.kill()
        elif kind < 3:
            target.suspend()
        elif kind < 5:
            target.resume()
        elif kind == 5:
            target.resume(draw.choice(world.threads))
        elif kind == 6:
            target.break_(draw.choice([None, "hang-up", "terminate"]))
        elif kind == 7 and draw.random() < 0.3:
            number = draw.randrange(len(world.custodians))
            world.custodians[number].shutdown_all()
            world.custodians[number] = rt.Custodian()
        elif kind == 8:
            with atomic():
                target.suspend()
                target.resume()
        elif kind == 9:
            target.resume(draw.choice(world.custodians))
        else:
            for _ in range(3):
                begin(world, draw, 2)


async def everything(seed, surprises, pools=(1, 2), rounds=60):
    draw = random.Random(seed)
    rt.uncaught_exception_handler(lambda _, error: is_expected(error) or surprises.append(error))
    world = World(pools)
    for _ in range(20):
        begin(world, draw, 2)
    controllers = [rt.thread(controller, world, random.Random(draw.random()), rounds) for _ in range(2)]
    for t in controllers:
        await t.join()
    for t in world.threads:
        t.resume()
        if draw.random() < 0.5:
            t.kill()


@pytest.fixture
def surprises(monkeypatch):
    """What goes wrong where no thread sees it."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: found.append(unraisable.exc_value))
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("seed", range(30))
def test_everything_at_once(surprises, workers, seed):
    rt.run(everything, seed, surprises, workers=workers)
    gc.collect()
    assert surprises == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_everything_at_once_in_virtual_time(surprises, seed):
    run_deterministic(everything, seed, surprises, (), seed=seed)
    gc.collect()
    assert surprises == []
