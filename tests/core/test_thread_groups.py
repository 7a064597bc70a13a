"""SPEC §7: a group and each of its members share the processor equally with their siblings.

Shares are measured by counting steps: in the mean on the deterministic scheduler. On real workers, which the
operating system may hold up at any step, what is typical is looked at, not the sum.
"""

import gc
import threading
import weakref
from collections import Counter
from statistics import median

import pytest

import rtsync
from rtsync import (
    Break,
    Channel,
    ContractError,
    NoRuntime,
    Semaphore,
    ThreadGroup,
    block_on,
    current_thread,
    current_thread_group,
    idle,
    parameterize,
    racket,
    sleep,
    sync,
    thread,
)
from rtsync.atomic import atomic, uninterruptible
from rtsync.testing import DeterministicRuntime, run_deterministic


def spinners(counts, names, stop):
    """A thread for each of ``names`` that counts its steps until ``stop``."""

    async def spin(name):
        while not stop:
            counts[name] += 1
            await sleep(0)

    return [thread(spin, name) for name in names]


async def count_steps(rounds, make):
    """The shares of the threads that ``make(counts, stop)`` gives, while another makes ``rounds`` steps; that
    one takes part as "clock"."""
    counts, stop = Counter(), []
    threads = make(counts, stop)
    for _ in range(rounds):
        counts["clock"] += 1
        await sleep(0)
    total = sum(counts.values())
    stop.append(True)
    for t in threads:
        await t.join()
    return {name: count / total for name, count in counts.items()}


def one_and_three(counts, stop):
    group = ThreadGroup()
    with group:
        return spinners(counts, ["a", "b", "c"], stop)


def nested_groups(counts, stop):
    """clock and "x" beside a group of "a" and a group of "b" and "c"."""
    with ThreadGroup():
        threads = spinners(counts, ["a"], stop)
        with ThreadGroup():
            threads += spinners(counts, ["b", "c"], stop)
    return threads + spinners(counts, ["x"], stop)


SHARES = [
    (one_and_three, {"clock": 1 / 2, "a": 1 / 6, "b": 1 / 6, "c": 1 / 6}),
    (nested_groups, {"clock": 1 / 3, "x": 1 / 3, "a": 1 / 6, "b": 1 / 12, "c": 1 / 12}),
]


@pytest.mark.rtsync(seeds=3)
@pytest.mark.parametrize(("make", "shares"), SHARES)
async def test_the_shares_are_fair_in_the_mean(make, shares):
    measured = await count_steps(2000, make)
    assert measured.keys() == shares.keys()
    for name, share in shares.items():
        assert measured[name] == pytest.approx(share, rel=0.15)


class Trace(list):
    """The order of the steps."""

    def between(self, name, others):
        """How many steps ``others`` typically make between two of ``name``."""
        gaps, gap = [], 0
        for step in self:
            if step == name:
                gaps.append(gap)
                gap = 0
            elif step in others:
                gap += 1
        return median(gaps) if gaps else None


def spinners_in_order(trace, names, stop):
    async def spin(name):
        while not stop:
            trace.append(name)
            await sleep(0)

    return [thread(spin, name) for name in names]


async def undisturbed(measure, attempts=50):
    """Whether ``measure()`` holds in one of several attempts: in some the operating system may hold up the
    worker in the middle of a step, and the extra worker that comes to help has a rhythm of its own."""
    for _ in range(attempts):
        if await measure():
            return True
    return False


@pytest.mark.undisturbed
@pytest.mark.rtsync(workers=1)
async def test_the_shares_are_exact_on_a_real_worker():
    async def measure():
        trace, stop = Trace(), []
        with ThreadGroup():
            threads = spinners_in_order(trace, "a", stop)
            with ThreadGroup():
                threads += spinners_in_order(trace, "bc", stop)
        threads += spinners_in_order(trace, "x", stop)
        for _ in range(300):
            trace.append("clock")
            await sleep(0)
        stop.append(True)
        for t in threads:
            await t.join()
        return (
            trace.between("clock", "x") == 1  # one and one
            and trace.between("clock", "abc") == 1  # one and a group
            and trace.between("a", "bc") == 1  # one and a group in it
            and trace.between("b", "c") == 1
            and trace.between("a", ["clock"]) == 2
            and trace.between("b", ["clock"]) == 4
        )

    assert await undisturbed(measure)


@pytest.mark.undisturbed
@pytest.mark.rtsync(workers=1)
async def test_threads_that_wake_each_other_directly_leave_a_group_its_share():
    async def measure():
        trace, stop = Trace(), []
        there, back = Channel(), Channel()

        async def echo():
            while True:
                await back.put(await there.get())

        with ThreadGroup():
            threads = spinners_in_order(trace, "abc", stop)
        other = thread(echo)
        for _ in range(1000):
            trace.append("pair")
            await there.put(None)
            trace.append("pair")
            await back.get()
        stop.append(True)
        other.kill()
        for t in threads:
            await t.join()
        # One of the pair can run at a time, so the group is as good as a half; in blocks of steps.
        blocks, pairs, others = [], 0, 0
        for step in trace:
            if step == "pair":
                pairs += 1
            else:
                others += 1
            if pairs == 256:
                blocks.append(others)
                pairs = others = 0
        return 128 < median(blocks) < 512

    assert await undisturbed(measure)


@pytest.mark.rtsync(workers=2)
async def test_two_workers_run_a_group_and_a_lone_thread_without_starving_either():
    counts, stop = Counter(), []
    threads = one_and_three(counts, stop)
    while len(counts) < 4 or min(counts.values()) < 200:
        counts["clock"] += 1
        await sleep(0)
    stop.append(True)
    for t in threads:
        await t.join()


@pytest.mark.rtsync(seeds=3)
async def test_a_group_whose_threads_all_wait_takes_no_share():
    counts, stop, gate = Counter(), [], Semaphore()
    with ThreadGroup():
        waiting = [thread(gate.wait) for _ in range(3)]
    threads = spinners(counts, ["x"], stop)
    for _ in range(500):
        counts["clock"] += 1
        await sleep(0)
    stop.append(True)
    assert 350 < counts["x"] < 700
    for t in waiting:
        gate.post()
        await t.join()
    await threads[0].join()


@pytest.mark.rtsync(seeds=3)
async def test_threads_that_end_leave_their_share_to_the_others_of_the_group():
    counts, stop, stop_one = Counter(), [], []
    with ThreadGroup():
        threads = spinners(counts, ["a", "b"], stop)
        threads += spinners(counts, ["c"], stop_one)
    stop_one.append(True)
    await threads[2].join()
    counts.clear()
    for _ in range(1500):
        counts["clock"] += 1
        await sleep(0)
    stop.append(True)
    total = sum(counts.values())
    assert counts["clock"] / total == pytest.approx(1 / 2, rel=0.15)
    assert counts["a"] / total == pytest.approx(1 / 4, rel=0.15)
    for t in threads:
        await t.join()


# -- which group -------------------------------------------------------------------------------------------


async def test_the_current_group():
    root = current_thread_group()
    assert isinstance(root, ThreadGroup)
    assert current_thread_group() is root
    group = ThreadGroup()
    with group:
        assert current_thread_group() is group
        with root:
            assert current_thread_group() is root
        assert current_thread_group() is group
    assert current_thread_group() is root
    with parameterize(current_thread_group, group):
        assert current_thread_group() is group
    assert current_thread_group() is root


async def test_a_thread_inherits_its_creators_group():
    group = ThreadGroup()

    async def nested():
        return current_thread_group()

    async def child():
        return current_thread_group(), await thread(nested).join()

    with group:
        t = thread(child)
    assert await t.join() == (group, group)

    def plainly():
        return current_thread_group()

    with group:
        t = thread(plainly)
    assert await t.join() is group


async def test_the_block_of_a_group_leaves_the_custodian_alone_and_the_other_way_round():
    group, custodian = ThreadGroup(), rtsync.Custodian()
    with group, custodian:
        assert current_thread_group() is group
        assert rtsync.current_custodian() is custodian
    with custodian, group:
        assert current_thread_group() is group
        assert rtsync.current_custodian() is custodian


def test_a_group_belongs_to_one_runtime():
    groups = []

    async def first():
        groups.append(ThreadGroup())

    async def second():
        with pytest.raises(ContractError, match="another runtime"):
            ThreadGroup(groups[0])
        with pytest.raises(ContractError, match="another runtime"), groups[0]:
            pass
        with pytest.raises(ContractError, match="another runtime"):
            current_thread_group(groups[0])

    DeterministicRuntime().run(first)
    DeterministicRuntime().run(second)


def test_outside_a_runtime_there_is_no_group():
    with pytest.raises(NoRuntime, match="ThreadGroup"):
        ThreadGroup()
    with pytest.raises(NoRuntime, match="current_thread_group"):
        current_thread_group()


async def test_under_their_racket_names():
    group = racket.make_thread_group()
    assert racket.is_thread_group(group)
    assert not racket.is_thread_group(5)
    assert racket.is_thread_group(racket.make_thread_group(group))
    assert racket.is_thread_group(racket.current_thread_group())
    with racket.parameterize(racket.current_thread_group, group):
        assert racket.current_thread_group() is group


# -- everything else is as in the root group ---------------------------------------------------------------


async def test_results_exceptions_and_waiting():
    async def work(value):
        await sleep(0)
        return value

    async def fail():
        raise ValueError("in a group")

    with ThreadGroup():
        good, bad = thread(work, 5), thread(fail)
        nested = rtsync.call_in_nested_thread(work, 6)
        assert await nested == 6
    assert await good.join() == 5
    with pytest.raises(ValueError, match="in a group"):
        await bad.join()


async def test_threads_of_several_groups_talk_to_each_other():
    ch = Channel()

    async def put(number):
        for value in range(20):
            await ch.put((number, value))

    putters = []
    for number in range(3):
        with ThreadGroup():
            putters.append(thread(put, number))
    got = [await ch.get() for _ in range(60)]
    for number in range(3):
        assert [value for n, value in got if n == number] == list(range(20))
    for t in putters:
        await t.join()


async def test_os_backed_threads_and_outsiders_wake_them():
    ch = Channel()
    with ThreadGroup():
        first, second = thread(ch.get), thread(ch.get)
    plain = thread(lambda: block_on(ch.put(1)))
    await plain.join()
    await ch.put(2)
    assert {await first.join(), await second.join()} == {1, 2}  # two workers: either may be the first to get


@pytest.mark.rtsync(workers=2)
async def test_an_os_thread_of_the_program_wakes_them():
    ch = Channel()
    with ThreadGroup():
        t = thread(ch.get)
    outside = threading.Thread(target=lambda: block_on(ch.put(1)))
    outside.start()
    assert await t.join() == 1
    outside.join()


async def test_a_runnable_member_can_be_killed_suspended_and_broken():
    async def spin():
        try:
            while True:
                await sleep(0)
        except Break:
            return "broken"

    with ThreadGroup():
        threads = [thread(spin) for _ in range(4)]
    for _ in range(20):
        await sleep(0)
    killed, suspended, broken, never_resumed = threads
    killed.kill()
    assert killed.dead
    suspended.suspend()
    never_resumed.suspend()
    broken.break_()
    try:
        assert await broken.join() == "broken"
    except Break:  # it had not begun
        pass
    await sync(idle())
    assert not suspended.dead
    suspended.resume()
    suspended.break_()
    try:
        assert await suspended.join() == "broken"
    except Break:
        pass
    never_resumed.kill()


async def test_a_member_that_has_not_begun_can_be_killed():
    ran = []

    async def member():
        ran.append(True)

    async def main():
        with ThreadGroup():
            t = thread(member)
        t.kill()
        return t.dead

    # In one step, so on one worker the member cannot have begun; on two it may have.
    assert await thread(main).join()


async def test_blocked_members_can_be_killed_suspended_and_resumed():
    ch = Channel()
    with ThreadGroup():
        a, b = thread(ch.get), thread(ch.get)
    await sync(idle())
    a.kill()
    assert a.dead
    b.suspend()
    assert await sync(ch.put_evt(1), timeout=0) is None
    b.resume()
    await ch.put(2)
    assert await b.join() == 2


async def test_idle_events_see_the_work_of_groups():
    done = []

    async def work():
        for _ in range(50):
            await sleep(0)
        done.append(True)

    with ThreadGroup(), ThreadGroup():
        thread(work)
    await sync(idle())
    assert done == [True]


def test_a_deadlock_is_seen_with_groups():
    async def main():
        with ThreadGroup():
            t = thread(Channel().get)
        await t.join()

    with pytest.raises(rtsync.Deadlock, match="Channel"):
        run_deterministic(main)


def test_the_same_on_a_real_runtime(script):
    script(
        """
        import rtsync as rt

        async def main():
            with rt.ThreadGroup(), rt.ThreadGroup():
                t = rt.thread(rt.Channel().get)
            await t.join()

        try:
            rt.run(main, workers=2)
        except rt.Deadlock:
            pass
        else:
            raise SystemExit(3)
        """
    )


async def test_unreachable_members_are_collected():
    with ThreadGroup():
        gone = weakref.ref(thread(Channel().get))
    for _ in range(10):
        await sync(idle())
        gc.collect()
        if gone() is None:
            break
    assert gone() is None


@pytest.mark.rtsync(workers=2)
async def test_a_member_that_computes_does_not_keep_the_others_of_its_group_from_running():
    stop, ran = [], []

    async def hog():
        while not stop:
            pass

    async def modest(number):
        ran.append(number)

    with ThreadGroup():
        h = thread(hog)
        others = [thread(modest, number) for number in range(3)]
    for t in others:
        await t.join()
    stop.append(True)
    await h.join()
    assert sorted(ran) == [0, 1, 2]


@pytest.mark.rtsync(workers=2)
async def test_a_group_uses_the_workers_that_have_nothing_else_to_do():
    """Two members that each wait, without ever giving way, for the other to have begun."""
    begun = set()

    async def member(number):
        begun.add(number)
        while len(begun) < 2:
            pass
        return True

    with ThreadGroup():
        threads = [thread(member, number) for number in range(2)]
    for t in threads:
        assert await t.join()


@pytest.mark.rtsync(workers=2, runs=20)
async def test_no_wake_up_of_a_member_is_lost():
    """Members of nested groups and of the root hand a token round; once it is lost, nobody has it."""
    ring = [Channel() for _ in range(6)]

    async def hand_on(number):
        for _ in range(30):
            value = await ring[number].get()
            await ring[(number + 1) % 6].put(value + 1)

    threads = []
    outer = ThreadGroup()
    for number in range(5):
        if number % 3 == 0:
            threads.append(thread(hand_on, number))
        elif number % 3 == 1:
            with outer:
                threads.append(thread(hand_on, number))
        else:
            with outer, ThreadGroup():
                threads.append(thread(hand_on, number))
    await ring[0].put(0)
    for _ in range(29):
        value = await ring[5].get()
        await ring[0].put(value + 1)
    assert await ring[5].get() == 30 * 6 - 1
    for t in threads:
        await t.join()


async def test_main_goes_on_beside_many_groups():
    async def member():
        for _ in range(5):
            await sleep(0)
        return current_thread()

    threads = []
    for _ in range(20):
        with ThreadGroup():
            threads += [thread(member) for _ in range(3)]
    for t in threads:
        assert await t.join() is t


@pytest.mark.rtsync(workers=2)
async def test_a_trace_tells_of_the_members():
    runtime, seen = current_thread().runtime, []

    async def member():
        for _ in range(5):
            await sleep(0)

    runtime.set_trace(lambda *what: seen.append(what))
    with ThreadGroup(), ThreadGroup():
        t = thread(member)
    await t.join()
    runtime.set_trace(None)
    mine = [what for what, _, _, task in seen if task is t]
    assert mine.count("step") >= 6
    assert abs(mine.count("step") - mine.count("step-end")) <= 1
    assert all(isinstance(task, rtsync.Thread) for _, _, _, task in seen)


# -- atomic mode -------------------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2, runs=5)
async def test_atomic_mode_keeps_members_of_groups_out():
    inside, most = [], []

    async def member():
        for _ in range(20):
            with atomic():
                inside.append(True)
                most.append(len(inside))
                inside.pop()
            await sleep(0)

    threads = []
    for _ in range(3):
        with ThreadGroup(), ThreadGroup():
            threads += [thread(member) for _ in range(2)]
    threads += [thread(member) for _ in range(2)]
    for t in threads:
        await t.join()
    assert max(most) == 1


async def test_a_member_in_atomic_mode_is_refused_what_would_block():
    async def member():
        with atomic():
            with pytest.raises(ContractError, match="would block in atomic mode"):
                await Channel().get()
            with pytest.raises(ContractError, match="would block in atomic mode"):
                await rtsync.call_in_nested_thread(sleep)
        await sleep(0)
        return "goes on"

    with ThreadGroup(), ThreadGroup():
        threads = [thread(member) for _ in range(3)]
    assert [await t.join() for t in threads] == ["goes on"] * 3


async def test_a_member_in_uninterruptible_mode_cannot_be_killed_before_its_end():
    gate, reached = Semaphore(), []

    async def member():
        with uninterruptible():
            begun.post()
            await gate.wait()
            reached.append(True)
        await Channel().get()

    begun = Semaphore()
    with ThreadGroup():
        t = thread(member)
    await begun.wait()
    await sync(idle())
    t.kill()
    gate.post()
    await t.wait()
    assert reached == [True]
