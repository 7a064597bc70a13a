"""SPEC §3: unreachable threads blocked on unreachable events are collected; others are not.

Collected means that the coroutine is closed: its ``finally`` blocks run.
"""

import gc
import weakref

import pytest

from rtsync import (
    AsyncChannel,
    Channel,
    Semaphore,
    block_on,
    choice,
    current_thread,
    guard,
    idle,
    nack_guard,
    never,
    receive,
    receive_evt,
    sleep,
    sync,
    thread,
)
from tests.collecting import collected


async def collect(happened, rounds=None):
    """Collect until ``happened()``; whether it has, after so many ``rounds`` if that is given."""
    for _ in range(rounds or 3):
        await sync(idle())
        await sleep(0)
        gc.collect()
        if happened():
            return True
    return rounds is None and collected(happened)


def full():
    ch = AsyncChannel(1)
    ch.put_evt(0)._poll()
    return ch


BLOCKED = {
    "channel get": lambda: Channel().get(),
    "channel put": lambda: Channel().put(1),
    "semaphore wait": lambda: Semaphore().wait(),
    "async channel get": lambda: AsyncChannel().get(),
    "async channel put": lambda: full().put(1),
    "receive": lambda: receive(),
    "own end": lambda: current_thread().wait(),
    "sync of nothing": lambda: sync(),
    "sync of one": lambda: sync(Channel()),
    "sync of many": lambda: sync(Channel(), Semaphore(), full().put_evt(1), Channel().put_evt(1)),
    "sync of a choice": lambda: sync(choice(Channel(), never).wrap(id)),
    "sync of a guard": lambda: sync(guard(Channel)),
    "sync of a nack guard": lambda: sync(nack_guard(lambda nack: choice(nack, never))),
    "sync of a message": lambda: sync(receive_evt()),
    "sync of a peek": lambda: sync(Semaphore().peek_evt()),
}


@pytest.mark.parametrize("operation", BLOCKED)
async def test_a_thread_that_nobody_can_wake_is_collected(operation):
    log = []

    async def blocked():
        try:
            await BLOCKED[operation]()
        finally:
            log.append("clean")

    thread(blocked)
    await sync(idle())
    assert await collect(lambda: log)


async def test_the_thread_object_is_gone_then():
    gone = weakref.ref(thread(Channel().get))
    assert await collect(lambda: gone() is None)


async def test_threads_that_wait_for_each_other_are_collected_together():
    log = []

    async def one(a, b):
        try:
            await a.get()
            await b.put(1)
        finally:
            log.append("one")

    async def two(a, b):
        try:
            await b.get()
            await a.put(1)
        finally:
            log.append("two")

    a, b = Channel(), Channel()
    thread(one, a, b)
    thread(two, a, b)
    del a, b
    await sync(idle())
    assert await collect(lambda: len(log) == 2)


async def test_a_thread_that_waits_for_an_unreachable_thread_is_collected():
    log = []

    async def waiter(t):
        try:
            await t.wait()
        finally:
            log.append("clean")

    thread(waiter, thread(Channel().get))
    await sync(idle())
    assert await collect(lambda: log)


async def test_a_thousand_threads_are_collected():
    log = []

    async def blocked():
        try:
            await Channel().get()
        finally:
            log.append("clean")

    for _ in range(1000):
        thread(blocked)
    await sync(idle())
    assert await collect(lambda: len(log) == 1000)


async def test_dead_evt_does_not_keep_the_thread():
    t = thread(Channel().get)
    gone, evt = weakref.ref(t), t.dead_evt()
    del t
    assert await collect(lambda: gone() is None)
    assert await sync(evt, timeout=0) is None


async def test_a_custodian_does_not_keep_its_threads():
    from rtsync import Custodian

    custodian = Custodian()
    with custodian:
        gone = weakref.ref(thread(Channel().get))
    assert await collect(lambda: gone() is None)
    assert [r for r in custodian.members if r() is not None] == []


async def test_a_suspended_unreachable_thread_is_collected():
    begun, log = [], []

    async def spinner():
        try:
            begun.append(True)
            while True:
                await sleep(0)
        finally:
            log.append("clean")

    t = thread(spinner)
    while not begun:
        await sleep(0)
    t.suspend()
    del t
    assert await collect(lambda: log)


async def test_clean_up_by_the_collector_may_use_objects_that_others_use():
    sem = Semaphore()

    async def blocked():
        try:
            await Channel().get()
        finally:
            sem.post()

    thread(blocked)
    waiter = thread(sem.wait)
    await sync(idle())
    assert await collect(lambda: waiter.dead)


# -- those that must not be ------------------------------------------------------------------------


async def test_a_thread_on_a_reachable_channel_is_not_collected():
    ch, log = Channel(), []

    async def blocked():
        log.append(await ch.get())

    thread(blocked)
    await sync(idle())
    await collect(lambda: False, rounds=2)
    await ch.put("alive")
    await sync(idle())
    assert log == ["alive"]


async def test_a_thread_that_waits_among_others_for_a_reachable_event_is_not_collected():
    ch, log = Channel(), []

    async def blocked():
        log.append(await sync(Channel(), ch, Semaphore()))

    thread(blocked)
    await sync(idle())
    await collect(lambda: False, rounds=2)
    await ch.put("alive")
    await sync(idle())
    assert log == ["alive"]


async def test_a_thread_reached_through_a_put_event_is_not_collected():
    ch, log = Channel(), []

    async def blocked():
        await sync(ch.put_evt("alive"), Channel())
        log.append("done")

    thread(blocked)
    await sync(idle())
    await collect(lambda: False, rounds=2)
    assert await ch.get() == "alive"
    await sync(idle())
    assert log == ["done"]


async def test_a_sleeper_is_not_collected():
    log = []

    async def sleeper():
        await sleep(0.01)
        log.append("woken")

    t = thread(sleeper)
    end = t.dead_evt()
    del t
    gc.collect()
    await sync(end)
    assert log == ["woken"]


async def test_a_thread_with_a_timeout_is_not_collected():
    log = []

    async def blocked():
        log.append(await sync(Channel(), timeout=0.01, default="late"))

    end = thread(blocked).dead_evt()
    gc.collect()
    await sync(end)
    assert log == ["late"]


async def test_a_referenced_thread_is_not_collected():
    t = thread(Channel().get)
    await sync(idle())
    await collect(lambda: False, rounds=2)
    assert not t.dead
    t.send("still there")


async def test_a_thread_that_a_blocked_reachable_thread_could_wake_is_not_collected():
    first, log = Channel(), []

    async def second(ch):
        log.append(await ch.get())

    async def one(ch):
        await ch.put(await first.get())

    hidden = Channel()
    thread(second, hidden)
    thread(one, hidden)
    del hidden
    await sync(idle())
    await collect(lambda: False, rounds=2)
    await first.put("through")
    await sync(idle())
    assert log == ["through"]


async def test_a_runnable_thread_is_not_collected():
    ch = Channel()

    async def runner(ch):
        for _ in range(5):
            await sleep(0)
            gc.collect()
        await ch.put("done")

    thread(runner, ch)
    assert await ch.get() == "done"


async def test_a_thread_on_idle_is_not_collected():
    log = []

    async def waits():
        await sync(idle())
        log.append("idle")

    thread(waits)
    gc.collect()
    await sync(idle())
    await sync(idle())
    assert log == ["idle"]


async def test_an_os_backed_thread_on_a_reachable_channel_is_not_collected():
    ch = Channel()
    back = Channel()

    def blocked():
        block_on(back.put(block_on(ch.get())))

    thread(blocked)
    await sync(idle())
    gc.collect()
    await ch.put("alive")
    assert await back.get() == "alive"


def test_collections_at_any_time_disturb_nothing(script):
    # A collection within a locked section may run a user's clean-up, which may use the same object.
    done = script(
        """
        import gc
        from rtsync import *

        sem, ch, rounds = Semaphore(), Channel(), 200

        async def forgotten():
            try:
                await sync(Channel(), sem.peek_evt(), never)
            finally:
                sem.post()
                ch.try_get()
                await thread(nothing).wait()

        async def nothing():
            pass

        async def putter():
            for n in range(rounds):
                await ch.put(n)
                t = thread(forgotten)
                await sync(sem, timeout=0)

        async def getter():
            for _ in range(rounds):
                await sync(ch, Channel(), timeout=0.01)

        async def collector():
            while True:
                gc.collect()
                await sleep(0)

        async def main():
            gc.set_threshold(10, 2, 2)
            thread(collector)
            one, two = thread(putter), thread(getter)
            await two.join()
            one.kill()
            print("over")

        run(main, workers=2)
        """
    )
    assert done.stdout == "over\n"
