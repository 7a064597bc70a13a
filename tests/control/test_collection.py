"""Racket Reference 11.1: a thread that has not terminated is collected if it is unreachable and suspended, or
unreachable and blocked on unreachable events only. The rest is in ``tests/core/test_reachability.py``."""

import gc
import threading
import warnings
import weakref
from types import FunctionType

import pytest

import rtsync as rt
from rtsync.evt import Latch
from scheduler import here

BOTH = [
    pytest.param(marks=pytest.mark.rtsync(seeds=2), id="deterministic"),
    pytest.param(marks=pytest.mark.rtsync(workers=2), id="real"),
]


def pytest_generate_tests(metafunc):
    metafunc.parametrize((), BOTH)


async def collect(happened, rounds=10):
    """Collect until ``happened()``; whether it has, after some rounds."""
    for _ in range(rounds):
        await rt.sync(rt.idle())
        await rt.sleep(0)
        gc.collect()
        if happened():
            return True
    return False


def full():
    ch = rt.AsyncChannel(1)
    assert ch._offer(0)
    return ch


async def in_a_block():
    async with rt.Semaphore():
        pass


async def on_an_unreachable_thread(operation):
    """A thread of which only the one that waits for it knows."""
    await operation(rt.thread(rt.Channel().get))


async def iterate():
    async for _ in rt.Channel():
        pass


def with_nacks(*evts):
    return rt.sync(*(rt.nack_guard(lambda nack, evt=evt: rt.choice(evt, nack)) for evt in evts))


BLOCKED = {
    "semaphore wait": lambda: rt.Semaphore().wait(),
    "semaphore wait that enables breaks": lambda: rt.Semaphore().wait_enable_break(),
    "async with semaphore": in_a_block,
    "channel put": lambda: rt.Channel().put(1),
    "channel get": lambda: rt.Channel().get(),
    "async for": iterate,
    "async channel get": lambda: rt.AsyncChannel().get(),
    "async channel put": lambda: full().put(1),
    "receive": lambda: rt.receive(),
    "thread wait": lambda: on_an_unreachable_thread(lambda t: t.wait()),
    "thread join": lambda: on_an_unreachable_thread(lambda t: t.join()),
    "nested thread": lambda: rt.call_in_nested_thread(rt.Channel().get),
    "sync on nothing": lambda: rt.sync(),
    "sync on never": lambda: rt.sync(rt.never, rt.choice()),
    "sync on a semaphore": lambda: rt.sync(rt.Semaphore()),
    "sync that enables breaks": lambda: rt.sync(rt.Semaphore(), enable_break=True),
    "sync on a peek": lambda: rt.sync(rt.Semaphore().peek_evt()),
    "sync on a channel": lambda: rt.sync(rt.Channel()),
    "sync on a put": lambda: rt.sync(rt.Channel().put_evt(1)),
    "sync on an async channel": lambda: rt.sync(rt.AsyncChannel()),
    "sync on an async put": lambda: rt.sync(full().put_evt(1)),
    "sync on a message": lambda: rt.sync(rt.receive_evt()),
    "sync on a thread": lambda: on_an_unreachable_thread(rt.sync),
    "sync on an end": lambda: on_an_unreachable_thread(lambda t: rt.sync(t.dead_evt())),
    "sync on a suspension": lambda: on_an_unreachable_thread(lambda t: rt.sync(t.suspend_evt())),
    "sync on one's own resumption": lambda: rt.sync(rt.current_thread().suspend_evt()),
    "sync on a latch": lambda: rt.sync(Latch()),
    "sync on two": lambda: rt.sync(rt.Channel(), rt.Semaphore()),
    "sync on many": lambda: rt.sync(rt.Channel(), rt.Semaphore(), rt.Channel().put_evt(1), rt.Channel()),
    "sync with a nack pending": lambda: with_nacks(rt.Channel()),
    "sync with nacks pending": lambda: with_nacks(rt.Channel(), rt.Semaphore(), rt.Channel().put_evt(1)),
    "sync on a wrap": lambda: rt.sync(rt.Channel().wrap(id), rt.Semaphore().handle(id)),
    "sync on a replaced event": lambda: rt.sync(rt.always.replace(lambda _: rt.Channel())),
}


async def victim(operation, log):
    try:
        await BLOCKED[operation]()
        log.append("went on")
    finally:
        log.append("clean")


@pytest.mark.parametrize("operation", BLOCKED)
async def test_a_blocked_unreachable_thread_is_collected(operation):
    log = []
    gone = weakref.ref(rt.thread(victim, operation, log))
    assert await collect(lambda: gone() is None)
    assert log == ["clean"]


@pytest.mark.parametrize("operation", BLOCKED)
async def test_a_blocked_and_suspended_unreachable_thread_is_collected(operation):
    log = []
    t = rt.thread(victim, operation, log)
    await rt.sync(rt.idle())
    t.suspend()
    gone = weakref.ref(t)
    del t
    assert await collect(lambda: gone() is None)
    assert log == ["clean"]


async def test_a_thread_suspended_before_it_began_is_collected_without_a_warning():
    log = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t = rt.thread(victim, "channel get", log)
        t.suspend()
        gone = weakref.ref(t)
        del t
        assert await collect(lambda: gone() is None)
    assert log in ([], ["clean"])  # on two workers it may have begun


async def test_a_suspended_thread_is_collected_although_its_events_are_reachable():
    ch, log = rt.Channel(), []

    async def getter():
        try:
            await ch.get()
        finally:
            log.append("clean")

    t = rt.thread(getter)
    await rt.sync(rt.idle())
    t.suspend()
    del t
    assert await collect(lambda: log == ["clean"])
    assert await rt.sync(ch.put_evt(1), timeout=0) is None


@pytest.mark.parametrize("operation", ["dead_evt", "resume_evt", "suspend_evt"])
async def test_an_event_of_its_state_that_has_not_happened_does_not_keep_it(operation):
    t = rt.thread(rt.Channel().get)
    if operation == "resume_evt":
        t.suspend()
    evt = getattr(t, operation)()
    gone = weakref.ref(t)
    del t
    assert await collect(lambda: gone() is None)
    assert await rt.sync(evt, timeout=0) is None


async def test_the_nacks_of_a_collected_thread_happen():
    """As they do when control leaves its sync in any other way: a server is not left waiting."""
    nacks = []

    async def client():
        def maker(nack):
            nacks.append(nack)
            return rt.Channel()

        await rt.sync(rt.nack_guard(maker))

    rt.thread(client)
    await rt.sync(rt.idle())
    server = rt.thread(rt.sync, nacks.pop())
    assert await collect(lambda: server.dead)


async def test_neither_custodian_nor_group_keep_their_threads():
    custodian, group = rt.Custodian(), rt.ThreadGroup()
    with custodian, group:
        gone = weakref.ref(rt.thread(rt.Channel().get))
    assert await collect(lambda: gone() is None)


async def test_a_chain_of_threads_is_collected_at_once():
    log = []

    async def link(ch, number):
        try:
            if number:
                rt.thread(link, rt.Channel(), number - 1)
            await ch.get()
        finally:
            log.append(number)

    rt.thread(link, rt.Channel(), 50)
    assert await collect(lambda: len(log) == 51)


# -- those that must not be ------------------------------------------------------------------------


async def test_not_if_a_nack_is_all_by_which_others_wait_and_the_event_is_reachable():
    ch, log = rt.Channel(), []

    async def client():
        log.append(await rt.sync(rt.nack_guard(lambda nack: ch)))

    rt.thread(client)
    await collect(lambda: False, rounds=3)
    await ch.put("alive")
    await rt.sync(rt.idle())
    assert log == ["alive"]


REACHABLE = {
    "channel get": lambda o: o["channel"].get(),
    "channel put": lambda o: o["channel"].put("alive"),
    "semaphore wait": lambda o: o["semaphore"].wait(),
    "async channel get": lambda o: o["empty"].get(),
    "async channel put": lambda o: o["full"].put("alive"),
    "peek": lambda o: rt.sync(o["semaphore"].peek_evt()),
    "end of a thread": lambda o: o["thread"].wait(),
    "end of a thread, as an event": lambda o: rt.sync(o["thread"].dead_evt(), rt.Channel()),
    "one of several": lambda o: rt.sync(rt.Channel(), rt.Semaphore(), o["channel"].wrap(lambda v: v)),
    "a put among others": lambda o: rt.sync(o["channel"].put_evt("alive"), rt.never, rt.Channel()),
    "sleep": lambda o: rt.sleep(0.05),
    "an alarm among others": lambda o: rt.sync(rt.Channel(), rt.after(0.05)),
    "a timeout": lambda o: rt.sync(rt.Channel(), timeout=0.05),
    "idle": lambda o: rt.sync(rt.idle(), rt.Channel()),
}


@pytest.mark.parametrize("operation", REACHABLE)
async def test_not_if_it_can_still_be_woken(operation):
    objects = {
        "channel": rt.Channel(),
        "semaphore": rt.Semaphore(),
        "empty": rt.AsyncChannel(),
        "full": full(),
    }
    gate = rt.Semaphore()
    objects["thread"] = rt.thread(gate.wait)
    log = []

    async def waits():
        try:
            await REACHABLE[operation](objects)
            log.append("woken")
        finally:
            log.append("clean")

    rt.thread(waits)
    await collect(lambda: False, rounds=3)
    await rt.sync(objects["channel"], objects["channel"].put_evt("alive"), timeout=0)
    objects["semaphore"].post()
    await objects["empty"].put("alive")
    objects["full"].try_get()
    gate.post()
    while not log:
        await rt.sleep(0.01)
    assert log == ["woken", "clean"]


async def test_not_if_somebody_can_resume_it():
    t = rt.thread(rt.Channel().get)
    await rt.sync(rt.idle())
    t.suspend()
    await collect(lambda: False, rounds=3)
    assert not t.dead


async def test_not_if_it_is_the_benefactor_of_none_but_has_a_message_to_come():
    """It is known to the one who will send to it."""
    log = []

    async def receiver():
        log.append(await rt.receive())

    async def sender(t):
        await rt.sleep(0.05)
        t.send("hello")

    rt.thread(sender, rt.thread(receiver))
    await collect(lambda: False, rounds=3)
    while not log:
        await rt.sleep(0.01)
    assert log == ["hello"]


async def test_not_while_it_is_runnable():
    log = []

    async def runs():
        for _ in range(20):
            await rt.sleep(0)
            gc.collect(0)
        log.append("done")

    rt.thread(runs)
    gc.collect()
    while not log:
        await rt.sleep(0.001)


@pytest.mark.parametrize("operation", ["sync", "semaphore wait"])
async def test_an_operation_may_be_collected_between_two_steps_of_a_worker(operation):
    semaphore = rt.Semaphore()

    async def child():
        await (semaphore.wait() if operation == "semaphore wait" else rt.sync(semaphore, rt.Channel()))

    t = rt.thread(child)
    await rt.sync(rt.idle())
    worker = here.driver
    me, worker.task = worker.task, None
    try:
        t.coro.close()  # as the collector does; an exception here would be written to standard error
    finally:
        worker.task = me
    t.kill()


LOCKED = {
    "sleep": lambda _: (rt.sleep(1000), rt.current_thread().runtime.timers.lock),
    "get": lambda ch: (ch.get(), ch._lock),
    "put": lambda ch: (ch.put(1), ch._lock),
    "wait": lambda _: ((semaphore := rt.Semaphore()).wait(), semaphore._lock),
    "sync": lambda ch: (rt.sync(ch, rt.Semaphore()), ch._lock),
    "sync with a timeout": lambda ch: (rt.sync(ch, timeout=1000), ch._lock),
    "receive": lambda _: (rt.receive(), rt.current_thread()._lock),
}


@pytest.mark.parametrize("operation", LOCKED)
async def test_a_collection_lets_the_collecting_os_thread_keep_the_lock_that_it_holds(operation):
    """A suspended thread is collected, by an OS thread that serves the object at which it was blocked."""
    ch = rt.Channel()
    locks = []

    async def child():
        op, lock = LOCKED[operation](ch)
        locks.append(lock)
        await op

    t = rt.thread(child)
    await rt.sync(rt.idle())
    t.suspend()
    with locks[0]:
        t.coro.close()  # as the collector does
        assert locks[0]._is_owned()
    t.kill()


async def test_a_collection_in_a_foreign_os_thread_lets_it_keep_its_lock_too():
    def serve(lock, coro):
        with lock:
            coro.close()
            return lock._is_owned()

    ours = FunctionType(serve.__code__, {"__name__": "rtsync.somewhere"})
    ch = rt.Channel()
    t = rt.thread(ch.get)
    await rt.sync(rt.idle())
    t.suspend()
    kept = []
    os_thread = threading.Thread(target=lambda: kept.append(ours(ch._lock, t.coro)))
    os_thread.start()
    os_thread.join()
    assert kept == [True]
    t.kill()
