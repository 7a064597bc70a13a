"""SPEC §2: an operation that is run by somebody who knows nothing of us, such as an event loop of asyncio. It
says so, and nobody else has to suffer from it."""

import asyncio
import re
import threading

import pytest

from rtsync import (
    AsyncChannel,
    Channel,
    NoRuntime,
    Semaphore,
    block_on,
    sleep,
    sync,
)
from rtsync.ports import pipe


class Blocked:
    """One object, an operation that blocks on it, and one that lets that go on."""

    def __init__(self, name, operation, use):
        self.name = name
        self.operation = operation
        self.use = use

    def can_be_used_elsewhere(self):
        """Whether another OS thread can use the object: nobody holds its lock."""
        os_thread = threading.Thread(target=self.use, daemon=True)
        os_thread.start()
        os_thread.join(30)
        return not os_thread.is_alive()


def full():
    ch = AsyncChannel(1)
    block_on(ch.put(0))
    return ch


def get():
    ch = Channel()
    return Blocked("Channel.get", ch.get, lambda: ch.try_get())


def get_either():
    one, two = Channel(), Channel()
    return Blocked("sync", lambda: sync(one, two), lambda: (one.try_get(), two.try_get()))


def put():
    ch = Channel()
    return Blocked("Channel.put", lambda: ch.put(1), lambda: ch.try_get())


def async_get():
    ch = AsyncChannel()
    return Blocked("AsyncChannel.get", ch.get, lambda: block_on(ch.put(1)))


def async_put():
    ch = full()
    return Blocked("AsyncChannel.put", lambda: ch.put(1), lambda: ch.try_get())


def wait():
    sem = Semaphore()
    return Blocked("Semaphore.wait", sem.wait, sem.post)


def read():
    inp, out = pipe()
    return Blocked("read_line", inp.read_line, lambda: block_on(out.write("x\n")))


def read_avail():
    inp, out = pipe()
    return Blocked("read_bytes_avail", inp.read_bytes_avail, lambda: block_on(out.write("x\n")))


def write():
    inp, out = pipe(1)
    block_on(out.write("x"))
    return Blocked("(write|flush)", lambda: out.write("y" * 100_000), lambda: block_on(inp.read_bytes(1)))


EVERY = [get, get_either, put, async_get, async_put, wait, read, read_avail, write]


@pytest.mark.parametrize("make", EVERY)
def test_in_a_foreign_event_loop_it_says_so_and_lets_go(make):
    blocked = make()

    async def main():
        await blocked.operation()

    with pytest.raises(NoRuntime) as caught:
        asyncio.run(main())
    assert re.match(rf"{blocked.name}: .*rtsync\.run\(main\).*rtsync\.aio\.wait", str(caught.value))
    assert blocked.can_be_used_elsewhere()


@pytest.mark.parametrize("make", [get, get_either, put, async_get, async_put, wait])
def test_one_that_is_begun_by_hand_and_dropped_lets_go(make):
    blocked = make()
    coro = blocked.operation()
    coro.send(None)
    del coro
    assert blocked.can_be_used_elsewhere()


def test_two_channels_of_which_one_is_ready_are_not_synced_on_either():
    one, two = Channel(), Channel()
    putter = two.put(1)
    putter.send(None)
    two._lock.release()  # the commit

    async def main():
        await sync(one, two)

    with pytest.raises(NoRuntime, match=r"^sync: "):
        asyncio.run(main())
    assert not one._lock._is_owned()
    assert not two._lock._is_owned()
    putter.close()


def test_a_foreign_loop_may_catch_it_and_go_on():
    async def main():
        ch = Channel()
        for _ in range(3):
            with pytest.raises(NoRuntime):
                await ch.get()
        with pytest.raises(NoRuntime):
            await sync(ch, ch.put_evt(1))
        with pytest.raises(NoRuntime):
            await sleep(1)
        return "went on"

    assert asyncio.run(main()) == "went on"
