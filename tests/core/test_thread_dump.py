"""SPEC §9: a thread dump on demand."""

import re
import signal
import threading

import pytest

from rtsync import Channel, Semaphore, block_on, current_thread, idle, run, sleep, sync, thread, thread_dump

HERE = r"test_thread_dump\.py:\d+ in "


def of(name):
    """The part of a dump that is about one thread."""
    return re.search(rf"  thread {name}:.*(\n    at .*)*", thread_dump()).group()


async def test_it_shows_what_a_thread_waits_on_and_all_calls_that_lead_there():
    ch = Channel()

    async def inner():
        await ch.get()

    async def outer():
        await inner()

    thread(outer, name="Tom")
    thread(lambda: block_on(outer()), name="Jerry")
    await sync(idle())
    for name in ("Tom", "Jerry"):
        assert re.fullmatch(
            rf"  thread {name}: waits in Channel\.get of {re.escape(repr(ch))}\n"
            rf"    at .*{HERE}.*inner\n    at .*{HERE}.*outer(\n    at .*{HERE}.*lambda>)?",
            of(name),
        )


async def test_it_shows_the_thread_that_asks_for_it():
    async def asks():
        return of("asks")

    def asks_plainly():
        return of("asks")

    assert re.search(rf"asks: can run\n.*{HERE}of\n.*{HERE}.*asks$", await thread(asks, name="asks").join())
    plain = await thread(asks_plainly, name="asks").join()
    assert re.search(rf"asks: can run\n.*{HERE}of\n.*{HERE}.*asks_plainly$", plain)


async def test_it_shows_that_a_thread_is_suspended_or_has_not_begun():
    t = thread(Channel().get, name="Tom")
    await sync(idle())
    t.suspend()
    assert "Tom: is stopped in Channel.get" in of("Tom")
    new = thread(Channel().get, name="new")  # on another worker it may have begun by now
    assert "new:" in of("new")
    new.kill()


async def test_what_has_ended_is_not_in_it():
    t = thread(sleep, name="Tom")
    await t.join()
    assert "Tom" not in thread_dump()


@pytest.mark.rtsync(workers=2)
async def test_it_shows_where_a_thread_computes():
    begun, stop = Semaphore(), []

    async def computes():
        begun.post()
        while not stop:
            pass

    t = thread(computes, name="Tom")
    await begun.wait()
    assert re.search(rf"Tom: .*\n.*{HERE}.*computes", of("Tom"))
    stop.append(True)
    await t.join()


def test_any_os_thread_may_ask_for_it_also_a_signal_handler():
    dumps = []

    def ask(*signalled):
        dumps.append(thread_dump())

    def shown():
        # Who asks while main is on its way from running to waiting may see it without its stack.
        return dumps and re.search(rf"main: .*\n.*{HERE}.*main", dumps[-1])

    async def main():
        while not shown():
            os_thread = threading.Thread(target=ask)
            os_thread.start()
            while os_thread.is_alive():
                await sleep(0.01)
        dumps.clear()
        while not shown():
            signal.raise_signal(signal.SIGUSR1)
            await sleep(0.01)

    old = signal.signal(signal.SIGUSR1, ask)
    try:
        run(main)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert "runtime rtsync: 1 thread(s)" in dumps[-1]


async def test_a_thread_is_in_the_dump_under_its_name():
    assert current_thread().name in thread_dump()


def test_without_a_runtime_it_says_so(monkeypatch):
    monkeypatch.setattr("rtsync.deadlock.runtimes", {})
    assert thread_dump() == "no runtime"
