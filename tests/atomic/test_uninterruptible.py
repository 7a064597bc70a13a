"""Seeds 003, SPEC §8: uninterruptible mode and its locks."""

import threading
import time

import pytest

import rtsync
from rtsync import (
    Break,
    BreakTerminate,
    Channel,
    ContractError,
    Semaphore,
    ThreadKilled,
    UninterruptibleLock,
    block_on,
    call_as_uninterruptible,
    current_thread,
    idle,
    is_in_atomic_mode,
    sleep,
    sync,
    thread,
)
from rtsync.atomic import (
    atomic,
    end_uninterruptible,
    make_uninterruptible_lock,
    start_atomic,
    start_uninterruptible,
    uninterruptible,
    uninterruptible_lock_acquire,
    uninterruptible_lock_release,
)
from scheduler import current_driver
from scheduler.worker import GATE

# -- the mode --------------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_others_run_on_in_parallel():
    count = [0]
    stop = []

    async def counts():
        while not stop:
            count[0] += 1

    t = thread(counts)
    with uninterruptible():
        for _ in range(2):
            before = count[0]
            deadline = time.monotonic() + 30
            while count[0] == before:
                assert time.monotonic() < deadline
    stop.append(1)
    await t.join()


async def test_a_semaphore_with_a_positive_count_and_a_dict_can_be_used_inside():
    sem, table = Semaphore(1), {}
    with uninterruptible():
        await sem.wait()
        table["key"] = 1
        sem.post()
    assert sem.count == 1


async def test_it_may_block_and_requests_wait_all_the_same():
    ch = Channel()
    log = []

    async def victim():
        with uninterruptible():
            log.append(await ch.get())
            await sleep(0)
            log.append("inside")
        await sleep(0)
        log.append("not reached")

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert not t.dead
    assert not t.running
    await ch.put("value")
    await t.wait()
    assert log == ["value", "inside"]


async def test_a_suspension_of_one_that_is_blocked_inside_takes_effect_at_the_end():
    ch = Channel()
    log = []

    async def victim():
        with uninterruptible():
            log.append(await ch.get())
        await sleep(0)
        log.append("resumed")

    t = thread(victim)
    await sync(idle())
    t.suspend()
    await ch.put("value")
    await sync(idle())
    assert log == ["value"]
    t.resume()
    await t.join()
    assert log == ["value", "resumed"]


async def test_a_break_of_one_that_is_blocked_inside_arrives_at_the_end():
    ch = Channel()
    log = []

    async def victim():
        try:
            with uninterruptible():
                log.append(await ch.get())
            log.append("not reached")
        except Break:
            log.append("break")

    t = thread(victim)
    await sync(idle())
    t.break_()
    await sync(idle())
    await ch.put("value")
    await t.join()
    assert log == ["value", "break"]


@pytest.mark.parametrize("kind", ["coroutine", "os"])
@pytest.mark.parametrize("request_", ["kill", "suspend", "break_"])
@pytest.mark.rtsync(workers=3)
async def test_requests_of_one_that_computes_inside_arrive_at_the_end(kind, request_):
    log = []
    inside = threading.Event()

    def section():
        try:
            with uninterruptible():
                inside.set()
                while not current_thread().pending:  # until it has been asked
                    pass
                log.append("finished")
            log.append("goes on")
        except Break:
            log.append("break")

    async def in_coroutine():
        section()

    t = thread(in_coroutine if kind == "coroutine" else section)

    def ask():
        assert inside.wait(30)
        getattr(t, request_)()

    await thread(ask).join()
    if request_ == "suspend":
        while log != ["finished"]:
            await sleep(0.001)
        t.resume()
    await t.wait()
    assert t.dead
    assert (
        log
        == {
            "kill": ["finished"],
            "suspend": ["finished", "goes on"],
            "break_": ["finished", "break"],
        }[request_]
    )


async def test_the_strongest_request_goes_first():
    log = []

    async def victim():
        with uninterruptible():
            current_thread().break_()
            current_thread().break_("terminate")
            current_thread().suspend()
            current_thread().kill()
            log.append("inside")
        log.append("not reached")

    t = thread(victim)
    await t.wait()
    assert log == ["inside"]
    with pytest.raises(ThreadKilled):
        await t.join()


async def test_the_stronger_break_arrives():
    log = []

    async def victim():
        try:
            with uninterruptible():
                current_thread().break_("terminate")
                current_thread().break_()
        except BreakTerminate:
            log.append("terminate")

    await thread(victim).join()
    assert log == ["terminate"]


async def test_calls_nest_and_only_the_outermost_end_counts():
    log = []

    async def victim():
        start_uninterruptible()
        start_uninterruptible()
        current_thread().kill()
        end_uninterruptible()
        log.append("inside")
        end_uninterruptible()
        log.append("not reached")

    await thread(victim).wait()
    assert log == ["inside"]


async def test_atomic_mode_within_it_and_the_other_way_round():
    log = []

    async def victim():
        with uninterruptible():
            with atomic():
                current_thread().kill()
            log.append("inside")
        log.append("not reached")

    await thread(victim).wait()
    assert log == ["inside"]
    with atomic(), uninterruptible():
        assert is_in_atomic_mode()
    assert not is_in_atomic_mode()


async def test_call_as_uninterruptible():
    assert call_as_uninterruptible(lambda: (is_in_atomic_mode(), 1)) == (True, 1)
    assert not is_in_atomic_mode()
    with pytest.raises(KeyError):
        call_as_uninterruptible(lambda: {}["missing"])
    assert not is_in_atomic_mode()

    async def thunk():
        await sleep(0)
        return is_in_atomic_mode()

    assert await call_as_uninterruptible(thunk) is True
    assert not is_in_atomic_mode()


async def test_a_thread_that_ends_inside_leaves_it():
    async def ends():
        start_uninterruptible()
        return "result"

    assert await thread(ends).join() == "result"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_of_the_program_does_not_wait_for_one_that_is_blocked_inside(workers):
    log = []

    async def main():
        async def blocked():
            try:
                with uninterruptible():
                    await Channel().get()
            finally:
                log.append("clean-up")

        thread(blocked)
        await sync(idle())

    rtsync.run(main, workers=workers)
    assert log == ["clean-up"]


async def test_a_deadlock_is_seen_in_the_mode_too(request):
    async def main():
        with uninterruptible():
            await Channel().get()

    with pytest.raises(rtsync.Deadlock):
        await thread(run_deterministic, main).join()


def run_deterministic(main):
    result = []

    def run():
        try:
            rtsync.testing.run_deterministic(main)
        except rtsync.Deadlock as error:
            result.append(error)

    t = threading.Thread(target=run)
    t.start()
    t.join()
    raise result[0]


# -- locks -----------------------------------------------------------------------------------------


async def test_acquire_enters_the_mode_and_release_leaves_it():
    lock = make_uninterruptible_lock()
    assert isinstance(lock, UninterruptibleLock)
    assert uninterruptible_lock_acquire(lock) is None
    assert is_in_atomic_mode()
    assert "held" in repr(lock)
    assert uninterruptible_lock_release(lock) is None
    assert not is_in_atomic_mode()
    assert "free" in repr(lock)


async def test_the_block():
    lock = UninterruptibleLock()
    with lock:
        assert is_in_atomic_mode()
    with pytest.raises(KeyError):
        with lock:
            raise KeyError
    assert not is_in_atomic_mode()
    with lock:
        pass


async def test_misuse_is_refused_and_changes_nothing():
    lock = UninterruptibleLock()
    with pytest.raises(ContractError, match="release: this thread does not have the lock"):
        lock.release()
    with lock:
        with pytest.raises(ContractError, match="acquire: this thread has the lock already"):
            lock.acquire()
        with pytest.raises(ContractError, match="there was no start_uninterruptible"):
            end_uninterruptible()  # it is the lock's level
        assert is_in_atomic_mode()
    assert not is_in_atomic_mode()
    with pytest.raises(ContractError, match="cannot be copied"):
        lock.__reduce__()


async def test_another_thread_cannot_release_it():
    lock = UninterruptibleLock()

    def other():
        with pytest.raises(ContractError):
            lock.release()

    lock.acquire()
    try:
        if rtsync.current_thread().runtime.home.target > 1:  # it needs no turn of the deterministic scheduler
            block = threading.Thread(target=other)
            block.start()
            block.join()
    finally:
        lock.release()


async def test_who_holds_one_must_not_block():
    lock, ch = UninterruptibleLock(), Channel()
    with lock:
        for operation in (sleep(0), ch.get(), sync(ch)):
            with pytest.raises(ContractError, match="would block while an uninterruptible lock is held"):
                await operation
        assert await sync(ch, timeout=0) is None
    t = thread(ch.put, 1)
    assert await ch.get() == 1
    await t.join()


@pytest.mark.rtsync(workers=2)
async def test_atomic_mode_is_not_entered_while_the_holder_of_one_is_between_two_steps():
    lock = UninterruptibleLock()
    held = threading.Event()

    async def holds():
        worker = current_driver()
        with lock:
            held.set()
            while not worker.attention & GATE:  # until somebody waits to enter
                time.sleep(0)  # noqa: ASYNC251  # it must not end its step
            for operation in (sleep, Channel().get):
                with pytest.raises(ContractError):
                    await operation()

    async def enters():
        assert held.wait(60)
        with atomic(), lock:  # whose holder would stand still
            pass

    for t in [thread(f) for f in (holds, enters)]:
        await t.join()


async def test_a_member_of_a_thread_group_that_holds_one_and_is_refused_is_not_overtaken():
    lock = UninterruptibleLock()
    inside, met = [], []

    async def holds():
        for _ in range(10):
            with lock:
                inside.append(1)
                for operation in (sleep, Channel().get):
                    with pytest.raises(ContractError):
                        await operation()
                inside.clear()
            await sleep(0)

    async def wants():
        for _ in range(10):
            with lock:
                met.extend(inside)
            await sleep(0)

    with rtsync.ThreadGroup():
        ts = [thread(f) for f in (holds, wants, holds)]
    for t in ts:
        await t.join()
    assert not met


@pytest.mark.rtsync(workers=1)
def test_who_holds_one_must_not_block_in_an_os_backed_thread_either():
    with UninterruptibleLock():
        with pytest.raises(ContractError, match="get: would block while an uninterruptible lock is held"):
            block_on(Channel().get())
    assert block_on(sync(Channel(), timeout=0.001)) is None


async def test_several_can_be_held_and_released_in_any_order():
    one, two = UninterruptibleLock(), UninterruptibleLock()
    one.acquire()
    two.acquire()
    one.release()
    with pytest.raises(ContractError):
        await sleep(0)
    assert is_in_atomic_mode()
    two.release()
    await sleep(0)
    assert not is_in_atomic_mode()


async def test_a_lock_in_atomic_mode_and_released_after_it():
    lock = UninterruptibleLock()
    start_atomic()
    lock.acquire()
    rtsync.end_atomic()
    with pytest.raises(ContractError, match="while an uninterruptible lock is held"):
        await sleep(0)
    lock.release()
    await sleep(0)


async def test_a_kill_waits_for_the_release():
    log = []
    lock = UninterruptibleLock()

    async def victim():
        with lock:
            current_thread().kill()
            log.append("inside")
        log.append("not reached")

    await thread(victim).wait()
    assert log == ["inside"]
    with lock:
        pass


async def test_a_thread_that_ends_with_it_lets_go():
    lock = UninterruptibleLock()

    async def ends():
        lock.acquire()

    await thread(ends).join()
    with lock:
        pass


@pytest.mark.rtsync(workers=3, runs=2)
async def test_nothing_is_lost_between_threads_of_every_kind():
    lock = UninterruptibleLock()
    total = [0]

    def adds():
        with lock:
            value = total[0]
            for _ in range(3):
                pass
            total[0] = value + 1

    async def coroutine():
        for n in range(300):
            adds()
            if n % 3 == 0:
                await sleep(0)

    def os_thread():
        for _ in range(300):
            adds()

    foreign = [threading.Thread(target=os_thread) for _ in range(2)]
    for t in foreign:
        t.start()
    ts = [thread(f) for f in (coroutine, coroutine, coroutine, os_thread, os_thread)]
    for t in ts:
        await t.join()
    for t in foreign:
        t.join()
    assert total == [2100]


@pytest.mark.rtsync(workers=3, runs=3)
async def test_kills_and_suspensions_under_contention_tear_nothing():
    lock = UninterruptibleLock()
    pair = [0, 0]

    async def adds():
        while True:
            with lock:
                pair[0] += 1
                pair[1] += 1
            await sleep(0)

    for n in range(20):
        ts = [thread(adds) for _ in range(3)]
        before = pair[0]
        while pair[0] < before + 3:
            await sleep(0)
        if n % 2:
            ts[0].suspend()
            with lock:
                assert pair[0] == pair[1]
            ts[0].resume()
        for t in ts:
            t.kill()
        with lock:
            assert pair[0] == pair[1]


def test_os_threads_of_the_program_can_use_it_without_a_runtime():
    lock = UninterruptibleLock()
    with lock:
        with pytest.raises(ContractError, match="this OS thread has the lock already"):
            lock.acquire()
    with pytest.raises(ContractError):
        lock.release()
