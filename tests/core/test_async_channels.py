"""SPEC §5 and seeds 000, 18.5: buffered asynchronous channels."""

import copy
import threading

import pytest

from rtsync import (
    AsyncChannel,
    Channel,
    ContractError,
    block_on,
    idle,
    never,
    sleep,
    sync,
    thread,
)


async def test_put_stores_without_waiting_for_a_getter():
    ch = AsyncChannel()
    for n in range(100):
        assert await ch.put(n) is None
    assert len(ch) == 100


async def test_values_come_out_in_the_order_in_which_they_went_in():
    ch = AsyncChannel()
    for n in range(10):
        await ch.put(n)
    assert [await ch.get() for _ in range(10)] == list(range(10))


async def test_get_waits_for_a_value():
    ch = AsyncChannel()
    t = thread(ch.get)
    await sync(idle())
    assert not t.dead
    await ch.put(1)
    assert await t.join() == 1
    assert len(ch) == 0


@pytest.mark.parametrize("value", [None, False, 0, ""])
async def test_any_value_passes(value):
    ch = AsyncChannel()
    await ch.put(value)
    assert await ch.get() is value
    t = thread(ch.get)
    await sync(idle())
    await ch.put(value)
    assert await t.join() is value


async def test_getters_are_served_in_the_order_of_their_arrival():
    ch = AsyncChannel()
    threads = []
    for _ in range(8):
        threads.append(thread(ch.get))
        await sync(idle())
    for n in range(8):
        await ch.put(n)
    assert [await t.join() for t in threads] == list(range(8))


async def test_a_newcomer_does_not_overtake_those_who_wait():
    ch = AsyncChannel()
    t = thread(ch.get)
    await sync(idle())
    await ch.put(1)
    assert ch.try_get("nothing") == "nothing"
    assert await t.join() == 1


async def test_put_waits_while_the_limit_is_reached():
    ch = AsyncChannel(2)
    await ch.put(1)
    await ch.put(2)
    t = thread(ch.put, 3)
    await sync(idle())
    assert not t.dead
    assert len(ch) == 2
    assert await ch.get() == 1
    await t.join()
    assert [await ch.get(), await ch.get()] == [2, 3]


async def test_putters_are_let_in_in_the_order_of_their_arrival():
    ch = AsyncChannel(1)
    await ch.put(0)
    for n in range(1, 8):
        thread(ch.put, n)
        await sync(idle())
    assert [await ch.get() for _ in range(8)] == list(range(8))


async def test_the_buffer_never_holds_more_than_the_limit():
    ch, most = AsyncChannel(3), 0

    async def putter():
        nonlocal most
        for n in range(20):
            await ch.put(n)
            most = max(most, len(ch))

    for _ in range(4):
        thread(putter)
    for _ in range(80):
        await ch.get()
        await sleep(0)
    assert most <= 3


async def test_try_get_takes_the_oldest_or_gives_the_default():
    ch = AsyncChannel()
    assert ch.try_get() is None
    assert ch.try_get("default") == "default"
    await ch.put(1)
    await ch.put(2)
    assert [ch.try_get(), ch.try_get(), ch.try_get("none")] == [1, 2, "none"]


async def test_try_get_from_a_full_channel_lets_a_putter_in():
    ch = AsyncChannel(1)
    await ch.put(1)
    t = thread(ch.put, 2)
    await sync(idle())
    assert ch.try_get() == 1
    await t.join()
    assert ch.try_get() == 2


async def test_it_is_an_event_whose_result_is_the_oldest_value():
    ch = AsyncChannel()
    assert await sync(ch, timeout=0) is None
    await ch.put(1)
    assert await sync(ch) == 1
    assert len(ch) == 0


async def test_a_sync_waits_for_a_value():
    ch = AsyncChannel()

    async def child():
        return await sync(ch, never)

    t = thread(child)
    await sync(idle())
    await ch.put(1)
    assert await t.join() == 1


async def test_a_sync_that_chooses_another_event_takes_nothing():
    ch, other = AsyncChannel(), Channel()

    async def child():
        return await sync(ch, other)

    t = thread(child)
    await sync(idle())
    await other.put("other")
    assert await t.join() == "other"
    await ch.put(1)
    assert len(ch) == 1


async def test_put_evt_is_ready_while_there_is_room_with_itself_as_the_result():
    ch = AsyncChannel(1)
    evt = ch.put_evt("value")
    assert await sync(evt) is evt
    assert len(ch) == 1
    assert await sync(evt, timeout=0) is None
    assert await ch.get() == "value"


async def test_put_evt_waits_for_room():
    ch = AsyncChannel(1)
    await ch.put(1)
    evt = ch.put_evt(2)

    async def child():
        return await sync(evt, never)

    t = thread(child)
    await sync(idle())
    assert not t.dead
    assert await ch.get() == 1
    assert await t.join() is evt
    assert await ch.get() == 2


async def test_put_evt_hands_over_to_a_getter_that_waits():
    ch = AsyncChannel(1)
    t = thread(ch.get)
    await sync(idle())
    await sync(ch.put_evt("value"))
    assert await t.join() == "value"
    assert len(ch) == 0


async def test_put_evt_that_is_not_chosen_stores_nothing():
    ch, other = AsyncChannel(1), Channel()
    await ch.put(1)

    async def child():
        return await sync(ch.put_evt(2), other)

    t = thread(child)
    await sync(idle())
    await other.put("other")
    assert await t.join() == "other"
    assert await ch.get() == 1
    assert ch.try_get("nothing") == "nothing"


async def test_a_get_and_a_put_on_the_same_channel_in_one_sync():
    # Unlike with an unbuffered channel, the put is ready by itself.
    ch = AsyncChannel(1)
    assert await sync(ch, ch.put_evt(1)) is not None
    assert len(ch) == 1


async def test_async_for_gets_again_and_again():
    ch, got = AsyncChannel(), []
    for n in range(5):
        await ch.put(n)
    async for value in ch:
        got.append(value)
        if value == 4:
            break
    assert got == [0, 1, 2, 3, 4]


async def test_an_empty_channel_is_true():
    assert AsyncChannel()


async def test_nothing_is_lost_or_doubled_between_many_putters_and_getters():
    ch = AsyncChannel(3)
    per, many = 30, 4

    async def putter(n):
        for i in range(per):
            if i % 2:
                await ch.put(n * per + i)
            else:
                await sync(ch.put_evt(n * per + i))

    async def getter():
        return [await ch.get() if i % 3 else await sync(ch, never) for i in range(per)]

    for n in range(many):
        thread(putter, n)
    getters = [thread(getter) for _ in range(many)]
    got = [value for t in getters for value in await t.join()]
    assert sorted(got) == list(range(per * many))
    assert len(ch) == 0


async def test_an_os_backed_thread_puts_and_gets():
    ch, back = AsyncChannel(2), AsyncChannel(1)

    def echo():
        for _ in range(5):
            block_on(back.put(block_on(ch)))

    t = thread(echo)
    await ch.put(0)
    for n in range(5):
        assert await back.get() == n
        if n < 4:
            await ch.put(n + 1)
    await t.join()


def test_without_a_runtime_two_os_threads_share_an_async_channel():
    ch = AsyncChannel(2)
    got = []

    def getter():
        got.extend(block_on(ch.get()) for _ in range(10))

    t = threading.Thread(target=getter)
    t.start()
    for n in range(10):
        block_on(ch.put(n))
    t.join()
    assert got == list(range(10))


def test_an_async_channel_cannot_be_copied():
    with pytest.raises(ContractError, match="AsyncChannel"):
        copy.copy(AsyncChannel())


def test_repr_shows_length_and_limit():
    assert "3" in repr(AsyncChannel(3))
