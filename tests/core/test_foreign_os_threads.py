"""SPEC §9, issue 4: every operation works in OS threads that the program itself started, with and without a
runtime."""

import threading
from contextlib import contextmanager

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
    ThreadDead,
    ThreadKilled,
    after,
    always,
    block_on,
    call,
    choice,
    current_thread,
    guard,
    nack_guard,
    never,
    poll_guard,
    receive,
    sleep,
    sync,
    tail,
    thread,
    to_os_thread,
)


def in_foreign(function, *args):
    """Call it in an OS thread of the program's own: a function that waits for the end and gives the
    result."""
    result = []

    def run():
        try:
            result.append((function(*args), None))
        except BaseException as error:
            result.append((None, error))

    t = threading.Thread(target=run)
    t.start()

    def outcome():
        t.join(30)
        assert not t.is_alive()
        value, error = result[0]
        if error is not None:
            raise error
        return value

    return outcome


@contextmanager
def beside(partner):
    """For the block, ``partner()`` runs in another foreign OS thread."""
    outcome = in_foreign(partner)
    yield
    outcome()


# -- operations that need no thread of ours: the same with and without a runtime ----------------------


def channel():
    ch = Channel()
    with beside(lambda: block_on(ch.put(1))):
        assert block_on(ch.get()) == 1
    with beside(lambda: block_on(ch.get())):
        block_on(ch.put(2))
    with beside(lambda: block_on(ch.put_evt(3))):
        assert block_on(ch) == 3
    assert ch.try_get() is None


def async_channel():
    ch = AsyncChannel(1)
    block_on(ch.put(1))
    with beside(lambda: block_on(ch.put(2))):
        assert [block_on(ch.get()), block_on(ch)] == [1, 2]
    block_on(ch.put_evt(3))
    assert ch.try_get() == 3


def semaphore():
    sem = Semaphore()
    with beside(sem.post):
        block_on(sem.wait())
    sem.post()
    assert block_on(sem.peek_evt()) is not None
    assert block_on(sem) is sem
    assert not sem.try_wait()

    async def block():
        async with sem:
            return sem.count

    sem.post()
    assert block_on(block()) == 0
    assert sem.count == 1


def events():
    sem = Semaphore()
    nacks = []
    with beside(sem.post):
        assert block_on(sync(never, Channel(), sem)) is sem
    assert block_on(choice(never, always.wrap(lambda _: 1))) == 1
    assert block_on(guard(lambda: always.handle(lambda _: 2))) == 2
    assert block_on(sync(nack_guard(lambda nack: nacks.append(nack) or never), always)) is always
    assert block_on(nacks[0]) is not None
    assert block_on(sync(poll_guard(lambda polling: always.wrap(lambda _: polling)), timeout=0)) is True
    assert block_on(always.replace(lambda _: always.wrap(lambda _: 3))) == 3


def time():
    block_on(sleep(0))
    block_on(sleep(0.001))
    assert block_on(sync(Channel(), timeout=0.001, default="late")) == "late"
    assert block_on(sync(never, after(0.001).wrap(lambda _: "after"))) == "after"


def calls():
    async def loop(n):
        await sleep(0)
        return tail(loop, n - 1) if n else "done"

    assert block_on(call(loop, 50)) == "done"
    assert block_on(to_os_thread(lambda: "in an os thread")) == "in an os thread"


def modes():
    with rtsync.atomic(), rtsync.uninterruptible():
        assert not rtsync.is_in_atomic_mode()
        block_on(sleep(0))
    lock = rtsync.UninterruptibleLock()
    total = [0]

    def add():
        for _ in range(100):
            with lock:
                total[0] += 1

    with beside(add), beside(add):
        add()
    assert total == [300]


def futures():
    from concurrent.futures import Future

    future = Future()
    with beside(lambda: future.set_result("result")):
        assert block_on(future) == "result"


WITHOUT_THREADS = [channel, async_channel, semaphore, events, time, calls, modes, futures]
EACH = pytest.mark.parametrize("operations", WITHOUT_THREADS, ids=lambda f: f.__name__)


@EACH
def test_without_a_runtime(operations):
    in_foreign(operations)()


@EACH
@pytest.mark.rtsync(workers=2)
async def test_beside_a_runtime(operations):
    await to_os_thread(in_foreign(operations))


@EACH
@pytest.mark.rtsync(workers=2)
async def test_several_at_once_beside_a_runtime(operations):
    for outcome in [in_foreign(operations) for _ in range(3)]:
        await to_os_thread(outcome)


# -- operations on threads of a runtime ---------------------------------------------------------------


@pytest.mark.parametrize("pool", [None, "own"])
@pytest.mark.rtsync(workers=2)
async def test_waiting_for_threads(pool):
    async def result():
        await sleep(0.001)
        return "result"

    def plain():
        return "plain"

    ts = [thread(f, pool=pool) for f in (result, plain)]

    def outsider():
        assert block_on(ts[0].join()) == "result"
        assert block_on(ts[1].wait()) == "plain"
        assert [block_on(t) for t in ts] == ts
        assert block_on(ts[0].dead_evt()) is ts[0].dead_evt()
        return [t.dead for t in ts]

    assert await to_os_thread(in_foreign(outsider)) == [True, True]


@pytest.mark.parametrize("pool", [None, "own"])
@pytest.mark.parametrize("kind", ["coroutine", "plain"])
@pytest.mark.rtsync(workers=2)
async def test_controlling_threads(kind, pool):
    log = []
    started = Semaphore()

    def note(what):
        log.append(what)
        started.post()

    never_set = Semaphore()

    async def coroutine():
        try:
            while True:
                note(await receive())
        except Break:
            note("break")
        await never_set.wait()

    def plain():
        try:
            while True:
                note(block_on(receive()))
        except Break:
            note("break")
        block_on(never_set.wait())

    t = thread(coroutine if kind == "coroutine" else plain, pool=pool)

    def outsider():
        t.send("mail")
        block_on(started.wait())
        t.suspend()
        assert not t.running
        assert block_on(t.suspend_evt()) is t
        t.send("later")
        t.resume()
        assert block_on(t.resume_evt()) is t
        block_on(started.wait())
        t.break_()
        block_on(started.wait())
        t.kill()
        block_on(t.wait())
        assert t.dead
        with pytest.raises(ThreadDead):
            t.send("too late")
        with pytest.raises(ThreadKilled):
            block_on(t.join())

    await to_os_thread(in_foreign(outsider))
    assert log == ["mail", "later", "break"]


@pytest.mark.rtsync(workers=2)
async def test_shutting_down_a_custodian():
    custodian = Custodian()
    with custodian:
        ts = [thread(sync), thread(sync, pool="own")]
        pool = ParallelThreadPool(1)

    def outsider():
        custodian.shutdown_all()
        for t in ts:
            block_on(t.wait())
        return pool.closed

    assert await to_os_thread(in_foreign(outsider)) is True
    assert all(t.dead for t in ts)


@pytest.mark.parametrize("pool", [None, "own"])
@pytest.mark.rtsync(workers=2)
async def test_meeting_threads_of_every_kind(pool):
    ch, back = Channel(), AsyncChannel()

    async def coroutine():
        for _ in range(20):
            await back.put(await ch.get())

    def plain():
        for _ in range(20):
            block_on(back.put(block_on(sync(ch, never))))

    ts = [thread(f, pool=pool) for f in (coroutine, plain)]

    def outsider():
        for n in range(20):
            block_on(ch.put(n))
        return sum(block_on(back.get()) for _ in range(20))

    outcomes = [in_foreign(outsider) for _ in range(2)]
    assert sum([await to_os_thread(outcome) for outcome in outcomes]) == 2 * sum(range(20))
    for t in ts:
        await t.join()


@pytest.mark.rtsync(workers=2)
async def test_what_needs_a_thread_of_ours_says_so():
    def outsider():
        for operation in (
            current_thread,
            lambda: thread(sleep),
            lambda: ParallelThreadPool(1),
            lambda: block_on(receive()),
            rtsync.break_enabled,
        ):
            with pytest.raises(NoRuntime, match="run"):
                operation()

    await to_os_thread(in_foreign(outsider))
    in_foreign(outsider)()


@pytest.mark.rtsync(workers=2)
async def test_a_place_in_atomic_mode_lets_outsiders_run():
    ch = Channel()
    outcome = in_foreign(lambda: block_on(ch.put("value")))
    got = []
    with rtsync.atomic():
        while not got:
            try:
                got.append(await ch.get())
            except ContractError:
                pass
    assert got == ["value"]
    await to_os_thread(outcome)
