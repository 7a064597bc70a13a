"""Modes in which a thread must not block, in pools: the thread goes on in one stretch."""

import threading

import pytest

import rtsync
from rtsync import (
    Break,
    Channel,
    ContractError,
    ParallelThreadPool,
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
    call_as_atomic,
    call_as_nonatomic,
    is_in_atomic_mode,
)
from rtsync.waiter import Locks
from scheduler import direct
from tests.chaos import chaos

OPERATIONS = {
    "gives way": lambda: sleep(0),
    "waits for one": lambda: Channel().get(),
    "waits for two": lambda: sync(Channel(), Semaphore()),
    "waits for time": lambda: sleep(1000),
}
MODES = ["atomic", "breakable", "lock"]
EACH_OPERATION = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
EACH_MODE = pytest.mark.parametrize("mode", MODES)


def block_of(mode):
    """A function that gives the block of a mode; the same lock each time."""
    lock = UninterruptibleLock()
    return {"atomic": atomic, "breakable": lambda: atomic(breakable=True), "lock": lambda: lock}[mode]


async def is_refused(operation):
    with pytest.raises(ContractError, match=": would block "):
        await operation()
    assert is_in_atomic_mode()


@EACH_MODE
@EACH_OPERATION
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.rtsync(workers=2)
async def test_who_is_refused_is_not_overtaken_by_those_who_wait_for_its_mode(mode, operation, n):
    pool = ParallelThreadPool(n)
    block = block_of(mode)

    async def refused():
        for _ in range(70):  # more than the steps between two of which a worker looks at all its queues
            with block():
                await is_refused(operation)
            await sleep(0)

    async def wants():
        for _ in range(70):
            with block():
                pass
            await sleep(0)

    for t in [thread(f, pool=pool) for f in (refused, wants, refused, wants)]:
        await t.join()


@EACH_MODE
@EACH_OPERATION
@pytest.mark.rtsync(workers=2)
async def test_in_a_pool_of_one_nobody_else_runs_in_the_middle_of_a_section(mode, operation):
    pool = ParallelThreadPool(1)
    block = block_of(mode)
    inside, met = [], []
    stop = []

    async def refused():
        for _ in range(70):
            with block():
                inside.append(1)
                await is_refused(operation)
                inside.clear()
            await sleep(0)
        stop.append(1)

    async def steps():
        while not stop:
            met.extend(inside)
            await sleep(0)

    def plain():
        while not stop:
            met.extend(inside)
            block_on(sleep(0))

    for t in [thread(f, pool=pool) for f in (refused, steps, plain)]:
        await t.join()
    assert not met


@EACH_MODE
@pytest.mark.rtsync(workers=2)
async def test_threads_of_all_kinds_and_pools_share_a_mode(mode):
    pools = [None, ParallelThreadPool(1), ParallelThreadPool(1), ParallelThreadPool(2)]
    block = block_of(mode)
    total = [0]

    async def coroutine():
        for n in range(30):
            with block():
                value = total[0]
                if n % 3 == 0:
                    await is_refused(OPERATIONS["gives way" if n % 2 else "waits for one"])
                total[0] = value + 1
            await sleep(0)

    def plain():
        for n in range(30):
            with block():
                value = total[0]
                if n % 3 == 0:
                    with pytest.raises(ContractError):
                        block_on(Channel().get())
                total[0] = value + 1
            block_on(sleep(0))

    ts = [thread(f, pool=pool) for pool in pools for f in (coroutine, plain, coroutine)]
    for t in ts:
        await t.join()
    assert total[0] == 30 * len(ts)


@pytest.mark.rtsync(workers=2)
async def test_an_operation_outside_of_atomic_mode_within_it_lets_others_run():
    pool = ParallelThreadPool(1)
    ch = Channel()

    async def outside():
        return await ch.get()

    async def inside():
        await is_refused(OPERATIONS["gives way"])
        value = await call_as_nonatomic(outside)
        await is_refused(OPERATIONS["gives way"])
        return value

    async def puts(n):
        with atomic():
            pass
        await ch.put(n)

    async def enters():
        return await call_as_atomic(inside)

    getters = [thread(enters, pool=pool) for _ in range(3)]
    putters = [thread(puts, n, pool=pool) for n in range(3)]
    assert sorted([await t.join() for t in getters]) == [0, 1, 2]
    for t in putters:
        await t.join()


@EACH_MODE
@pytest.mark.rtsync(workers=2)
async def test_who_is_refused_as_often_as_it_likes_needs_no_more_stack(mode):
    block = block_of(mode)
    pool = ParallelThreadPool(1)

    async def refused():
        with block():
            for n in range(3000):
                try:
                    await (sleep(0) if n % 2 else Channel().get())
                except ContractError:
                    continue
                raise AssertionError

    for where in (None, pool):
        await thread(refused, pool=where).join()


# -- control ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", ["kill", "suspend", "break_"])
@pytest.mark.parametrize("mode", ["atomic", "lock"])
@pytest.mark.rtsync(workers=2)
async def test_requests_of_one_that_is_refused_wait_for_the_end_of_the_mode(request_, mode):
    pool = ParallelThreadPool(1)
    block = block_of(mode)
    begun, asked = threading.Event(), threading.Event()
    log = []

    async def refused():
        try:
            with block():
                begun.set()
                while not asked.is_set():
                    await is_refused(OPERATIONS["gives way"])
                    await is_refused(OPERATIONS["waits for one"])
                log.append("end of the mode")
        except Break:
            log.append("break")
        log.append("after")

    def asks():
        assert begun.wait(60)
        if request_ == "break_":
            t.break_()
            asked.set()
            return
        # It waits for the end of the mode, so somebody else has to see that it asks.
        waits = thread(sees)
        getattr(t, request_)()
        block_on(waits.join())

    def sees():
        while t.running:
            block_on(sleep(0.0005))
        asked.set()

    t = thread(refused, pool=pool)
    await thread(asks).join()
    if request_ == "suspend":
        assert log == ["end of the mode"]
        t.resume()
    await t.wait()
    assert (
        log
        == {
            "kill": ["end of the mode"],
            "suspend": ["end of the mode", "after"],
            "break_": ["end of the mode", "break", "after"],
        }[request_]
    )


@pytest.mark.parametrize(
    ("request_", "then"), [("kill", []), ("suspend", ["entered"]), ("break_", ["break"])], ids=str
)
@pytest.mark.rtsync(workers=2)
def test_who_waits_for_an_owner_that_is_refused_can_be_stopped(request_, then):
    begun, waits, stop = threading.Event(), threading.Event(), threading.Event()
    log = []

    async def owner():
        with atomic():
            begun.set()
            while not stop.is_set():
                await is_refused(OPERATIONS["gives way"])

    async def wants():
        try:
            waits.set()
            with atomic():
                log.append("entered")
        except Break:
            log.append("break")

    o = thread(owner, pool=ParallelThreadPool(1))
    assert begun.wait(60)
    t = thread(wants, pool=ParallelThreadPool(1))
    assert waits.wait(60)
    getattr(t, request_)()
    if request_ != "suspend":
        block_on(t.wait())
    stop.set()
    block_on(o.join())
    t.resume()
    block_on(t.wait())
    assert log == then


@pytest.mark.parametrize("mode", ["atomic", "lock"])
@pytest.mark.rtsync(workers=2)
async def test_a_clean_up_that_is_refused_in_a_mode_is_done_when_the_pool_is_busy(mode):
    pool = ParallelThreadPool(1)
    block = block_of(mode)
    begun, stop = Semaphore(), threading.Event()
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            with block():
                for operation in OPERATIONS.values():
                    await is_refused(operation)
            log.append("clean-up")

    async def hog():
        begun.post()
        assert stop.wait(60)

    t = thread(victim, pool=pool)
    await sync(idle())
    h = thread(hog, pool=pool)
    await begun.wait()
    t.kill()
    await t.wait()
    assert log == ["clean-up"]
    stop.set()
    await h.join()
    with pytest.raises(ThreadKilled):
        await t.join()


# -- windows ---------------------------------------------------------------------------------------


class LockWithGuests:
    """A lock of a channel, at each release of which others get the time to come."""

    def __init__(self, lock, guests):
        self.lock, self.guests = lock, guests
        self.acquire, self._is_owned, self._recursion_count = (
            lock.acquire,
            lock._is_owned,
            lock._recursion_count,
        )
        self.__enter__ = lock.__enter__

    def release(self):
        self.lock.release()
        self.guests()


@pytest.mark.parametrize("mode", ["atomic", "lock"])
@pytest.mark.rtsync(workers=2)
async def test_who_is_refused_is_met_by_nobody_in_passing(mode):
    pool = ParallelThreadPool(1)
    block = block_of(mode)
    ch = Channel()
    taken = []
    mine = threading.local()

    def guests():
        if not getattr(mine, "put", False):
            guest = threading.Thread(target=puts)
            guest.start()
            guest.join()

    def puts():
        mine.put = True
        taken.append(block_on(sync(ch.put_evt("value"), timeout=0, default="not taken")))

    async def refused():
        ch._lock = LockWithGuests(ch._lock, guests)
        with block():
            await is_refused(ch.get)

    await thread(refused, pool=pool).join()
    assert taken
    assert set(taken) == {"not taken"}


class ClaimedByAFinalizer(list):
    """A waiter that is claimed in the OS thread that has just armed it, which holds the locks."""

    def append(self, task):
        super().append(task)
        self.pop().value = "given"
        task.ready()


@pytest.mark.rtsync(workers=2)
async def test_who_was_given_something_by_a_finalizer_while_it_was_about_to_be_refused_goes_on_with_it():
    pool = ParallelThreadPool(1)
    lock = UninterruptibleLock()
    inside, met = [], []

    @direct
    def operation():
        return (yield ClaimedByAFinalizer(), Locks())

    async def given():
        with lock:
            inside.append(1)
            others = [thread(other, pool=pool) for _ in range(3)]
            assert await operation() == "given"
            await is_refused(OPERATIONS["waits for one"])
            inside.clear()
        return others

    async def other():
        met.extend(inside)

    for t in await thread(given, pool=pool).join():
        await t.join()
    assert not met


@pytest.mark.parametrize("seed", range(2))
def test_everything_at_once_under_chaos(seed):
    async def main():
        pools = [None, ParallelThreadPool(1), ParallelThreadPool(2)]
        lock = UninterruptibleLock()
        ch, sem = Channel(), Semaphore(1)
        counts = [0, 0]
        stop = []

        async def coroutine(n):
            while not stop:
                n += 1
                try:
                    with (atomic, lambda: lock, lambda: atomic(breakable=True))[n % 3]():
                        value = counts[n % 3 % 2]
                        if n % 2:
                            await is_refused(list(OPERATIONS.values())[n % 4])
                        counts[n % 3 % 2] = value + 1 if n % 3 < 2 else value
                    await (sleep(0) if n % 4 else sync(ch, ch.put_evt(n)))
                except Break:
                    pass

        def plain(n):
            while not stop:
                n += 1
                try:
                    with (atomic, lambda: lock)[n % 2]():
                        if n % 3:
                            with pytest.raises(ContractError):
                                block_on(Channel().get())
                    block_on(sync(sem, timeout=0.001))
                    sem.post()
                except Break:
                    pass

        def start(n):
            return thread((coroutine, plain)[n % 5 == 4], n, pool=pools[n % 3])

        ts = [start(n) for n in range(9)]
        for n in range(24):
            t = ts[n % 9]
            if n % 4 == 0:
                t.kill()
                ts[n % 9] = start(n)
            elif n % 4 == 1:
                t.suspend()
                t.resume()
            elif n % 4 == 2:
                t.break_()
            await sleep(0.0005)
        stop.append(1)
        for t in ts:
            t.kill()
            await t.wait()
        with lock:
            pass
        with atomic():
            pass

    with chaos(seed, stalls=30):
        rtsync.run(main, workers=2)
