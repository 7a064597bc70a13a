"""The place lock: while one thread is in atomic mode, no other coroutine thread of the place takes a step.

Writers on all workers change their own item of a list without any synchronisation; an atomic section must see
the list frozen. How they write, and who is in atomic mode, varies.
"""

# ruff: noqa: ASYNC251  # coroutine threads that block their worker are part of what is tested

import sys
import threading
import time

import pytest

import rtsync
from rtsync import (
    Channel,
    ContractError,
    Semaphore,
    ThreadKilled,
    block_on,
    idle,
    sleep,
    sync,
    thread,
)
from rtsync.atomic import (
    UninterruptibleLock,
    atomic,
    end_atomic,
    is_in_atomic_mode,
    start_atomic,
    uninterruptible,
)
from tests.chaos import chaos


class Writers:
    """Threads that count in a list until they are stopped."""

    def __init__(self, *kinds):
        self.counts = [0] * len(kinds)
        self.stop = False
        self.threads = [thread(getattr(self, kind), n) for n, kind in enumerate(kinds)]

    async def steps(self, n):
        """Each count is a step."""
        while not self.stop:
            self.counts[n] += 1
            await sleep(0)

    async def computes(self, n):
        """One step that does not end."""
        while not self.stop:
            self.counts[n] += 1

    async def calls(self, n):
        """The same with calls of functions and generators."""

        def add(number):
            self.counts[n] += number

        while not self.stop:
            for number in (1 for _ in range(5)):
                add(number)

    async def sits_in_c(self, n):
        """Most of the time in calls into C."""
        while not self.stop:
            time.sleep(0.0005)
            self.counts[n] += 1

    async def sits_long_in_c(self, n):
        """In calls into C that are longer than anyone waits."""
        while not self.stop:
            time.sleep(0.05)
            self.counts[n] += 1

    async def rendezvous(self, n):
        """Switches to and fro over a channel."""
        ch = Channel()

        async def partner():
            while True:
                await ch.put(1)

        other = thread(partner)
        while not self.stop:
            self.counts[n] += await ch.get()
        other.kill()

    async def blocks(self, n):
        """Sleeps for a moment between two counts, so that workers go idle and wake."""
        while not self.stop:
            self.counts[n] += 1
            await sleep(0.0002)

    async def spawns(self, n):
        """Each count is a thread."""

        async def once():
            self.counts[n] += 1

        while not self.stop:
            await thread(once).join()

    async def is_suspended(self, n):
        """Is suspended and resumed inside its step all the time."""
        inner = thread(self.computes, n)
        while not self.stop:
            inner.suspend()
            inner.resume()
            await sleep(0)
        await inner.join()

    async def goes_atomic(self, n):
        """Counts in atomic sections of its own."""
        while not self.stop:
            with atomic():
                self.counts[n] += 1
            await sleep(0)

    async def goes_uninterruptible(self, n):
        """Counts twice in uninterruptible sections: nobody may see an odd number."""
        while not self.stop:
            with uninterruptible():
                self.counts[n] += 1
                self.counts[n] += 1
            await sleep(0)

    async def all_have_begun(self):
        while not all(self.counts):
            await sleep(0.001)

    async def end(self):
        self.stop = True
        for t in self.threads:
            await t.join()


def frozen(counts, looks=200):
    """Look at the list again and again, for longer than a moment; whether it was always the same."""
    first = list(counts)
    for look in range(looks):
        if look % 50 == 0:
            time.sleep(0.0005)
        if list(counts) != first:
            return False
    return True


KINDS = [
    "steps",
    "computes",
    "calls",
    "sits_in_c",
    "rendezvous",
    "blocks",
    "spawns",
    "is_suspended",
    "goes_atomic",
    "goes_uninterruptible",
]


# With the GIL and the events of 3.13 it is slow to suspend a thread that computes.
LOOKS = 5 if sys.version_info >= (3, 14) and not sys._is_gil_enabled() else 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.rtsync(workers=3)
async def test_an_atomic_section_sees_everything_frozen(kind):
    writers = Writers(kind, kind, "steps")
    await writers.all_have_begun()
    for _ in range(LOOKS):
        with atomic():
            assert frozen(writers.counts)
            if kind == "goes_uninterruptible":
                assert not writers.counts[0] % 2
        before = list(writers.counts)
        while writers.counts[0] == before[0]:  # they do go on
            await sleep(0.0002)
    await writers.end()


@pytest.mark.rtsync(workers=2)
async def test_nobody_is_waited_for_who_sits_in_a_long_call_into_c():
    writers = Writers("sits_long_in_c", "steps")
    await writers.all_have_begun()
    for _ in range(3):
        with atomic():
            first = list(writers.counts)
            time.sleep(0.12)  # it comes back from C meanwhile
            assert list(writers.counts) == first
        await sleep(0.001)
    await writers.end()


class _HoldsUp:
    """A lock that holds up the OS thread ``slow`` when it has let go of it, until ``go_on``."""

    def __init__(self, lock):
        self.acquire, self.release, self._recursion_count = lock.acquire, lock.release, lock._recursion_count
        self.slow = None
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __enter__(self):
        self.acquire()

    def __exit__(self, *_):
        self.release()
        if self.slow == threading.get_ident():
            self.slow = None
            self.reached.set()
            assert self.go_on.wait(30)


@pytest.mark.rtsync(workers=2)
def test_who_is_slow_to_leave_does_not_take_back_what_the_next_has_asked_for(monkeypatch):
    place_lock = rtsync.current_thread().runtime.place_lock
    lock = _HoldsUp(place_lock._lock)
    monkeypatch.setattr(place_lock, "_lock", lock)
    in_c, first_has_left = threading.Event(), threading.Event()
    c = threading.Lock()
    c.acquire()
    ran = []

    def first():
        with atomic():
            lock.slow = threading.get_ident()
        first_has_left.set()

    async def sits_in_c():
        in_c.set()
        c.acquire()
        ran.append(1)

    def second():
        with atomic():
            lock.go_on.set()
            assert first_has_left.wait(30)
            c.release()
            time.sleep(0.05)
            assert not ran

    threads = [thread(first)]
    assert lock.reached.wait(30)
    threads.append(thread(sits_in_c))
    assert in_c.wait(30)
    threads.append(thread(second))
    for t in threads:
        block_on(t.join())
    assert ran


@pytest.mark.rtsync(workers=3)
async def test_an_os_backed_thread_sees_everything_frozen():
    writers = Writers("steps", "computes", "rendezvous", "blocks", "sits_in_c")
    await writers.all_have_begun()

    def looks():
        for _ in range(10):
            with atomic():
                assert frozen(writers.counts)
            time.sleep(0.0005)

    await thread(looks).join()
    await writers.end()


@pytest.mark.rtsync(workers=3)
async def test_os_backed_threads_and_coroutine_threads_exclude_each_other_from_the_mode():
    inside = []

    def check():
        inside.append(1)
        time.sleep(0)
        assert len(inside) == 1
        inside.pop()

    async def coroutine():
        for _ in range(100):
            with atomic():
                check()
            await sleep(0)

    def os_backed():
        for _ in range(100):
            with atomic():
                check()

    for t in [thread(f) for f in (coroutine, coroutine, coroutine, os_backed, os_backed)]:
        await t.join()


@pytest.mark.rtsync(workers=2)
async def test_an_os_backed_thread_runs_on_while_a_coroutine_thread_is_in_the_mode():
    count = [0]
    stop = threading.Event()

    def counts():
        while not stop.is_set():
            count[0] += 1

    t = thread(counts)
    with atomic():
        before = count[0]
        deadline = time.monotonic() + 30
        while count[0] == before and time.monotonic() < deadline:
            pass
        assert count[0] != before
    stop.set()
    await t.join()


@pytest.mark.rtsync(workers=2, runs=3)
async def test_increments_in_atomic_sections_are_not_lost():
    total = [0]

    async def adds():
        for _ in range(300):
            with atomic():
                value = total[0]
                total[0] = value + 1
            if not value % 3:
                await sleep(0)

    def adds_too():
        for _ in range(300):
            start_atomic()
            value = total[0]
            total[0] = value + 1
            end_atomic()

    for t in [thread(f) for f in (adds, adds, adds, adds_too)]:
        await t.join()
    assert total == [1200]


@pytest.mark.rtsync(workers=2)
async def test_the_monitor_starts_no_workers_for_those_who_stand_still():
    runtime = rtsync.current_thread().runtime
    writers = Writers("computes", "steps", "steps")
    await writers.all_have_begun()
    with atomic():
        before = runtime.stats()["workers"]
        time.sleep(0.1)
        assert runtime.stats()["workers"] == before
    await writers.end()


@pytest.mark.rtsync(workers=2)
async def test_a_deadlock_is_not_seen_while_everybody_stands_still():
    ch = Channel()

    def os_backed():
        with atomic():
            time.sleep(0.05)
        block_on(ch.put("late"))

    t = thread(os_backed)
    assert await ch.get() == "late"
    await t.join()


# -- who waits to enter ----------------------------------------------------------------------------


class Holder:
    """An OS-backed thread that is in atomic mode until it is told to leave."""

    def __init__(self):
        self.inside = threading.Event()
        self.leave = threading.Event()
        self.thread = thread(self._hold)

    def _hold(self):
        with atomic():
            self.inside.set()
            assert self.leave.wait(30)


def waits_to_enter(t):
    place_lock = t.runtime.place_lock
    deadline = time.monotonic() + 30
    while not place_lock.waits(t):
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.rtsync(workers=2)
def test_who_is_killed_while_waiting_to_enter_has_not_entered():
    holder = Holder()
    holder.inside.wait(30)
    log = []

    def victim():
        try:
            with atomic():
                log.append("entered")
        finally:
            log.append(is_in_atomic_mode())

    t = thread(victim)
    waits_to_enter(t)
    t.kill()
    assert t.dead
    assert log == [False]
    holder.leave.set()
    block_on(holder.thread.join())
    with atomic():
        pass


@pytest.mark.rtsync(workers=2)
def test_who_is_broken_while_waiting_to_enter_has_not_entered():
    holder = Holder()
    holder.inside.wait(30)
    log = []

    def victim():
        try:
            with atomic():
                log.append("entered")
        except rtsync.Break:
            log.append(is_in_atomic_mode())

    t = thread(victim)
    waits_to_enter(t)
    t.break_()
    block_on(t.join())
    assert log == [False]
    holder.leave.set()
    block_on(holder.thread.join())


@pytest.mark.rtsync(workers=2)
def test_who_is_suspended_while_waiting_to_enter_waits_on_after_it_is_resumed():
    holder = Holder()
    holder.inside.wait(30)
    log = []

    def victim():
        with atomic():
            log.append("entered")

    t = thread(victim)
    waits_to_enter(t)
    t.suspend()
    assert not t.runtime.place_lock.waits(t)
    holder.leave.set()
    block_on(holder.thread.join())
    with atomic():  # it is not in anybody's way
        assert log == []
    t.resume()
    block_on(t.join())
    assert log == ["entered"]


@pytest.mark.parametrize("request_", ["kill", "suspend"])
@pytest.mark.rtsync(workers=2)
def test_a_coroutine_thread_that_waits_to_enter_takes_no_step_until_it_may(request_):
    log = []

    async def victim():
        await go.wait()
        try:
            with atomic():
                log.append("entered")
        except ThreadKilled:
            log.append("killed")

    go = Semaphore()
    inside, leave, leaving = threading.Event(), threading.Event(), threading.Event()

    def hold():
        with atomic():
            go.post()  # it runs as soon as we are out, or waits to enter if it was faster
            inside.set()
            assert leave.wait(30)
            assert log == []

    t = thread(victim)
    h = thread(hold)
    inside.wait(30)

    def ask():
        getattr(t, request_)()
        leaving.set()

    k = thread(ask)
    leave.set()
    for other in (h, k):
        block_on(other.join())
    if request_ == "suspend":
        t.resume()
    block_on(t.wait())
    assert t.dead
    assert log in ([], ["entered"], ["killed"], ["entered", "killed"])  # the last: in it, at its end
    with atomic():
        pass


@pytest.mark.rtsync(workers=3, runs=3)
async def test_threads_that_enter_leave_and_are_killed_or_suspended_at_any_moment():
    done = []
    inside = []

    async def enters():
        while True:
            with atomic():
                inside.append(1)
                assert len(inside) == 1
                inside.pop()
                done.append(1)
            await sleep(0)

    for n in range(30):
        ts = [thread(enters) for _ in range(2)]
        before = len(done)
        while len(done) < before + 3:
            await sleep(0)
        if n % 2:
            ts[0].suspend()
            ts[0].resume()
        for t in ts:
            t.kill()
            assert t.dead
        assert not inside


@pytest.mark.rtsync(workers=2)
async def test_who_ends_inside_lets_the_next_in():
    async def ends_inside():
        start_atomic()

    async def fails_inside():
        start_atomic()
        raise KeyError

    with rtsync.parameterize(rtsync.uncaught_exception_handler, lambda thread, error: None):
        ts = [thread(f) for f in (ends_inside, fails_inside) * 10]
    for t in ts:
        await t.wait()
    with atomic():
        pass


@pytest.mark.rtsync(workers=2)
async def test_a_kill_from_before_ends_the_thread_at_the_end_of_the_mode():
    log = []
    inside = threading.Event()

    async def victim():
        with atomic():
            inside.set()
            while rtsync.current_thread().running:  # until it has been asked
                pass
            log.append("finished")
        log.append("not reached")

    t = thread(victim)

    def killer():
        assert inside.wait(30)
        t.kill()

    await thread(killer).join()
    await t.wait()
    assert log == ["finished"]


@pytest.mark.rtsync(workers=2, runs=3)
async def test_two_that_kill_each_other_from_inside():
    # Whoever is first kills the other, which then never enters.
    ts = []
    log = []
    go = Semaphore()

    async def killer(n):
        await go.wait()
        with atomic():
            log.append(n)
            ts[1 - n].kill()

    ts.extend([thread(killer, 0), thread(killer, 1)])
    await sync(idle())
    go.post()
    go.post()
    for t in ts:
        await t.wait()
    assert len(log) == 1
    assert ts[1 - log[0]].dead


@pytest.mark.rtsync(workers=2)
async def test_who_waits_for_the_end_of_a_hog_it_kills_is_in_nobodys_way():
    stop = []

    async def hog():
        while not stop:
            pass

    async def killer(t):
        t.kill()

    for _ in range(5):
        t = thread(hog)
        k = thread(killer, t)
        with atomic():
            pass
        await k.join()
        assert t.dead


# -- locks of ours, and the lock that is for this --------------------------------------------------


@pytest.mark.rtsync(workers=3)
async def test_uninterruptible_locks_and_atomic_mode_in_either_order():
    lock = UninterruptibleLock()
    total = [0]
    refused = []

    async def lock_in_atomic():
        for _ in range(100):
            try:
                with atomic(), lock:
                    total[0] += 1
            except ContractError as error:  # its holder was waiting for us
                refused.append(str(error))
            await sleep(0)

    async def atomic_in_lock():
        for _ in range(100):
            with lock, atomic():
                total[0] += 1
            await sleep(0)

    ts = [thread(f) for f in (lock_in_atomic, atomic_in_lock, atomic_in_lock, lock_in_atomic)]
    for t in ts:
        await t.join()
    assert total[0] + len(refused) == 400
    assert all("waits to enter atomic mode" in text for text in refused)


@pytest.mark.parametrize("through_another", [False, True])
@pytest.mark.rtsync(workers=3)
def test_a_lock_whose_holder_waits_for_another_one_and_stands_aside_is_refused_in_atomic_mode(
    through_another,
):
    """Whoever waits for a lock on a worker counts as stopped, also if it has another one."""
    wanted, held_aside, held_by_os_thread = locks = [UninterruptibleLock() for _ in range(3)]
    ready = [threading.Event() for _ in range(2)]
    leave = threading.Event()

    def stay():
        with held_by_os_thread:
            ready[0].set()
            assert leave.wait(30)

    async def wait_on_a_worker():
        with held_aside:
            ready[1].set()
            with held_by_os_thread:
                return "got on"

    def wait_elsewhere():
        with wanted, held_aside:
            return "got on"

    first = thread(stay)
    assert ready[0].wait(30)
    second = thread(wait_on_a_worker)
    assert ready[1].wait(30)
    others = [thread(wait_elsewhere)] if through_another else []
    while through_another and not wanted._lock.locked():
        time.sleep(0.001)

    async def alone():
        with atomic(), wanted if through_another else held_aside:
            pass

    with pytest.raises(ContractError, match="cannot go on while this one is in atomic mode"):
        block_on(thread(alone).join())
    leave.set()
    block_on(first.join())
    assert [block_on(t.join()) for t in (second, *others)] == ["got on"] * (1 + len(others))
    for lock in locks:
        with lock:
            pass


@pytest.mark.rtsync(workers=3)
async def test_an_atomic_section_waits_for_the_end_of_uninterruptible_ones():
    pair = [0, 0]
    stop = []

    async def moves_both():
        while not stop:
            with uninterruptible():
                pair[0] += 1
                for _ in range(50):
                    pass
                pair[1] += 1
            await sleep(0)

    ts = [thread(moves_both)]
    for _ in range(50):
        with atomic():
            assert pair[0] == pair[1]
        await sleep(0)
    stop.append(1)
    for t in ts:
        await t.join()


# -- chaos -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_everything_at_once_under_chaos(seed):
    async def main():
        writers = Writers("steps", "rendezvous", "blocks", "goes_atomic", "computes")
        await writers.all_have_begun()

        def looks():
            for _ in range(3):
                with atomic():
                    assert frozen(writers.counts, 60)
                time.sleep(0.001)

        t = thread(looks)
        for _ in range(5):
            with atomic():
                assert frozen(writers.counts, 60)
            await sleep(0.0005)
        await t.join()
        await writers.end()

    with chaos(seed, rate=0.005, stalls=20) as stalls:
        try:
            rtsync.run(main, workers=3)
        except BaseException:
            sys.stderr.write(f"stalls: {stalls}\n")
            raise


@pytest.mark.rtsync(workers=3)
async def test_a_member_of_a_thread_group_can_be_in_the_mode_and_is_stopped_by_it():
    with rtsync.ThreadGroup():
        writers = Writers("steps", "computes")
        await writers.all_have_begun()

        async def member():
            for _ in range(5):
                with atomic():
                    assert frozen(writers.counts)
                    for operation in (sleep(0), Channel().get()):
                        with pytest.raises(ContractError):
                            await operation
                    assert frozen(writers.counts)
                await sleep(0)

        await thread(member).join()
    for _ in range(5):
        with atomic():
            assert frozen(writers.counts)
        await sleep(0)
    await writers.end()


@pytest.mark.rtsync(workers=3)
async def test_workers_that_are_to_stop_between_two_tasks_do_so():
    # While safepoints are on for them (somebody computes), they go idle and look for work: in code of the
    # standard library, too, with no task in hand.
    writers = Writers("computes", "blocks", "blocks", "blocks", "steps")
    await writers.all_have_begun()
    for _ in range(20):
        with atomic():
            assert frozen(writers.counts, 50)
        await sleep(0.0005)
    await writers.end()
