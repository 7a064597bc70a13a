"""SPEC §7: custodians."""

import gc
import os
import threading
import weakref
from contextlib import suppress

import pytest

from rtsync import (
    Channel,
    ContractError,
    Custodian,
    CustodianBox,
    NoRuntime,
    ParallelThreadPool,
    Semaphore,
    ThreadGroup,
    ThreadKilled,
    block_on,
    call_in_nested_thread,
    current_custodian,
    current_thread,
    idle,
    parameterize,
    sleep,
    sync,
    thread,
    to_os_thread,
    uncaught_exception_handler,
)
from rtsync.errors import ShutDown
from rtsync.ports import open_input
from tests.collecting import collected


def blocked(custodian):
    with custodian:
        return thread(Channel().get)


def blocked_plainly(custodian):
    with custodian:
        return thread(lambda: block_on(Channel().get()))


# -- what is managed -------------------------------------------------------------------------------------


async def test_threads_are_managed_by_the_custodian_that_is_current_where_they_are_made():
    mine, custodian = current_custodian(), Custodian()
    t = blocked(custodian)
    assert custodian.managed_list() == [t]
    assert t not in mine.managed_list()
    assert custodian in mine.managed_list()
    assert await thread(current_custodian).join() is mine


async def test_a_thread_inherits_the_current_custodian():
    custodian = Custodian()

    async def child():
        return current_custodian(), await thread(current_custodian).join()

    with custodian:
        t = thread(child)
    assert await t.join() == (custodian, custodian)


async def test_the_current_custodian_is_a_parameter():
    mine, custodian = current_custodian(), Custodian()
    with parameterize(current_custodian, custodian):
        assert current_custodian() is custodian
    assert current_custodian() is mine

    async def child():
        current_custodian(custodian)
        return current_custodian()

    assert await thread(child).join() is custodian
    assert current_custodian() is mine


async def test_what_has_ended_is_not_listed():
    custodian = Custodian()
    with custodian:
        done = thread(sleep)
    await done.join()
    left = blocked(custodian)
    assert custodian.managed_list() == [left]


async def test_what_is_gone_is_not_listed():
    custodian = Custodian()
    blocked(custodian)
    for _ in range(10):
        await sync(idle())
        gc.collect()
        if not custodian.managed_list():
            break
    assert custodian.managed_list() == []


async def test_the_list_has_what_the_custodian_itself_manages_and_its_subordinates():
    custodian = Custodian()
    below = Custodian(custodian)
    deeper = Custodian(below)
    mine, others = blocked(custodian), blocked(below)
    assert set(custodian.managed_list()) == {mine, below}
    assert set(below.managed_list()) == {others, deeper}


# -- shutting down ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [blocked, blocked_plainly])
async def test_a_shutdown_kills_the_threads(make):
    custodian = Custodian()
    threads = [make(custodian) for _ in range(3)]
    await sync(idle())
    custodian.shutdown_all()
    for t in threads:
        with pytest.raises(ThreadKilled):
            await t.join()


async def test_subordinates_go_with_it_at_any_depth():
    custodian = Custodian()
    below = Custodian(custodian)
    deeper = Custodian(below)
    threads = [blocked(c) for c in (custodian, below, deeper)]
    custodian.shutdown_all()
    assert all(t.dead for t in threads)
    assert below.is_shut_down
    assert deeper.is_shut_down


async def test_superiors_and_siblings_stay():
    above = Custodian()
    custodian, sibling = Custodian(above), Custodian(above)
    threads = [blocked(above), blocked(sibling)]
    custodian.shutdown_all()
    assert all(t.running for t in threads)
    assert not above.is_shut_down
    assert not sibling.is_shut_down
    assert set(above.managed_list()) == {threads[0], sibling}


async def test_who_has_a_custodian_may_shut_it_down():
    one, other = Custodian(), Custodian()
    t = blocked(other)
    await sync(idle())

    async def end():
        other.shutdown_all()

    with one:
        await thread(end).join()
    assert t.dead
    another = Custodian()
    t = blocked(another)
    await thread(another.shutdown_all).join()  # from an OS-backed thread
    assert t.dead


async def test_a_second_shutdown_does_nothing():
    custodian = Custodian()
    custodian.shutdown_all()
    custodian.shutdown_all()
    assert custodian.is_shut_down


async def test_the_caller_goes_last():
    custodian, seen = Custodian(), []

    async def other():
        try:
            await Channel().get()
        finally:
            seen.append("other")

    async def caller():
        try:
            custodian.shutdown_all()
            seen.append("not reached")
        finally:
            seen.append("caller")

    box = CustodianBox(custodian, 1)
    with custodian:
        threads = [thread(other) for _ in range(3)]
        await sync(idle())
        t = thread(caller)
    await t.wait()
    assert seen == ["other"] * 3 + ["caller"]
    assert all(t.dead for t in threads)
    assert box.value is None


async def test_a_subordinate_thread_may_shut_down_its_superior():
    above = Custodian()
    below, t = Custodian(above), None
    with below:
        t = thread(above.shutdown_all)
    await t.wait()
    with pytest.raises(ThreadKilled):
        await t.join()


async def test_a_thread_that_is_suspended_to_kill_is_suspended():
    custodian = Custodian()
    with custodian:
        t = thread(Channel().get, suspend_to_kill=True)
    await sync(idle())
    custodian.shutdown_all()
    assert not t.dead
    assert not t.running
    t.resume()
    assert not t.running  # no custodian manages it
    t.resume(Custodian())
    assert t.running


@pytest.mark.rtsync(workers=2)
async def test_a_shutdown_stops_a_thread_that_computes():
    custodian, begun = Custodian(), []

    async def hog():
        begun.append(True)
        while True:
            pass

    with custodian:
        threads = [thread(hog), thread(lambda: block_on(hog()))]
    while len(begun) < 2:
        await sleep(0)
    custodian.shutdown_all()
    for t in threads:
        await t.wait()


# -- several custodians ----------------------------------------------------------------------------------


async def test_a_thread_of_several_custodians_lives_until_the_last_is_shut_down():
    first, second = Custodian(), Custodian()
    t = blocked(first)
    t.resume(second)
    assert t in second.managed_list()
    first.shutdown_all()
    assert t.running
    second.shutdown_all()
    assert t.dead


async def test_one_shutdown_of_both_kills_it():
    above = Custodian()
    first, second = Custodian(above), Custodian(above)
    t = blocked(first)
    t.resume(second)
    above.shutdown_all()
    assert t.dead


async def test_a_custodian_that_has_been_shut_down_gives_nothing():
    first, second = Custodian(), Custodian()
    t = blocked(first)
    second.shutdown_all()
    t.resume(second)
    first.shutdown_all()
    assert t.dead


# -- afterwards ------------------------------------------------------------------------------------------

CREATE = {
    "thread": lambda: thread(sleep),
    "thread of an OS": lambda: thread(lambda: None),
    "thread in a group": lambda: thread_in_a_group(),
    "Custodian": lambda: Custodian(),
    "CustodianBox": lambda: CustodianBox(current_custodian(), 1),
    "ParallelThreadPool": lambda: ParallelThreadPool(1),
    "call_in_nested_thread": lambda: call_in_nested_thread(sleep),
    "to_os_thread": lambda: to_os_thread(print),
}


async def create(make):
    made = make()  # some are refused here
    await made


def thread_in_a_group():
    with ThreadGroup():
        thread(sleep)


@pytest.mark.parametrize("what", CREATE)
async def test_nothing_is_created_under_a_custodian_that_has_been_shut_down(what):
    custodian = Custodian()
    custodian.shutdown_all()
    # The operation is named.
    with custodian, pytest.raises(ContractError, match=rf"{what.split()[0]}: .*has been shut down"):
        await create(CREATE[what])
    assert custodian.everything() == []


async def test_a_shutdown_at_the_moment_of_a_creation_kills_or_refuses():
    for _ in range(30):
        custodian, made = Custodian(), []

        async def creates(custodian=custodian, made=made):
            with custodian:
                for _ in range(5):
                    made.append(thread(Channel().get))
                    await sleep(0)

        t = thread(creates)
        await sleep(0)
        custodian.shutdown_all()
        try:
            await t.join()
        except ContractError:
            pass
        for other in made:
            await other.wait()


# -- weakness --------------------------------------------------------------------------------------------


async def test_a_custodian_that_has_been_shut_down_is_forgotten_by_its_superior():
    above = Custodian()
    gone = []
    for _ in range(10):
        custodian = Custodian(above)
        gone.append(weakref.ref(custodian))
        custodian.shutdown_all()
    del custodian
    assert collected(lambda: [r() for r in gone] == [None] * 10)
    assert above.managed_list() == []


async def test_a_custodian_that_nobody_has_and_that_manages_nothing_is_collected():
    above = Custodian()
    gone = []
    for _ in range(10):
        custodian = Custodian(Custodian(above))
        gone.append(weakref.ref(custodian))
        with custodian:
            await thread(sleep).wait()
            open_input(os.devnull).close()
            CustodianBox(custodian, 1)
    del custodian
    assert collected(lambda: [r() for r in gone] == [None] * 10)
    assert collected(lambda: above.managed_list() == [])


async def test_what_a_custodian_that_nobody_has_manages_goes_with_the_one_above():
    above = Custodian()
    t = blocked(Custodian(Custodian(above)))
    with Custodian(Custodian(above)):
        port = open_input(os.devnull)
    with Custodian(Custodian(above)):
        pool = ParallelThreadPool(1)
    box = CustodianBox(Custodian(Custodian(above)), 1)
    for _ in range(3):
        gc.collect()
        await sync(idle())
    assert (t.dead, port.closed, pool.closed, box.value) == (False, False, False, 1)
    above.shutdown_all()
    assert (t.dead, port.closed, pool.closed, box.value) == (True, True, True, None)


async def test_who_waits_for_the_shutdown_of_a_custodian_that_nobody_has_is_not_collected():
    above, log = Custodian(), []

    async def waits(box):
        await sync(box)
        log.append("shut down")

    thread(waits, CustodianBox(Custodian(Custodian(above)), 1))
    for _ in range(3):
        await sync(idle())
        gc.collect()
    above.shutdown_all()
    await sync(idle())
    assert log == ["shut down"]


async def test_ten_thousand_custodians_one_under_the_other_are_shut_down():
    above = custodian = Custodian()
    for _ in range(10_000):
        custodian = Custodian(custodian)
    t = blocked(custodian)
    assert above.everything() == [t]
    above.shutdown_all()
    assert t.dead
    assert custodian.is_shut_down


async def test_clean_up_that_the_collector_runs_may_use_the_custodian():
    """Also in the middle of the custodian's own work."""
    custodian, seen = Custodian(), []

    async def dies():
        try:
            await Channel().get()
        finally:
            seen.append(len(custodian.managed_list()))
            # The collector may run in an OS thread of the runtime's own that has no environment.
            with suppress(NoRuntime), custodian:
                CustodianBox(custodian, 1)

    with custodian:
        for _ in range(600):  # beyond the limit at which it sweeps
            thread(dies)
            await sleep(0)
    for _ in range(10):
        await sync(idle())
        gc.collect()
        if len(seen) == 600:
            break
    assert len(seen) == 600


async def test_the_main_threads_custodian_is_at_the_top():
    root = current_custodian()
    assert current_thread() in root.managed_list()
    assert root.manages(Custodian(Custodian()))


@pytest.mark.rtsync(workers=2)
async def test_an_os_thread_of_the_program_may_shut_one_down():
    custodian, done = Custodian(), Semaphore()
    t = blocked(custodian)
    await sync(idle())

    def outside():
        custodian.shutdown_all()
        done.post()

    other = threading.Thread(target=outside)
    other.start()
    await done.wait()
    other.join()
    await t.wait()
    assert t.dead


@pytest.mark.parametrize("sees", [lambda other: thread(sleep), lambda other: other.send("text")])
async def test_a_thread_that_is_about_to_be_killed_has_not_failed_if_it_sees_the_shutdown_first(sees):
    async def child():
        await ch.get()
        sees(other)

    reports, ch, box = [], Channel(), Custodian()
    other = thread(sleep)
    await other.join()
    uncaught_exception_handler(lambda thread, error: reports.append(error))
    with box:
        t = thread(child)
    await sync(idle())
    box.close()  # the first half of a shutdown; the kills come after it
    await ch.put(1)
    await t.wait()
    with pytest.raises(ThreadKilled):
        await t.join()
    assert reports == []


async def test_that_another_custodian_was_shut_down_is_a_failure_like_any():
    async def child():
        with box:
            thread(sleep)

    reports, box = [], Custodian()
    uncaught_exception_handler(lambda thread, error: reports.append(type(error)))
    box.shutdown_all()
    t = thread(child)
    with pytest.raises(ShutDown):
        await t.join()
    assert reports == [ShutDown]
