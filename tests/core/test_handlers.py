"""SPEC §5: ``wrap`` and ``handle``."""

import sys

import pytest

from rtsync import (
    Channel,
    Semaphore,
    always,
    call,
    choice,
    guard,
    never,
    sleep,
    sync,
    tail,
    thread,
)

KINDS = ["wrap", "handle"]


def attach(evt, kind, f):
    return getattr(evt, kind)(f)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_result_is_that_of_the_function(kind):
    ch = Channel()
    thread(ch.put, 20)
    assert await sync(attach(ch, kind, lambda v: v + 1)) == 21


@pytest.mark.parametrize("kind", KINDS)
async def test_an_async_function_is_awaited(kind):
    async def f(value):
        await sleep(0)
        return value, "awaited"

    assert await sync(attach(always, kind, f)) == (always, "awaited")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_function_may_block(kind):
    ch = Channel()

    async def f(value):
        return await ch.get()

    thread(ch.put, "later")
    assert await sync(attach(always, kind, f)) == "later"


@pytest.mark.parametrize("kind", KINDS)
async def test_the_function_may_sync(kind):
    async def f(value):
        return await sync(choice(always, never).wrap(lambda _: "inner"))

    assert await sync(attach(always, kind, f)) == "inner"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_exception_of_the_function_comes_out_of_sync(kind):
    def f(value):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await sync(attach(always, kind, f))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_exception_of_an_async_function_comes_out_of_sync(kind):
    async def f(value):
        await sleep(0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await sync(attach(always, kind, f))


@pytest.mark.parametrize("kind", KINDS)
async def test_the_event_is_consumed_even_if_the_function_raises(kind):
    sem = Semaphore(1)

    def f(value):
        raise KeyError

    with pytest.raises(KeyError):
        await sync(attach(sem, kind, f))
    assert sem.count == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_the_function_of_an_event_not_chosen_is_not_called(kind):
    evt = attach(never, kind, lambda _: pytest.fail("called"))
    assert await sync(evt, always) is always
    assert await sync(evt, timeout=0) is None


@pytest.mark.parametrize("kind", KINDS)
async def test_the_function_runs_in_the_synchronizing_thread(kind):
    from rtsync import current_thread

    ch = Channel()

    async def child():
        return await sync(attach(ch, kind, lambda _: current_thread()))

    t = thread(child)
    await ch.put(1)
    assert await t.join() is t


@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
async def test_functions_nest_from_the_inside_out(inner, outer):
    evt = attach(attach(always, inner, lambda _: ["inner"]), outer, lambda v: [*v, "outer"])
    assert await sync(evt) == ["inner", "outer"]


async def test_three_levels_over_a_choice_of_choices():
    evt = choice(choice(always.wrap(lambda _: [1]), never).wrap(lambda v: [*v, 2]), never).handle(
        lambda v: [*v, 3]
    )
    assert await sync(evt) == [1, 2, 3]


@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
async def test_async_functions_nest(inner, outer):
    async def f(value):
        await sleep(0)
        return [value]

    async def g(value):
        await sleep(0)
        return [*value, "outer"]

    assert await sync(attach(attach(always, inner, f), outer, g)) == [always, "outer"]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_event_may_be_wrapped_several_times_independently(kind):
    one = attach(always, kind, lambda _: 1)
    two = attach(always, kind, lambda _: 2)
    assert (await sync(one), await sync(two), await sync(always)) == (1, 2, always)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_function_that_gives_an_event_gives_just_that(kind):
    assert await sync(attach(always, kind, lambda _: never)) is never


@pytest.mark.parametrize("kind", KINDS)
async def test_a_function_that_gives_none(kind):
    assert await sync(attach(always, kind, lambda _: None), timeout=0, default="no") is None


# -- tail calls ------------------------------------------------------------------------------------


async def test_a_handler_may_ask_for_a_tail_call():
    async def loop(n):
        return await sync(always.handle(lambda _: tail(loop, n - 1) if n else "done"))

    assert await call(loop, 50) == "done"


async def test_a_thread_makes_the_tail_calls_of_its_handlers():
    async def loop(n):
        return await sync(always.handle(lambda _: tail(loop, n - 1) if n else "done"))

    assert await thread(loop, 50).join() == "done"


async def test_an_os_backed_thread_makes_the_tail_calls_of_its_handlers():
    from rtsync import block_on

    def loop(n):
        return block_on(always.handle(lambda _: tail(loop, n - 1) if n else "done"))

    assert await thread(loop, 50).join() == "done"


async def test_handlers_that_tail_call_do_not_deepen_the_stack():
    depths = []

    async def loop(n):
        frame, depth = sys._getframe(), 0
        while frame is not None:
            frame, depth = frame.f_back, depth + 1
        depths.append(depth)
        return await sync(always.handle(lambda _: tail(loop, n - 1) if n else None))

    await thread(loop, 30).join()
    assert len(set(depths[1:])) == 1


async def test_an_async_handler_may_ask_for_a_tail_call():
    async def loop(n):
        async def again(_):
            await sleep(0)
            return tail(loop, n - 1) if n else "done"

        return await sync(always.handle(again))

    assert await thread(loop, 20).join() == "done"


async def test_a_handler_inside_a_wrap_is_not_in_tail_position():
    # The outer function needs the result, so the call is made at once.
    evt = always.handle(lambda _: tail(max, 1, 2)).wrap(lambda v: ("wrapped", v))
    assert await sync(evt) == ("wrapped", 2)


async def test_a_wrap_makes_the_call_that_its_function_asks_for():
    assert await sync(always.wrap(lambda _: tail(max, 1, 2))) == 2


async def test_a_handle_around_a_guard_is_in_tail_position():
    async def loop(n):
        return await sync(guard(lambda: always).handle(lambda _: tail(loop, n - 1) if n else "done"))

    assert await thread(loop, 20).join() == "done"


async def test_tail_in_a_handler_of_a_choice():
    ch = Channel()

    async def loop(total):
        return await sync(
            ch.handle(lambda v: tail(loop, total + v) if v else total),
            never.handle(lambda _: None),
        )

    t = thread(loop, 0)
    for value in (1, 2, 3, 0):
        await ch.put(value)
    assert await t.join() == 6
