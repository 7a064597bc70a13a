"""SPEC §3: suspending and resuming, benefactors, ``suspend_to_kill``, the events of a thread's state."""

import operator
import threading
import time
import weakref
from collections import deque
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest

from rtsync import (
    AsyncChannel,
    Channel,
    ContractError,
    Custodian,
    Semaphore,
    ThreadKilled,
    always,
    block_on,
    current_custodian,
    current_thread,
    idle,
    receive,
    sleep,
    sync,
    thread,
    to_os_thread,
)
from rtsync.control import HELD
from scheduler import safepoints
from tests.collecting import collected


async def spinner(log):
    while True:
        log.append(1)
        await sleep(0)


# -- suspend ---------------------------------------------------------------------------------------


async def test_a_suspended_thread_is_neither_running_nor_dead():
    t = thread(Channel().get)
    t.suspend()
    assert not t.running
    assert not t.dead
    assert "suspended" in repr(t)
    t.resume()
    assert t.running


async def test_a_suspended_thread_takes_no_steps():
    log = []
    t = thread(spinner, log)
    for _ in range(10):
        await sleep(0)
    t.suspend()
    count = len(log)
    for _ in range(100):
        await sleep(0)
    assert len(log) == count
    t.resume()
    while len(log) == count:
        await sleep(0)


async def test_a_thread_suspended_before_its_first_step_takes_it_after_the_resumption():
    log = []

    async def f():
        log.append("ran")

    t = thread(f)
    t.suspend()
    count = len(log)  # on two workers it may have run
    await sync(idle())
    assert len(log) == count
    t.resume()
    await t.wait()
    assert log == ["ran"]


async def test_suspending_a_suspended_thread_does_nothing():
    ch = Channel()
    t = thread(ch.get)
    t.suspend()
    t.suspend()
    t.resume()  # once is enough
    await ch.put(1)
    assert await t.join() == 1


async def test_suspending_or_resuming_a_dead_thread_does_nothing():
    async def f():
        return 1

    t = thread(f)
    await t.join()
    t.suspend()
    t.resume()
    assert t.dead
    assert await t.join() == 1


async def test_resuming_a_running_thread_does_nothing():
    ch = Channel()
    t = thread(ch.get)
    await sync(idle())
    t.resume()
    await ch.put(1)
    assert await t.join() == 1


async def test_a_suspended_getter_is_not_matched_and_competes_again_after():
    ch = Channel()
    t = thread(ch.get)
    await sync(idle())
    t.suspend()
    assert await sync(ch.put_evt("early"), timeout=0) is None
    t.resume()
    await ch.put("late")
    assert await t.join() == "late"


async def test_a_suspended_putter_is_not_matched():
    ch = Channel()
    t = thread(ch.put, "value")
    await sync(idle())
    t.suspend()
    assert ch.try_get("nothing") == "nothing"
    t.resume()
    assert await ch.get() == "value"
    await t.join()


async def test_a_suspended_waiter_takes_no_unit():
    sem = Semaphore()
    t = thread(sem.wait)
    await sync(idle())
    t.suspend()
    sem.post()
    assert sem.count == 1
    t.resume()
    await t.join()
    assert sem.count == 0


async def test_others_are_served_while_the_first_in_the_queue_is_suspended():
    sem = Semaphore()
    first = thread(sem.wait)
    await sync(idle())
    second = thread(sem.wait)
    await sync(idle())
    first.suspend()
    sem.post()
    await second.join()
    assert not first.dead


async def test_a_suspended_sync_completes_nothing():
    ch, sem, many = Channel(), Semaphore(), AsyncChannel()

    async def child():
        return await sync(ch, sem.wrap(lambda _: "sem"), many)

    t = thread(child)
    await sync(idle())
    t.suspend()
    sem.post()
    await many.put("many")
    await sync(idle())
    assert (sem.count, len(many)) == (1, 1)
    t.resume()
    assert await t.join() in ("sem", "many")
    assert sem.count + len(many) == 1


@pytest.mark.rtsync(seeds=10)
async def test_a_suspended_sleeper_wakes_after_the_resumption_if_its_time_has_passed():
    async def child():
        await sleep(10)
        return current_thread().runtime.now()

    t = thread(child)
    await sync(idle())
    t.suspend()
    await sleep(100)
    assert not t.dead
    t.resume()
    assert await t.join() == 100


@pytest.mark.rtsync(seeds=10)
async def test_a_suspended_sleeper_sleeps_on_if_its_time_has_not_passed():
    async def child():
        await sleep(10)
        return current_thread().runtime.now()

    t = thread(child)
    await sync(idle())
    t.suspend()
    await sleep(5)
    t.resume()
    assert await t.join() == 10


async def test_suspending_oneself_returns_after_the_resumption():
    log = []

    async def child():
        log.append("before")
        current_thread().suspend()
        await sleep(0)
        log.append("after")

    t = thread(child)
    await sync(idle())
    assert log[0] == "before"
    assert not t.running
    t.resume()
    await t.join()
    assert log == ["before", "after"]


async def test_an_os_backed_thread_can_be_suspended_while_blocked():
    ch = Channel()

    def child():
        return block_on(ch.get())

    t = thread(child)
    await sync(idle())
    t.suspend()
    assert await sync(ch.put_evt("early"), timeout=0) is None
    t.resume()
    await ch.put("late")
    assert await t.join() == "late"


@pytest.mark.rtsync(workers=2, runs=3)
async def test_a_thread_that_computes_is_suspended_at_a_safepoint():
    count = [0]

    async def hog():
        while True:
            count[0] += 1

    t = thread(hog)
    while not count[0]:
        await sleep(0)
    t.suspend()
    assert not t.running
    at = count[0]
    for _ in range(200):
        await sleep(0)
    assert count[0] == at
    t.resume()
    while count[0] == at:
        await sleep(0)
    t.kill()
    assert t.dead


@pytest.mark.rtsync(workers=2, runs=3)
async def test_an_os_backed_thread_that_computes_is_suspended_at_a_safepoint():
    count = [0]

    def hog():
        while True:
            count[0] += 1

    t = thread(hog)
    while not count[0]:
        await sleep(0)
    t.suspend()
    at = count[0]
    for _ in range(200):
        await sleep(0)
    assert count[0] == at
    t.resume()
    while count[0] == at:
        await sleep(0)
    t.kill()
    await t.wait()


async def test_a_suspended_thread_can_be_killed_and_cleans_up():
    log = []

    async def child():
        try:
            await Channel().get()
        finally:
            log.append("clean")

    t = thread(child)
    await sync(idle())
    t.suspend()
    t.kill()
    assert t.dead
    assert log == ["clean"]


async def test_a_suspended_runnable_thread_can_be_killed_and_cleans_up():
    log = []

    async def child():
        try:
            while True:
                await sleep(0)
        finally:
            log.append("clean")

    t = thread(child)
    for _ in range(20):
        await sleep(0)
    t.suspend()
    t.kill()
    assert t.dead
    assert log in (["clean"], [])  # [] if it had never begun


def test_suspended_threads_are_shut_down_at_the_end(run):
    log = []

    async def child():
        try:
            await Channel().get()
        finally:
            log.append("clean")

    async def main():
        t = thread(child)
        await sync(idle())
        t.suspend()
        return t

    t = run(main)
    assert t.dead
    assert log == ["clean"]


async def test_a_suspension_while_the_value_is_on_its_way_loses_nothing():
    for _ in range(20):
        ch = Channel()
        t = thread(ch.get)
        p = thread(ch.put, "value")
        await sleep(0)
        t.suspend()
        await sync(idle())
        # Matched before the suspension, or not yet.
        assert not t.dead or p.dead
        t.resume()
        assert await t.join() == "value"
        await p.join()


async def test_messages_to_a_suspended_thread_wait_for_it():
    async def child():
        return await receive()

    t = thread(child)
    await sync(idle())
    t.suspend()
    t.send("message")
    await sync(idle())
    assert not t.dead
    t.resume()
    assert await t.join() == "message"


async def test_many_suspensions_and_resumptions_disturb_nothing():
    ch, rounds = Channel(), 100

    async def getter():
        return [await ch.get() for _ in range(rounds)]

    async def putter():
        for n in range(rounds):
            await ch.put(n)

    threads = [thread(getter), thread(putter)]
    while not all(t.dead for t in threads):
        for t in threads:
            t.suspend()
        await sleep(0)
        for t in threads:
            t.resume()
        await sleep(0)
    assert await threads[0].join() == list(range(rounds))


# -- authority -------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["suspend", "kill"])
async def test_control_needs_authority(operation):
    mine, other = Custodian(), Custodian()
    with mine:
        t = thread(Channel().get)
    with other, pytest.raises(ContractError, match=operation):
        getattr(t, operation)()
    assert t.running


@pytest.mark.parametrize("operation", ["suspend", "kill"])
async def test_a_dead_thread_needs_no_authority(operation):
    # Racket Reference: "If thd has already terminated, kill-thread does nothing."
    with Custodian():
        t = thread(Channel().get)
    t.kill()
    with Custodian():
        getattr(t, operation)()


@pytest.mark.parametrize("operation", ["suspend", "kill"])
async def test_every_custodian_of_the_thread_must_be_managed(operation):
    one, two = Custodian(), Custodian()
    with one:
        t = thread(Channel().get)
    t.resume(two)
    with one, pytest.raises(ContractError, match=operation):
        getattr(t, operation)()
    assert t.running
    getattr(t, operation)()  # the root manages both
    assert not t.running


async def test_a_custodian_manages_the_threads_of_its_subordinates():
    above = Custodian()
    with Custodian(Custodian(above)):
        t = thread(Channel().get)
    with above:
        t.suspend()
    assert not t.running


# -- benefactors -----------------------------------------------------------------------------------


async def test_a_beneficiary_is_resumed_with_its_benefactor():
    one, two = thread(Channel().get), thread(Channel().get)
    one.resume(two)
    one.suspend()
    two.suspend()
    two.resume()
    assert one.running
    assert two.running


async def test_resuming_the_beneficiary_does_not_resume_the_benefactor():
    one, two = thread(Channel().get), thread(Channel().get)
    one.resume(two)
    one.suspend()
    two.suspend()
    one.resume()
    assert one.running
    assert not two.running


async def test_resuming_with_a_benefactor_resumes_at_once():
    one, two = thread(Channel().get), thread(Channel().get)
    one.suspend()
    one.resume(two)
    assert one.running


async def test_benefactors_are_transitive():
    one, two, three = (thread(Channel().get) for _ in range(3))
    one.resume(two)
    two.resume(three)
    for t in (one, two, three):
        t.suspend()
    three.resume()
    assert one.running
    assert two.running


async def test_a_chain_of_benefactors_may_be_of_any_length():
    first, later = Custodian(), Custodian()
    with first:
        threads = [thread(Channel().get) for _ in range(3000)]
    for benefactor, beneficiary in pairwise(threads):
        beneficiary.resume(benefactor)
    for t in threads:
        t.suspend()
    threads[0].resume(later)
    assert all(t.running for t in threads)
    assert set(later.managed_list()) == set(threads)


async def test_two_threads_may_be_each_others_benefactors():
    one, two = thread(Channel().get), thread(Channel().get)
    one.resume(two)
    two.resume(one)
    one.suspend()
    two.suspend()
    one.resume()
    assert two.running


async def test_a_benefactor_gives_its_custodians_now_and_in_future():
    first, later = Custodian(), Custodian()
    one = thread(Channel().get)
    with first:
        two = thread(Channel().get)
    two.resume(later)
    one.resume(two)
    third = Custodian()
    two.resume(third)
    # All of them manage it now, so none of them does so solely, but the root does.
    for custodian in (first, later, third):
        with custodian, pytest.raises(ContractError):
            one.suspend()
    one.suspend()


async def test_a_custodian_as_benefactor_is_added():
    one, two = Custodian(), Custodian()
    with one:
        t = thread(Channel().get)
    t.resume(two)
    with one, pytest.raises(ContractError):
        t.suspend()


async def test_redundant_subordinates_are_dropped():
    above = Custodian()
    below = Custodian(above)
    with below:
        t = thread(Channel().get)
    t.resume(above)
    with below, pytest.raises(ContractError):
        t.suspend()
    assert t not in below.managed_list()
    assert t in above.managed_list()
    below.shutdown_all()
    with above:
        t.suspend()
    assert not t.running
    above.shutdown_all()
    assert t.dead


async def test_a_dead_benefactor_has_no_custodians_to_give():
    one, two = Custodian(), Custodian()
    with one:
        t = thread(Channel().get)
    with two:
        dead = thread(Channel().get)
    dead.kill()
    t.suspend()
    t.resume(dead)
    assert t.running
    assert t not in two.managed_list()
    one.shutdown_all()
    assert t.dead


async def test_a_benefactor_does_not_keep_its_beneficiary():
    two = thread(Channel().get)
    one = thread(Channel().get)
    one.resume(two)
    gone = weakref.ref(one)
    del one
    await sync(idle())
    await sleep(0)
    assert collected(lambda: gone() is None)


# -- suspend_to_kill -------------------------------------------------------------------------------


async def test_kill_only_suspends_a_thread_made_so():
    ch = Channel()
    t = thread(ch.get, suspend_to_kill=True)
    await sync(idle())
    t.kill()
    assert not t.dead
    assert not t.running
    t.resume()
    await ch.put(1)
    assert await t.join() == 1


def test_the_end_of_run_does_not_wait_for_it(run):
    async def main():
        thread(Channel().get, suspend_to_kill=True)
        await sync(idle())
        return "over"

    assert run(main) == "over"


async def test_a_thread_that_kills_itself_so_is_suspended():
    log = []

    async def child():
        current_thread().kill()
        await sleep(0)
        log.append("resumed")

    t = thread(child, suspend_to_kill=True)
    await sync(idle())
    assert not t.running
    assert not t.dead
    t.resume()
    await t.wait()
    assert log == ["resumed"]


@pytest.mark.rtsync(workers=2)
async def test_one_that_waits_in_the_kernel_within_an_operation_of_ours_is_waited_for(monkeypatch):
    def slow(**options):
        made = threading.Thread(**options)
        # Without a frame of its own, which would count as the user's.
        made.start = partial(deque, map(operator.call, (partial(time.sleep, 0.3), made.start)), 0)
        return made

    monkeypatch.setattr("rtsync.os_threads.threading", SimpleNamespace(**{**vars(threading), "Thread": slow}))
    release = Semaphore()
    t = thread(to_os_thread, lambda: block_on(release.wait()))
    while not current_thread().runtime.blocking._running:
        await sleep(0)
    t.suspend()  # while it waits for the OS thread of its call to start
    monkeypatch.undo()
    assert t._state == HELD
    release.post()
    t.resume()
    await t.join()


# -- events ----------------------------------------------------------------------------------------


async def test_resume_evt_of_a_running_thread_is_ready_with_the_thread():
    t = thread(Channel().get)
    assert await sync(t.resume_evt(), timeout=0) is t


async def test_suspend_evt_of_a_suspended_thread_is_ready_with_the_thread():
    t = thread(Channel().get)
    t.suspend()
    assert await sync(t.suspend_evt(), timeout=0) is t


async def test_suspend_evt_happens_with_the_suspension():
    t = thread(Channel().get)
    evt = t.suspend_evt()

    async def watcher():
        return await sync(evt)

    w = thread(watcher)
    await sync(idle())
    assert not w.dead
    t.suspend()
    assert await w.join() is t


async def test_resume_evt_happens_with_the_resumption():
    t = thread(Channel().get)
    t.suspend()
    evt = t.resume_evt()
    assert await sync(evt, timeout=0) is None
    t.resume()
    assert await sync(evt) is t


async def test_the_events_are_the_same_until_the_state_changes_and_stay_ready_after():
    t = thread(Channel().get)
    resumed, suspended = t.resume_evt(), t.suspend_evt()
    assert t.resume_evt() is resumed
    assert t.suspend_evt() is suspended
    t.suspend()
    assert await sync(resumed, timeout=0) is t  # stays ready
    assert await sync(suspended, timeout=0) is t
    again = t.resume_evt()
    assert again is not resumed
    assert t.resume_evt() is again
    assert await sync(again, timeout=0) is None
    t.resume()
    assert await sync(again, timeout=0) is t
    assert await sync(suspended, timeout=0) is t  # stays ready
    assert t.suspend_evt() is not suspended
    assert await sync(t.suspend_evt(), timeout=0) is None


async def test_an_event_made_in_one_state_is_not_given_again_in_the_next():
    t = thread(Channel().get)
    t.suspend()
    suspended = t.suspend_evt()
    t.resume()
    resumed, fresh = t.resume_evt(), t.suspend_evt()
    assert await sync(suspended, timeout=0) is t  # stays ready
    assert fresh is not suspended
    assert await sync(fresh, timeout=0) is None
    t.suspend()
    assert t.resume_evt() is not resumed
    assert await sync(t.resume_evt(), timeout=0) is None
    assert await sync(fresh, timeout=0) is t


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_thread_that_died_has_fresh_events_which_never_happen(suspended):
    t = thread(Channel().get)
    if suspended:
        t.suspend()
    before = t.suspend_evt() if suspended else t.resume_evt()
    t.kill()
    assert await sync(before, timeout=0) is t  # stays ready
    assert await sync(t.resume_evt(), t.suspend_evt(), timeout=0) is None


async def test_the_events_of_a_dead_thread_never_happen():
    async def f():
        pass

    t = thread(f)
    await t.join()
    assert await sync(t.resume_evt(), t.suspend_evt(), timeout=0) is None


async def test_state_events_among_others():
    t = thread(Channel().get)
    assert await sync(t.suspend_evt(), always) is always


async def test_a_suspended_thread_that_is_waited_for():
    ch = Channel()
    t = thread(ch.get)
    w = thread(t.wait)
    await sync(idle())
    t.suspend()
    await sync(idle())
    assert not w.dead
    t.kill()
    assert await w.join() is None
    with pytest.raises(ThreadKilled):
        await t.join()


async def test_resume_without_a_custodian_has_no_effect():
    root = current_custodian()
    assert root.manages(root)
    t = thread(Channel().get, suspend_to_kill=True)
    await sync(idle())
    t._disown(root)
    t.suspend()
    t.resume()
    assert not t.running
    t.resume(root)
    assert t.running


@pytest.mark.rtsync(workers=2)
async def test_a_thread_that_stands_still_just_before_it_is_asked_for_is_not(monkeypatch):
    """All code of the process would run with events on until somebody resumes it, and it would never be
    collected."""
    begun, stop = [], []

    async def hog():
        begun.append(1)
        while not stop:
            pass
        await Channel().get()

    def prepare():
        stop.append(1)
        while t._state != HELD:
            time.sleep(0.0001)
        return original()

    original = safepoints.prepare
    t = thread(hog)
    while not begun:
        await sleep(0)
    monkeypatch.setattr(safepoints, "prepare", prepare)
    t.suspend()
    assert stop
    assert t not in safepoints._wanted


@pytest.mark.parametrize("where", ["computing", "in a call into C"])
@pytest.mark.rtsync(workers=2)
async def test_safepoints_are_off_again_once_a_thread_stands_still(where):
    """Also where it was cornered: a break would come between an operation and the use of its result."""
    begun, stop, gate = [], [], threading.Lock()
    gate.acquire()

    async def hog():
        begun.append(1)
        if where != "computing":
            gate.acquire()
        while not stop:
            pass

    t = thread(hog)
    while not begun:
        await sleep(0)
    t.suspend()
    gate.release()
    while t.runtime.frozen == 0:
        await sleep(0.001)
    assert t not in safepoints._wanted
    assert all(task is not t for task, _ in safepoints._cornered)
    t.resume()
    stop.append(1)
    await t.join()
