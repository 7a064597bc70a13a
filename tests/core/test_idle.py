"""SPEC §5: ``idle()``, ready when no thread could run."""

import threading

import pytest

from rtsync import (
    Channel,
    Semaphore,
    block_on,
    current_thread,
    idle,
    never,
    sleep,
    sync,
    thread,
)


async def test_idle_happens_when_all_others_are_blocked_and_its_result_is_itself():
    for _ in range(10):
        thread(Channel().get)
    assert await sync(idle()) is idle()


async def test_idle_happens_when_there_are_no_others():
    assert await sync(idle()) is idle()


async def test_idle_does_not_happen_while_another_thread_runs():
    log = []

    async def busy(n):
        for _ in range(20):
            await sleep(0)
        log.append(n)

    for n in range(5):
        thread(busy, n)
    await sync(idle())
    assert sorted(log) == [0, 1, 2, 3, 4]


async def test_idle_does_not_happen_while_an_os_backed_thread_runs():
    log = []

    def busy():
        for n in range(20_000):
            log.append(n * n)  # noqa: PERF401

    thread(busy)
    await sync(idle())
    assert len(log) == 20_000


async def test_idle_does_not_wait_for_blocked_os_backed_threads():
    def blocked():
        block_on(Channel().get())

    for _ in range(3):
        thread(blocked)
    assert await sync(idle()) is idle()


async def test_idle_does_not_wait_for_threads_that_wait_for_time():
    t = thread(sleeps_long)
    await sync(idle())
    assert not t.dead


async def sleeps_long():
    await sleep(1000)


async def test_an_os_backed_thread_that_waits_for_time_does_not_keep_idle_from_happening():
    def sleeper():
        block_on(sleep(1000))

    t = thread(sleeper)
    await sync(idle())
    assert not t.dead


async def test_a_chain_of_wake_ups_is_over_when_idle_happens():
    channels = [Channel() for _ in range(20)]

    async def link(n):
        value = await channels[n].get()
        if n + 1 < len(channels):
            await channels[n + 1].put(value)

    threads = [thread(link, n) for n in range(len(channels))]
    await channels[0].put("token")
    await sync(idle())
    assert all(t.dead for t in threads)


async def test_a_poll_never_finds_the_runtime_idle():
    assert await sync(idle(), timeout=0) is None


async def test_all_who_wait_for_idle_are_woken():
    async def child():
        return await sync(idle())

    threads = [thread(child) for _ in range(5)]
    for t in threads:
        assert await t.join() is idle()


async def test_idle_happens_again_and_again():
    for _ in range(50):
        await sync(idle())


async def test_an_event_that_becomes_ready_wins_against_idle():
    ch = Channel()

    async def putter():
        for _ in range(5):
            await sleep(0)
        await ch.put("value")

    thread(putter)
    assert await sync(ch, idle()) == "value"


async def test_idle_wins_against_what_never_happens():
    assert await sync(Channel(), Semaphore(), never, idle()) is idle()


@pytest.mark.rtsync(seeds=20)
async def test_idle_happens_before_time_passes():
    start = current_thread().runtime.now()
    assert await sync(idle(), timeout=1) is idle()
    assert current_thread().runtime.now() == start


async def test_threads_woken_by_idle_are_counted_as_running_again():
    log = []

    async def first():
        await sync(idle())
        for _ in range(10):
            await sleep(0)
        log.append("first")

    async def second():
        await sync(idle())
        await sync(idle())
        log.append("second")

    one, two = thread(first), thread(second)
    await one.join()
    await two.join()
    assert log == ["first", "second"]


@pytest.mark.rtsync(workers=2, runs=3)
async def test_what_an_outsider_sends_is_seen_before_idle():
    ch = Channel()
    outsider = threading.Thread(target=lambda: block_on(ch.put("value")))
    outsider.start()
    while (value := await sync(ch, idle())) is idle():
        pass
    outsider.join()
    assert value == "value"
