"""SPEC §5 and seeds 000, 18.4: channels."""

import copy
import pickle
import threading

import pytest

from rtsync import (
    Channel,
    ContractError,
    block_on,
    choice,
    idle,
    never,
    sleep,
    sync,
    thread,
)


async def put(ch, value):
    await ch.put(value)
    return "went on"


async def test_a_value_passes_from_a_putter_to_a_getter():
    ch = Channel()
    t = thread(ch.put, "value")
    assert await ch.get() == "value"
    assert await t.join() is None


async def test_put_waits_for_a_getter():
    ch = Channel()
    t = thread(put, ch, 1)
    await sync(idle())
    assert not t.dead
    assert await ch.get() == 1
    await t.join()


async def test_get_waits_for_a_putter():
    ch = Channel()
    t = thread(ch.get)
    await sync(idle())
    assert not t.dead
    await ch.put(1)
    assert await t.join() == 1


@pytest.mark.parametrize("value", [None, False, 0, "", (), NotImplemented])
async def test_any_value_passes(value):
    ch = Channel()
    t = thread(ch.get)
    await ch.put(value)
    assert await t.join() is value
    thread(ch.put, value)
    assert await sync(ch) is value


async def test_getters_are_served_in_the_order_of_their_arrival():
    ch = Channel()
    threads = []
    for _ in range(8):
        threads.append(thread(ch.get))
        await sync(idle())
    for n in range(8):
        await ch.put(n)
    assert [await t.join() for t in threads] == list(range(8))


async def test_putters_are_served_in_the_order_of_their_arrival():
    ch = Channel()
    for n in range(8):
        thread(ch.put, n)
        await sync(idle())
    assert [await ch.get() for _ in range(8)] == list(range(8))


async def test_getters_and_syncs_stand_in_one_queue():
    ch = Channel()
    threads = []

    async def syncs():
        return await sync(ch, never)

    for n in range(8):
        threads.append(thread(ch.get if n % 2 else syncs))
        await sync(idle())
    for n in range(8):
        await ch.put(n)
    assert [await t.join() for t in threads] == list(range(8))


async def test_putters_and_syncs_stand_in_one_queue():
    ch = Channel()

    async def syncs(n):
        await sync(ch.put_evt(n), never)

    for n in range(8):
        if n % 2:
            thread(ch.put, n)
        else:
            thread(syncs, n)
        await sync(idle())
    assert [await ch.get() for _ in range(8)] == list(range(8))


async def test_try_get_takes_from_a_putter_that_waits():
    ch = Channel()
    t = thread(ch.put, 1)
    await sync(idle())
    assert ch.try_get() == 1
    await t.join()


async def test_try_get_gives_the_default_at_once():
    ch = Channel()
    assert ch.try_get() is None
    assert ch.try_get("default") == "default"


async def test_try_get_leaves_nothing_behind():
    ch = Channel()
    ch.try_get()
    t = thread(put, ch, 1)
    await sync(idle())
    assert not t.dead


async def test_a_channel_is_an_event_whose_result_is_the_value():
    ch = Channel()
    thread(ch.put, "value")
    assert await sync(ch) == "value"


async def test_put_evt_is_an_event_whose_result_is_itself():
    ch = Channel()
    t = thread(ch.get)
    evt = ch.put_evt("value")
    assert await sync(evt) is evt
    assert await t.join() == "value"


async def test_put_evt_may_be_used_again():
    ch = Channel()
    evt = ch.put_evt("value")
    for _ in range(3):
        t = thread(ch.get)
        assert await sync(evt) is evt
        assert await t.join() == "value"


async def test_put_evt_puts_nothing_until_a_sync():
    ch = Channel()
    ch.put_evt("value")
    assert ch.try_get("nothing") == "nothing"


async def test_a_waiting_put_evt_is_taken_by_get_try_get_and_sync():
    ch = Channel()

    async def child(evt):
        return await sync(evt) is evt

    for take in (ch.get, lambda: sync(ch)):
        t = thread(child, ch.put_evt("value"))
        await sync(idle())
        assert await take() == "value"
        assert await t.join()
    t = thread(child, ch.put_evt("value"))
    await sync(idle())
    assert ch.try_get() == "value"
    assert await t.join()


async def test_polling_a_channel_takes_only_from_one_that_waits():
    ch = Channel()
    assert await sync(ch, timeout=0) is None
    t = thread(ch.put, 1)
    await sync(idle())
    assert await sync(ch, timeout=0) == 1
    await t.join()


async def test_polling_a_put_gives_only_to_one_that_waits():
    ch = Channel()
    assert await sync(ch.put_evt(1), timeout=0) is None
    t = thread(ch.get)
    await sync(idle())
    assert await sync(ch.put_evt(1), timeout=0) is not None
    assert await t.join() == 1


async def test_a_sync_never_matches_itself():
    ch = Channel()
    assert await sync(ch, ch.put_evt(1), timeout=0) is None

    async def child():
        return await sync(ch, ch.put_evt(1))

    t = thread(child)
    await sync(idle())
    assert not t.dead
    assert await ch.get() == 1
    await t.join()


async def test_two_syncs_match_each_other():
    ch = Channel()

    async def child():
        return await sync(ch, ch.put_evt("value").wrap(lambda evt: "put"))

    one, two = thread(child), thread(child)
    assert sorted([await one.join(), await two.join()]) == ["put", "value"]


async def test_two_syncs_match_over_several_channels():
    one, two = Channel(), Channel()

    async def left():
        return await sync(one.put_evt("1").wrap(lambda _: "1"), two.wrap(lambda v: v))

    async def right():
        return await sync(one, two.put_evt("2").wrap(lambda _: "2"))

    for _ in range(20):
        a, b = thread(left), thread(right)
        assert await a.join() == await b.join()


async def test_a_value_goes_to_one_getter_only():
    ch = Channel()
    got = []

    async def getter():
        got.append(await sync(ch, never))

    threads = [thread(getter) for _ in range(5)]
    await sync(idle())
    await ch.put("only")
    await sync(idle())
    assert got == ["only"]
    assert sum(t.dead for t in threads) == 1


async def test_a_sync_on_two_channels_takes_from_one_only():
    one, two = Channel(), Channel()
    putters = [thread(put, one, 1), thread(put, two, 2)]
    await sync(idle())
    assert await sync(one, two) in (1, 2)
    await sync(idle())
    assert sum(t.dead for t in putters) == 1


async def test_the_same_channel_twice_in_a_sync():
    ch = Channel()

    async def child():
        return [await sync(ch, ch, choice(ch, ch)) for _ in range(3)]

    t = thread(child)
    for n in range(3):
        await ch.put(n)
    assert await t.join() == [0, 1, 2]
    assert await sync(ch.put_evt(9), timeout=0) is None


async def test_the_same_put_twice_in_a_sync_puts_once():
    ch = Channel()
    evt = ch.put_evt(1)

    async def child():
        await sync(evt, evt)

    t = thread(child)
    await sync(idle())
    assert await ch.get() == 1
    await t.join()
    assert ch.try_get("nothing") == "nothing"


async def test_async_for_gets_again_and_again():
    ch, got = Channel(), []

    async def consumer():
        async for value in ch:
            got.append(value)
            if value == 4:
                return

    t = thread(consumer)
    for n in range(5):
        await ch.put(n)
    await t.join()
    assert got == [0, 1, 2, 3, 4]


async def test_nothing_is_lost_or_doubled_between_many_putters_and_getters():
    ch = Channel()
    per, many = 30, 4

    async def putter(n):
        for i in range(per):
            if i % 2:
                await ch.put(n * per + i)
            else:
                await sync(ch.put_evt(n * per + i))

    async def getter(n):
        got = []
        for i in range(per):
            got.append(await ch.get() if i % 3 else await sync(ch, never))
            await sleep(0)
        return got

    for n in range(many):
        thread(putter, n)
    getters = [thread(getter, n) for n in range(many)]
    got = [value for t in getters for value in await t.join()]
    assert sorted(got) == list(range(per * many))


async def test_an_os_backed_thread_puts_and_gets():
    ch, back = Channel(), Channel()

    def echo():
        for _ in range(5):
            block_on(back.put(block_on(ch)))

    t = thread(echo)
    for n in range(5):
        await ch.put(n)
        assert await back.get() == n
    await t.join()


def test_without_a_runtime_two_os_threads_share_a_channel():
    ch = Channel()
    got = []

    def getter():
        got.extend(block_on(ch.get()) for _ in range(10))

    t = threading.Thread(target=getter)
    t.start()
    for n in range(10):
        block_on(ch.put(n))
    t.join()
    assert got == list(range(10))


def test_a_channel_cannot_be_copied_or_pickled():
    with pytest.raises(ContractError, match="Channel"):
        copy.copy(Channel())
    with pytest.raises(ContractError, match="Channel"):
        pickle.dumps(Channel())


async def test_reprs_say_what_it_is():
    ch = Channel()
    assert "Channel" in repr(ch)
    assert repr(ch) in repr(ch.put_evt(1))


def test_a_wrong_call_names_the_channel():
    with pytest.raises(TypeError, match=r"^Channel\.__init__\(\) takes 1"):
        Channel(5)
