"""SPEC §3 and §5: sleeping, alarms, virtual time."""

import time
from fractions import Fraction

import pytest

import rtsync
from rtsync import (
    Channel,
    after,
    at,
    block_on,
    choice,
    current_thread,
    idle,
    never,
    sleep,
    sync,
    thread,
)
from rtsync.racket import alarm_evt
from scheduler import TimerQueue
from scheduler.timers import TICKS_PER_SECOND


def now():
    return current_thread().runtime.now()


# -- sleep -----------------------------------------------------------------------------------------


async def test_sleep_gives_none():
    assert await sleep() is None
    assert await sleep(0) is None
    assert await sleep(0.001) is None


async def test_any_real_number_is_a_time():
    for secs in (Fraction(1, 1000), Fraction(0)):
        assert await sleep(secs) is None
        assert await sync(never, timeout=secs) is None
        assert await sync(Channel(), never, timeout=secs) is None
        for evt in (after(secs), at(secs), alarm_evt(secs)):
            assert await sync(evt) is evt


@pytest.mark.rtsync(seeds=10)
async def test_sleep_zero_takes_no_time():
    for value in (0, 0.0, -0.0):
        await sleep(value)
    assert now() == 0


async def test_sleep_zero_lets_others_run():
    log = []

    async def other():
        log.append("other")

    thread(other)
    while not log:
        await sleep(0)


@pytest.mark.rtsync(seeds=1)
async def test_a_thread_that_polls_does_not_stop_virtual_time():
    done = []

    async def later():
        await sleep(0.02)
        await sync(never, timeout=0.02)
        done.append(now())

    thread(later)
    while not done:
        await sleep(0)
    assert 0.04 <= done[0] < 0.041


@pytest.mark.rtsync(seeds=10)
async def test_sleep_lasts_as_long_as_it_says():
    for seconds in (1, 0.5, 0.25, 60 * 60 * 24 * 365, 1e9):
        start = now()
        await sleep(seconds)
        assert now() == start + seconds


@pytest.mark.rtsync(workers=2)
async def test_sleep_is_never_too_short():
    for seconds in (0.0001, 0.001, 0.01):
        start = time.monotonic()
        await sleep(seconds)
        assert time.monotonic() >= start + seconds


@pytest.mark.rtsync(seeds=20)
async def test_sleepers_wake_in_the_order_of_their_deadlines():
    log = []

    async def sleeper(seconds):
        await sleep(seconds)
        log.append(seconds)

    times = [5, 1, 4, 2, 3, 0.5, 10]
    threads = [thread(sleeper, seconds) for seconds in times]
    for t in threads:
        await t.join()
    assert log == sorted(times)
    assert now() == 10


@pytest.mark.rtsync(seeds=20)
async def test_deadlines_closer_than_a_tick_are_still_not_early():
    woken = []

    async def sleeper(seconds):
        await sleep(seconds)
        woken.append(now() >= seconds)

    for n in range(50):
        thread(sleeper, n * 1e-5)
    await sleep(1)
    assert woken == [True] * 50


async def test_an_infinite_sleep_does_not_end():
    async def child():
        await sleep(float("inf"))

    t = thread(child)
    await sync(idle())
    assert not t.dead
    t.kill()


async def test_an_infinite_sleep_does_not_end_by_being_suspended_and_resumed():
    t = thread(sleep, float("inf"))
    for _ in range(3):
        await sync(idle())
        t.suspend()
        t.resume()
    await sync(idle())
    assert not t.dead
    t.kill()


async def test_many_sleepers_with_scattered_deadlines():
    import random

    many, scatter = 2_000, random.Random(7)

    async def sleeper(seconds):
        await sleep(seconds)
        return 1

    threads = [thread(sleeper, scatter.random() * 0.05) for _ in range(many)]
    assert sum([await t.join() for t in threads]) == many
    assert current_thread().runtime.stats()["timers"] == 0


async def test_an_os_backed_thread_sleeps():
    def child():
        start = time.monotonic()
        block_on(sleep(0.001))
        return start

    await thread(child).join()


@pytest.mark.rtsync(seeds=10)
async def test_an_os_backed_thread_sleeps_in_virtual_time():
    def child():
        block_on(sleep(1000))

    await thread(child).join()
    assert now() == 1000


def test_sleep_works_without_a_runtime_through_block_on():
    start = time.monotonic()
    assert block_on(sleep(0.01)) is None
    assert time.monotonic() >= start + 0.01


# -- alarms ----------------------------------------------------------------------------------------


async def test_after_is_an_event_with_itself_as_the_result():
    evt = after(0.001)
    assert await sync(evt) is evt


async def test_after_zero_is_ready():
    evt = after(0)
    assert await sync(evt, timeout=0) is evt


async def test_after_infinity_is_never_ready():
    assert await sync(after(float("inf")), timeout=0.001) is None


@pytest.mark.rtsync(seeds=10)
async def test_after_begins_anew_at_each_sync():
    evt = after(10)
    await sync(evt)
    assert now() == 10
    await sync(evt)
    assert now() == 20


async def test_at_a_time_in_the_past_is_ready():
    for evt in (at(0), at(-1e9), at(time.monotonic() - 1e6, monotonic=True)):
        assert await sync(evt, timeout=0) is evt


async def test_at_a_time_far_in_the_future_is_not_ready():
    assert await sync(at(1e12), timeout=0) is None
    assert await sync(at(float("inf")), timeout=0.001) is None


@pytest.mark.rtsync(seeds=10)
async def test_at_is_ready_from_its_time_on():
    epoch = rtsync.alarm.wall_time()
    evt = at(epoch + 100)
    assert await sync(evt, timeout=50) is None
    assert await sync(evt) is evt
    assert now() == 100
    assert await sync(evt, timeout=0) is evt


@pytest.mark.rtsync(seeds=10)
async def test_at_on_the_monotonic_clock():
    evt = at(100, monotonic=True)
    assert await sync(evt, timeout=50) is None
    assert await sync(evt) is evt
    assert now() == 100


@pytest.mark.rtsync(workers=2)
async def test_at_on_the_wall_clock_of_the_machine():
    evt = at(time.time() + 0.01)
    start = time.monotonic()
    assert await sync(evt) is evt
    # The wall clock may be set meanwhile, but not often.
    assert time.monotonic() > start


async def test_several_threads_wait_for_one_alarm():
    evt = after(0.001)

    async def child():
        return await sync(evt)

    threads = [thread(child) for _ in range(5)]
    for t in threads:
        assert await t.join() is evt


@pytest.mark.rtsync(seeds=10)
async def test_the_earliest_of_several_alarms_wins():
    assert await sync(*(after(n).wrap(lambda _, n=n: n) for n in (3, 1, 2))) == 1
    assert now() == 1


async def test_an_alarm_loses_against_an_event_that_is_ready_earlier():
    ch = Channel()
    thread(ch.put, "value")
    assert await sync(ch, after(1000)) == "value"
    assert current_thread().runtime.stats()["timers"] == 0


async def test_an_alarm_can_be_wrapped_and_chosen():
    assert await sync(choice(never, after(0.001)).wrap(lambda _: "alarm")) == "alarm"


@pytest.mark.rtsync(seeds=10)
async def test_the_workers_of_the_guide_stop_at_the_alarm():
    # Seeds 000, 18.6: workers take items until the alarm.
    channel, alarm, results = Channel(), at(rtsync.alarm.wall_time() + 3), []

    async def worker(n):
        evt = await sync(channel, alarm)
        results.append("alarm" if evt is alarm else evt)

    threads = [thread(worker, n) for n in range(3)]
    await channel.put("A")
    await channel.put("B")
    for t in threads:
        await t.join()
    assert sorted(results) == ["A", "B", "alarm"]
    assert now() == 3


# -- timers of the engine --------------------------------------------------------------------------


async def test_a_timer_that_is_not_needed_any_more_is_disarmed():
    ch = Channel()
    for n in range(20):
        thread(ch.put, n)
        await sync(ch, timeout=1000)
    await sync(idle())
    assert current_thread().runtime.stats()["timers"] == 0


async def test_a_timer_of_a_killed_sleeper_is_disarmed():
    async def child():
        await sleep(1000)

    t = thread(child)
    await sync(idle())
    assert current_thread().runtime.stats()["timers"] == 1
    t.kill()
    assert current_thread().runtime.stats()["timers"] == 0


@pytest.mark.rtsync(workers=2, runs=3)
async def test_an_earlier_timer_wakes_the_one_who_sleeps_for_a_later_one():
    async def long():
        await sleep(1000)

    thread(long)
    await sync(idle())
    await sleep(0.001)


@pytest.mark.rtsync(workers=1)
async def test_timers_fire_while_a_thread_computes():
    log = []

    async def hog():
        while not log:
            pass

    async def sleeper():
        await sleep(0.001)
        log.append("woken")

    t = thread(sleeper)
    thread(hog)
    await t.join()


def test_timers_count_as_waiting_until_they_have_woken_whom_they_are_for():
    """Else, when all workers are idle meanwhile, that would look like a deadlock."""
    timers, seen = TimerQueue(lambda: 1.0), []

    class Sleeper:
        def ready(self):
            seen.append(timers.waits())

    timers.arm(0.5, [], None, lambda timer: seen.append(timers.waits()))
    timers.arm(1.0, [Sleeper()])
    assert timers.fire() == 2
    assert seen == [True, True]
    assert not timers.waits()


def test_timers_for_longer_fire_together_and_others_on_their_own():
    now = 0.0
    timers, woken = TimerQueue(lambda: now), []

    class Sleeper:
        key, queues = 1, False

        def __init__(self, name):
            self.name = name

        def ready(self):
            woken.append(self.name)

    for tick in range(1, 5):
        timers.insert([Sleeper(f"near {tick}")], tick / TICKS_PER_SECOND, False)
        timers.insert([Sleeper(f"far {tick}")], tick / TICKS_PER_SECOND, True)
    assert timers.buckets == 4
    for tick in range(1, 4):
        now = tick / TICKS_PER_SECOND
        assert timers.fire() == 1
    now = 4 / TICKS_PER_SECOND
    assert timers.fire() == 5
    assert sorted(woken) == sorted(f"{how} {tick}" for how in ("near", "far") for tick in range(1, 5))


@pytest.mark.parametrize("secs", [0.003, 0.02])
@pytest.mark.rtsync(workers=1)
async def test_nobody_wakes_too_early(secs):
    for _ in range(5):
        started = time.monotonic()
        await sleep(secs)
        assert time.monotonic() - started >= secs
