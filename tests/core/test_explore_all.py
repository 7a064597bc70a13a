"""`rtsync.testing.explore_all`: every schedule of a small program, once."""

from math import factorial

import pytest

from rtsync import Channel, always, block_on, sleep, sync, thread
from rtsync.testing import explore_all, run_deterministic


async def steps(name, many, log):
    for number in range(many):
        log.append((name, number))
        await sleep(0)


def test_every_order_of_steps_comes_once():
    seen = []

    async def main():
        log = []
        # The main thread waits until the others have ended and takes no part.
        for t in [thread(steps, name, 2, log) for name in "abc"]:
            await t.join()
        seen.append(tuple(log))

    explore_all(main)
    assert len(set(seen)) == factorial(6) // 2**3


def test_a_program_without_choices_runs_once():
    async def main():
        await sleep(0)

    assert explore_all(main) == 1


@pytest.mark.parametrize("many", [2, 3, 5])
def test_every_choice_of_sync_comes(many):
    seen = set()

    async def main():
        evts = [always.wrap(lambda _, n=n: n) for n in range(many)]
        seen.add(await sync(*evts))

    assert explore_all(main) == many
    assert seen == set(range(many))


def test_both_choices_of_a_plain_sync_of_two_come():
    seen = set()

    async def main():
        a, b = Channel(), Channel()
        for ch, name in ((a, "a"), (b, "b")):
            thread(ch.put, name)
        for _ in range(3):
            await sleep(0)
        seen.add(await sync(a, b))

    explore_all(main)
    assert seen == {"a", "b"}


def test_os_backed_threads_take_part():
    seen = set()

    def backed(ch, name):
        block_on(ch.put(name))

    async def main():
        ch = Channel()
        for name in "ab":
            thread(backed, ch, name)
        seen.add(await ch.get() + await ch.get())

    explore_all(main)
    assert seen == {"ab", "ba"}


async def lost_update():
    count = 0

    async def increment():
        nonlocal count
        value = count
        await sleep(0)
        count = value + 1

    for t in [thread(increment), thread(increment)]:
        await t.join()
    assert count == 2


def test_a_failure_names_the_schedule_that_repeats_it():
    with pytest.raises(AssertionError) as caught:
        explore_all(lost_update)
    (note,) = (n for n in caught.value.__notes__ if "schedule" in n)
    schedule = [int(one) for one in note.split("[")[1].split("]")[0].split(",") if one]
    with pytest.raises(AssertionError):
        run_deterministic(lost_update, schedule=schedule)


def test_a_schedule_that_is_too_short_goes_on_with_the_first_possibility():
    with pytest.raises(AssertionError):
        # One reads, the other reads, both write.
        run_deterministic(lost_update, schedule=[])


def test_too_many_schedules_are_refused():
    async def main():
        for t in [thread(steps, name, 3, []) for name in "abc"]:
            await t.join()

    with pytest.raises(RuntimeError, match="more than 50 schedules"):
        explore_all(main, most=50)


def test_a_program_that_is_not_the_same_each_time_is_refused():
    runs = []

    async def main():
        runs.append(1)
        for t in [thread(steps, name, 1, []) for name in "abcd"[: 5 - len(runs)]]:
            await t.join()

    with pytest.raises(RuntimeError, match="something else each time"):
        explore_all(main)
