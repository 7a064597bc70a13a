"""SPEC §5: ``guard``, ``nack_guard``, ``poll_guard``."""

import pytest

from rtsync import (
    Channel,
    Semaphore,
    always,
    block_on,
    choice,
    guard,
    idle,
    nack_guard,
    never,
    poll_guard,
    sleep,
    sync,
    thread,
)

# -- guard -----------------------------------------------------------------------------------------


async def test_a_guard_is_made_anew_at_each_sync():
    made = []

    def f():
        made.append(1)
        number = len(made)
        return always.wrap(lambda _: number)

    evt = guard(f)
    assert made == []
    assert [await sync(evt) for _ in range(3)] == [1, 2, 3]


async def test_a_guard_runs_even_if_another_event_is_ready():
    made = []

    def f():
        made.append(1)
        return never

    await sync(guard(f), always)
    await sync(always, guard(f))
    assert made == [1, 1]


async def test_a_guard_that_gives_no_event_is_ready_with_itself():
    evt = guard(lambda: "no event")
    assert await sync(evt) is evt


async def test_a_guard_that_gives_none_is_ready_with_itself():
    evt = guard(lambda: None)
    assert await sync(evt, timeout=0) is evt


async def test_an_async_guard_is_awaited():
    async def f():
        await sleep(0)
        return always

    assert await sync(guard(f)) is always


async def test_an_async_guard_may_sync_itself():
    ch = Channel()

    async def f():
        return await ch.get()

    thread(ch.put, always)
    assert await sync(guard(f)) is always


async def test_an_async_guard_that_gives_no_event_is_ready_with_itself():
    async def f():
        return 1

    evt = guard(f)
    assert await sync(evt) is evt


async def test_an_exception_of_a_guard_comes_out_of_sync():
    def f():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await sync(guard(f))


async def test_guards_nest():
    inner = guard(lambda: always)
    assert await sync(guard(lambda: guard(lambda: inner))) is always


async def test_the_result_of_a_nested_guard_that_gives_no_event_is_the_inner_guard():
    inner = guard(lambda: 1)
    assert await sync(guard(lambda: inner)) is inner


async def test_a_guard_within_a_choice_within_a_wrap():
    evt = choice(never, guard(lambda: always.wrap(lambda _: 1))).wrap(lambda v: v + 1)
    assert await sync(evt) == 2


async def test_a_guard_may_make_a_choice():
    one, two = Channel(), Channel()
    thread(two.put, 2)
    assert await sync(guard(lambda: choice(one, two))) == 2


async def test_the_order_in_which_guards_run_is_the_order_of_the_events():
    order = []

    def f(n):
        order.append(n)
        return always

    await sync(guard(lambda: f(1)), choice(guard(lambda: f(2)), guard(lambda: f(3))), guard(lambda: f(4)))
    assert order == [1, 2, 3, 4]


async def test_a_guard_runs_in_an_os_backed_thread_too():
    def child():
        return block_on(guard(lambda: always))

    assert await thread(child).join() is always


# -- nack_guard ------------------------------------------------------------------------------------


class Nacks:
    """Nack guards whose nacks are kept."""

    def __init__(self):
        self.nacks = []

    def guard(self, evt):
        def f(nack):
            self.nacks.append(nack)
            return evt

        return nack_guard(f)

    async def happened(self):
        return [await sync(nack, timeout=0) is not None for nack in self.nacks]


async def test_the_nack_does_not_happen_if_the_event_is_chosen():
    nacks = Nacks()
    assert await sync(nacks.guard(always)) is always
    assert await nacks.happened() == [False]


async def test_the_nack_happens_if_another_event_is_chosen():
    nacks = Nacks()
    await sync(nacks.guard(never), always)
    assert await nacks.happened() == [True]


async def test_the_nack_happens_if_another_event_is_chosen_after_waiting():
    nacks, ch = Nacks(), Channel()

    async def child():
        return await sync(nacks.guard(never), ch)

    t = thread(child)
    await sync(idle())
    assert await nacks.happened() == [False]
    await ch.put(1)
    await t.join()
    assert await nacks.happened() == [True]


async def test_the_nack_happens_if_the_timeout_passes():
    nacks = Nacks()
    await sync(nacks.guard(never), timeout=0.001)
    assert await nacks.happened() == [True]


async def test_the_nack_happens_if_a_poll_finds_nothing():
    nacks = Nacks()
    await sync(nacks.guard(never), timeout=0)
    await sync(nacks.guard(never), timeout=lambda: None)
    assert await nacks.happened() == [True, True]


async def test_the_nack_has_happened_before_the_timeout_function_is_called():
    nacks = Nacks()

    async def f():
        return await nacks.happened()

    assert await sync(nacks.guard(never), timeout=f) == [True]


async def test_the_nack_happens_if_control_leaves_by_an_exception_of_another_guard():
    nacks = Nacks()

    def explode():
        raise ValueError

    with pytest.raises(ValueError):
        await sync(nacks.guard(always), guard(explode))
    assert await nacks.happened() == [True]


async def test_the_nack_happens_if_the_maker_itself_fails():
    kept = []

    def f(nack):
        kept.append(nack)
        raise ValueError("maker")

    with pytest.raises(ValueError, match="maker"):
        await sync(nack_guard(f))
    assert await sync(kept[0], timeout=0) is not None


async def test_the_nack_happens_if_an_async_maker_fails():
    kept = []

    async def f(nack):
        kept.append(nack)
        await sleep(0)
        raise ValueError("maker")

    with pytest.raises(ValueError, match="maker"):
        await sync(nack_guard(f))
    assert await sync(kept[0], timeout=0) is not None


async def test_the_nack_happens_if_the_thread_is_killed():
    nacks = Nacks()

    async def child():
        await sync(nacks.guard(never), never)

    t = thread(child)
    await sync(idle())
    t.kill()
    assert await nacks.happened() == [True]


async def test_the_nack_happens_if_the_thread_is_killed_in_the_maker():
    kept = []

    async def f(nack):
        kept.append(nack)
        await sync(never)

    async def child():
        await sync(nack_guard(f))

    t = thread(child)
    await sync(idle())
    t.kill()
    assert await sync(kept[0], timeout=0) is not None


async def test_the_nack_happens_if_a_broken_thread_leaves_the_sync():
    nacks = Nacks()

    async def child():
        try:
            await sync(nacks.guard(never))
        except KeyboardInterrupt:
            return "left"

    t = thread(child)
    await sync(idle())
    t.break_()
    assert await t.join() == "left"
    assert await nacks.happened() == [True]


async def test_the_nack_does_not_happen_while_the_sync_waits():
    nacks = Nacks()

    async def child():
        await sync(nacks.guard(never))

    thread(child)
    await sync(idle())
    assert await nacks.happened() == [False]


async def test_the_nack_does_not_happen_if_a_suspended_sync_goes_on():
    nacks, ch = Nacks(), Channel()

    async def child():
        return await sync(nacks.guard(ch))

    t = thread(child)
    await sync(idle())
    t.suspend()
    t.resume()
    assert await nacks.happened() == [False]
    await ch.put(1)
    assert await t.join() == 1
    assert await nacks.happened() == [False]


async def test_the_nack_never_happens_once_the_event_was_chosen_though_its_function_raises():
    nacks = Nacks()

    def f(value):
        raise ValueError

    with pytest.raises(ValueError):
        await sync(nacks.guard(always).wrap(f))
    assert await nacks.happened() == [False]


async def test_the_nack_has_happened_before_the_function_of_the_chosen_event_is_called():
    nacks = Nacks()

    async def f(_):
        return await nacks.happened()

    assert await sync(nacks.guard(never), always.wrap(f)) == [True]


async def test_a_nack_is_an_event_that_stays_ready():
    nacks = Nacks()
    await sync(nacks.guard(never), timeout=0)
    for _ in range(3):
        assert await sync(nacks.nacks[0], timeout=0) is not None


async def test_a_thread_that_waits_for_the_nack_is_woken():
    log, ch = [], Channel()

    def serve(nack):
        async def server():
            await sync(nack.wrap(lambda _: log.append("nack")), never)

        thread(server)
        return never

    async def child():
        await sync(nack_guard(serve), ch)

    t = thread(child)
    await sync(idle())
    assert log == []
    await ch.put(1)
    await t.join()
    await sync(idle())
    assert log == ["nack"]


async def test_each_sync_has_a_nack_of_its_own():
    nacks = Nacks()
    evt = nacks.guard(always)
    await sync(evt)
    await sync(evt)
    assert nacks.nacks[0] is not nacks.nacks[1]


async def test_of_several_nack_guards_all_but_the_chosen_ones_nack():
    nacks, ch = Nacks(), Channel()
    thread(ch.put, 1)
    await sync(nacks.guard(never), nacks.guard(ch), nacks.guard(never))
    assert await nacks.happened() == [True, False, True]


async def test_nested_nack_guards_around_the_chosen_event_do_not_nack():
    nacks = Nacks()
    await sync(nacks.guard(nacks.guard(always)), nacks.guard(never))
    assert await nacks.happened() == [False, False, True]


async def test_an_inner_nack_happens_if_its_sibling_is_chosen():
    nacks = Nacks()
    await sync(nacks.guard(choice(always, nacks.guard(never))))
    assert await nacks.happened() == [False, True]


async def test_one_guard_in_two_branches_has_two_nacks():
    nacks, ch = Nacks(), Channel()
    thread(ch.put, 1)
    evt = nacks.guard(ch)
    await sync(idle())
    await sync(evt, evt)
    assert sorted(await nacks.happened()) == [False, True]


async def test_a_nack_guard_that_gives_no_event_is_ready_with_itself():
    evt = nack_guard(lambda nack: 1)
    assert await sync(evt) is evt


async def test_an_async_nack_guard_is_awaited():
    async def f(nack):
        await sleep(0)
        return always

    assert await sync(nack_guard(f)) is always


async def test_the_nack_of_a_guard_whose_event_is_its_own_nack_does_not_happen_by_itself():
    assert await sync(nack_guard(lambda nack: nack), timeout=0.001) is None


# -- poll_guard ------------------------------------------------------------------------------------


async def test_poll_guard_is_told_that_a_sync_only_polls():
    told = []

    def f(polling):
        told.append(polling)
        return always

    evt = poll_guard(f)
    await sync(evt)
    await sync(evt, timeout=10)
    await sync(evt, timeout=0)
    await sync(evt, timeout=lambda: None)
    assert told == [False, False, True, True]


async def test_poll_guard_within_other_events_is_told_too():
    told = []

    def f(polling):
        told.append(polling)
        return never

    await sync(choice(guard(lambda: poll_guard(f))).wrap(id), timeout=0)
    assert told == [True]


async def test_a_poll_guard_that_gives_no_event_is_ready_with_itself():
    evt = poll_guard(lambda polling: None)
    assert await sync(evt, timeout=0) is evt


async def test_an_async_poll_guard_is_awaited():
    async def f(polling):
        await sleep(0)
        return always

    assert await sync(poll_guard(f), timeout=0) is always


async def test_a_guarded_event_is_consumed_only_if_it_is_chosen():
    for _ in range(20):
        sem = Semaphore(1)
        got = await sync(guard(lambda sem=sem: sem), always)
        assert sem.count == (0 if got is sem else 1)
