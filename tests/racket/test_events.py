"""Racket Reference 11.2.1 under Racket's names: sync, combinators, alarms."""

import concurrent.futures
import random
import time
from functools import partial

import pytest

from rtsync.racket import (
    alarm_evt,
    always_evt,
    async_channel_put,
    channel_put,
    channel_put_evt,
    choice_evt,
    current_evt_pseudo_random_generator,
    current_inexact_milliseconds,
    current_inexact_monotonic_milliseconds,
    guard_evt,
    handle_evt,
    is_evt,
    is_handle_evt,
    make_async_channel,
    make_channel,
    make_semaphore,
    nack_guard_evt,
    never_evt,
    parameterize,
    poll_guard_evt,
    replace_evt,
    semaphore_post,
    sleep,
    sync,
    sync_timeout,
    system_idle_evt,
    tail,
    thread,
    thread_wait,
    wrap_evt,
)


class Wrapped:
    """An event by ``__evt__``, as Racket's structures are by ``prop:evt``; it has no methods of events."""

    def __init__(self, evt):
        self.evt = evt

    def __evt__(self):
        return self.evt


# -- sync ------------------------------------------------------------------------------------------


async def test_sync_gives_the_result_of_the_event_that_is_ready():
    assert await sync(never_evt, always_evt) is always_evt


async def test_sync_waits():
    ch = make_channel()
    thread(partial(channel_put, ch, "value"))
    assert await sync(never_evt, ch) == "value"


async def test_the_timeout_comes_first():
    assert await sync_timeout(0, never_evt) is None
    assert await sync_timeout(0.5, never_evt) is None
    assert await sync_timeout(0, always_evt) is always_evt
    assert await sync_timeout(None, always_evt) is always_evt
    assert await sync_timeout(0) is None


async def test_a_procedure_as_the_timeout_is_called_when_nothing_is_ready():
    assert await sync_timeout(lambda: "nothing", never_evt) == "nothing"
    assert await sync_timeout(lambda: "nothing", always_evt) is always_evt


async def test_sync_alone_without_events_waits_for_ever():
    thd = thread(sync)
    await sync(system_idle_evt())
    assert await sync_timeout(0, thd) is None


# -- combinators -----------------------------------------------------------------------------------


async def test_choice_evt():
    sema = make_semaphore(1)
    assert await sync(choice_evt(never_evt, sema)) is sema
    assert await sync_timeout(0, choice_evt()) is None


async def test_wrap_evt_gives_the_result_of_the_procedure():
    evt = wrap_evt(wrap_evt(always_evt, lambda _: 20), lambda n: n + 1)
    assert await sync(evt) == 21


async def test_wrap_evt_takes_an_async_procedure():
    async def wrap(_):
        await sleep(0)
        return "wrapped"

    assert await sync(wrap_evt(always_evt, wrap)) == "wrapped"


async def test_handle_evt_is_in_tail_position():
    ach = make_async_channel()

    async def loop(total):
        return await sync(
            handle_evt(wrap_evt(always_evt, lambda _: 1), lambda n: tail(loop, total + n))
            if total < 3000
            else handle_evt(ach, lambda v: (v, total))
        )

    thd = thread(partial(loop, 0), keep="results")
    await sync(system_idle_evt())
    await async_channel_put(ach, "end")
    assert await thread_wait(thd) == ("end", 3000)


async def test_is_handle_evt_as_racket_has_it():
    handled = handle_evt(make_channel(), print)
    assert is_handle_evt(handled) is True
    assert is_handle_evt(choice_evt(always_evt, choice_evt(never_evt, handled))) is True
    assert is_handle_evt(handle_evt(wrap_evt(always_evt, print), print)) is True
    assert is_handle_evt(choice_evt(always_evt)) is False
    assert is_handle_evt(wrap_evt(handled, print)) is False
    assert is_handle_evt(guard_evt(lambda: handled)) is False
    assert is_handle_evt(make_channel()) is False


async def test_guard_evt_makes_the_event_for_each_sync():
    made = []
    evt = guard_evt(lambda: made.append(1) or always_evt)
    assert made == []
    assert await sync(evt) is always_evt
    assert await sync(evt) is always_evt
    assert made == [1, 1]


async def test_a_guard_that_gives_no_event_is_ready_with_itself():
    evt = guard_evt(lambda: "no event")
    assert await sync(evt) is evt


async def test_nack_guard_evt_tells_that_another_was_chosen():
    nacks = []

    def maker(nack):
        nacks.append(nack)
        return never_evt

    assert await sync(nack_guard_evt(maker), always_evt) is always_evt
    (nack,) = nacks
    assert await sync_timeout(0, wrap_evt(nack, lambda _: "not chosen")) == "not chosen"


async def test_nack_guard_evt_tells_nothing_when_it_is_chosen():
    nacks = []

    def maker(nack):
        nacks.append(nack)
        return always_evt

    await sync(nack_guard_evt(maker))
    assert await sync_timeout(0, nacks[0]) is None


async def test_poll_guard_evt_is_told_whether_the_sync_only_polls():
    asked = []

    def maker(polling):
        asked.append(polling)
        return always_evt

    await sync_timeout(0, poll_guard_evt(maker))
    await sync(poll_guard_evt(maker))
    assert asked == [True, False]


async def test_replace_evt_goes_on_with_another_event():
    first, second = make_semaphore(1), make_semaphore(1)
    assert await sync(replace_evt(first, lambda result: second if result is first else None)) is second
    assert await sync_timeout(0, first, second) is None  # both are consumed


async def test_the_combinators_take_what_is_an_event_by_a_method_of_its_class():
    assert await sync(wrap_evt(Wrapped(always_evt), lambda _: "wrapped")) == "wrapped"
    assert await sync(handle_evt(Wrapped(always_evt), lambda _: "handled")) == "handled"
    assert await sync(replace_evt(Wrapped(always_evt), lambda _: always_evt)) is always_evt
    assert await sync(choice_evt(Wrapped(always_evt))) is always_evt
    assert is_handle_evt(Wrapped(always_evt)) is False


async def test_is_evt():
    ch = make_channel()
    events = [ch, channel_put_evt(ch, 1), make_semaphore(), always_evt, Wrapped(1), thread(sleep)]
    assert [is_evt(v) for v in events] == [True] * len(events)
    assert [is_evt(v) for v in (None, 1, "event", print)] == [False] * 4
    assert is_evt(concurrent.futures.Future())


async def test_system_idle_evt_waits_until_all_others_stand_still():
    sema, log = make_semaphore(), []

    async def thunk():
        for n in range(5):
            log.append(n)
            await sleep(0)
        await sync(sema)

    thd = thread(thunk)
    evt = system_idle_evt()
    assert await sync(evt) is evt
    assert log == [0, 1, 2, 3, 4]
    semaphore_post(sema)
    await thread_wait(thd)


async def test_the_choice_among_ready_events_follows_the_generator():
    one, two = wrap_evt(always_evt, lambda _: 1), wrap_evt(always_evt, lambda _: 2)

    async def choices():
        return [await sync(one, two) for _ in range(40)]

    with parameterize(current_evt_pseudo_random_generator, random.Random(7)):
        first = await choices()
    with parameterize(current_evt_pseudo_random_generator, random.Random(7)):
        assert await choices() == first
    assert set(first) == {1, 2}
    assert current_evt_pseudo_random_generator() is None


# -- alarms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("monotonic", [False, True])
async def test_an_alarm_rings_at_its_time_in_milliseconds(monotonic):
    now = current_inexact_monotonic_milliseconds if monotonic else current_inexact_milliseconds
    start = now()
    evt = alarm_evt(start + 1500, monotonic)
    assert await sync_timeout(1.4, evt) is None
    assert await sync_timeout(1, evt) is evt
    assert 1500 <= now() - start < 1510


async def test_an_alarm_of_the_past_is_ready():
    evt = alarm_evt(current_inexact_milliseconds() - 1)
    assert await sync_timeout(0, evt) is evt
    evt = alarm_evt(current_inexact_monotonic_milliseconds() - 1, monotonic=True)
    assert await sync_timeout(0, evt) is evt


async def test_sleep_takes_seconds_by_the_same_clock():
    start = current_inexact_monotonic_milliseconds()
    await sleep(2)
    assert current_inexact_monotonic_milliseconds() - start == pytest.approx(2000, abs=1)


def test_without_a_runtime_the_clocks_are_the_real_ones():
    assert current_inexact_milliseconds() == pytest.approx(time.time() * 1000, abs=10_000)
    assert current_inexact_monotonic_milliseconds() == pytest.approx(time.monotonic() * 1000, abs=10_000)
