"""SPEC §5: `sync` itself, `choice`, `always`, `never`, timeouts and polling."""

import pytest

import rtsync
from rtsync import (
    AsyncChannel,
    Channel,
    Evt,
    NoRuntime,
    Semaphore,
    after,
    always,
    block_on,
    choice,
    guard,
    idle,
    is_evt,
    never,
    sleep,
    sync,
    thread,
)

# -- what is an event ------------------------------------------------------------------------------


async def test_what_is_an_event():
    t = thread(Channel().get)
    for evt in (
        always,
        never,
        idle(),
        after(1),
        rtsync.at(0),
        t,
        t.dead_evt(),
        Semaphore(),
        Semaphore().peek_evt(),
        Channel(),
        Channel().put_evt(1),
        AsyncChannel(),
        AsyncChannel().put_evt(1),
        rtsync.receive_evt(),
        choice(),
        always.wrap(id),
        always.handle(id),
        always.replace(id),
        guard(id),
        rtsync.nack_guard(id),
        rtsync.poll_guard(id),
    ):
        assert is_evt(evt)
        assert isinstance(evt, Evt)


class NoMore:
    """As `__hash__` may be ``None`` to say that instances are not hashable."""

    __evt__ = None


@pytest.mark.parametrize("value", [None, 1, "x", [], len, object(), Channel, Evt, NoMore()])
def test_what_is_no_event(value):
    assert not is_evt(value)


# -- sync ------------------------------------------------------------------------------------------


async def test_always_is_ready_with_itself():
    assert await sync(always) is always
    assert await sync(always, timeout=0) is always


async def test_never_is_never_ready():
    assert await sync(never, timeout=0) is None
    assert await sync(never, timeout=0.001) is None


async def test_sync_of_one_ready_among_many():
    assert await sync(never, Channel(), always, Semaphore()) is always


async def test_sync_without_events_blocks_for_ever():
    async def child():
        await sync()

    t = thread(child)
    await sync(idle())
    assert not t.dead


async def test_sync_without_events_but_with_a_timeout():
    assert await sync(timeout=0) is None
    assert await sync(timeout=0.001) is None


async def test_sync_takes_the_first_event_that_becomes_ready():
    one, two = Channel(), Channel()

    async def child():
        return await sync(one, two)

    t = thread(child)
    await sync(idle())
    await two.put("second")
    assert await t.join() == "second"


async def test_sync_consumes_exactly_one_event():
    sems = [Semaphore(1) for _ in range(5)]
    for left in range(4, -1, -1):
        await sync(*sems)
        assert sum(sem.count for sem in sems) == left


async def test_sync_may_be_awaited_later_and_does_nothing_before():
    sem = Semaphore(1)
    later = sync(sem)
    assert sem.count == 1
    assert await later is sem


async def test_sync_on_hundreds_of_events():
    channels = [Channel() for _ in range(300)]

    async def child():
        return await sync(*channels)

    t = thread(child)
    await sync(idle())
    await channels[123].put("value")
    assert await t.join() == "value"


async def test_after_a_sync_nothing_is_left_in_the_queues_of_the_others():
    one, two, three = Channel(), Channel(), Channel()

    async def child():
        await sync(one, two, three.put_evt(1))

    t = thread(child)
    await sync(idle())
    await one.put(1)
    await t.join()
    assert await sync(two.put_evt(1), timeout=0) is None
    assert three.try_get("nothing") == "nothing"


async def test_crossed_syncs_do_not_deadlock():
    one, two = Channel(), Channel()

    async def left():
        for _ in range(50):
            await sync(one, two)

    async def right():
        for _ in range(50):
            await sync(two.put_evt(2), one.put_evt(1))

    threads = [thread(left), thread(right), thread(left), thread(right)]
    for t in threads:
        await t.join()


def test_sync_outside_a_runtime_says_how_to_start_one():
    with pytest.raises(NoRuntime, match=r"sync: .*rtsync\.run"):
        sync(always).send(None)


# -- choice ----------------------------------------------------------------------------------------


async def test_choice_is_ready_when_one_of_its_events_is():
    assert await sync(choice(never, always)) is always


async def test_an_empty_choice_is_never_ready():
    assert await sync(choice(), timeout=0) is None
    assert await sync(choice(), always) is always


async def test_choices_nest():
    ch = Channel()
    thread(ch.put, 1)
    assert await sync(choice(never, choice(choice(), choice(ch)))) == 1


async def test_a_choice_may_be_built_up_piece_by_piece():
    evt = choice()
    for _ in range(3000):
        evt = choice(evt, never)
    assert await sync(choice(evt, always)) is always


async def test_a_choice_may_be_used_again_and_by_several_threads():
    one, two = Channel(), Channel()
    both = choice(one, two)

    async def child():
        return await sync(both)

    a, b = thread(child), thread(child)
    await one.put(1)
    await two.put(2)
    assert sorted([await a.join(), await b.join()]) == [1, 2]
    thread(one.put, 3)
    assert await sync(both) == 3


async def test_a_wrap_around_a_choice_applies_to_whichever_is_chosen():
    one, two = Channel(), Channel()
    evt = choice(one, two).wrap(lambda v: ("wrapped", v))
    thread(two.put, 2)
    assert await sync(evt) == ("wrapped", 2)
    thread(one.put, 1)
    assert await sync(evt) == ("wrapped", 1)


async def test_every_ready_event_is_chosen_sooner_or_later():
    got = set()
    for _ in range(2000):
        got.add(await sync(*(always.wrap(lambda _, n=n: n) for n in range(5))))
        if len(got) == 5:
            break
    assert got == set(range(5))


async def test_every_ready_channel_is_chosen_sooner_or_later():
    channels = [AsyncChannel() for _ in range(3)]
    for n, ch in enumerate(channels):
        for _ in range(500):
            await ch.put(n)
    got = set()
    for _ in range(500):
        got.add(await sync(*channels))
        if len(got) == 3:
            break
    assert got == {0, 1, 2}


# -- timeouts --------------------------------------------------------------------------------------


async def test_a_timeout_gives_none_when_it_has_passed():
    assert await sync(never, timeout=0.001) is None


async def test_a_timeout_gives_the_default_when_it_has_passed():
    assert await sync(never, timeout=0.001, default="late") == "late"
    assert await sync(never, timeout=0, default="late") == "late"


async def test_a_timeout_that_does_not_pass():
    ch = Channel()
    thread(ch.put, "in time")
    assert await sync(ch, timeout=1000, default="late") == "in time"


async def test_an_event_that_is_ready_wins_against_a_timeout_of_zero():
    assert await sync(always, timeout=0) is always
    assert await sync(always, timeout=0.0) is always


async def test_timeout_none_waits_for_ever():
    async def child():
        await sync(never, timeout=None)

    t = thread(child)
    await sync(idle())
    assert not t.dead


async def test_an_infinite_timeout_waits_for_ever():
    async def child():
        await sync(never, timeout=float("inf"))

    t = thread(child)
    await sync(idle())
    assert not t.dead


async def test_a_huge_timeout_is_no_error():
    ch = Channel()
    thread(ch.put, 1)
    await sync(idle())
    assert await sync(ch, timeout=1e300) == 1

    async def child():
        await sync(never, timeout=1e300)

    t = thread(child)
    await sync(idle())
    t.kill()


@pytest.mark.rtsync(seeds=5)
async def test_an_integer_timeout():
    assert await sync(never, timeout=1, default="late") == "late"


async def test_a_function_as_timeout_is_called_when_nothing_is_ready():
    assert await sync(never, timeout=lambda: "called") == "called"


async def test_a_function_as_timeout_is_not_called_when_something_is_ready():
    assert await sync(always, timeout=lambda: pytest.fail("called")) is always


async def test_an_async_function_as_timeout_is_awaited():
    async def f():
        await sleep(0)
        return "called"

    assert await sync(never, timeout=f) == "called"


async def test_what_the_timeout_function_raises_comes_out_of_sync():
    def f():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await sync(never, timeout=f)


async def test_the_result_of_an_event_may_be_none_and_is_no_timeout():
    ch = Channel()
    thread(ch.put, None)
    await sync(idle())
    assert await sync(ch, timeout=1000, default="late") is None


async def test_after_a_timeout_nothing_is_left_in_the_queues():
    ch = Channel()
    assert await sync(ch, ch.put_evt(1), timeout=0.001) is None
    assert ch.try_get("nothing") == "nothing"
    assert await sync(ch.put_evt(1), timeout=0) is None


@pytest.mark.rtsync(seeds=20)
async def test_a_timeout_lasts_as_long_as_it_says():
    runtime = rtsync.current_thread().runtime
    for seconds in (1, 0.5, 0.25, 3600, 1e6):
        start = runtime.now()
        await sync(never, timeout=seconds)
        assert runtime.now() == start + seconds


@pytest.mark.rtsync(seeds=20)
async def test_the_shorter_of_two_waits_wins():
    assert await sync(after(2).wrap(lambda _: "alarm"), timeout=1) is None
    assert await sync(after(1).wrap(lambda _: "alarm"), timeout=2) == "alarm"


async def test_in_an_os_backed_thread_sync_does_the_same():
    ch = Channel()

    def child():
        return [
            block_on(sync(never, timeout=0.001)),
            block_on(sync(never, timeout=0, default="late")),
            block_on(sync(never, timeout=lambda: "called")),
            block_on(sync(ch, timeout=1000)),
            block_on(choice(never, always)),
        ]

    t = thread(child)
    await ch.put("value")
    assert await t.join() == [None, "late", "called", "value", always]


# -- exceptions ------------------------------------------------------------------------------------


async def test_an_exception_during_a_sync_leaves_all_queues():
    ch = Channel()

    def explode():
        raise ValueError("guard")

    with pytest.raises(ValueError, match="guard"):
        await sync(ch, ch.put_evt(1), guard(explode))
    assert ch.try_get("nothing") == "nothing"
    assert await sync(ch.put_evt(1), timeout=0) is None


async def test_a_foreign_awaitable_is_refused_where_it_is_awaited():
    class Foreign:
        def __await__(self):
            yield "something"

    with pytest.raises(TypeError, match=r"await: .*str.*cannot wait"):
        await Foreign()
    assert await sync(always) is always


async def test_a_thread_that_awaits_a_foreign_awaitable_fails_alone():
    class Foreign:
        def __await__(self):
            yield 1

    async def child():
        await Foreign()

    rtsync.uncaught_exception_handler(lambda thread, error: None)
    with pytest.raises(TypeError, match="await"):
        await thread(child).join()


async def test_a_foreign_awaitable_is_refused_in_an_os_backed_thread_too():
    class Foreign:
        def __await__(self):
            yield 1

    async def wait():
        await Foreign()

    def child():
        with pytest.raises(TypeError, match="await"):
            block_on(wait())

    await thread(child).join()


@pytest.mark.parametrize(
    "deeper", ["wrap", "handle", "replace", "choice", "guard", "choice of wraps", "choice of guards"]
)
async def test_events_may_be_nested_at_any_depth(deeper):
    """No recursion, and no time that grows with the square."""
    many = 30_000
    nest = {
        "wrap": lambda e: e.wrap(add),
        "handle": lambda e: e.handle(add),
        "replace": lambda e: e.replace(count),
        "choice": lambda e: choice(never, e),
        "guard": lambda e: guard(lambda: e),
        "choice of wraps": lambda e: choice(never, e.wrap(add), never),
        "choice of guards": lambda e: choice(never, guard(lambda: e)),
    }[deeper]

    def add(n):
        return n + 1

    def count(n):
        return always.wrap(lambda _: n + 1)

    evt = always.wrap(lambda _: 0)
    for _ in range(many):
        evt = nest(evt)
    assert await sync(evt) == (0 if deeper in ("choice", "guard", "choice of guards") else many)
