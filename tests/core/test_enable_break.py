"""SPEC §6: the ``*_enable_break`` operations, with their either-or guarantee, and break parameterizations."""

import pytest

from rtsync import (
    AsyncChannel,
    Break,
    BreakParameterization,
    BreakTerminate,
    Channel,
    Semaphore,
    after,
    always,
    block_on,
    break_enabled,
    breaks,
    call,
    choice,
    current_break_parameterization,
    current_thread,
    guard,
    idle,
    nack_guard,
    never,
    racket,
    sleep,
    sync,
    thread,
)
from rtsync.testing import run_deterministic

WAITS = {
    "Semaphore.wait_enable_break": lambda: Semaphore().wait_enable_break(),
    "sync(enable_break=True)": lambda: sync(Channel(), Semaphore(), enable_break=True),
    "the same with a timeout": lambda: sync(Channel(), timeout=1000, enable_break=True),
    "the same with a guard": lambda: sync(guard(Channel), enable_break=True),
    "semaphore_wait_enable_break": lambda: racket.semaphore_wait_enable_break(Semaphore()),
    "sync_enable_break": lambda: racket.sync_enable_break(Channel()),
    "sync_timeout_enable_break": lambda: racket.sync_timeout_enable_break(1000, Channel()),
    "call_with_semaphore_enable_break": lambda: racket.call_with_semaphore_enable_break(
        Semaphore(), lambda: None
    ),
}


@pytest.mark.parametrize("name", WAITS)
async def test_a_break_gets_through_to_the_wait_although_breaks_are_disabled(name):
    async def child():
        with breaks(False):
            try:
                await WAITS[name]()
            except Break:
                return break_enabled()

    t = thread(child)
    await sync(idle())
    t.break_()
    assert await t.join() is False  # disabled again where it was caught


@pytest.mark.parametrize("name", WAITS)
async def test_the_same_in_an_os_backed_thread(name):
    def child():
        with breaks(False):
            try:
                block_on(WAITS[name]())
            except Break:
                return break_enabled()

    t = thread(child)
    while not t.waiter:
        await sleep(0)
    t.break_()
    assert await t.join() is False


@pytest.mark.parametrize("name", WAITS)
async def test_a_break_that_was_pending_is_raised_at_once(name):
    async def child():
        with breaks(False):
            current_thread().break_("terminate")
            with pytest.raises(BreakTerminate):
                await WAITS[name]()
            return break_enabled()

    assert await thread(child).join() is False


async def test_a_pending_break_is_raised_rather_than_a_ready_event_taken():
    sem, ch = Semaphore(1), AsyncChannel()
    await ch.put("value")
    with breaks(False):
        for op in (
            lambda: sem.wait_enable_break(),
            lambda: sync(sem, ch, enable_break=True),
            lambda: racket.call_with_semaphore_enable_break(sem, lambda: 1, lambda: 2),
        ):
            current_thread().break_()
            with pytest.raises(Break):
                await op()
    assert sem.count == 1
    assert await ch.get() == "value"


async def test_without_a_break_they_do_what_their_twins_do():
    sem = Semaphore(1)
    assert await sem.wait_enable_break() is None
    assert sem.count == 0
    assert await sync(always, enable_break=True) is always
    assert await sync(never, timeout=0, default="none", enable_break=True) == "none"
    assert await sync(never, timeout=lambda: "late", enable_break=True) == "late"
    assert await racket.sync_enable_break(choice(never, always)) is always
    assert await racket.sync_timeout_enable_break(0.001, never) is None
    assert await racket.call_with_semaphore_enable_break(sem, print, lambda: "no unit") == "no unit"
    sem.post()
    assert await racket.call_with_semaphore_enable_break(sem, lambda x: x + sem.count, None, 5) == 5
    assert sem.count == 1


async def test_breaks_stay_disabled_in_the_procedure_and_in_handlers():
    sem, seen = Semaphore(1), []
    with breaks(False):
        await racket.call_with_semaphore_enable_break(sem, lambda: seen.append(break_enabled()))
        await sync(always.handle(lambda _: seen.append(break_enabled())), enable_break=True)
        await sync(always.wrap(lambda _: seen.append(break_enabled())), enable_break=True)
        await sync(always.replace(lambda _: (seen.append(break_enabled()), always)[1]), enable_break=True)
        await sync(never, timeout=lambda: seen.append(break_enabled()), enable_break=True)
    assert seen == [False] * 5


async def test_a_guard_that_blocks_can_be_broken():
    denied = []

    async def slow(nack):
        denied.append(nack)
        await Channel().get()

    async def child():
        with breaks(False):
            await sync(nack_guard(slow), enable_break=True)

    t = thread(child)
    await sync(idle())
    t.break_()
    with pytest.raises(Break):
        await t.join()
    assert await sync(denied[0], timeout=0) is denied[0]


async def test_a_break_where_they_are_enabled_anyway_comes_as_ever():
    async def child():
        await Semaphore().wait_enable_break()

    t = thread(child)
    await sync(idle())
    t.break_()
    with pytest.raises(Break):
        await t.join()


# -- either or -------------------------------------------------------------------------------------


async def either_or(wait):
    """A thread waits by ``wait(semaphore)`` with breaks disabled, while one posts and one breaks: what came
    out of it, whether a break was still pending, and the count that is left."""
    sem, inside, over = Semaphore(), Semaphore(), Semaphore()

    async def child():
        with breaks(False):
            inside.post()
            inside.post()
            try:
                await wait(sem)
            except Break:
                outcome = "broken"
            else:
                outcome = "taken"
            await over.wait()
            await over.wait()
            try:
                with breaks(True):
                    pass
            except Break:
                return outcome, True
            return outcome, False

    async def breaker():
        await inside.wait()
        t.break_()
        over.post()

    async def poster():
        await inside.wait()
        sem.post()
        over.post()

    t = thread(child)
    for other in (thread(breaker), thread(poster)):
        await other.join()
    outcome, pending = await t.join()
    return outcome, pending, sem.count


FORMS = {
    "semaphore": lambda sem: sem.wait_enable_break(),
    "sync": lambda sem: sync(sem, enable_break=True),
    "sync of two": lambda sem: sync(never, sem, Channel(), enable_break=True),
    "sync with timeout": lambda sem: sync(sem, timeout=1000, enable_break=True),
    "sync with handler": lambda sem: sync(sem.handle(lambda s: s), enable_break=True),
    "sync with wrap": lambda sem: sync(choice(sem.wrap(lambda s: s), Channel()), enable_break=True),
}


@pytest.mark.rtsync(seeds=60)
@pytest.mark.parametrize("form", FORMS)
async def test_either_the_operation_happens_or_the_break_is_raised(form):
    outcome, pending, count = await either_or(FORMS[form])
    # Once: the break was raised there and the unit is still there; or the unit was taken, and the break came
    # after that, where the thread allowed it.
    assert (outcome, count) in [("broken", 1), ("taken", 0)]
    assert pending is (outcome == "taken")


@pytest.mark.rtsync(workers=2, runs=30)
@pytest.mark.parametrize("form", FORMS)
async def test_the_same_on_real_workers(form):
    outcome, pending, count = await either_or(FORMS[form])
    assert (outcome, count) in [("broken", 1), ("taken", 0)]
    assert pending is (outcome == "taken")


def test_both_outcomes_occur():
    seen = {run_deterministic(either_or, FORMS["semaphore"], seed=seed)[0] for seed in range(60)}
    assert seen == {"broken", "taken"}


async def test_a_unit_handed_over_before_the_break_is_kept():
    sem = Semaphore()

    async def child():
        with breaks(False):
            await sem.wait_enable_break()
        return "not reached"

    async def both():
        sem.post()  # claims the waiter
        t.break_()  # comes too late for the wait

    t = thread(child)
    await sync(idle())
    await thread(both).join()
    with pytest.raises(Break):
        await t.join()
    assert sem.count == 0


# -- break parameterizations -------------------------------------------------------------------------


async def test_a_parameterization_says_whether_breaks_are_enabled():
    with breaks(False):
        off = current_break_parameterization()
    assert isinstance(off, BreakParameterization)
    assert racket.is_break_parameterization(off)
    assert not racket.is_break_parameterization(False)
    assert break_enabled()
    with breaks(off):
        assert not break_enabled()
    assert break_enabled()


async def test_it_is_the_value_itself_in_its_own_thread():
    with breaks(False):
        here = current_break_parameterization()
        with breaks(True):
            with breaks(here):
                break_enabled(True)
        assert break_enabled()
    with breaks(here):
        assert break_enabled()


async def test_another_thread_has_a_value_of_its_own():
    with breaks(False):
        here = current_break_parameterization()
        break_enabled(True)

    async def child():
        with breaks(here):
            first = break_enabled()
            break_enabled(True)
        with breaks(here):
            return first, break_enabled()

    assert await thread(child).join() == (False, True)
    with breaks(False), breaks(here):
        assert break_enabled()


async def test_call_with_break_parameterization():
    with breaks(False):
        off = current_break_parameterization()
    assert await racket.call_with_break_parameterization(off, break_enabled) is False

    async def later():
        await sleep(0)
        return break_enabled()

    assert await racket.call_with_break_parameterization(off, later) is False
    assert break_enabled()


async def test_leaving_it_raises_what_was_pending():
    with breaks(False):
        off = current_break_parameterization()

    async def thunk():
        current_thread().break_()

    with pytest.raises(Break):
        await racket.call_with_break_parameterization(off, thunk)
    await call(lambda: None)


async def test_a_waiter_that_was_broken_leaves_the_queue():
    sem = Semaphore()

    async def child():
        with breaks(False):
            await sync(sem, after(1000), enable_break=True)

    t = thread(child)
    await sync(idle())
    t.break_()
    with pytest.raises(Break):
        await t.join()
    sem.post()
    assert sem.count == 1


async def test_breaks_are_enabled_in_the_guards_of_what_replaces_an_event():
    def makes():
        seen.append(break_enabled())
        return always

    seen = []
    with breaks(False):
        await sync(always.replace(lambda _: guard(makes)), enable_break=True)
        await sync(always.replace(lambda _: guard(makes)))
    assert seen == [True, False]


def test_outside_a_runtime_the_operations_work_too():
    sem = Semaphore(1)
    block_on(sem.wait_enable_break())
    assert sem.count == 0
    assert block_on(sync(always, enable_break=True)) is always
