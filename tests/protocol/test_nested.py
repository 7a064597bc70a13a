"""Operations called in the middle of operations, in the same OS thread: by finalizers that a garbage
collection starts, and by signal handlers. See `scheduler.deferred`.

Each test makes a program's operation again and again, with the inner operation at each point in turn where
the interpreter could run such code, until there are no more points. Every time the program must come to the
same end as if the inner operation had been made before or after. On the deterministic scheduler for
coroutine threads (its steps run in this OS thread), and in OS threads that block on their own.
"""

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sortedcontainers import SortedDict, SortedKeyList, SortedList

import rtsync as rt
import rtsync.control
import scheduler
from rtsync.evt import Latch
from rtsync.testing import run_deterministic
from rtsync.waiter import living
from tests.chaos import codes_of_the_library
from tests.protocol.interjection import Interjection, interject

FILES = (
    *("semaphore", "channel", "async_channel", "mailbox", "evt", "sync", "thread", "waiter", "alarm"),
    "timers",
)


def own_codes() -> list[Any]:
    """The code of the operations, of what they are built on, and of the step in which they park."""
    names = {f"{name}.py" for name in FILES}
    codes = [code for code in codes_of_the_library() if Path(code.co_filename).name in names]
    sorted_dict = [
        f.__code__
        for kind in (SortedDict, SortedKeyList, SortedList)
        for f in vars(kind).values()
        if hasattr(f, "__code__")
    ]
    return [*codes, *sorted_dict, scheduler.Worker.step.__code__, scheduler.OsDriver.drive.__code__]


def calm() -> None:
    """Wait for the calls that were put off."""
    end = time.monotonic() + 30
    while scheduler.defer.busy:
        assert time.monotonic() < end, "a deferred call hangs"
        time.sleep(0.0001)


class World:
    """What a program works on; made anew for each point."""

    def __init__(self) -> None:
        self.sem = rt.Semaphore(0)
        self.channel = rt.Channel()
        self.other = rt.Channel()
        self.full = rt.AsyncChannel(1)
        self.empty = rt.AsyncChannel(1)
        self.latch = Latch()
        self.threads: dict[str, rt.Thread] = {}
        self.box: list[Any] = []
        self.seen: Interjection = Interjection()
        self.inner: Callable[[World], object] = lambda world: None

    async def settled(self) -> None:
        """Let everything come to rest; if the inner operation has not been made by now, make it."""
        await rt.sync(rt.idle())
        if not self.seen.over:
            self.seen.over = True
            self.inner(self)
        for _ in range(3):
            calm()
            await rt.sync(rt.idle())

    def __repr__(self) -> str:
        return (
            f"box {self.box}, count {self.sem.count}, semaphore queue {list(self.sem._queue)}, "
            f"full {list(self.full._buffer)}, empty {list(self.empty._buffer)}"
        )


def at_every_point(outer: Callable[[World], Any], inner: Callable[[World], object]) -> list[str]:
    """Run ``outer`` with ``inner`` interjected at each point in turn; where it came to another end than
    ``True``."""
    codes = own_codes()
    wrong = []
    gc.disable()
    try:
        for at in range(1, 2000):
            world = World()
            world.inner = inner
            with interject(lambda world=world: inner(world), at, codes) as world.seen:
                try:
                    result = run_deterministic(outer, world, seed=at)
                except BaseException as error:
                    result = repr(error)
            calm()
            if result is not True:
                wrong.append(f"point {at} in {world.seen.where}: {result} {world}")
            if world.seen.where is None:
                break
        else:
            pytest.fail("there is no end of points")
        assert at > 20, "the interjection did not work"
    finally:
        gc.enable()
    return wrong


# -- a post in the middle of everything that touches a semaphore ---------------------------------------


async def waits(world: World) -> Any:
    """A thread that waits for the unit that the inner post gives."""

    async def waiter() -> None:
        await world.sem.wait()
        world.box.append("taken")

    rt.thread(waiter)
    await world.settled()
    return world.box == ["taken"] and world.sem.count == 0


async def syncs(world: World) -> Any:
    async def waiter() -> None:
        world.box.append(await rt.sync(world.channel, world.sem, rt.Channel()))

    rt.thread(waiter)
    await world.settled()
    return world.box == [world.sem] and world.sem.count == 0


async def syncs_two(world: World) -> Any:
    async def waiter() -> None:
        world.box.append(await rt.sync(world.sem, world.channel))

    rt.thread(waiter)
    await world.settled()
    return world.box == [world.sem] and world.sem.count == 0


async def syncs_with_timeout(world: World) -> Any:
    async def waiter() -> None:
        world.box.append(await rt.sync(world.sem, timeout=1000))

    rt.thread(waiter)
    await world.settled()
    return world.box == [world.sem] and world.sem.count == 0


async def peeks(world: World) -> Any:
    peek = world.sem.peek_evt()

    async def waiter() -> None:
        world.box.append(await rt.sync(peek, world.channel))

    rt.thread(waiter)
    await world.settled()
    return world.box == [peek] and world.sem.count == 1


async def posts(world: World) -> Any:
    """A post within a post, with two threads waiting."""

    async def waiter() -> None:
        await world.sem.wait()
        world.box.append("taken")

    for _ in range(2):
        rt.thread(waiter)
    await rt.sync(rt.idle())
    world.sem.post()
    await world.settled()
    return world.box == ["taken", "taken"] and world.sem.count == 0


@pytest.mark.parametrize("outer", [waits, syncs, syncs_two, syncs_with_timeout, peeks, posts])
def test_a_post_at_any_point_is_not_lost(outer):
    assert at_every_point(outer, lambda world: world.sem.post()) == []


# -- mailboxes ------------------------------------------------------------------------------------------


def send_from_within(world: World) -> None:
    if "receiver" in world.threads:
        world.threads["receiver"].send("hello", None)
    else:
        world.box.append("hello")  # too early


async def receives(world: World) -> Any:
    async def receiver() -> None:
        world.threads["receiver"] = rt.current_thread()
        if not world.box:
            world.box.append(await rt.receive())

    rt.thread(receiver)
    await world.settled()
    return world.box == ["hello"]


async def syncs_on_mail(world: World) -> Any:
    async def receiver() -> None:
        world.threads["receiver"] = rt.current_thread()
        if not world.box:
            await rt.sync(world.channel, rt.receive_evt())
            world.box.append(rt.try_receive())

    rt.thread(receiver)
    await world.settled()
    return world.box == ["hello"]


@pytest.mark.parametrize("outer", [receives, syncs_on_mail])
def test_a_message_sent_at_any_point_arrives(outer):
    assert at_every_point(outer, send_from_within) == []


# -- channels -------------------------------------------------------------------------------------------


async def putting(world: World, put: Callable[[], Any]) -> Any:
    """The inner try_get takes the value, or finds nothing, and then a get takes it."""

    async def putter() -> None:
        await put()
        world.threads["done"] = rt.current_thread()

    rt.thread(putter)
    await world.settled()
    if 1 not in world.box:
        world.box.append(await rt.sync(world.channel, timeout=1))
        await rt.sync(rt.idle())
    return world.box.count(1) == 1 and "done" in world.threads


async def puts(world: World) -> Any:
    return await putting(world, lambda: world.channel.put(1))


async def syncs_a_put(world: World) -> Any:
    return await putting(world, lambda: rt.sync(world.channel.put_evt(1), world.sem))


async def gets_of_two(world: World) -> Any:
    """Two putters wait; the inner try_get and the program's own gets take from them."""

    async def putter(value: int) -> None:
        await world.channel.put(value)

    for value in (1, 2):
        rt.thread(putter, value)
    await rt.sync(rt.idle())
    world.box.append(await rt.sync(world.channel, timeout=1))
    await world.settled()
    while (value := world.channel.try_get()) is not None:
        world.box.append(value)
    return [value for value in world.box if value] in ([1, 2], [2, 1])


async def gets_either(world: World) -> Any:
    """A putter waits at one of two channels; the inner try_get takes its value, or the program does."""

    async def getter() -> None:
        world.box.append(await rt.sync(world.other, world.channel))

    rt.thread(world.channel.put, 1)
    await rt.sync(rt.idle())
    rt.thread(getter)
    await world.settled()
    if world.box.count(1) == 1 and len(world.box) == 1:  # taken from within
        await rt.sync(world.other.put_evt(2), timeout=1)
    return [value for value in world.box if value] in ([1], [1, 2])


@pytest.mark.parametrize("outer", [puts, syncs_a_put, gets_of_two, gets_either])
def test_a_try_get_at_any_point_loses_nothing(outer):
    assert at_every_point(outer, lambda world: world.box.append(world.channel.try_get())) == []


async def puts_on_full(world: World) -> Any:
    """There is room after the inner try_get: then the putter must not wait."""
    world.full._buffer.append(0)

    async def putter() -> None:
        await world.full.put(1)
        world.threads["done"] = rt.current_thread()

    rt.thread(putter)
    await world.settled()
    if len(world.full) == 0 and living(world.full._putters):
        return "waits though there is room"
    taken = [value for value in world.box if value is not None]
    while len(taken) < 2 and (value := await rt.sync(world.full, timeout=1)) is not None:
        taken.append(value)
    return taken == [0, 1]


async def syncs_a_put_on_full(world: World) -> Any:
    world.full._buffer.append(0)

    async def putter() -> None:
        await rt.sync(world.full.put_evt(1), world.channel)

    rt.thread(putter)
    await world.settled()
    if len(world.full) == 0 and living(world.full._putters):
        return "waits though there is room"
    return True


@pytest.mark.parametrize("outer", [puts_on_full, syncs_a_put_on_full])
def test_a_try_get_within_a_put_to_a_full_channel_leaves_nobody_waiting_for_nothing(outer):
    assert at_every_point(outer, lambda world: world.box.append(world.full.try_get())) == []


# -- latches, ends, kills -----------------------------------------------------------------------------------


async def syncs_on_a_latch(world: World) -> Any:
    async def waiter() -> None:
        world.box.append(await rt.sync(world.channel, world.latch, world.sem))

    rt.thread(waiter)
    await world.settled()
    return world.box == [world.latch]


async def syncs_on_a_latch_alone(world: World) -> Any:
    async def waiter() -> None:
        world.box.append(await rt.sync(world.latch))

    rt.thread(waiter)
    await world.settled()
    return world.box == [world.latch]


@pytest.mark.parametrize("outer", [syncs_on_a_latch, syncs_on_a_latch_alone])
def test_a_nack_at_any_point_is_noticed(outer):
    assert at_every_point(outer, lambda world: world.latch.set()) == []


def kill_the_other(world: World) -> None:
    if "other" in world.threads:
        world.threads["other"].kill()


async def beside(world: World, block: Callable[[], Any], unblock: Callable[[], Any]) -> Any:
    """One waits; a second one begins to wait in the same queue, and meanwhile the first is killed."""

    async def other() -> None:
        await block()

    async def one() -> None:
        await block()
        world.box.append("done")

    world.threads["other"] = rt.thread(other)
    await rt.sync(rt.idle())
    rt.thread(one)
    await world.settled()
    kill_the_other(world)  # where the point came before it was there
    await unblock()
    await rt.sync(rt.idle())
    return world.box == ["done"]


async def get_beside(world: World) -> Any:
    return await beside(world, world.channel.get, lambda: rt.sync(world.channel.put_evt(1), timeout=1))


async def put_beside(world: World) -> Any:
    return await beside(world, lambda: world.channel.put(1), lambda: rt.sync(world.channel, timeout=1))


async def wait_beside(world: World) -> Any:
    async def post() -> None:
        world.sem.post()

    return await beside(world, world.sem.wait, post)


async def sync_beside(world: World) -> Any:
    return await beside(
        world,
        lambda: rt.sync(world.channel, world.sem),
        lambda: rt.sync(world.channel.put_evt(1), timeout=1),
    )


async def get_either_beside(world: World) -> Any:
    return await beside(
        world,
        lambda: rt.sync(world.channel, world.other),
        lambda: rt.sync(world.channel.put_evt(1), timeout=1),
    )


async def async_get_beside(world: World) -> Any:
    return await beside(world, world.empty.get, lambda: world.empty.put(1))


async def sleep_beside(world: World) -> Any:
    return await beside(world, lambda: rt.sleep(2), lambda: rt.sleep(3))


async def sleep_beside_one_that_sleeps_on_its_way_out(world: World) -> Any:
    async def block() -> None:
        try:
            await rt.sleep(2)
        finally:
            await rt.sleep(1)

    return await beside(world, block, lambda: rt.sleep(3))


async def timeout_beside(world: World) -> Any:
    return await beside(world, lambda: rt.sync(world.channel, timeout=2), lambda: rt.sleep(3))


async def join_beside(world: World) -> Any:
    async def target() -> None:
        await world.sem.wait()

    async def post() -> None:
        world.sem.post()

    return await beside(world, rt.thread(target).join, post)


@pytest.mark.parametrize(
    "outer",
    [
        *(get_beside, put_beside, wait_beside, sync_beside),
        *(get_either_beside, async_get_beside, sleep_beside, timeout_beside, join_beside),
        sleep_beside_one_that_sleeps_on_its_way_out,
    ],
)
def test_a_kill_at_any_point_does_not_tear_others_out_of_the_queue(outer, monkeypatch):
    # At the one point where the victim's own step begins, the killer waits in vain for its worker: itself.
    monkeypatch.setattr(rtsync.control, "_PATIENCE", 0.05)
    assert at_every_point(outer, kill_the_other) == []


# -- OS threads that block on their own ----------------------------------------------------------------------


def has_parked(sem: rt.Semaphore) -> bool:
    """Whether a thread waits. Uses no code of the library, which would count as points."""
    with sem._lock:
        return any(entry[0] if type(entry) is tuple else entry for entry in sem._queue)


def test_a_handler_that_posts_at_any_point_of_a_blocking_wait_wakes_it():
    """As a signal handler in the main OS thread does."""
    codes, places = own_codes(), set()
    for at in range(1, 2000):
        sem = rt.Semaphore(0)
        with interject(sem.post, at, codes) as seen:
            waiting = threading.Thread(target=lambda sem=sem: rt.block_on(sem.wait()))
            waiting.start()
            while waiting.is_alive() and seen.where is None and not has_parked(sem):
                time.sleep(0)
        if seen.where is None:
            sem.post()  # it sleeps, and there are no more points before that
        waiting.join(20)
        assert not waiting.is_alive(), f"point {at} in {seen.where}: the post was lost"
        calm()
        assert sem.count == 0
        if seen.where is None:
            break
        places.add(seen.where.partition(":")[0])
    assert places >= {"Semaphore.wait", "OsDriver.drive"}, "the interjection did not work"
