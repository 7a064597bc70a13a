"""Racket Reference 11.2.2 and 11.2.4 under Racket's names: channels, asynchronous channels."""

from functools import partial

from rtsync.racket import (
    async_channel_get,
    async_channel_put,
    async_channel_put_evt,
    async_channel_try_get,
    channel_get,
    channel_put,
    channel_put_evt,
    channel_try_get,
    is_async_channel,
    is_channel,
    is_channel_put_evt,
    is_evt,
    is_thread_dead,
    make_async_channel,
    make_channel,
    make_semaphore,
    sync,
    sync_timeout,
    system_idle_evt,
    thread,
    thread_wait,
)

# -- 11.2.2 channels -------------------------------------------------------------------------------


async def test_a_value_passes_when_both_sides_are_there():
    ch = make_channel()
    putting = thread(partial(channel_put, ch, "value"), keep="results")
    await sync(system_idle_evt())
    assert not is_thread_dead(putting)
    assert await channel_get(ch) == "value"
    assert await thread_wait(putting, lambda: "failed") is None


async def test_channel_try_get_takes_only_from_a_thread_that_waits():
    ch = make_channel()
    assert channel_try_get(ch) is None
    thread(partial(channel_put, ch, "value"))
    await sync(system_idle_evt())
    assert channel_try_get(ch) == "value"


async def test_a_channel_as_an_event_gives_the_value():
    ch = make_channel()
    thread(partial(channel_put, ch, "value"))
    assert await sync(ch) == "value"


async def test_a_put_event_gives_itself():
    ch = make_channel()
    evt = channel_put_evt(ch, "value")
    assert await sync_timeout(0, evt) is None
    getting = thread(partial(channel_get, ch), keep="results")
    assert await sync(evt) is evt
    assert await thread_wait(getting) == "value"


async def test_which_values_are_channels_and_put_events():
    ch, ach = make_channel(), make_async_channel()
    assert [is_channel(v) for v in (ch, ach, make_semaphore(), None)] == [True, False, False, False]
    assert is_channel_put_evt(channel_put_evt(ch, 1)) is True
    assert [is_channel_put_evt(v) for v in (ch, async_channel_put_evt(ach, 1), None)] == [False] * 3


# -- 11.2.4 asynchronous channels ------------------------------------------------------------------


async def test_values_come_out_in_the_order_in_which_they_went_in():
    ach = make_async_channel()
    assert [await async_channel_put(ach, n) for n in range(3)] == [None] * 3
    assert [await async_channel_get(ach) for _ in range(3)] == [0, 1, 2]


async def test_a_get_waits_for_a_value():
    ach = make_async_channel()
    getting = thread(partial(async_channel_get, ach), keep="results")
    await sync(system_idle_evt())
    await async_channel_put(ach, "value")
    assert await thread_wait(getting) == "value"


async def test_a_put_waits_only_at_the_limit():
    ach = make_async_channel(1)
    await async_channel_put(ach, 1)
    putting = thread(partial(async_channel_put, ach, 2))
    await sync(system_idle_evt())
    assert not is_thread_dead(putting)
    assert await async_channel_get(ach) == 1
    await thread_wait(putting)
    assert await async_channel_get(ach) == 2


async def test_none_is_no_limit():
    ach = make_async_channel(limit=None)
    for n in range(1000):
        await async_channel_put(ach, n)


async def test_async_channel_try_get_does_not_wait():
    ach = make_async_channel()
    assert async_channel_try_get(ach) is None
    await async_channel_put(ach, "value")
    assert async_channel_try_get(ach) == "value"


async def test_an_async_channel_as_an_event_gives_the_value():
    ach = make_async_channel()
    assert await sync_timeout(0, ach) is None
    await async_channel_put(ach, "value")
    assert await sync(ach) == "value"


async def test_an_async_put_event_stores_the_value_and_gives_itself():
    ach = make_async_channel(1)
    evt = async_channel_put_evt(ach, "value")
    assert is_evt(evt)
    assert await sync(evt) is evt
    assert await sync_timeout(0, evt) is None  # the limit is reached
    assert await async_channel_get(ach) == "value"


async def test_is_async_channel():
    assert is_async_channel(make_async_channel(3)) is True
    assert [is_async_channel(v) for v in (make_channel(), None)] == [False] * 2
