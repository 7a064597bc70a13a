"""SPEC §3: when nothing in the process can ever wake anything, the main thread gets a `Deadlock`.

On a real runtime the tests need a process of their own: the test runner's OS threads count as foreign ones,
which could still do something.
"""

import re

import pytest

from rtsync import (
    AsyncChannel,
    Channel,
    Custodian,
    Deadlock,
    Scope,
    Semaphore,
    always,
    block_on,
    call,
    call_in_nested_thread,
    choice,
    current_thread,
    guard,
    idle,
    never,
    receive,
    receive_evt,
    sleep,
    sync,
    thread,
    to_os_thread,
)
from rtsync.ports import copy_port, pipe
from rtsync.racket import call_with_semaphore
from rtsync.testing import run_deterministic

BLOCKED_MAIN = {
    "Channel.get": lambda: Channel().get(),
    "Channel.put": lambda: Channel().put(1),
    "Semaphore.wait": lambda: Semaphore().wait(),
    "AsyncChannel.get": lambda: AsyncChannel().get(),
    "receive": lambda: receive(),
    "sync": lambda: sync(never, choice(Channel(), Semaphore())),
    "sync()": lambda: sync(),
    "wait": lambda: current_thread().wait(),
    "join": lambda: current_thread().join(),
}


@pytest.mark.parametrize("operation", BLOCKED_MAIN)
def test_whatever_main_waits_in_it_gets_a_deadlock(operation):
    async def main():
        await BLOCKED_MAIN[operation]()

    with pytest.raises(Deadlock) as caught:
        run_deterministic(main)
    assert operation.strip("()") in str(caught.value)


@pytest.mark.parametrize("operation", BLOCKED_MAIN)
def test_a_plain_main_gets_a_deadlock_too(operation):
    def main():
        block_on(BLOCKED_MAIN[operation]())

    with pytest.raises(Deadlock):
        run_deterministic(main)


def test_main_may_catch_it_and_go_on():
    async def main():
        ch = Channel()
        for _ in range(3):
            with pytest.raises(Deadlock):
                await ch.get()
        assert await sync(ch.put_evt(1), timeout=0) is None  # no queue holds us any more
        return "over"

    assert run_deterministic(main) == "over"


def test_the_deadlock_is_raised_where_main_stands():
    async def main():
        try:
            await Channel().get()
        except Deadlock:
            return "here"

    assert run_deterministic(main) == "here"


def test_the_others_run_their_finally_blocks():
    log = []

    async def other():
        try:
            await Channel().get()
        finally:
            log.append("clean")

    async def main():
        thread(other)
        await Channel().get()

    with pytest.raises(Deadlock):
        run_deterministic(main)
    assert log == ["clean"]


def test_the_report_names_every_blocked_thread_what_it_waits_on_and_where():
    ch, sem = Channel(), Semaphore()

    async def getter():
        await ch.get()

    async def deeper():
        await sem.wait()

    async def outer():
        await deeper()

    async def main():
        t = thread(getter, name="Tom")
        thread(outer, name="Jerry")
        await t.wait()

    with pytest.raises(Deadlock) as caught:
        run_deterministic(main)
    text = str(caught.value)
    assert re.search(rf"Tom.*Channel\.get.*{re.escape(repr(ch))}\n.*test_deadlock\.py:\d+ in .*getter", text)
    assert re.search(r"Jerry.*Semaphore\.wait.*\n.*test_deadlock\.py:\d+ in .*deeper", text)
    assert re.search(r"main.*wait.*Tom.*\n.*test_deadlock\.py:\d+ in .*main", text)


def test_the_report_shows_the_events_of_a_sync():
    ch, sem = Channel(), Semaphore()

    async def main():
        await sync(ch, sem.peek_evt())

    with pytest.raises(Deadlock) as caught:
        run_deterministic(main)
    assert "sync" in str(caught.value)
    assert repr(ch) in str(caught.value)


async def until_blocked(operation):
    """A thread, its report once nothing else can run."""
    t = thread(operation, name="Tom")
    with pytest.raises(Deadlock) as caught:
        await t.wait()
    return next(line for line in str(caught.value).splitlines() if "thread Tom:" in line)


def double(v):
    return 2 * v


async def holds(sem):
    async with sem:
        pass


async def gets_all(ch):
    async for _ in ch:
        pass


async def scoped(ch):
    async with Scope() as scope:
        scope.thread(ch.get)


CHANNEL, SEMAPHORE, PIPE = Channel(), Semaphore(), pipe()
OPERATIONS = {
    f"sync({CHANNEL!r}.handle(double))": lambda: sync(CHANNEL.handle(double)),
    f"sync({CHANNEL!r}.wrap(double), never)": lambda: sync(CHANNEL.wrap(double), never),
    f"sync(choice({CHANNEL!r}, receive_evt))": lambda: sync(choice(CHANNEL, receive_evt())),
    "sync(guard(guarded))": lambda: sync(guard(guarded)),
    "sync(always.replace(": lambda: sync(always.replace(lambda _: never)),
    f"sync({CHANNEL!r})": lambda: sync(CHANNEL, enable_break=True),
    "sync(read_line of <PipeInput pipe>)": lambda: sync(PIPE[0].read_line_evt()),
    "read_line of <PipeInput pipe>": lambda: PIPE[0].read_line(),
    "copy_port": lambda: copy_port(PIPE[0], PIPE[1]),
    "Semaphore.wait of <Semaphore 0": lambda: holds(SEMAPHORE),
    "Semaphore.wait of": lambda: call_with_semaphore(SEMAPHORE, print),
    "Semaphore.wait_enable_break of": lambda: SEMAPHORE.wait_enable_break(),
    f"Channel.get of {CHANNEL!r}": lambda: gets_all(CHANNEL),
    "Channel.get of": lambda: call(CHANNEL.get),
    "call_in_nested_thread of <Thread Channel.get": lambda: call_in_nested_thread(CHANNEL.get),
    "to_os_thread": lambda: to_os_thread(lambda: block_on(CHANNEL.get())),
    "Scope of <Scope": lambda: scoped(CHANNEL),
}


def guarded():
    return never


@pytest.mark.rtsync(seeds=1)
@pytest.mark.parametrize("what", OPERATIONS, ids=range(len(OPERATIONS)))
async def test_the_report_calls_the_operation_as_users_do(what):
    async def tom():
        await OPERATIONS[what]()

    assert f"waits in {what}" in await until_blocked(tom)
    assert f"waits in {what}" in await until_blocked(lambda: block_on(OPERATIONS[what]()))


@pytest.mark.rtsync(seeds=1)
async def test_an_event_that_cannot_be_shown_does_not_spoil_the_report():
    class Shy:
        def __evt__(self):
            return never

        def __repr__(self):
            raise RuntimeError("no")

    async def tom():
        await sync(Shy(), never.wrap(double))

    assert "Shy object at" in await until_blocked(tom)


def test_the_report_names_what_an_os_backed_thread_waits_on_and_where():
    ch = Channel()

    def blocked():
        block_on(ch.get())

    async def main():
        await thread(blocked, name="Tom").wait()

    with pytest.raises(Deadlock) as caught:
        run_deterministic(main)
    assert re.search(r"Tom.*Channel\.get.*\n.*test_deadlock\.py:\d+ in .*blocked", str(caught.value))


def test_the_report_shows_a_suspended_thread_as_such():
    async def other():
        await Channel().get()

    async def main():
        t = thread(other, name="Tom")
        await sync(idle())
        t.suspend()
        await t.wait()

    with pytest.raises(Deadlock) as caught:
        run_deterministic(main)
    assert re.search(r"Tom.*suspended", str(caught.value))


def test_a_main_thread_that_is_suspended_for_good_is_killed_and_reported():
    log = []

    async def main():
        thread(current_thread().suspend)
        try:
            await Channel().get()
        finally:
            log.append("clean")

    with pytest.raises(Deadlock, match=r"thread test_.*main: is stopped in Channel\.get"):
        run_deterministic(main)
    assert log == ["clean"]


def test_a_thread_of_several_custodians_is_reported_once():
    async def main():
        with Custodian():
            t = thread(Channel().get, name="Tom")
        t.resume(Custodian())
        await t.wait()

    with pytest.raises(Deadlock, match=r"any of its 2 thread") as caught:
        run_deterministic(main)
    assert str(caught.value).count("thread Tom:") == 1


async def test_a_sleeper_is_no_deadlock():
    ch = Channel()

    async def sleeper():
        await sleep(0.001)
        await ch.put("woken")

    thread(sleeper)
    assert await ch.get() == "woken"


async def test_an_armed_timeout_is_no_deadlock():
    assert await sync(never, timeout=0.001) is None


async def test_a_blocked_thread_beside_a_living_main_is_no_deadlock():
    thread(Channel().get)
    for _ in range(20):
        await sleep(0)
    await sync(idle())


async def test_waiting_for_idle_is_no_deadlock():
    thread(Channel().get)
    await sync(Channel(), idle())


# -- on a real runtime -----------------------------------------------------------------------------


def test_real_main_gets_a_deadlock(script):
    done = script(
        """
        import rtsync

        async def blocked(ch):
            await ch.get()

        async def main():
            t = rtsync.thread(blocked, rtsync.Channel(), name="Tom")
            await t.wait()

        try:
            rtsync.run(main, workers=2)
        except rtsync.Deadlock as error:
            print(error)
        """
    )
    assert re.search(r"Tom.*Channel\.get.*\n.*program\.py:\d+ in blocked", done.stdout)


def test_real_plain_main_gets_a_deadlock(script):
    done = script(
        """
        import rtsync

        def main():
            rtsync.block_on(rtsync.Channel().get())

        try:
            rtsync.run(main, workers=2)
        except rtsync.Deadlock as error:
            print("deadlock")
        """
    )
    assert done.stdout == "deadlock\n"


def test_real_main_may_catch_it_and_go_on(script):
    done = script(
        """
        import rtsync

        async def main():
            for _ in range(5):
                try:
                    await rtsync.sync(rtsync.Channel(), rtsync.Semaphore())
                except rtsync.Deadlock:
                    print("deadlock")
            await rtsync.sleep(0.01)
            return "over"

        print(rtsync.run(main, workers=2))
        """
    )
    assert done.stdout == "deadlock\n" * 5 + "over\n"


def test_real_an_uncaught_deadlock_ends_the_program_with_the_report(script):
    done = script(
        """
        import rtsync

        async def main():
            await rtsync.Channel().get()

        rtsync.run(main)
        """,
        status=1,
    )
    assert "Deadlock" in done.stderr
    assert "Channel.get" in done.stderr


def test_real_os_backed_threads_that_are_blocked_do_not_hide_it(script):
    done = script(
        """
        import rtsync

        def blocked():
            rtsync.block_on(rtsync.Channel().get())

        async def main():
            threads = [rtsync.thread(blocked) for _ in range(5)]
            await threads[0].wait()

        try:
            rtsync.run(main, workers=2)
        except rtsync.Deadlock:
            print("deadlock")
        """
    )
    assert done.stdout == "deadlock\n"


def test_real_an_os_backed_thread_that_computes_is_no_deadlock(script):
    done = script(
        """
        import rtsync, time

        ch = rtsync.Channel()

        def works():
            time.sleep(0.3)
            rtsync.block_on(ch.put("value"))

        async def main():
            rtsync.thread(works)
            return await ch.get()

        print(rtsync.run(main, workers=2))
        """
    )
    assert done.stdout == "value\n"


def test_real_an_os_backed_thread_that_sleeps_is_no_deadlock(script):
    done = script(
        """
        import rtsync

        ch = rtsync.Channel()

        def works():
            rtsync.block_on(rtsync.sleep(0.3))
            rtsync.block_on(ch.put("value"))

        async def main():
            rtsync.thread(works)
            return await ch.get()

        print(rtsync.run(main, workers=2))
        """
    )
    assert done.stdout == "value\n"


def test_real_a_foreign_os_thread_is_no_deadlock_until_it_has_ended(script):
    done = script(
        """
        import rtsync, threading, time

        ch = rtsync.Channel()

        def foreign():
            time.sleep(0.5)
            rtsync.block_on(ch.put("value"))

        async def main():
            threading.Thread(target=foreign).start()
            print(await ch.get())
            await ch.get()

        try:
            rtsync.run(main, workers=2)
        except rtsync.Deadlock:
            print("deadlock")
        """
    )
    assert done.stdout == "value\ndeadlock\n"


def test_real_two_runtimes_in_two_os_threads_both_get_theirs(script):
    done = script(
        """
        import rtsync, sys, threading

        async def main():
            await rtsync.Channel().get()

        def one():
            try:
                rtsync.run(main, workers=2)
            except rtsync.Deadlock:
                sys.stdout.write("deadlock\\n")

        threading.Thread(target=one).start()
        one()
        """
    )
    assert done.stdout == "deadlock\n" * 2


def test_real_another_runtime_that_works_is_no_deadlock(script):
    done = script(
        """
        import rtsync, threading

        ch = rtsync.Channel()

        async def worker():
            for _ in range(30):
                await rtsync.sleep(0.01)
            await ch.put("value")

        async def waiter():
            return await ch.get()

        t = threading.Thread(target=rtsync.run, args=(worker,))
        t.start()
        print(rtsync.run(waiter))
        t.join()
        """
    )
    assert done.stdout == "value\n"


def test_always_is_never_a_deadlock(run):
    async def main():
        return [await sync(always) for _ in range(100)][-1]

    assert run(main) is always


def test_who_is_woken_by_time_while_a_worker_looks_and_then_waits_for_idleness_is_no_deadlock(script):
    done = script(
        """
        import threading
        import time
        import rtsync
        from rtsync import current_thread, idle, sleep, sync, thread
        from rtsync.testing import wait_real
        from rtsync.waiter import living

        both = threading.Barrier(2)
        looking, looked = [], []

        async def meets():
            both.wait(30)

        async def sleeps():
            await sleep(1)
            await sync(idle())

        async def main():
            runtime = current_thread().runtime
            waits = runtime._idle_evt
            fire = type(waits).fire

            def slow_fire(self):
                # When this worker goes on, the sleeper waits for idleness, and the other worker is idle and
                # about to see that all are. (On a busy machine it may come otherwise.)
                if looking:
                    wait_real(lambda: looked, 10)
                    time.sleep(0.5)
                found = fire(self)
                if not found and not looking and runtime.timers.waits():
                    looking.append(1)
                    looked.append(wait_real(lambda: living(self._queue) and runtime.all_idle(), 10))
                return found

            type(waits).fire = slow_fire
            sleeper = thread(sleeps)
            for t in [thread(meets), thread(meets)]:
                await t.join()
            wait_real(lambda: runtime.polling is not None, 10)  # the other one waits for the time
            await sleeper.join()

        rtsync.run(main, workers=2)
        print("no deadlock", looked)
        """
    )
    assert "no deadlock" in done.stdout


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_real_a_main_thread_that_suspends_itself_for_good(script, kind, workers):
    done = script(
        f"""
        import rtsync

        {kind} main():
            rtsync.current_thread().suspend()

        try:
            rtsync.run(main, workers={workers})
        except rtsync.Deadlock as error:
            print(error)
        """
    )
    assert re.search(r"thread main: is stopped\n.*program\.py:\d+ in main", done.stdout)


def test_real_a_thread_that_suspends_itself_takes_the_only_worker_and_does_not_hide_it(script):
    done = script(
        """
        import rtsync

        async def child():
            rtsync.current_thread().suspend()

        async def main():
            t = rtsync.thread(child)
            await rtsync.sync(rtsync.idle())
            await t.wait()

        try:
            rtsync.run(main, workers=1)
        except rtsync.Deadlock as error:
            print("deadlock")
        """
    )
    assert done.stdout == "deadlock\n"


@pytest.mark.parametrize("stalls", ["before it wakes", "after it woke"])
@pytest.mark.parametrize("waiting", ["main", "another thread"])
def test_of_two_workers_that_look_at_once_the_second_sees_whom_the_first_is_waking(script, waiting, stalls):
    done = script(
        f"""
        import threading
        import time
        import rtsync
        import rtsync.runtime
        from rtsync import idle, sync, thread

        running, looking = threading.Barrier(2), threading.Barrier(2)
        ch = rtsync.Channel()
        armed = []

        def look(self, real=rtsync.Runtime.idle_hook):
            if armed:
                try:
                    looking.wait(10)  # both are published as idle
                except threading.BrokenBarrierError:
                    pass
            real(self)

        def wake(entries, value, real=rtsync.runtime.wake_all):
            stalls = bool(armed and entries)
            if stalls:
                armed.clear()
            if stalls and {stalls.startswith("before")}:
                time.sleep(0.5)  # the other one looks now
            real(entries, value)
            if stalls and {stalls.startswith("after")}:
                time.sleep(0.5)

        rtsync.Runtime.idle_hook = look
        rtsync.runtime.wake_all = wake

        async def other():
            running.wait(30)

        async def waits():
            await sync(idle())
            await ch.put("no deadlock")

        async def main():
            if {waiting != "main"}:
                thread(waits)
            thread(other)
            armed.append(True)
            running.wait(30)
            if {waiting == "main"}:
                await sync(idle())
                return "no deadlock"
            return await ch.get()

        print(rtsync.run(main, workers=2))
        """
    )
    assert done.stdout == "no deadlock\n"


@pytest.mark.parametrize("timeout", ["None", "0.001"])
@pytest.mark.parametrize("evts", ["Channel()", "Channel(), Semaphore()"])
def test_real_a_thread_suspended_in_a_sync_is_reported_with_its_events(script, evts, timeout):
    done = script(
        f"""
        import rtsync
        from rtsync import Channel, Semaphore, sync

        async def main():
            t = rtsync.thread(waits)
            await rtsync.sleep(0)
            t.suspend()
            await t.wait()

        async def waits():
            await sync({evts}, timeout={timeout})

        try:
            rtsync.run(main, workers=1)
        except rtsync.Deadlock as error:
            print(error)
        """
    )
    assert re.search(r"thread waits: is stopped in sync\(.*<Channel", done.stdout)
