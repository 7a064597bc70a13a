"""Racket Reference 11.2.3 under Racket's names."""

import pytest

from rtsync.racket import (
    call_with_semaphore,
    is_evt,
    is_semaphore,
    is_semaphore_peek_evt,
    make_channel,
    make_semaphore,
    semaphore_peek_evt,
    semaphore_post,
    semaphore_try_wait,
    semaphore_wait,
    sync,
    sync_timeout,
    system_idle_evt,
    thread,
    thread_wait,
)


async def test_the_count_is_zero_unless_given():
    assert semaphore_try_wait(make_semaphore()) is False
    assert semaphore_try_wait(make_semaphore(1)) is True
    assert semaphore_try_wait(make_semaphore(init=1)) is True


async def test_is_semaphore():
    assert is_semaphore(make_semaphore()) is True
    assert [is_semaphore(v) for v in (None, 0, make_channel())] == [False] * 3


async def test_wait_and_post_give_nothing():
    sema = make_semaphore(1)
    assert await semaphore_wait(sema) is None
    assert semaphore_post(sema) is None
    assert semaphore_try_wait(sema) is True


async def test_those_who_wait_are_served_in_the_order_of_their_coming():
    sema, served = make_semaphore(), []

    def waiter(n):
        async def thunk():
            await semaphore_wait(sema)
            served.append(n)

        return thread(thunk)

    threads = []
    for n in range(4):
        threads.append(waiter(n))
        await sync(system_idle_evt())
    for thd in threads:
        semaphore_post(sema)
        await thread_wait(thd)
    assert served == [0, 1, 2, 3]


async def test_a_semaphore_as_an_event_is_decremented_and_gives_itself():
    sema = make_semaphore(1)
    assert await sync(sema) is sema
    assert await sync_timeout(0, sema) is None


async def test_a_peek_does_not_decrement_and_gives_itself():
    sema = make_semaphore(1)
    peek = semaphore_peek_evt(sema)
    assert is_evt(peek)
    assert await sync(peek) is peek
    assert await sync(peek) is peek
    assert semaphore_try_wait(sema) is True
    assert await sync_timeout(0, peek) is None


async def test_is_semaphore_peek_evt():
    sema = make_semaphore()
    assert is_semaphore_peek_evt(semaphore_peek_evt(sema)) is True
    assert [is_semaphore_peek_evt(v) for v in (sema, None, 1)] == [False] * 3


async def test_call_with_semaphore_gives_the_result_of_the_call_with_all_arguments():
    sema = make_semaphore(1)

    async def held(*args):
        return (*args, semaphore_try_wait(sema))

    assert await call_with_semaphore(sema, held, None, 1, 2) == (1, 2, False)
    assert await call_with_semaphore(sema, lambda: "plain") == "plain"
    assert semaphore_try_wait(sema) is True


async def test_call_with_semaphore_posts_when_the_call_fails():
    sema = make_semaphore(1)

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await call_with_semaphore(sema, fail)
    assert semaphore_try_wait(sema) is True


async def test_call_with_semaphore_waits():
    sema, log = make_semaphore(), []

    async def thunk():
        return await call_with_semaphore(sema, lambda: log.append("called"))

    thd = thread(thunk)
    await sync(system_idle_evt())
    assert log == []
    semaphore_post(sema)
    await thread_wait(thd)
    assert log == ["called"]


async def test_call_with_semaphore_calls_the_thunk_instead_of_waiting_if_one_is_given():
    sema = make_semaphore()
    assert await call_with_semaphore(sema, lambda: "called", lambda: "not free") == "not free"
    semaphore_post(sema)
    assert await call_with_semaphore(sema, lambda: "called", try_fail_thunk=lambda: "not free") == "called"
    assert semaphore_try_wait(sema) is True
