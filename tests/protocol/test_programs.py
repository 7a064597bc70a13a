"""The commit protocol under random programs: on many seeds of the deterministic scheduler, on real workers,
and on real workers with delays at every line. A hang is a failure (the timeout prints all stacks)."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rtsync as rt
from rtsync.testing import run_deterministic
from rtsync.waiter import SPARE, living
from tests.chaos import chaos
from tests.protocol.programs import run_program


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    program=st.integers(0, 2**32),
    schedule=st.integers(0, 2**32),
    threads=st.integers(1, 7),
    operations=st.integers(1, 10),
)
def test_random_programs_on_the_deterministic_scheduler(program, schedule, threads, operations):
    run_deterministic(run_program, program, threads, operations, seed=schedule)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=st.integers(0, 2**32), schedule=st.integers(0, 2**32), killers=st.integers(1, 4))
def test_random_programs_in_which_threads_are_killed(program, schedule, killers):
    run_deterministic(run_program, program, 5, 8, killers, seed=schedule)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("killers", [0, 2])
def test_random_programs_on_real_workers(workers, killers):
    async def main():
        programs = [rt.thread(run_program, seed, 6, 10, killers) for seed in range(40)]
        for program in programs:
            await program.join()

    rt.run(main, workers=workers)


@pytest.mark.parametrize("seed", range(3))
def test_random_programs_under_chaos(seed):
    async def main():
        programs = [rt.thread(run_program, 1000 * seed + n, 5, 6) for n in range(10)]
        for program in programs:
            await program.join()

    with chaos(seed):
        rt.run(main, workers=2)


# -- both directions at once ------------------------------------------------------------------------


async def swap_all(pairs: int, rounds: int) -> None:
    """Threads that offer on one channel and take from the other, both ways at once, in opposite orders."""
    a, b = rt.Channel(), rt.Channel()
    given, taken = [], []

    async def trader(me: int) -> None:
        one, two = (a, b) if me % 2 else (b, a)
        for number in range(rounds):
            value = me * 10_000 + number
            evts = [one.put_evt(value).wrap(lambda _, v=value: ("gave", v)), two.wrap(lambda v: ("took", v))]
            what, v = await rt.sync(*(evts if number % 2 else reversed(evts)))
            (given if what == "gave" else taken).append(v)

    threads = [rt.thread(trader, me) for me in range(2 * pairs)]
    await rt.sleep(0)
    finishing = rt.thread(drain, threads, a, b, given, taken)
    await finishing.join()
    assert sorted(given) == sorted(taken)
    for channel in (a, b):
        assert living(channel._getters) == living(channel._putters) == 0


async def drain(threads, a, b, given, taken):
    """Serve whoever is left without a partner."""
    for t in threads:
        while (
            what := await rt.sync(
                t,
                a.wrap(lambda v: ("took", v)),
                b.wrap(lambda v: ("took", v)),
                rt.after(0.05).wrap(lambda _: ("feed", None)),
            )
        ) is not t:
            kind, value = what
            if kind == "took":
                taken.append(value)
            elif await rt.sync(a.put_evt(-1), b.put_evt(-1), timeout=0) is not None:
                given.append(-1)


@pytest.mark.parametrize("seed", range(20))
def test_syncs_on_both_ends_of_two_channels_meet(seed):
    run_deterministic(swap_all, 3, 10, seed=seed)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_syncs_on_both_ends_meet_on_real_workers(workers):
    rt.run(swap_all, 4, 200, workers=workers)


def test_syncs_on_both_ends_meet_under_chaos():
    with chaos(7):
        rt.run(swap_all, 2, 30, workers=2)


# -- one of two channels ------------------------------------------------------------------------------


async def get_from_either(getters: int, rounds: int) -> None:
    """Threads that take from one of two channels, named in opposite orders, beside some that take from one
    and some that offer to both; one of them is stopped on its way, and its place must not be missed."""
    a, b = rt.Channel(), rt.Channel()
    given, taken = [], []

    async def take(me: int) -> None:
        one, two = (a, b) if me % 2 else (b, a)
        while True:
            taken.append(await rt.sync(one, two))

    async def take_one() -> None:
        while True:
            taken.append(await b.get())

    async def offer(me: int) -> None:
        one, two = (a, b) if me % 2 else (b, a)
        for number in range(rounds):
            value = me * 10_000 + number
            if number % 3:
                await one.put(value)
            else:
                await rt.sync(one.put_evt(value), two.put_evt(value))
            given.append(value)

    takers = [rt.thread(take, me) for me in range(getters)]
    one_only = rt.thread(take_one)
    offering = [rt.thread(offer, me) for me in range(getters)]
    for t in takers[::2]:
        t.suspend()
        await rt.sleep(0)
        t.resume()
    for t in offering:
        await t.join()
    await rt.sync(rt.idle())
    assert sorted(given) == sorted(taken)
    for channel in (a, b):
        assert not living(channel._putters)
        assert len(channel._getters) + len(channel._putters) <= 4 * (SPARE + len(takers) + 1)
    for t in [*takers, one_only]:
        t.kill()
    for channel in (a, b):
        assert not living(channel._getters)


@pytest.mark.parametrize("seed", range(20))
def test_one_of_two_channels_gives_each_value_once(seed):
    run_deterministic(get_from_either, 3, 20, seed=seed)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_one_of_two_channels_gives_each_value_once_on_real_workers(workers):
    rt.run(get_from_either, 4, 300, workers=workers)


@pytest.mark.parametrize("seed", range(3))
def test_one_of_two_channels_gives_each_value_once_under_chaos(seed):
    with chaos(seed):
        rt.run(get_from_either, 3, 30, workers=2)


async def test_the_choice_between_two_channels_is_random():
    a, b = rt.Channel(), rt.Channel()

    async def put_for_ever(channel: rt.Channel, value: str) -> None:
        while True:
            await channel.put(value)

    for channel, value in ((a, "a"), (b, "b")):
        rt.thread(put_for_ever, channel, value)
    await rt.sleep(0)
    taken = []
    for _ in range(200):
        taken.append(await rt.sync(a, b))
        await rt.sleep(0)  # so that both put again
    assert 40 < taken.count("a") < 160


# -- OS threads of all kinds --------------------------------------------------------------------------


@pytest.mark.parametrize("delays", [False, True])
def test_coroutine_os_backed_and_foreign_threads_exchange_everything(delays):
    many = 40 if delays else 300
    work, done = rt.Channel(), rt.AsyncChannel(5)

    def foreign() -> None:
        for _ in range(many):
            rt.block_on(done.put(rt.block_on(work)))

    def backed() -> None:
        for n in range(many):
            rt.block_on(work.put(("backed", n)))

    async def coroutine() -> None:
        for n in range(many):
            await work.put(("coroutine", n))

    async def taker() -> None:
        for _ in range(many):
            await done.put(await work.get())

    async def main():
        outside = threading.Thread(target=foreign)
        outside.start()
        for f in (backed, coroutine, taker):
            rt.thread(f)
        results = [await done.get() for _ in range(2 * many)]
        while outside.is_alive():
            await rt.sleep(0.001)
        return results

    def go():
        return rt.run(main, workers=2)

    if delays:
        with chaos(3, rate=0.01):
            results = go()
    else:
        results = go()
    assert sorted(results) == sorted((k, n) for k in ("backed", "coroutine") for n in range(many))


# -- the run queues -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delays", [False, True])
def test_no_thread_ever_runs_twice_at_once(delays):
    """Stealing, slots and injection: each step of a thread is made by one worker."""
    rounds = 60 if delays else 500
    running = [0] * 20
    twice = []

    async def stepper(me: int) -> None:
        for _ in range(rounds):
            if running[me]:
                twice.append(me)
            running[me] = 1
            sum(range(50))
            running[me] = 0
            await rt.sleep(0)

    async def main():
        for t in [rt.thread(stepper, me) for me in range(20)]:
            await t.join()

    if delays:
        with chaos(5, rate=0.01):
            rt.run(main, workers=4)
    else:
        rt.run(main, workers=4)
    assert not twice


def test_no_wake_up_is_lost_when_workers_sleep_and_are_woken_from_outside():
    """Every round the workers have gone to sleep or are about to; the wake-up comes from outside."""
    rounds = 2000
    ask, answer = rt.Semaphore(), rt.Semaphore()

    def outside() -> None:
        for _ in range(rounds):
            ask.post()
            rt.block_on(answer.wait())

    async def main():
        foreign = threading.Thread(target=outside)
        foreign.start()
        for _ in range(rounds):
            await ask.wait()
            answer.post()
        await rt.sleep(0)
        return foreign

    rt.run(main, workers=2).join()


def test_no_timer_is_lost_among_sleeping_workers():
    async def sleeper(n: int) -> int:
        for _ in range(20):
            await rt.sleep(0.0003 * (n % 7))
        return n

    async def main():
        return [await t.join() for t in [rt.thread(sleeper, n) for n in range(50)]]

    assert rt.run(main, workers=3) == list(range(50))
