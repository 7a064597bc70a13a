"""Parallel thread pools: Racket Reference 11.1.5, SPEC §1, §2 and §8."""

# ruff: noqa: ASYNC251  # threads that block an OS thread are part of what is tested

import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest

import rtsync
from rtsync import (
    AsyncChannel,
    Break,
    Channel,
    ContractError,
    Custodian,
    NoRuntime,
    ParallelThreadPool,
    Semaphore,
    ThreadKilled,
    block_on,
    current_custodian,
    current_thread,
    idle,
    receive,
    sleep,
    sync,
    thread,
)
from rtsync.atomic import (
    UninterruptibleLock,
    atomic,
    is_in_atomic_mode,
    start_atomic,
    uninterruptible,
)
from rtsync.racket import processor_count

# -- making and closing ----------------------------------------------------------------------------


@pytest.mark.rtsync(seeds=1)
async def test_bad_input_is_refused():
    for bad in (1.0, "1", True):
        with pytest.raises(TypeError, match="ParallelThreadPool: n must be a positive integer, got"):
            ParallelThreadPool(bad)
    for bad in (0, -1):
        with pytest.raises(ValueError, match="ParallelThreadPool: n must be a positive integer, got"):
            ParallelThreadPool(bad)
    for bad in (5, object(), print):
        with pytest.raises(
            TypeError, match="thread: pool must be a parallel thread pool, 'own' or None, got"
        ):
            thread(sleep, pool=bad)
    with pytest.raises(ValueError, match="thread: pool must be a parallel thread pool, 'own' or None, got"):
        thread(sleep, pool="mine")


def test_outside_a_runtime_it_is_said_that_one_is_needed():
    with pytest.raises(NoRuntime, match="ParallelThreadPool"):
        ParallelThreadPool(1)


async def test_its_size_is_the_number_of_processors_by_default():
    assert ParallelThreadPool().size == processor_count()
    assert ParallelThreadPool(3).size == 3
    assert "of 3 at" in repr(ParallelThreadPool(3))


async def test_functions_of_both_kinds_run_in_it():
    pool = ParallelThreadPool(2)

    async def coroutine(a, b):
        await sleep(0)
        return a + b

    def plain(a, b):
        block_on(sleep(0))
        return a * b

    assert await thread(coroutine, 2, 3, pool=pool).join() == 5
    assert await thread(plain, 2, 3, pool=pool).join() == 6


async def test_options_and_inheritance_are_as_for_other_threads():
    pool = ParallelThreadPool(1)

    async def coroutine():
        return current_thread().name, rtsync.break_enabled(), current_custodian()

    def plain():
        return current_thread().name, rtsync.break_enabled(), current_custodian()

    custodian = Custodian()
    with custodian, rtsync.breaks(False):
        ts = [thread(f, pool=pool, name="named") for f in (coroutine, plain)]
    for t in ts:
        assert await t.join() == ("named", False, custodian)
    assert await thread(coroutine, pool=pool, keep=False).join() is None


async def test_a_closed_pool_takes_no_more_threads_and_those_it_has_go_on():
    pool = ParallelThreadPool(1)
    ch = Channel()

    def plain():
        return block_on(ch.get())

    ts = [thread(ch.get, pool=pool), thread(plain, pool=pool), thread(plain, pool=pool)]
    pool.close()
    assert pool.closed
    assert "closed" in repr(pool)
    for fn in (ch.get, plain):
        with pytest.raises(ContractError, match="thread: the pool has been closed"):
            thread(fn, pool=pool)
    for _ in ts:
        await ch.put("value")
    assert [await t.join() for t in ts] == ["value"] * 3
    pool.close()


async def test_own_is_a_pool_of_its_own():
    async def coroutine():
        await sleep(0)
        return "coroutine"

    def plain():
        block_on(sleep(0))
        return "plain"

    ts = [thread(f, pool="own") for f in (coroutine, plain) * 3]
    assert [await t.join() for t in ts] == ["coroutine", "plain"] * 3


async def test_the_shutdown_of_its_custodian_closes_it():
    custodian = Custodian()
    with custodian:
        pool = ParallelThreadPool(1)
    ch = Channel()
    t = thread(ch.get, pool=pool)  # managed by another custodian
    custodian.shutdown_all()
    assert pool.closed
    with pytest.raises(ContractError):
        thread(ch.get, pool=pool)
    await ch.put("value")
    assert await t.join() == "value"
    with custodian, pytest.raises(ContractError, match="shut down"):
        ParallelThreadPool(1)


async def test_the_shutdown_of_its_threads_custodian_kills_them():
    pool = ParallelThreadPool(1)
    custodian = Custodian()

    def plain():
        block_on(Channel().get())

    with custodian:
        ts = [thread(Channel().get, pool=pool), thread(plain, pool=pool), thread(plain, pool=pool)]
    await sync(idle())
    custodian.shutdown_all()
    for t in ts:
        await t.wait()
        assert t.dead
    assert await thread(sleep, pool=pool).join() is None
    assert not pool.closed


@pytest.mark.rtsync(seeds=1)
async def test_under_a_custodian_that_was_shut_down_no_thread_is_made():
    pool = ParallelThreadPool(1)
    custodian = Custodian()
    custodian.shutdown_all()
    for fn in (sleep, time.sleep):
        with custodian, pytest.raises(ContractError, match="shut down"):
            thread(fn, 0, pool=pool)
    assert await thread(sleep, pool=pool).join() is None


def test_a_pool_of_another_runtime_is_refused():
    async def make():
        return ParallelThreadPool(1)

    pool = rtsync.run(make, workers=1)

    async def main():
        with pytest.raises(ContractError):
            thread(sleep, pool=pool)

    rtsync.run(main, workers=1)


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.rtsync(workers=2)
def test_its_os_threads_go_when_it_is_closed_and_empty():
    place = current_thread().runtime
    pool = ParallelThreadPool(2)
    block_on(thread(sleep, 0.001, pool=pool).join())
    assert len(place.pools) == 1
    names = [t.name for t in threading.enumerate() if "-pool-" in t.name]
    assert names
    pool.close()
    wait_until(lambda: not place.pools)
    wait_until(lambda: not [t for t in threading.enumerate() if "-pool-" in t.name])


@pytest.mark.rtsync(workers=2)
def test_a_pool_that_nobody_refers_to_goes_with_its_last_thread():
    place = current_thread().runtime
    pool = ParallelThreadPool(1)
    ch = Channel()
    t = thread(ch.get, pool=pool)
    alive = weakref.ref(pool)
    del pool

    def collected():
        gc.collect()
        return alive() is None

    wait_until(collected)
    assert len(place.pools) == 1
    block_on(ch.put("value"))
    assert block_on(t.join()) == "value"
    wait_until(lambda: not place.pools)


@pytest.mark.rtsync(workers=2)
def test_a_thread_that_nobody_can_reach_does_not_keep_a_closed_pool():
    place = current_thread().runtime
    pool = ParallelThreadPool(1)
    thread(Channel().get, pool=pool)
    pool.close()

    def gone():
        gc.collect()
        return not place.pools

    wait_until(gone)


# -- turns -----------------------------------------------------------------------------------------


class Counting:
    """How many are in a piece of code at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = self.most = 0

    def visit(self, seconds=0.002):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(seconds)
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize("kinds", ["plain", "coroutine", "both"])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.rtsync(workers=4)
async def test_at_most_n_run_at_once(kinds, n):
    pool = ParallelThreadPool(n)
    counting = Counting()

    def plain():
        for _ in range(3):
            counting.visit()
            block_on(sleep(0.0005))

    async def coroutine():
        for _ in range(3):
            counting.visit()
            await sleep(0.0005)

    functions = {"plain": [plain], "coroutine": [coroutine], "both": [plain, coroutine]}[kinds]
    ts = [thread(f, pool=pool) for f in functions for _ in range(12 // len(functions))]
    for t in ts:
        await t.join()
    assert counting.most <= n


@pytest.mark.rtsync(workers=2)
async def test_two_do_run_at_once_in_a_pool_of_two():
    pool = ParallelThreadPool(2)
    barrier = threading.Barrier(2, timeout=30)

    async def coroutine():
        barrier.wait()

    for pair in ((barrier.wait, barrier.wait), (coroutine, coroutine), (barrier.wait, coroutine)):
        for t in [thread(f, pool=pool) for f in pair]:
            await t.join()


async def test_who_is_blocked_has_no_turn():
    pool = ParallelThreadPool(1)
    ch = Channel()

    def getter():
        return block_on(ch.get())

    def putter():
        block_on(ch.put("value"))

    async def co_putter():
        await ch.put("value")

    for put in (putter, co_putter):
        ts = [thread(getter, pool=pool), thread(put, pool=pool)]
        assert [await t.join() for t in ts] == ["value", None]


async def test_who_gives_way_lets_others_have_the_turn():
    pool = ParallelThreadPool(1)
    flag = []

    def waits_for_flag():
        while not flag:
            block_on(sleep(0))

    async def co_waits_for_flag():
        while not flag:
            await sleep(0)

    def sets():
        flag.append(1)

    async def co_sets():
        flag.append(1)

    for wait in (waits_for_flag, co_waits_for_flag):
        for set_ in (sets, co_sets):
            flag.clear()
            for t in [thread(wait, pool=pool), thread(set_, pool=pool)]:
                await t.join()


async def test_who_is_suspended_has_no_turn():
    pool = ParallelThreadPool(1)
    begun = Semaphore()

    def computes():
        begun.post()
        while True:
            time.sleep(0)

    async def co_computes():
        begun.post()
        while True:
            time.sleep(0)

    if current_thread().runtime.pools == () and type(current_thread().runtime).__name__ != "Runtime":
        return  # one thing at a time: who computes for ever is never suspended
    for fn in (computes, co_computes):
        t = thread(fn, pool=pool)
        await begun.wait()
        t.suspend()
        assert await thread(sleep, pool=pool).join() is None
        assert await thread(lambda: "plain", pool=pool).join() == "plain"
        t.kill()
        assert t.dead


@pytest.mark.rtsync(workers=2)
async def test_a_busy_pool_does_not_keep_the_place_waiting():
    pool = ParallelThreadPool(1)
    stop = threading.Event()

    async def hog():
        while not stop.is_set():
            pass

    hogs = [thread(hog, pool=pool) for _ in range(3)]
    for _ in range(20):
        await thread(sleep).join()
    stop.set()
    for t in hogs:
        await t.join()


# -- exchange and control --------------------------------------------------------------------------


async def test_threads_of_pools_and_of_the_place_exchange_everything():
    pools = [None, ParallelThreadPool(1), ParallelThreadPool(2)]
    ch, buffer, sem = Channel(), AsyncChannel(3), Semaphore()

    async def co_sends(number):
        await ch.put(number)
        await buffer.put(number)
        sem.post()
        return await receive()

    def sends(number):
        block_on(ch.put(number))
        block_on(buffer.put(number))
        sem.post()
        return block_on(receive())

    ts = [thread(f, n, pool=pool) for n, pool in enumerate(pools) for f in (co_sends, sends)]
    assert sorted([await ch.get() for _ in ts]) == [0, 0, 1, 1, 2, 2]
    assert sorted([await sync(buffer) for _ in ts]) == [0, 0, 1, 1, 2, 2]
    for _ in ts:
        await sem.wait()
    for t in ts:
        t.send(f"mail for {t.name}")
    for t in ts:
        assert await sync(t) is t
        assert await t.join() == f"mail for {t.name}"


async def test_a_thread_made_in_a_pool_belongs_to_the_place_unless_said_otherwise():
    pool = ParallelThreadPool(1)

    async def inner():
        return current_thread()

    async def outer():
        a, b = thread(inner), thread(inner, pool=pool)
        return (await a.join())._rare, (await b.join())._rare.pool

    rare, core = await thread(outer, pool=pool).join()
    assert rare is None
    assert core is pool._core


@pytest.mark.parametrize("kind", ["coroutine", "plain"])
async def test_a_blocked_thread_of_a_pool_is_killed_suspended_resumed_and_broken(kind):
    pool = ParallelThreadPool(1)
    ch = Channel()
    log = []

    async def coroutine():
        try:
            log.append(await ch.get())
        except Break:
            log.append("break")
        finally:
            log.append("clean-up")

    def plain():
        try:
            log.append(block_on(ch.get()))
        except Break:
            log.append("break")
        finally:
            log.append("clean-up")

    def start():
        return thread(coroutine if kind == "coroutine" else plain, pool=pool)

    t = start()
    await sync(idle())
    t.suspend()
    assert await sync(ch.put_evt(1), timeout=0, default="not taken") == "not taken"
    t.resume()
    await ch.put("value")
    await t.join()
    assert log == ["value", "clean-up"]
    log.clear()

    t = start()
    await sync(idle())
    t.kill()
    await t.wait()
    with pytest.raises(ThreadKilled):
        await t.join()
    assert log == ["clean-up"]
    log.clear()

    t = start()
    await sync(idle())
    t.break_()
    await t.join()
    assert log == ["break", "clean-up"]


@pytest.mark.parametrize("kind", ["coroutine", "plain"])
@pytest.mark.rtsync(workers=2)
async def test_hogs_of_a_pool_are_killed_suspended_resumed_and_broken(kind):
    pool = ParallelThreadPool(1)
    count = [0]
    log = []

    def body():
        try:
            while True:
                count[0] += 1
        except Break:
            log.append("break")

    async def coroutine():
        body()

    async def goes_on():
        before = count[0]
        while count[0] == before:
            await sleep(0.0005)

    def start():
        return thread(coroutine if kind == "coroutine" else body, pool=pool)

    t = start()
    await goes_on()
    t.suspend()
    before = count[0]
    await sleep(0.005)
    assert count[0] == before
    t.resume()
    await goes_on()
    t.kill()
    assert t.dead
    t = start()
    await goes_on()
    t.break_()
    await t.join()
    assert log == ["break"]


@pytest.mark.parametrize("kind", ["coroutine", "plain"])
@pytest.mark.rtsync(workers=2)
async def test_a_thread_in_line_can_be_killed_and_suspended_while_the_pool_is_busy(kind):
    pool = ParallelThreadPool(1)
    begun, stop = Semaphore(), threading.Event()
    log = []

    def hog():
        begun.post()
        assert stop.wait(30)

    def plain():
        log.append("ran")

    async def coroutine():
        log.append("ran")

    h = thread(hog, pool=pool)
    await begun.wait()
    ts = [thread(coroutine if kind == "coroutine" else plain, pool=pool) for _ in range(3)]
    ts[0].kill()
    await ts[0].wait()
    assert ts[0].dead
    ts[1].suspend()
    assert not ts[1].running
    stop.set()
    await ts[2].join()
    await h.join()
    assert log == ["ran"]
    ts[1].resume()
    await ts[1].join()
    assert log == ["ran", "ran"]


@pytest.mark.parametrize("pooled", [True, False])
async def test_who_is_in_a_pool_controls_those_of_the_place(pooled):
    pool = ParallelThreadPool(1) if pooled else None
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            log.append("clean-up")

    async def killer(t):
        t.suspend()
        t.resume()
        t.kill()
        await t.wait()
        assert t.dead

    def plain_killer(t):
        t.kill()
        assert t.dead

    for kill in (killer, plain_killer):
        t = thread(victim)
        await sync(idle())
        await thread(kill, t, pool=pool).join()
    assert log == ["clean-up"] * 2


async def test_uncaught_exceptions_are_reported_as_elsewhere():
    pool = ParallelThreadPool(1)
    told = []

    async def coroutine():
        raise KeyError("mine")

    def plain():
        raise KeyError("mine")

    handler = lambda t, error: told.append((t.name, repr(error)))  # noqa: E731
    with rtsync.parameterize(rtsync.uncaught_exception_handler, handler):
        ts = [thread(f, pool=pool, name=f.__name__) for f in (coroutine, plain)]
    for t in ts:
        with pytest.raises(KeyError):
            await t.join()
    assert sorted(told) == [("coroutine", "KeyError('mine')"), ("plain", "KeyError('mine')")]


@pytest.mark.timeout(60)  # were each end to look at all threads of the pool, it would take longer
@pytest.mark.rtsync(workers=2)
async def test_a_pool_may_have_tens_of_thousands_of_threads():
    pool, channel = ParallelThreadPool(1), Channel()
    threads = [thread(channel.get, pool=pool) for _ in range(30_000)]
    for number in range(30_000):
        await channel.put(number)
    assert sum([await t.join() for t in threads]) == sum(range(30_000))
    pool.close()


@pytest.mark.rtsync(workers=2, runs=2)
async def test_a_storm_of_threads_in_and_out_of_pools():
    pools = [ParallelThreadPool(n) for n in (1, 2, 3)]
    ch = Channel()
    total = 0

    async def co_puts(n):
        await ch.put(n)
        await sleep(0)

    def puts(n):
        block_on(ch.put(n))

    ts = [thread(co_puts if n % 2 else puts, n, pool=pools[n % 3]) for n in range(90)]
    for _ in range(90):
        total += await ch.get()
    for t in ts:
        await t.join()
    assert total == sum(range(90))


# -- the end of things -----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_of_run_shuts_down_the_threads_of_pools_too(workers):
    log = []

    async def main():
        pool = ParallelThreadPool(2)
        begun = Semaphore()

        async def blocked():
            try:
                begun.post()
                await Channel().get()
            finally:
                log.append("blocked")

        def hog():
            try:
                begun.post()
                while True:
                    pass
            finally:
                log.append("hog")

        def in_line():
            log.append("not reached")

        for fn in (blocked, hog):
            thread(fn, pool=pool)
            await begun.wait()
        thread(hog, pool=pool)
        await begun.wait()
        thread(in_line, pool=pool)

    rtsync.run(main, workers=workers)
    assert sorted(log) == ["blocked", "hog", "hog"]
    wait_until(lambda: not [t for t in threading.enumerate() if "-pool-" in t.name])


async def test_idle_waits_for_pools():
    pool = ParallelThreadPool(1)
    done = []

    async def coroutine():
        for _ in range(5):
            await sleep(0)
        done.append(1)
        await sleep(1000)

    def plain():
        time.sleep(0.01)
        done.append(1)

    ts = [thread(coroutine, pool=pool), thread(plain, pool=pool)]
    await sync(idle())
    assert done == [1, 1]
    ts[0].kill()


def run_script(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text("import faulthandler; faulthandler.dump_traceback_later(150, exit=True)\n" + text)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True)


def test_a_deadlock_with_threads_in_pools_is_found(tmp_path):
    done = run_script(
        tmp_path,
        """
import rtsync as rt

async def main():
    pool = rt.ParallelThreadPool(2)
    ch = rt.Channel()
    async def in_pool():
        await rt.sleep(0.05)   # until then it is no deadlock
        print("slept", flush=True)
        await ch.get()
    def plain():
        rt.block_on(ch.get())
    rt.thread(in_pool, pool=pool)
    rt.thread(plain, pool=pool)
    try:
        await ch.get()
    except rt.Deadlock as error:
        text = str(error)
        assert "in_pool" in text and "plain" in text, text
        print("deadlock")

rt.run(main, workers=2)
""",
    )
    assert done.stdout.split() == ["slept", "deadlock"], done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("moment", ["before it gives its turn", "while it gives its turn"])
def test_who_waits_in_line_for_the_turn_of_a_worker_that_goes_idle_is_not_deadlocked(tmp_path, moment):
    done = run_script(
        tmp_path,
        f"""
import threading, time
import rtsync as rt
from rtsync.pool import Engine, PoolThread

goes_idle, in_line = threading.Event(), threading.Event()
home = None

def hold_up(moment):
    # Until all others are idle, and have had the time to take that for a deadlock.
    if moment == {moment!r}:
        while not home.all_idle():
            time.sleep(0.001)
        time.sleep(0.3)

def sleep(self, worker, timeout, real=Engine._sleep):
    if not in_line.is_set():
        goes_idle.set()
        in_line.wait(60)
        hold_up("before it gives its turn")
    real(self, worker, timeout)

def grant(self, real=PoolThread.grant):
    hold_up("while it gives its turn")
    real(self)

async def main():
    global home
    home = rt.current_thread().runtime
    Engine._sleep, PoolThread.grant = sleep, grant
    pool = rt.ParallelThreadPool(1)
    await rt.thread(rt.sleep, pool=pool).join()
    while not goes_idle.is_set():
        await rt.sleep(0.001)
    t = rt.thread(lambda: "ran", pool=pool)
    in_line.set()
    print(await t.join())

rt.run(main, workers=2)
""",
    )
    assert done.stdout == "ran\n", done.stderr


def test_who_can_be_woken_by_a_pool_is_not_deadlocked(tmp_path):
    done = run_script(
        tmp_path,
        """
import rtsync as rt, time

async def main():
    pool = rt.ParallelThreadPool(1)
    ch = rt.Channel()
    async def computes(n):
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            pass
        await ch.put(n)
    def plain(n):
        time.sleep(0.05)
        rt.block_on(ch.put(n))
    for n in range(3):
        rt.thread(computes, n, pool=pool)
        rt.thread(plain, n, pool=pool)
    print(sorted([await ch.get() for _ in range(6)]))

rt.run(main, workers=2)
""",
    )
    assert done.stdout == "[0, 0, 1, 1, 2, 2]\n", done.stderr


# -- modes -----------------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=3)
async def test_a_pool_is_not_stopped_by_atomic_mode_of_the_place():
    pool = ParallelThreadPool(2)
    count = [0, 0]
    stop = []

    async def coroutine():
        while not stop:
            count[0] += 1

    def plain():
        while not stop:
            count[1] += 1

    ts = [thread(coroutine, pool=pool), thread(plain, pool=pool)]
    while not all(count):
        await sleep(0.001)
    with atomic():
        for n in range(2):
            before = count[n]
            deadline = time.monotonic() + 30
            while count[n] == before:
                assert time.monotonic() < deadline
    stop.append(1)
    for t in ts:
        await t.join()


@pytest.mark.parametrize("kind", ["coroutine", "plain"])
@pytest.mark.rtsync(workers=3)
async def test_atomic_mode_in_a_pool_stops_the_coroutine_threads_of_the_place(kind):
    pool = ParallelThreadPool(1)
    counts = [0, 0, 0]
    stop = []

    async def steps(n):
        while not stop:
            counts[n] += 1
            await sleep(0)

    async def computes(n):
        while not stop:
            counts[n] += 1

    writers = [thread(steps, 0), thread(steps, 1), thread(computes, 2)]
    while not all(counts):
        await sleep(0.001)

    def look():
        with atomic():
            assert is_in_atomic_mode()
            first = list(counts)
            for n in range(200):
                if n % 50 == 0:
                    time.sleep(0.0005)
                assert list(counts) == first

    def plain():
        for _ in range(5):
            look()

    async def coroutine():
        for _ in range(5):
            look()
            with atomic():
                for operation in (sleep(0), Channel().get()):
                    with pytest.raises(ContractError, match="would block in atomic mode"):
                        await operation
            await sleep(0)

    await thread(plain if kind == "plain" else coroutine, pool=pool).join()
    stop.append(1)
    for t in writers:
        await t.join()


@pytest.mark.rtsync(workers=2)
async def test_threads_of_pools_and_of_the_place_exclude_each_other_from_atomic_mode():
    pools = [None, ParallelThreadPool(1), ParallelThreadPool(2)]
    total = [0]

    def adds():
        with atomic():
            value = total[0]
            total[0] = value + 1

    async def coroutine():
        for _ in range(60):
            adds()
            await sleep(0)

    def plain():
        for _ in range(60):
            adds()

    ts = [thread(f, pool=pool) for pool in pools for f in (coroutine, plain, coroutine)]
    for t in ts:
        await t.join()
    assert total == [540]


async def test_a_parallel_thread_cannot_enter_atomic_mode_in_uninterruptible_mode():
    pool = ParallelThreadPool(1)

    def tries():
        with uninterruptible():
            with pytest.raises(ContractError, match="start_atomic: a parallel thread"):
                start_atomic()
            assert is_in_atomic_mode()
        assert not is_in_atomic_mode()
        with atomic(), uninterruptible():
            pass

    async def coroutine():
        tries()

    for fn in (tries, coroutine):
        await thread(fn, pool=pool).join()


@pytest.mark.rtsync(workers=2)
async def test_an_uninterruptible_lock_between_pools_and_the_place():
    pools = [None, ParallelThreadPool(1), ParallelThreadPool(2)]
    lock = UninterruptibleLock()
    total = [0]

    def adds():
        with lock:
            value = total[0]
            total[0] = value + 1

    async def coroutine():
        for n in range(150):
            adds()
            if n % 5 == 0:
                await sleep(0)

    def plain():
        for _ in range(150):
            adds()

    ts = [thread(f, pool=pool) for pool in pools for f in (coroutine, plain)]
    for t in ts:
        await t.join()
    assert total == [900]
