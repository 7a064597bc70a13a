"""SPEC §3, ``kill``: a thread stops at once where it is, its clean-up runs, nothing is half done."""

import textwrap
import threading

import pytest

import rtsync
from rtsync import (
    AsyncChannel,
    Channel,
    ContractError,
    Semaphore,
    Thread,
    ThreadDead,
    ThreadKilled,
    block_on,
    choice,
    current_thread,
    idle,
    never,
    receive,
    sleep,
    sync,
    thread,
    uncaught_exception_handler,
)


async def put_for_ever(ch):
    await ch.put("never")


def full():
    ch = AsyncChannel(1)
    assert ch.put_evt(0)._poll() is not None
    return ch


BLOCKING = {
    "channel get": lambda: Channel().get(),
    "channel put": lambda: Channel().put(1),
    "semaphore wait": lambda: Semaphore().wait(),
    "async channel get": lambda: AsyncChannel().get(),
    "async channel put": lambda: full().put(1),
    "receive": lambda: receive(),
    "thread wait": lambda: current_thread().wait(),
    "thread join": lambda: current_thread().join(),
    "sleep": lambda: sleep(1000),
    "endless sleep": lambda: sleep(float("inf")),
    "sync of nothing": lambda: sync(),
    "sync of one": lambda: sync(Channel()),
    "sync of several": lambda: sync(Channel(), Semaphore(), AsyncChannel()),
    "sync with a timeout": lambda: sync(Channel(), timeout=1000),
}


# -- blocked threads -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", BLOCKING)
async def test_a_blocked_thread_is_dead_when_kill_returns(operation):
    log = []

    async def victim():
        try:
            await BLOCKING[operation]()
            log.append("went on")
        finally:
            log.append("clean")

    t = thread(victim)
    while not t.waiter:
        await sleep(0)
    t.kill()
    assert t.dead
    assert log == ["clean"]


@pytest.mark.parametrize("operation", BLOCKING)
async def test_a_blocked_os_backed_thread_is_dead_when_kill_returns(operation):
    log = []

    def victim():
        try:
            block_on(BLOCKING[operation]())
            log.append("went on")
        finally:
            log.append("clean")

    t = thread(victim)
    while not t.waiter:
        await sleep(0)
    t.kill()
    assert t.dead
    assert log == ["clean"]


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.parametrize("state", ["not begun", "runnable", "blocked", "suspended"])
async def test_an_os_backed_thread_may_kill(state, backed):
    log = []

    async def run_or_block():
        try:
            log.append("begun")
            if state != "runnable":
                await Channel().get()
            while True:
                await sleep(0)
        finally:
            log.append("clean")

    def backed_victim():
        block_on(run_or_block())

    victims = []

    def killer():
        victims[0].kill()
        assert victims[0].dead

    victims.append(thread(backed_victim if backed else run_or_block))
    while state != "not begun" and not log:
        await sleep(0)
    while state in ("blocked", "suspended") and not victims[0].waiter:
        await sleep(0)
    if state == "suspended":
        victims[0].suspend()
    await thread(killer).join()
    assert log in ([], ["begun", "clean"])


async def test_the_clean_up_of_a_blocked_thread_sees_thread_killed():
    seen = []

    async def victim():
        try:
            await Channel().get()
        except BaseException as error:
            seen.append(type(error))
            raise

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert seen == [ThreadKilled]


async def test_with_blocks_are_left():
    sem = Semaphore(1)

    async def victim():
        async with sem:
            await Channel().get()

    t = thread(victim)
    await sync(idle())
    assert sem.count == 0
    t.kill()
    assert sem.count == 1


async def test_thread_killed_is_no_ordinary_exception():
    assert not issubclass(ThreadKilled, Exception)


async def test_thread_killed_cannot_be_swallowed_by_returning():
    async def victim():
        try:
            await Channel().get()
        except ThreadKilled:
            return "survived"

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert t.dead
    assert await t.wait(lambda: "killed") == "killed"


async def test_thread_killed_cannot_be_swallowed_by_going_on():
    log = []

    async def victim():
        while True:
            try:
                await Channel().get()
            except ThreadKilled:
                log.append("again")

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert t.dead
    assert log
    assert await t.wait(lambda: "killed") == "killed"


async def test_clean_up_that_blocks_gets_it_again():
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            try:
                await Channel().get()
            except ThreadKilled:
                log.append("again")
                raise

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert t.dead
    assert log == ["again"]


async def test_clean_up_that_yields_gets_it_again():
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            try:
                await sleep(0)
                log.append("went on")
            finally:
                log.append("clean")

    t = thread(victim)
    await sync(idle())
    t.kill()
    await t.wait()
    assert log == ["clean"]


async def test_clean_up_may_do_what_need_not_block():
    sem, sent = Semaphore(1), AsyncChannel()

    async def victim():
        try:
            await Channel().get()
        finally:
            await sem.wait()
            await sent.put("bye")

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert t.dead
    assert sem.count == 0
    assert sent.try_get() == "bye"


async def test_an_exception_of_the_clean_up_is_reported_and_the_thread_is_dead():
    told = []
    uncaught_exception_handler(lambda thread, error: told.append(type(error)))

    async def victim():
        try:
            await Channel().get()
        finally:
            raise ValueError("in clean-up")

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert t.dead
    assert told == [ValueError]


async def test_a_plain_kill_is_not_reported():
    told = []
    uncaught_exception_handler(lambda *args: told.append(args))
    t = thread(Channel().get)
    await sync(idle())
    t.kill()
    assert told == []


# -- others ----------------------------------------------------------------------------------------


async def test_killing_a_dead_thread_does_nothing():
    async def f():
        return 1

    t = thread(f)
    await t.join()
    t.kill()
    assert await t.join() == 1


async def test_killing_twice_does_nothing_more():
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            log.append("clean")

    t = thread(victim)
    await sync(idle())
    t.kill()
    t.kill()
    assert log == ["clean"]


async def test_killing_oneself_does_not_return():
    log = []

    async def suicide():
        try:
            current_thread().kill()
            log.append("returned")
        finally:
            log.append("clean")

    t = thread(suicide)
    await t.wait()
    assert log == ["clean"]
    with pytest.raises(ThreadKilled):
        await t.join()


async def test_killing_oneself_cannot_be_swallowed():
    async def suicide():
        try:
            current_thread().kill()
        except ThreadKilled:
            pass
        await sleep(0)
        return "survived"

    t = thread(suicide)
    assert await t.wait(lambda: "killed") == "killed"


async def test_an_os_backed_thread_can_kill_itself():
    def suicide():
        current_thread().kill()

    t = thread(suicide)
    assert await t.wait(lambda: "killed") == "killed"


async def test_a_thread_killed_before_its_first_step_never_runs():
    log = []

    async def victim():
        log.append("ran")

    async def killer():
        t = thread(victim)
        t.kill()
        assert t.dead or log
        return t

    t = await thread(killer).join()
    await t.wait()
    # On two workers the first step may have been made before the kill.
    assert log in ([], ["ran"])


async def test_a_runnable_thread_is_dead_when_kill_returns():
    async def victim():
        while True:
            await sleep(0)

    t = thread(victim)
    for _ in range(5):
        await sleep(0)
    t.kill()
    assert t.dead


async def test_running_is_false_from_the_moment_of_the_kill():
    seen = []

    async def victim():
        try:
            await Channel().get()
        finally:
            seen.append(current_thread().running)

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert seen == [False]


async def test_those_who_wait_for_the_thread_are_woken():
    target = thread(Channel().get)

    async def waiter():
        return await target.wait(lambda: "killed")

    waiters = [thread(waiter) for _ in range(5)]
    await sync(idle())
    target.kill()
    assert [await t.join() for t in waiters] == ["killed"] * 5


async def test_two_threads_may_kill_each_other():
    threads: list[Thread] = []
    gate = Semaphore(0)

    async def killer(other):
        await gate.wait()
        threads[other].kill()

    threads += [thread(killer, 1), thread(killer, 0)]
    gate.post()
    gate.post()
    for t in threads:
        await t.wait()
    assert "killed" in [await t.wait(lambda: "killed") for t in threads]


async def test_many_threads_may_kill_the_same_one():
    log = []

    async def victim():
        try:
            await Channel().get()
        finally:
            log.append("clean")

    target = thread(victim)
    await sync(idle())

    async def killer():
        target.kill()
        assert target.dead or not target.running

    killers = [thread(killer) for _ in range(10)]
    for k in killers:
        await k.join()
    await target.wait()
    assert log == ["clean"]


@pytest.mark.rtsync(workers=2, runs=3)
async def test_an_os_thread_outside_the_runtime_may_kill():
    target = thread(Channel().get)
    await sync(idle())
    outsider = threading.Thread(target=target.kill)
    outsider.start()
    await target.wait()
    # Until here the outsider may still be in `kill`; it must come out of it.
    while outsider.is_alive():
        await sleep(0)
    assert target.dead


@pytest.mark.rtsync(workers=2, runs=3)
async def test_a_thread_that_computes_on_another_worker_is_stopped_at_a_safepoint():
    log = []

    async def hog():
        log.append("computes")
        try:
            while True:
                pass
        finally:
            log.append("clean")

    t = thread(hog)
    while not log:
        await sleep(0)
    t.kill()
    assert t.dead
    assert log == ["computes", "clean"]


@pytest.mark.rtsync(workers=2, runs=3)
async def test_an_os_backed_thread_that_computes_is_stopped_at_a_safepoint():
    log = []

    def hog():
        log.append("computes")
        try:
            while True:
                pass
        finally:
            log.append("clean")

    t = thread(hog)
    while not log:
        await sleep(0)
    t.kill()
    assert t.dead
    assert log == ["computes", "clean"]


@pytest.mark.rtsync(workers=2, runs=3)
async def test_a_hog_that_swallows_it_does_not_survive():
    log = []

    async def hog():
        log.append("computes")
        while True:
            try:
                while True:
                    pass
            except ThreadKilled:
                pass

    t = thread(hog)
    while not log:
        await sleep(0)
    t.kill()
    assert await t.wait(lambda: "killed") == "killed"


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.rtsync(workers=2, runs=3)
async def test_clean_up_that_computes_may_finish(backed):
    log, total = [], [0]

    def call():
        log.append("computes")
        try:
            while True:
                pass
        finally:
            for n in range(2000):
                total[0] += n
            log.append(total[0])

    async def in_coroutine():
        call()

    t = thread(call if backed else in_coroutine)
    while not log:
        await sleep(0)
    t.kill()
    await t.wait()
    assert log == ["computes", 1999000]


@pytest.mark.rtsync(workers=2, runs=3)
async def test_clean_up_of_a_blocked_thread_that_computes_may_finish_while_another_is_killed():
    begun, log, total = [], [], [0]

    async def blocked():
        try:
            begun.append(True)
            await Channel().get()
        finally:
            for n in range(2000):
                total[0] += n
            log.append(total[0])

    async def hog():
        log.append("computes")
        while True:
            pass

    one, two = thread(blocked), thread(hog)
    while not (begun and log):
        await sleep(0)
    killer = thread(two.kill)
    one.kill()
    await one.wait()
    await killer.wait()
    assert log == ["computes", 1999000]


@pytest.mark.rtsync(workers=2, runs=3)
async def test_a_thread_that_waits_in_the_standard_library_goes_no_further():
    log, event = [], threading.Event()

    def wait():
        log.append("begun")
        event.wait()
        log.append("went on")

    t = thread(wait)
    while not log:
        await sleep(0)
    t.kill()
    event.set()  # and the condition variable inside it is intact
    await t.wait()
    event.clear()
    assert not event.wait(0.0001)
    assert log == ["begun"]


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.rtsync(workers=2, runs=3)
async def test_clean_up_after_a_c_call_is_run(backed):
    log, gate = [], threading.Lock()
    gate.acquire()

    def call():
        log.append("begun")
        try:
            gate.acquire()  # a call into C, which nobody can interrupt
        finally:
            log.append("clean")

    async def in_coroutine():
        call()

    t = thread(call if backed else in_coroutine)
    while not log:
        await sleep(0)
    t.kill()
    gate.release()
    await t.wait()
    assert log == ["begun", "clean"]


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.rtsync(workers=2, runs=2)
async def test_a_thread_in_a_c_call_is_not_running_and_executes_nothing_after_it(backed):
    log, gate = [], threading.Lock()
    gate.acquire()

    def call():
        log.append("begun")
        gate.acquire()  # a call into C, which nobody can interrupt
        log.append("went on")

    async def in_coroutine():
        call()

    t = thread(call if backed else in_coroutine)
    while not log:
        await sleep(0)
    t.kill()
    assert not t.running
    assert not t.dead
    gate.release()
    await t.wait()
    assert log == ["begun"]


def test_killing_the_main_thread_ends_run(run):
    async def main():
        main_thread = current_thread()

        async def killer():
            main_thread.kill()

        thread(killer)
        await Channel().get()

    with pytest.raises(ThreadKilled):
        run(main)


def test_killing_the_main_thread_runs_its_clean_up_and_shuts_the_others_down(run):
    log = []

    async def other():
        try:
            await Channel().get()
        finally:
            log.append("other")

    async def main():
        main_thread = current_thread()

        async def killer():
            main_thread.kill()

        thread(other)
        await sync(idle())
        thread(killer)
        try:
            await Channel().get()
        finally:
            log.append("main")

    with pytest.raises(ThreadKilled):
        run(main)
    assert log == ["main", "other"]


def test_a_main_thread_that_kills_itself_ends_run(run):
    async def main():
        current_thread().kill()

    with pytest.raises(ThreadKilled):
        run(main)


async def test_a_thread_that_the_current_custodian_does_not_manage_cannot_be_killed():
    mine, other = rtsync.Custodian(), rtsync.Custodian()
    with mine:
        t = thread(Channel().get)
    with other:
        with pytest.raises(ContractError, match="kill"):
            t.kill()
    assert t.running
    t.kill()  # the root custodian manages it through its subordinate
    assert t.dead


# -- no half-done operation ------------------------------------------------------------------------


async def test_a_killed_putter_puts_nothing():
    ch = Channel()
    t = thread(put_for_ever, ch)
    await sync(idle())
    t.kill()
    assert ch.try_get("nothing") == "nothing"
    assert await sync(ch, timeout=0) is None


async def test_a_killed_getter_takes_nothing():
    ch = Channel()
    t = thread(ch.get)
    await sync(idle())
    t.kill()
    assert await sync(ch.put_evt(1), timeout=0) is None


async def test_a_killed_waiter_takes_no_unit():
    sem = Semaphore()
    t = thread(sem.wait)
    await sync(idle())
    t.kill()
    sem.post()
    assert sem.count == 1


async def test_a_killed_waiter_is_passed_over():
    sem = Semaphore()
    first = thread(sem.wait)
    await sync(idle())
    second = thread(sem.wait)
    await sync(idle())
    first.kill()
    sem.post()
    await second.join()
    assert sem.count == 0


async def test_a_killed_getter_of_an_async_channel_takes_nothing():
    ch = AsyncChannel()
    t = thread(ch.get)
    await sync(idle())
    t.kill()
    await ch.put(1)
    assert ch.try_get() == 1


async def test_a_killed_putter_of_an_async_channel_stores_nothing():
    ch = AsyncChannel(1)
    await ch.put("first")
    t = thread(ch.put, "second")
    await sync(idle())
    t.kill()
    assert ch.try_get() == "first"
    assert ch.try_get() is None


async def test_a_thread_killed_in_a_sync_leaves_all_its_events():
    ch, put, sem, many = Channel(), Channel(), Semaphore(), AsyncChannel()

    async def victim():
        await sync(ch, put.put_evt(1), sem, many, never, timeout=1000)

    t = thread(victim)
    await sync(idle())
    t.kill()
    assert await sync(ch.put_evt(1), timeout=0) is None
    assert put.try_get() is None
    sem.post()
    assert sem.count == 1
    await many.put(1)
    assert len(many) == 1
    assert current_thread().runtime.stats()["timers"] == 0


async def test_a_value_given_to_a_thread_killed_at_the_same_time_is_delivered_or_stays():
    for _ in range(20):
        ch, got, put = Channel(), [], []

        async def getter(ch=ch, got=got):
            got.append(await ch.get())

        async def putter(ch=ch, put=put):
            await ch.put(1)
            put.append(1)

        g = thread(getter)
        p = thread(putter)
        g.kill()
        await sync(choice(p), timeout=0)
        await sync(idle())
        # Done or never begun: the putter went on exactly if somebody took the value.
        if not put:
            assert got == []
            p.kill()


async def test_a_message_to_a_killed_thread_is_refused():
    t = thread(Channel().get)
    t.kill()
    with pytest.raises(ThreadDead):
        t.send(1)


# -- when other tools have all that safepoints need -------------------------------------------------

WITHOUT_SAFEPOINTS = """
    import sys
    import rtsync
    from rtsync import control

    for tool in (3, 4):
        sys.monitoring.use_tool_id(tool, "other")
    control._PATIENCE = 0.1

    async def main():
        begun, go_on = rtsync.Semaphore(), []

        async def computes():
            begun.post()
            while not go_on:
                pass
            await rtsync.sleep(0)
            return "got past"

        def refused(request):
            try:
                request()
            except rtsync.SchedulerError as error:
                assert "computes" in str(error) and "3 and 4" in str(error), error
            else:
                raise AssertionError("not refused")

        c = rtsync.Custodian()
        with c:
            t = rtsync.thread(computes)
        await begun.wait()
        {}
        print("as it should")

    rtsync.run(main, workers=2)
"""
LATER = {
    "kill": """
        refused(t.kill)
        assert not t.dead and not t.running
        sys.monitoring.free_tool_id(3)
        t.kill()
        assert t.dead
    """,
    "suspend": """
        refused(t.suspend)
        refused(t.suspend)
        sys.monitoring.free_tool_id(3)
        t.suspend()
        go_on.append(True)
        assert t._state == control.FROZEN
        t.resume()
        assert await t.join() == "got past"
    """,
    "break": """
        refused(t.break_)
        sys.monitoring.free_tool_id(3)
        t.break_()
        assert isinstance((await rtsync.sync(t.dead_evt(), timeout=60)), rtsync.Evt)
    """,
    "its next operation": """
        refused(t.kill)
        go_on.append(True)
        await t.wait()
        assert await t.wait(lambda: "killed") == "killed"
    """,
    "custodian": """
        box = rtsync.CustodianBox(c, 1)
        refused(c.shutdown_all)
        assert box.value is None and not t.running
        go_on.append(True)
        assert await t.wait(lambda: "killed") == "killed"
    """,
    "atomic": """
        from rtsync import atomic
        from scheduler import place_lock
        place_lock.PATIENCE = 0.1
        refused(atomic.start_atomic)
        assert not atomic.is_in_atomic_mode()
        sys.monitoring.free_tool_id(3)
        atomic.start_atomic()
        atomic.end_atomic()
        go_on.append(True)
        await t.join()
    """,
}


@pytest.mark.parametrize("what", LATER)
def test_without_safepoints_a_request_is_refused_and_a_later_one_is_not(script, what):
    body = textwrap.indent(textwrap.dedent(LATER[what]), " " * 8).strip()
    assert script(WITHOUT_SAFEPOINTS.replace("{}", body)).stdout == "as it should\n"
