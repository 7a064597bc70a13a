"""SPEC §5: ``replace``."""

import pytest

from rtsync import (
    AsyncChannel,
    Channel,
    Semaphore,
    always,
    choice,
    guard,
    idle,
    nack_guard,
    never,
    sleep,
    sync,
    thread,
)


async def test_sync_goes_on_with_the_event_that_the_function_gives():
    one, two = Channel(), Channel()
    thread(one.put, "first")
    thread(two.put, "second")
    got = []

    def f(value):
        got.append(value)
        return two

    assert await sync(one.replace(f)) == "second"
    assert got == ["first"]


async def test_the_function_is_not_called_before_the_event_is_ready():
    assert await sync(never.replace(lambda _: pytest.fail("called")), timeout=0.001) is None


async def test_what_was_consumed_stays_consumed_even_when_another_event_wins():
    sem, other = Semaphore(1), Channel()

    async def child():
        return await sync(sem.replace(lambda _: never), other)

    t = thread(child)
    await sync(idle())
    assert sem.count == 0
    await other.put("other")
    assert await t.join() == "other"
    assert sem.count == 0


async def test_what_was_consumed_stays_consumed_when_the_timeout_passes():
    sem = Semaphore(1)
    assert await sync(sem.replace(lambda _: never), timeout=0.001) is None
    assert sem.count == 0


async def test_the_other_events_stay_in_the_game_while_it_waits_for_the_second():
    one, two, other = Channel(), Channel(), Channel()

    async def child():
        return await sync(one.replace(lambda _: two), other)

    t = thread(child)
    await one.put(1)
    await sync(idle())
    assert not t.dead
    await two.put("second")
    assert await t.join() == "second"


async def test_the_replaced_event_is_not_waited_for_again():
    sem = Semaphore(1)

    async def child():
        return await sync(sem.replace(lambda _: never))

    t = thread(child)
    await sync(idle())
    sem.post()
    await sync(idle())
    assert sem.count == 1
    assert not t.dead


async def test_the_wraps_around_it_apply_to_the_second_result():
    ch = Channel()
    thread(ch.put, 1)
    evt = always.replace(lambda _: ch.wrap(lambda v: [v, "inner"])).wrap(lambda v: [*v, "outer"])
    assert await sync(evt) == [1, "inner", "outer"]


async def test_the_wraps_inside_it_apply_to_what_the_function_gets():
    got = []

    def f(value):
        got.append(value)
        return always

    await sync(always.wrap(lambda _: "wrapped").replace(f))
    assert got == ["wrapped"]


async def test_replaces_chain():
    evt = always.replace(lambda _: always.replace(lambda _: always.wrap(lambda _: "end")))
    assert await sync(evt) == "end"


async def test_a_replace_of_a_replace():
    got = []

    def f(value):
        got.append(value)
        return always.wrap(lambda _: "from f")

    def g(value):
        got.append(value)
        return always.wrap(lambda _: "from g")

    assert await sync(always.replace(f).replace(g)) == "from g"
    assert got == [always, "from f"]


async def test_an_async_function_is_awaited():
    async def f(value):
        await sleep(0)
        return always

    assert await sync(always.replace(f)) is always


async def test_a_function_that_gives_no_event_makes_it_ready_with_itself():
    evt = always.replace(lambda _: 3)
    assert await sync(evt) is evt
    assert await sync(evt.wrap(lambda v: [v])) == [evt]


async def test_an_exception_of_the_function_comes_out_of_sync():
    def f(value):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await sync(always.replace(f))


async def test_a_replacement_may_be_a_guard():
    assert await sync(always.replace(lambda _: guard(lambda: always.wrap(lambda _: 1)))) == 1


async def test_a_replacement_may_be_a_choice():
    ch = Channel()
    thread(ch.put, 1)
    assert await sync(always.replace(lambda _: choice(never, ch))) == 1


async def test_a_choice_can_be_replaced():
    ch = AsyncChannel()
    await ch.put(1)
    evt = choice(never, ch).replace(lambda v: always.wrap(lambda _: v + 1))
    assert await sync(evt) == 2


async def test_only_one_of_a_choice_is_replaced():
    one, two, given = Semaphore(1), Semaphore(1), []

    def f(value):
        given.append(value)
        return never

    assert await sync(choice(one, two).replace(f), timeout=0.001) is None
    assert given == [two if one.count else one]
    assert one.count + two.count == 1


async def test_the_rest_of_a_replaced_choice_is_not_waited_for():
    sem, ch = Semaphore(1), Channel()

    async def child():
        await sync(choice(sem, ch).replace(lambda _: never), never)

    t = thread(child)
    await sync(idle())
    assert await sync(ch.put_evt(1), timeout=0) is None
    assert not t.dead


async def test_a_poll_of_a_replace_whose_first_event_is_ready_and_second_not():
    sem = Semaphore(1)
    assert await sync(sem.replace(lambda _: never), timeout=0, default="no") == "no"
    assert sem.count == 0


async def test_a_poll_of_a_replace_whose_both_events_are_ready():
    sem = Semaphore(1)
    assert await sync(sem.replace(lambda _: always), timeout=0) is always


async def test_the_nacks_of_others_do_not_happen_when_only_the_first_event_was_ready():
    kept, two = [], Channel()

    def f(nack):
        kept.append(nack)
        return never

    async def child():
        return await sync(always.replace(lambda _: two), nack_guard(f))

    t = thread(child)
    await sync(idle())
    assert await sync(kept[0], timeout=0) is None
    await two.put(1)
    await t.join()
    assert await sync(kept[0], timeout=0) is not None


async def test_the_nack_around_a_replaced_event_happens_when_another_wins():
    kept, other = [], Channel()

    def f(nack):
        kept.append(nack)
        return always.replace(lambda _: never)

    async def child():
        return await sync(nack_guard(f), other)

    t = thread(child)
    await sync(idle())
    assert await sync(kept[0], timeout=0) is None
    await other.put(1)
    await t.join()
    assert await sync(kept[0], timeout=0) is not None


async def test_the_nack_around_a_replaced_event_does_not_happen_when_the_second_is_chosen():
    kept = []

    def f(nack):
        kept.append(nack)
        return always.replace(lambda _: always)

    await sync(nack_guard(f), never)
    assert await sync(kept[0], timeout=0) is None


def keeps(kept, name, evt):
    """``evt`` in a guard that leaves its nack in ``kept``."""

    def f(nack):
        kept[name] = nack
        return evt

    return nack_guard(f)


async def happened(kept):
    return {name for name, nack in kept.items() if await sync(nack, timeout=0) is not None}


@pytest.mark.parametrize("outcome", ["nothing", "another", "second", "raises"])
async def test_the_nack_of_what_is_replaced_does_not_happen_and_those_beside_it_do_at_once(outcome):
    kept, at_once, other = {}, [], AsyncChannel()

    async def f(value):
        at_once.append(await happened(kept))
        if outcome == "another":
            await other.put(1)
        if outcome == "raises":
            raise KeyError("mine")
        return always if outcome == "second" else never

    inner = choice(keeps(kept, "taken", Semaphore(1)), keeps(kept, "beside", never))
    try:
        await sync(keeps(kept, "around", inner.replace(f)), other, timeout=0.001)
    except KeyError:
        pass
    assert at_once == [{"beside"}]
    assert await happened(kept) == ({"beside"} if outcome == "second" else {"beside", "around"})


async def test_the_nacks_of_a_replace_in_a_replace():
    kept = {}
    first = keeps(kept, "first", always).replace(lambda _: keeps(kept, "second", always))
    assert await sync(first.replace(lambda _: keeps(kept, "third", never)), timeout=0.001) is None
    assert await happened(kept) == {"third"}


async def test_one_replace_twice_in_a_sync_is_two():
    sem = Semaphore(2)
    evt = sem.replace(lambda _: never)
    assert await sync(evt, evt, timeout=0.001) is None
    assert sem.count == 0


async def test_replace_may_put_and_then_wait_for_an_answer():
    ask, answer = Channel(), Channel()

    async def server():
        n = await ask.get()
        await answer.put(n * 2)

    thread(server)
    assert await sync(ask.put_evt(21).replace(lambda _: answer)) == 42


async def test_a_thread_killed_after_the_first_event_leaves_the_second():
    two = Channel()

    async def child():
        await sync(always.replace(lambda _: two))

    t = thread(child)
    await sync(idle())
    t.kill()
    assert await sync(two.put_evt(1), timeout=0) is None
