"""SPEC §5 and seeds 000, 18.3: semaphores."""

import copy
import pickle
import threading

import pytest

from rtsync import (
    Channel,
    ContractError,
    Semaphore,
    always,
    block_on,
    choice,
    idle,
    never,
    sleep,
    sync,
    thread,
)


async def test_wait_decrements_the_count():
    sem = Semaphore(2)
    assert await sem.wait() is None
    assert sem.count == 1


async def test_the_default_count_is_zero():
    assert Semaphore().count == 0


async def test_wait_blocks_until_a_post():
    sem = Semaphore()
    t = thread(sem.wait)
    await sync(idle())
    assert not t.dead
    sem.post()
    await t.join()
    assert sem.count == 0


async def test_post_increments_the_count_and_gives_none():
    sem = Semaphore()
    assert sem.post() is None
    sem.post()
    assert sem.count == 2


async def test_a_post_releases_exactly_one():
    sem = Semaphore()
    threads = [thread(sem.wait) for _ in range(5)]
    for released in range(5):
        await sync(idle())
        assert sum(t.dead for t in threads) == released
        sem.post()
    for t in threads:
        await t.join()


async def test_try_wait_takes_one_if_there_is_one():
    sem = Semaphore(1)
    assert sem.try_wait() is True
    assert sem.try_wait() is False
    assert sem.count == 0


async def test_the_queue_is_fair():
    sem, order = Semaphore(), []

    async def waiter(n):
        await sem.wait()
        order.append(n)

    for n in range(10):
        thread(waiter, n)
        await sync(idle())
    for _ in range(10):
        sem.post()
        await sync(idle())
    assert order == list(range(10))


async def test_a_newcomer_does_not_overtake_those_who_wait():
    sem = Semaphore()
    first = thread(sem.wait)
    await sync(idle())
    sem.post()
    assert sem.try_wait() is False
    await first.join()


async def test_waiters_and_syncs_stand_in_one_queue():
    sem, order = Semaphore(), []

    async def waits(n):
        await sem.wait()
        order.append(n)

    async def syncs(n):
        await sync(sem, never)
        order.append(n)

    for n in range(6):
        thread(waits if n % 2 else syncs, n)
        await sync(idle())
    for _ in range(6):
        sem.post()
        await sync(idle())
    assert order == list(range(6))


async def test_a_semaphore_is_an_event_that_decrements_with_itself_as_the_result():
    sem = Semaphore(1)
    assert await sync(sem) is sem
    assert sem.count == 0
    assert await sync(sem, timeout=0) is None


async def test_a_sync_waits_for_a_post():
    sem = Semaphore()

    async def child():
        return await sync(sem)

    t = thread(child)
    await sync(idle())
    sem.post()
    assert await t.join() is sem
    assert sem.count == 0


async def test_a_sync_that_chooses_another_event_takes_no_unit():
    sem, ch = Semaphore(), Channel()

    async def child():
        return await sync(sem, ch)

    t = thread(child)
    await sync(idle())
    await ch.put("other")
    assert await t.join() == "other"
    sem.post()
    assert sem.count == 1


async def test_a_sync_that_times_out_takes_no_unit():
    sem = Semaphore()
    assert await sync(sem, timeout=0.001) is None
    sem.post()
    assert sem.count == 1


async def test_several_branches_on_one_semaphore_take_one_unit():
    sem = Semaphore()

    async def child():
        return await sync(sem, sem, choice(sem, never))

    t = thread(child)
    await sync(idle())
    sem.post()
    sem.post()
    assert await t.join() is sem
    await sync(idle())
    assert sem.count == 1


async def test_async_with_waits_and_posts():
    sem = Semaphore(1)
    async with sem:
        assert sem.count == 0
    assert sem.count == 1


async def test_async_with_posts_when_an_exception_leaves_it():
    sem = Semaphore(1)
    with pytest.raises(ValueError):
        async with sem:
            raise ValueError
    assert sem.count == 1


async def test_a_semaphore_excludes():
    sem, inside, most = Semaphore(1), 0, 0

    async def worker():
        nonlocal inside, most
        for _ in range(10):
            async with sem:
                inside += 1
                most = max(most, inside)
                await sleep(0)
                inside -= 1

    threads = [thread(worker) for _ in range(8)]
    for t in threads:
        await t.join()
    assert most == 1
    assert sem.count == 1


# -- peek ------------------------------------------------------------------------------------------


async def test_peek_is_ready_with_itself_and_takes_nothing():
    sem = Semaphore(1)
    peek = sem.peek_evt()
    assert await sync(peek) is peek
    assert await sync(peek) is peek
    assert sem.count == 1


async def test_peek_is_not_ready_at_zero():
    assert await sync(Semaphore().peek_evt(), timeout=0) is None


async def test_peek_waits_for_a_post_which_stays():
    sem = Semaphore()
    peek = sem.peek_evt()

    async def child():
        return await sync(peek)

    t = thread(child)
    await sync(idle())
    sem.post()
    assert await t.join() is peek
    assert sem.count == 1


async def test_one_post_wakes_all_that_peek():
    sem = Semaphore()

    async def child():
        await sync(sem.peek_evt())

    threads = [thread(child) for _ in range(5)]
    await sync(idle())
    sem.post()
    for t in threads:
        await t.join()
    assert sem.count == 1


async def test_a_post_wakes_those_that_peek_in_front_of_the_one_that_takes():
    sem = Semaphore()

    async def child():
        await sync(sem.peek_evt())

    peeks = thread(child)
    await sync(idle())
    takes = thread(sem.wait)
    await sync(idle())
    sem.post()
    await takes.join()
    await peeks.join()
    assert sem.count == 0


# -- everywhere ------------------------------------------------------------------------------------


async def test_an_os_backed_thread_waits():
    sem = Semaphore()

    def child():
        block_on(sem.wait())
        return block_on(sem)

    t = thread(child)
    await sync(idle())
    sem.post()
    sem.post()
    assert await t.join() is sem


def test_without_a_runtime_two_os_threads_share_a_semaphore():
    sem, done = Semaphore(), Semaphore()

    def waiter():
        block_on(sem.wait())
        done.post()

    threads = [threading.Thread(target=waiter) for _ in range(4)]
    for t in threads:
        t.start()
    for _ in threads:
        sem.post()
    for t in threads:
        t.join()
    assert (sem.count, done.count) == (0, 4)


def test_repr_shows_the_count():
    assert "3" in repr(Semaphore(3))


def test_a_semaphore_cannot_be_copied_or_pickled():
    with pytest.raises(ContractError, match="Semaphore"):
        copy.copy(Semaphore())
    with pytest.raises(ContractError, match="Semaphore"):
        pickle.dumps(Semaphore())


async def test_a_semaphore_among_ready_events_is_only_taken_if_it_is_chosen():
    for _ in range(30):
        sem = Semaphore(1)
        got = await sync(sem, always)
        assert sem.count == (0 if got is sem else 1)


async def test_units_are_neither_lost_nor_made_up():
    sem, taken = Semaphore(), 0

    async def taker(n):
        nonlocal taken
        for _ in range(20):
            if n % 2:
                await sem.wait()
            else:
                await sync(sem, never)

    async def poster():
        for _ in range(20):
            sem.post()
            await sleep(0)

    threads = [thread(taker, n) for n in range(6)] + [thread(poster) for _ in range(6)]
    for t in threads:
        await t.join()
    assert sem.count == 0
