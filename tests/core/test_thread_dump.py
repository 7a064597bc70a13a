"""SPEC §9: a thread dump on demand."""

import re
import signal
import threading

import pytest

from rtsync import (
    Break,
    Channel,
    Semaphore,
    block_on,
    current_thread,
    idle,
    nack_guard,
    never,
    receive,
    run,
    sleep,
    sync,
    thread,
    thread_dump,
)

HERE = r"test_thread_dump\.py:\d+ in "


def of(name):
    """The part of a dump that is about one thread."""
    return re.search(rf"  thread {name}:.*(\n    at .*)*", thread_dump()).group()


async def test_it_shows_what_a_thread_waits_on_and_all_calls_that_lead_there():
    ch = Channel()

    async def inner():
        await ch.get()

    async def outer():
        await inner()

    thread(outer, name="Tom")
    thread(lambda: block_on(outer()), name="Jerry")
    await sync(idle())
    for name in ("Tom", "Jerry"):  # two dumps: the first has changed nothing
        assert re.fullmatch(
            rf"  thread {name}: waits in Channel\.get of {re.escape(repr(ch))}\n"
            rf"    at .*{HERE}.*inner\n    at .*{HERE}.*outer(\n    at .*{HERE}.*lambda>)?",
            of(name),
        )


async def test_it_shows_the_thread_that_asks_for_it():
    async def asks():
        return of("asks")

    def asks_plainly():
        return of("asks")

    assert re.search(rf"asks: can run\n.*{HERE}of\n.*{HERE}.*asks$", await thread(asks, name="asks").join())
    plain = await thread(asks_plainly, name="asks").join()
    assert re.search(rf"asks: can run\n.*{HERE}of\n.*{HERE}.*asks_plainly$", plain)


async def test_it_shows_that_a_thread_is_suspended_or_has_not_begun():
    t = thread(Channel().get, name="Tom")
    await sync(idle())
    t.suspend()
    assert "Tom: is stopped in Channel.get" in of("Tom")
    new = thread(Channel().get, name="new")  # on another worker it may have begun by now
    assert "new:" in of("new")
    new.kill()


async def test_what_has_ended_is_not_in_it():
    t = thread(sleep, name="Tom")
    await t.join()
    assert "Tom" not in thread_dump()


@pytest.mark.rtsync(workers=2)
async def test_it_shows_where_a_thread_computes():
    begun, stop = Semaphore(), []

    async def computes():
        begun.post()
        while not stop:
            pass

    t = thread(computes, name="Tom")
    await begun.wait()
    assert re.search(rf"Tom: .*\n.*{HERE}.*computes", of("Tom"))
    stop.append(True)
    await t.join()


def test_any_os_thread_may_ask_for_it_also_a_signal_handler():
    dumps = []

    def ask(*signalled):
        dumps.append(thread_dump())

    def shown():
        # Who asks while main is on its way from running to waiting may see it without its stack.
        return dumps and re.search(rf"main: .*\n.*{HERE}.*main", dumps[-1])

    async def main():
        while not shown():
            os_thread = threading.Thread(target=ask)
            os_thread.start()
            while os_thread.is_alive():
                await sleep(0.01)
        dumps.clear()
        while not shown():
            signal.raise_signal(signal.SIGUSR1)
            await sleep(0.01)

    old = signal.signal(signal.SIGUSR1, ask)
    try:
        run(main)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert "runtime rtsync: 1 thread(s)" in dumps[-1]


# -- the threads go on meanwhile -----------------------------------------------------------------


async def test_who_is_blocked_keeps_its_place_in_the_queue():
    sem, order = Semaphore(), []

    async def waits(name):
        await sem.wait()
        order.append(name)

    for name in ("first", "second"):
        thread(waits, name)
        await sync(idle())
    thread_dump()
    for _ in range(2):
        sem.post()
        await sync(idle())
    assert order == ["first", "second"]


async def test_no_operation_is_given_up_for_it():
    nacks = []

    def guarded(nack):
        nacks.append(nack)
        return never

    t = thread(lambda: block_on(sync(nack_guard(guarded))))
    await sync(idle())
    thread_dump()
    await sync(idle())
    assert len(nacks) == 1
    assert await sync(nacks[0], timeout=0) is None
    t.kill()


CHANNEL, SEMAPHORE = Channel(), Semaphore()
CLAIMS = {
    "a partner at a channel": (CHANNEL.get, lambda t: sync(CHANNEL.put_evt(1), timeout=0), 1),
    "a semaphore": (SEMAPHORE.wait, lambda t: SEMAPHORE.post(), None),
    "a message": (receive, lambda t: t.send(1), 1),
    "a break": (lambda: sync(never), lambda t: t.break_(), Break),
}


@pytest.mark.parametrize("backed", [False, True], ids=["coroutine", "OS-backed"])
@pytest.mark.parametrize("what", CLAIMS)
async def test_who_is_claimed_while_it_is_read_goes_on_after_that(what, backed):
    operation, claim, expected = CLAIMS[what]
    log = []

    async def waits():
        try:
            log.append(await operation())
        except Break as error:
            log.append(error)

    t = thread((lambda: block_on(waits())) if backed else waits)
    await sync(idle())

    def read():
        claimed = claim(t)
        if claimed is not None and hasattr(claimed, "send"):
            with pytest.raises(StopIteration):
                claimed.send(None)
        assert not log
        return "read"

    assert t.read_blocked(read) == "read"
    await t.wait()
    assert log == [expected] if not isinstance(expected, type) else isinstance(log[0], expected)


@pytest.mark.parametrize("backed", [False, True], ids=["coroutine", "OS-backed"])
async def test_nobody_may_run_who_is_being_read(backed):
    sem = Semaphore()
    t = thread((lambda: block_on(sem.wait())) if backed else sem.wait)
    await sync(idle())
    assert t.read_blocked(t.seize) is False
    await sync(idle())  # it has begun its operation anew
    sem.post()
    await t.join()


async def test_a_dump_in_the_middle_of_another_shows_who_is_just_being_read():
    t = thread(Channel().get, name="Tom")
    await sync(idle())
    assert "Tom: waits in Channel.get" in t.read_blocked(lambda: of("Tom"))
    await sync(idle())
    assert "Tom: waits in Channel.get" in of("Tom")


def test_in_the_middle_of_traffic_the_interpreter_does_not_crash(script):
    done = script(
        """
        import rtsync, signal, threading

        MANY = 400
        dumps = []

        def often():
            while len(dumps) < MANY:
                dumps.append(rtsync.thread_dump())

        async def main():
            ch, sem = rtsync.Channel(), rtsync.Semaphore()

            async def pings():
                while len(dumps) < MANY:
                    sem.post()
                    await sem.wait()
                    await rtsync.sleep(0)

            for _ in range(3):
                rtsync.thread(pings)
            rtsync.thread(often)
            os_thread = threading.Thread(target=often)
            os_thread.start()
            while len(dumps) < MANY:
                rtsync.thread(ch.put, 1)
                await ch.get()
                await rtsync.sync(sem, ch, timeout=0)
            await rtsync.to_os_thread(os_thread.join)

        signal.signal(signal.SIGALRM, lambda *_: dumps.append(rtsync.thread_dump()))
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        rtsync.run(main, workers=2)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("went on")
        """
    )
    assert done.stdout == "went on\n"


async def test_a_thread_is_in_the_dump_under_its_name():
    assert current_thread().name in thread_dump()


def test_without_a_runtime_it_says_so(monkeypatch):
    monkeypatch.setattr("rtsync.deadlock.runtimes", {})
    assert thread_dump() == "no runtime"
