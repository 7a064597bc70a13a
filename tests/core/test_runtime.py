"""The engine: starting, stopping, several at once, stealing, threads that compute, statistics, tracing."""

import os
import threading
import time

import pytest

import rtsync
from rtsync import (
    Channel,
    Runtime,
    SchedulerError,
    Semaphore,
    at,
    block_on,
    current_thread,
    idle,
    sleep,
    sync,
    thread,
)
from rtsync.atomic import atomic
from scheduler.worker import Seat
from tests.collecting import collected


def os_threads(name):
    return [t for t in threading.enumerate() if t.name.startswith(name)]


async def some_work(many=10):
    async def child(n):
        await sleep(0)
        return n

    return sum([await t.join() for t in [thread(child, n) for n in range(many)]])


# -- life ------------------------------------------------------------------------------------------


def test_a_runtime_in_a_with_block_runs_several_mains():
    with Runtime(2) as runtime:
        assert [runtime.run(some_work, n) for n in (1, 2, 3)] == [0, 1, 3]


def test_a_runtime_can_be_started_again_after_its_end():
    runtime = Runtime(2)
    for _ in range(5):
        with runtime:
            assert runtime.run(some_work) == 45


def test_run_starts_and_stops_a_runtime_that_does_not_run():
    runtime = Runtime(2)
    assert runtime.run(some_work) == 45
    assert not runtime.running
    assert runtime.run(some_work) == 45


def test_starting_twice_is_refused():
    with Runtime(1) as runtime, pytest.raises(SchedulerError, match="already running"):
        runtime.start()


def test_closing_twice_does_nothing():
    runtime = Runtime(1)
    runtime.start()
    runtime.close()
    runtime.close()


def test_closing_one_that_was_never_started_does_nothing():
    Runtime(1).close()


def test_no_os_thread_is_left_at_the_end():
    runtime = Runtime(2, name="probe-end")
    runtime.run(some_work, 100)
    assert os_threads("probe-end") == []


def test_no_os_thread_is_left_after_an_exception():
    async def main():
        for _ in range(10):
            thread(Channel().get)
        await some_work()
        raise ValueError

    with pytest.raises(ValueError):
        Runtime(2, name="probe-exception").run(main)
    assert os_threads("probe-exception") == []


def test_the_os_threads_of_os_backed_threads_are_left_to_nobody():
    def child():
        block_on(Channel().get())

    async def main():
        for _ in range(3):
            thread(child)
        await sync(idle())

    Runtime(2, name="probe-backed").run(main)
    left = os_threads("probe-backed")
    assert all(t.daemon for t in left)  # kept for a while, but they cannot keep the process


def test_os_threads_without_work_are_not_kept_beyond_the_end(monkeypatch):
    monkeypatch.setattr("rtsync.os_threads.KEEP", 1000.0)
    with Runtime(1, name="kept") as runtime:
        for _ in range(2):
            runtime.run(lambda: block_on(thread(lambda: None).join()))
        assert runtime.run(lambda: threading.current_thread().name) == "kept-thread"
    for os_thread in os_threads("kept"):
        os_thread.join(30)
    assert os_threads("kept") == []
    assert runtime.run(lambda: block_on(thread(lambda: 5).join())) == 5  # and it can be started again


def test_a_runtime_is_usable_after_an_exception_of_main():
    async def main():
        raise ValueError

    with Runtime(2) as runtime:
        for _ in range(3):
            with pytest.raises(ValueError):
                runtime.run(main)
            assert runtime.run(some_work) == 45


def test_os_threads_start_only_when_there_is_work():
    with Runtime(2, name="probe-lazy"):
        assert os_threads("probe-lazy") == []


def test_many_runtimes_one_after_the_other():
    for _ in range(20):
        assert rtsync.run(some_work, 3, workers=2) == 3


def test_several_runtimes_at_once_in_different_os_threads():
    results = []

    def one():
        results.append(rtsync.run(some_work, 50, workers=2))

    threads = [threading.Thread(target=one) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [1225] * 6


def test_threads_of_different_runtimes_meet_on_a_channel():
    there, back = Channel(), Channel()
    rounds = 100

    async def one():
        for n in range(rounds):
            await there.put(n)
            assert await back.get() == n

    async def other():
        for _ in range(rounds):
            await back.put(await sync(there, Channel()))

    t = threading.Thread(target=rtsync.run, args=(one,), kwargs={"workers": 2})
    t.start()
    rtsync.run(other, workers=2)
    t.join()


def test_a_thread_of_one_runtime_can_be_joined_in_another():
    box, gate = [], Semaphore()
    started, over = threading.Event(), threading.Event()

    async def child():
        await gate.wait()
        return "result"

    def one():
        async def main():
            box.append(thread(child))
            started.set()
            await box[0].wait()

        rtsync.run(main, workers=1)
        over.set()

    t = threading.Thread(target=one)
    t.start()
    started.wait()

    async def main():
        gate.post()
        return await box[0].join()

    assert rtsync.run(main, workers=1) == "result"
    t.join()


def test_the_default_number_of_workers_is_that_of_the_processors():
    assert Runtime().target == (os.process_cpu_count() or 1)


def test_a_channel_outlives_its_runtime():
    ch = Channel()

    async def first():
        thread(ch.put, "forgotten")
        await sync(idle())

    async def second():
        return await sync(ch, timeout=0)

    rtsync.run(first, workers=2)
    assert rtsync.run(second, workers=2) is None


def test_many_runtimes_are_collected():
    import weakref

    gone = []
    for _ in range(5):
        runtime = Runtime(2)
        runtime.run(some_work)
        gone.append(weakref.ref(runtime))
    del runtime
    assert collected(lambda: [ref() for ref in gone] == [None] * 5)


# -- several workers -------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2, runs=3)
async def test_two_workers_run_at_the_same_time():
    arrived = [False, False]
    ran_on = set()

    async def meet(n):
        ran_on.add(threading.get_ident())
        arrived[n] = True
        while not arrived[1 - n]:  # computes until the other one has come
            pass

    threads = [thread(meet, n) for n in range(2)]
    for t in threads:
        await t.join()
    assert len(ran_on) == 2


@pytest.mark.rtsync(workers=2, runs=3)
async def test_idle_workers_steal():
    arrived = Semaphore()
    ran_on = set()
    here = threading.get_ident()

    async def child():
        ran_on.add(threading.get_ident())
        arrived.post()

    # We do not let go of this worker until another one has run them all.
    threads = [thread(child) for _ in range(20)]
    while arrived.count < 19:
        pass
    for t in threads:
        await t.join()
    assert ran_on - {here}
    assert current_thread().runtime.stats()["steals"] > 0


@pytest.mark.rtsync(workers=2, runs=3)
@pytest.mark.parametrize(
    "wait", [lambda when: sync(at(when)), lambda when: sleep(max(0, when - time.time()))]
)
async def test_who_computes_after_a_timer_does_not_keep_the_others_of_that_timer_from_running(wait):
    for t in [thread(sleep, n * 0.0005) for n in range(200)]:  # so short that for a few nobody need be woken
        await t.join()
    arrived = [False, False]
    when = time.time() + 0.02

    async def meet(n):
        await wait(when)
        arrived[n] = True
        while not arrived[1 - n]:
            pass

    for t in [thread(meet, n) for n in range(2)]:
        await t.join()


@pytest.mark.rtsync(workers=2)
async def test_a_thread_goes_on_wherever_it_is_woken():
    ch, back = Channel(), Channel()

    async def echo():
        while True:
            await back.put(await ch.get())

    thread(echo)
    for n in range(1000):
        await ch.put(n)
        assert await back.get() == n


# -- threads that compute --------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hog_does_not_keep_others_from_running_and_is_stopped_at_the_end(workers):
    log = []

    async def hog():
        try:
            while True:
                pass
        finally:
            log.append("stopped")

    async def main():
        thread(hog)
        for _ in range(3):
            log.append(await some_work())  # noqa: PERF401

    rtsync.run(main, workers=workers)
    assert log == [45, 45, 45, "stopped"]


def test_more_hogs_than_workers():
    log = []

    async def hog():
        try:
            while True:
                pass
        finally:
            log.append("stopped")

    async def main():
        for _ in range(4):
            thread(hog)
            await sleep(0)
        await some_work()

    rtsync.run(main, workers=2)
    assert log.count("stopped") <= 4
    assert log.count("stopped") >= 1


def test_a_hog_as_an_os_backed_thread_is_stopped_at_the_end():
    log = []

    def hog():
        log.append("begun")
        try:
            while True:
                pass
        finally:
            log.append("stopped")

    async def main():
        thread(hog)
        while not log:
            await sleep(0)

    rtsync.run(main, workers=2)
    assert log == ["begun", "stopped"]


def test_hogs_that_call_functions_are_stopped_too():
    log = []

    def compute(n):
        return sum(i * i for i in range(n))

    async def hog():
        try:
            log.append("begun")
            while True:
                compute(100)
        finally:
            log.append("stopped")

    async def main():
        thread(hog)
        while not log:
            await some_work()

    rtsync.run(main, workers=2)
    assert log == ["begun", "stopped"]


def test_a_thread_in_a_c_call_does_not_keep_others_from_running():
    gate = threading.Lock()
    gate.acquire()

    async def blocked():
        gate.acquire()  # a call into C that only another thread can end
        return "went on"

    async def releaser():
        gate.release()

    async def main():
        t = thread(blocked)
        await sleep(0)
        thread(releaser)
        return await t.join()

    assert rtsync.run(main, workers=1) == "went on"


def test_an_extra_worker_retires_when_the_hog_is_over():
    stop = []

    async def hog():
        while not stop:
            pass

    async def main():
        runtime = current_thread().runtime
        t = thread(hog)
        await sleep(0)
        while not runtime.stats()["extra"]:
            await sleep(0.001)
        stop.append(True)
        await t.join()
        while runtime.stats()["workers"] != 1:
            await sleep(0.001)
        return await some_work()

    assert rtsync.run(main, workers=1) == 45


def test_the_number_of_extra_workers_is_bounded_by_the_hogs():
    async def hog(stop):
        while not stop:
            pass

    async def main():
        stop = []
        threads = [thread(hog, stop) for _ in range(3)]
        for _ in range(50):
            await sleep(0.001)
        extra = current_thread().runtime.stats()["extra"]
        stop.append(True)
        for t in threads:
            await t.join()
        return extra

    assert rtsync.run(main, workers=1) <= 4


# -- statistics and tracing ------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_stats_count():
    stats = current_thread().runtime.stats()
    for key in "steps steals parks wakes timers timer_buckets injected workers idle extra".split():
        assert isinstance(stats[key], int)
        assert stats[key] >= 0
    assert stats["workers"] >= 2  # more while one of them is stuck
    assert 1 <= len(stats["queues"]) <= stats["workers"]  # a worker has one from when its OS thread has begun


@pytest.mark.rtsync(workers=1)
async def test_stats_count_steps():
    runtime = current_thread().runtime
    before = runtime.stats()["steps"]
    for _ in range(1000):
        await sleep(0)
    # They are published every few dozen steps.
    assert 800 <= runtime.stats()["steps"] - before <= 1200


@pytest.mark.rtsync(workers=1)
async def test_stats_show_the_queues():
    gate = Semaphore()
    with atomic():  # else an extra worker may come and run some
        for _ in range(10):
            thread(gate.wait)
        assert sum(current_thread().runtime.stats()["queues"]) == 10
    await sync(idle())
    assert sum(current_thread().runtime.stats()["queues"]) == 0


async def test_stats_count_armed_timers():
    runtime = current_thread().runtime

    async def child():
        await sleep(1000)

    threads = [thread(child) for _ in range(7)]
    await sync(idle())
    assert runtime.stats()["timers"] == 7
    assert 1 <= runtime.stats()["timer_buckets"] <= 7
    for t in threads:
        t.kill()
    assert runtime.stats()["timers"] == 0


@pytest.mark.rtsync(workers=1)
async def test_stats_count_parks_and_wakes():
    runtime = current_thread().runtime
    before = runtime.stats()
    for _ in range(5):
        await sleep(0.001)
    assert runtime.stats()["parks"] > before["parks"]


@pytest.mark.rtsync(workers=2)
async def test_a_trace_hook_sees_every_step_begin_and_end():
    runtime, seen = current_thread().runtime, []

    async def child():
        for _ in range(5):
            await sleep(0)

    runtime.set_trace(lambda *what: seen.append(what))
    t = thread(child)
    await t.join()
    runtime.set_trace(None)
    mine = [what for what, _, _, task in seen if task is t]
    assert mine.count("step") >= 6
    assert abs(mine.count("step") - mine.count("step-end")) <= 1
    for what, when, worker, task in seen:
        assert what in ("step", "step-end")
        assert isinstance(when, float)
        assert isinstance(worker, int)
        assert isinstance(task, rtsync.Thread)


@pytest.mark.rtsync(workers=2)
async def test_steps_of_one_worker_do_not_overlap_in_a_trace():
    runtime, seen = current_thread().runtime, []
    runtime.set_trace(lambda *what: seen.append(what))
    await some_work(50)
    runtime.set_trace(None)
    for index in {worker for _, _, worker, _ in seen}:
        open_step = None
        for what, _, worker, task in seen:
            if worker != index:
                continue
            if what == "step":
                assert open_step is None
                open_step = task
            else:
                assert open_step is task
                open_step = None


@pytest.mark.rtsync(workers=2)
async def test_tracing_stops():
    runtime, seen = current_thread().runtime, []
    runtime.set_trace(lambda *what: seen.append(what))
    await some_work()
    runtime.set_trace(None)
    for _ in range(100):  # a worker may still be about to tell of its last step
        count = len(seen)
        await some_work()
        if len(seen) == count:
            return
    pytest.fail("it does not stop")


@pytest.mark.rtsync(workers=1)
async def test_a_tracer_that_fails_is_reported_and_taken_off_or_ignored(capfd):
    runtime = current_thread().runtime

    def broken(*what):
        raise ValueError("from the tracer")

    runtime.set_trace(broken)
    assert await some_work() == 45
    runtime.set_trace(None)
    assert await some_work() == 45


# -- a system that has no OS thread left -----------------------------------------------------------


@pytest.fixture
def scarce(monkeypatch):
    """OS threads in whose names one of these occurs cannot be started; ``tried`` is posted."""
    start = threading.Thread.start

    class Scarce(set):
        tried = Semaphore()

    refused = Scarce()

    def start_if_possible(self):
        if any(part in self.name for part in refused):
            refused.tried.post()
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_if_possible)
    return refused


def test_a_worker_that_cannot_be_started_is_done_without(scarce):
    scarce.update({"-worker-1", "-worker-2"})
    runtime = Runtime(3)
    for _ in range(3):
        assert runtime.run(some_work, 100) == 4950
    assert not runtime.stats()["extra"]


def test_the_last_worker_that_leaves_does_not_start_one_that_cannot_be_started(scarce, monkeypatch):
    scarce.add("-worker-1")
    runtime = Runtime(2)
    left = runtime.left

    def left_late(worker):
        # Who could not start that one has given its seat back when the runtime had been closed already.
        runtime.idle.append(Seat(runtime, 1))
        left(worker)

    monkeypatch.setattr(runtime, "left", left_late)
    assert runtime.run(some_work, 1) == 0


def test_idleness_is_seen_though_a_worker_cannot_be_started(scarce):
    scarce.add("-worker-1")

    async def main():
        for _ in range(5):
            threads = [thread(sleep, 0.001) for _ in range(5)]
            await sync(idle())
            for t in threads:
                await t.join()

    rtsync.run(main, workers=2)


def test_a_worker_that_could_not_be_started_is_when_it_can(scarce):
    scarce.add("-worker-1")
    both = threading.Barrier(2)

    async def meets():
        both.wait(30)

    async def main():
        await some_work(20)
        scarce.clear()
        for t in [thread(meets), thread(meets)]:
            await t.join()

    rtsync.run(main, workers=2)


def test_if_no_worker_at_all_can_be_started_it_is_said(scarce):
    scarce.update({"-worker-0", "-worker-1"})
    runtime = Runtime(2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="can't start new thread"):
            runtime.run(some_work)
    scarce.clear()
    assert runtime.run(some_work) == 45


@pytest.mark.parametrize("part", ["-monitor", "-extra-"])
def test_the_monitor_and_its_workers_can_be_started_later(scarce, part):
    scarce.add(part)
    seen = []

    async def hogs():
        while not seen:
            pass

    def outside():
        for _ in range(3):
            block_on(scarce.tried.wait())
        scarce.clear()

    async def main():
        other = threading.Thread(target=outside)
        other.start()
        monitor = current_thread().runtime.monitor
        while part == "-monitor" and monitor.thread is None:
            await sleep(0.001)  # who wakes up wakes the monitor
        hog = thread(hogs)
        await sleep(0)
        seen.append("others run on")
        await hog.join()
        other.join(30)

    rtsync.run(main, workers=1)
    assert seen
