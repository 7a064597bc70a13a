"""Fairness between threads, pseudo-random choice, and seeds."""

import random
import threading

import pytest

from rtsync import (
    AsyncChannel,
    Channel,
    Runtime,
    Semaphore,
    always,
    block_on,
    current_evt_pseudo_random_generator,
    current_thread,
    idle,
    parameterize,
    sleep,
    sync,
    thread,
)
from rtsync.testing import explore, run_deterministic


async def test_every_thread_that_yields_gets_on():
    counts = [0] * 10
    enough = Semaphore()

    async def spinner(n):
        while True:
            counts[n] += 1
            if counts[n] == 50:
                enough.post()
            await sleep(0)

    threads = [thread(spinner, n) for n in range(10)]
    for _ in threads:
        await enough.wait()
    assert min(counts) >= 50


@pytest.mark.rtsync(workers=1)
async def test_two_threads_that_wake_each_other_for_ever_do_not_starve_a_third():
    ping, pong = Channel(), Channel()

    async def one():
        while True:
            await ping.put(None)
            await pong.get()

    async def two():
        while True:
            await ping.get()
            await pong.put(None)

    async def third():
        return "ran"

    thread(one)
    thread(two)
    for _ in range(5):
        await sleep(0)
    assert await thread(third).join() == "ran"


@pytest.mark.rtsync(workers=1)
async def test_a_busy_pool_does_not_starve_those_who_come_from_outside():
    async def busy():
        while True:
            await sleep(0)

    for _ in range(10):
        thread(busy)
    ch = Channel()
    outsider = threading.Thread(target=lambda: block_on(ch.put("from outside")))
    outsider.start()
    assert await ch.get() == "from outside"
    outsider.join()


@pytest.mark.rtsync(workers=1)
async def test_a_busy_pool_does_not_starve_sleepers():
    async def busy():
        while True:
            await sleep(0)

    for _ in range(10):
        thread(busy)
    await sleep(0.001)


@pytest.mark.rtsync(workers=1)
async def test_a_thread_that_never_parks_because_its_partner_is_always_ready_starves_nobody():
    sem = Semaphore()

    async def glutton():
        while True:
            sem.post()
            await sem.wait()

    async def other():
        return "ran"

    thread(glutton)
    await sleep(0)
    assert await thread(other).join() == "ran"


# -- choice ----------------------------------------------------------------------------------------


async def choices(many):
    return [await sync(*(always.wrap(lambda _, n=n: n) for n in range(3))) for _ in range(many)]


def test_the_choice_is_roughly_even():
    got = run_deterministic(choices, 3000, seed=1)
    assert all(got.count(n) > 800 for n in range(3))


@pytest.mark.parametrize("many", [2, 5])
def test_the_choice_between_channels_is_roughly_even(many):
    async def main():
        channels = [AsyncChannel() for _ in range(many)]
        got = [0] * many
        for n, ch in enumerate(channels):
            await ch.put(n)
        for _ in range(1000 * many):
            n = await sync(*channels)
            got[n] += 1
            await channels[n].put(n)
        return got

    got = run_deterministic(main, seed=3)
    assert all(800 < count < 1200 for count in got)


def test_the_same_seed_gives_the_same_choices():
    assert run_deterministic(choices, 50, seed=4) == run_deterministic(choices, 50, seed=4)


def test_another_seed_gives_other_choices():
    assert run_deterministic(choices, 50, seed=4) != run_deterministic(choices, 50, seed=5)


def test_a_seeded_real_runtime_repeats_its_choices():
    results = [Runtime(1, seed=7).run(choices, 50) for _ in range(2)]
    assert results[0] == results[1]
    assert results[0] != Runtime(1, seed=8).run(choices, 50)


async def test_a_thread_may_have_a_generator_of_its_own():
    async def drawn(seed):
        current_evt_pseudo_random_generator(random.Random(seed))
        return await choices(30)

    same = [await thread(drawn, 7).join() for _ in range(2)]
    assert same[0] == same[1]
    assert await thread(drawn, 8).join() != same[0]
    assert current_evt_pseudo_random_generator() is None


@pytest.mark.parametrize("many", [2, 3])
async def test_a_generator_that_fails_leaves_the_channels_usable(many):
    class Broken:
        def random(self):
            raise ZeroDivisionError

    channels = [Channel() for _ in range(many)]
    with parameterize(current_evt_pseudo_random_generator, Broken()):
        with pytest.raises(ZeroDivisionError):
            await sync(*channels)
    assert not any(channel._lock._is_owned() for channel in channels)


async def test_a_generator_is_inherited():
    generator = random.Random(1)

    async def child():
        return current_evt_pseudo_random_generator()

    with parameterize(current_evt_pseudo_random_generator, generator):
        t = thread(child)
    assert await t.join() is generator


# -- the deterministic scheduler -------------------------------------------------------------------


async def race():
    log, done = [], Semaphore()

    async def racer(n):
        for step in range(3):
            log.append((n, step))
            await sleep(0)
        done.post()

    for n in range(4):
        thread(racer, n)
    for _ in range(4):
        await done.wait()
    return log


def test_the_same_seed_gives_the_same_schedule():
    for seed in range(5):
        assert run_deterministic(race, seed=seed) == run_deterministic(race, seed=seed)


def test_other_seeds_give_other_schedules():
    assert len({tuple(run_deterministic(race, seed=seed)) for seed in range(20)}) > 15


def test_os_backed_threads_take_part_in_the_same_schedule():
    async def main():
        log = []

        def racer(n):
            for step in range(2):
                log.append((n, step))
                block_on(sleep(0))

        threads = [thread(racer, n) for n in range(3)]
        for t in threads:
            await t.join()
        return log

    runs = [run_deterministic(main, seed=seed) for seed in range(5)]
    assert runs == [run_deterministic(main, seed=seed) for seed in range(5)]
    assert len({tuple(log) for log in runs}) > 2


def test_every_order_of_two_threads_is_found():
    async def main():
        log = []

        async def f(n):
            log.append(n)

        a, b = thread(f, 1), thread(f, 2)
        await a.join()
        await b.join()
        return tuple(log)

    assert {run_deterministic(main, seed=seed) for seed in range(20)} == {(1, 2), (2, 1)}


def test_virtual_time_begins_at_zero_and_jumps():
    async def main():
        runtime = current_thread().runtime
        start = runtime.now()
        await sleep(1e6)
        return start, runtime.now()

    assert run_deterministic(main) == (0, 1e6)


def test_explore_runs_each_seed_once():
    runs = []

    async def main():
        runs.append(current_thread().runtime.seed)

    explore(main, seeds=7)
    assert runs == list(range(7))
    runs.clear()
    explore(main, seeds=[3, 9])
    assert runs == [3, 9]


def test_explore_names_the_seed_that_fails():
    async def main():
        assert (await race())[0][0] != 2

    with pytest.raises(AssertionError) as caught:
        explore(main, seeds=100)
    (note,) = (n for n in caught.value.__notes__ if "seed" in n)
    seed = int(note.split("seed ")[1].split(";")[0])
    with pytest.raises(AssertionError):
        run_deterministic(main, seed=seed)


def test_explore_finds_a_lost_update():
    async def main():
        count = 0

        async def increment():
            nonlocal count
            value = count
            await sleep(0)
            count = value + 1

        threads = [thread(increment), thread(increment)]
        for t in threads:
            await t.join()
        assert count == 2

    with pytest.raises(AssertionError):
        explore(main, seeds=50)


def test_many_deterministic_runtimes_may_run_in_different_os_threads():
    results = {}

    def one(seed):
        results[seed] = run_deterministic(race, seed=seed)

    os_threads = [threading.Thread(target=one, args=(seed,)) for seed in range(8)]
    for t in os_threads:
        t.start()
    for t in os_threads:
        t.join()
    assert results == {seed: run_deterministic(race, seed=seed) for seed in range(8)}


async def test_idle_gives_everybody_a_turn_first():
    log = []

    async def f(n):
        log.append(n)

    for n in range(5):
        thread(f, n)
    await sync(idle())
    assert sorted(log) == [0, 1, 2, 3, 4]
