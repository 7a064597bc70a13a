"""SPEC §9: ``block_on`` from any OS thread, with and without a runtime."""

import gc
import threading

import pytest

import rtsync
from rtsync import (
    AsyncChannel,
    Channel,
    ContractError,
    Semaphore,
    always,
    block_on,
    choice,
    current_thread,
    idle,
    never,
    receive,
    sleep,
    sync,
    thread,
)


def in_os_threads(*functions):
    """Run them at the same time in OS threads of their own; their results, or the first exception."""
    results = [None] * len(functions)
    errors = []

    def one(n):
        try:
            results[n] = functions[n]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(functions))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


# -- without a runtime -----------------------------------------------------------------------------


def test_an_operation_that_need_not_block():
    sem = Semaphore(1)
    assert block_on(sem.wait()) is None
    assert sem.count == 0


def test_an_event():
    assert block_on(always) is always
    assert block_on(choice(never, always.wrap(lambda _: 1))) == 1


def test_a_coroutine_of_ones_own():
    async def f(a):
        await sleep(0)
        return a + 1

    assert block_on(f(1)) == 2


def test_any_awaitable():
    class Awaitable:
        def __await__(self):
            return sync(always).__await__()

    assert block_on(Awaitable()) is always


def test_an_exception_comes_out():
    async def f():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        block_on(f())


def test_a_timeout():
    assert block_on(sync(never, timeout=0.001, default="late")) == "late"
    assert block_on(sync(Channel(), timeout=0)) is None


def test_two_os_threads_meet_on_a_channel():
    ch = Channel()
    assert in_os_threads(lambda: block_on(ch.get()), lambda: block_on(ch.put("value"))) == [
        "value",
        None,
    ]


def test_two_os_threads_meet_by_syncs():
    ch = Channel()

    def one():
        return block_on(sync(ch, ch.put_evt("value").wrap(lambda _: "put"), timeout=30))

    assert sorted(in_os_threads(one, one)) == ["put", "value"]


def test_many_os_threads_on_one_channel():
    ch = Channel()

    def putter(n):
        for i in range(20):
            block_on(ch.put((n, i)))

    def getter():
        return [block_on(ch) for _ in range(20)]

    results = in_os_threads(*(lambda n=n: putter(n) for n in range(4)), *[getter] * 4)
    assert sorted(item for got in results[4:] for item in got) == [
        (n, i) for n in range(4) for i in range(20)
    ]


def test_handlers_run_in_the_os_thread_that_waits():
    assert block_on(always.wrap(lambda _: threading.get_ident())) == threading.get_ident()


def test_a_handler_may_block_on_again():
    ch = AsyncChannel()
    block_on(ch.put(1))
    assert block_on(always.wrap(lambda _: block_on(ch.get()))) == 1


def test_it_leaves_no_driver_behind():
    block_on(always)
    with pytest.raises(rtsync.NoRuntime):
        current_thread()
    with pytest.raises(rtsync.NoRuntime):
        thread(sleep)


def test_the_context_of_the_caller_is_seen_and_can_be_changed():
    from contextvars import ContextVar

    var = ContextVar("var", default="default")
    var.set("caller")

    async def f():
        seen = var.get()
        var.set("changed")
        return seen

    assert block_on(f()) == "caller"
    assert var.get() == "changed"


def test_what_needs_a_thread_says_so():
    with pytest.raises(rtsync.NoRuntime, match="receive"):
        block_on(receive())
    with pytest.raises(rtsync.NoRuntime, match="idle"):
        block_on(idle())


def test_an_operation_of_another_thread():
    def f():
        return 1

    async def main():
        return thread(f)

    t = rtsync.run(main)
    assert t.dead
    block_on(t.wait())


@pytest.mark.parametrize("value", [3, None, "x", len, Channel, []])
def test_what_cannot_be_waited_for_is_refused(value):
    with pytest.raises(TypeError, match="block_on: op must be an awaitable or an event"):
        block_on(value)


# -- with a runtime --------------------------------------------------------------------------------


async def test_in_a_coroutine_thread_it_is_refused_and_nothing_has_happened():
    sem = Semaphore(1)
    with pytest.raises(ContractError, match=r"block_on: .*await"):
        block_on(sem.wait())
    with pytest.raises(ContractError, match=r"block_on: .*await"):
        block_on(sem)
    gc.collect()
    assert sem.count == 1


async def test_an_os_backed_thread_may_nest_it_in_a_handler():
    ch, answer = Channel(), Channel()

    def child():
        return block_on(ch.wrap(lambda v: (v, block_on(answer.get()))))

    t = thread(child)
    await ch.put(1)
    await answer.put(2)
    assert await t.join() == (1, 2)


async def test_an_os_backed_thread_may_use_all_operations():
    def child():
        sem, ch = Semaphore(), AsyncChannel(1)
        t = thread(sem.wait)
        sem.post()
        block_on(t.join())
        block_on(ch.put(1))
        assert block_on(sync(ch, timeout=10)) == 1
        block_on(sleep(0))
        block_on(sleep(0.001))
        current_thread().send("to me")
        assert block_on(receive()) == "to me"
        inner = thread(lambda: block_on(sync(always)))
        return block_on(inner.join())

    assert await thread(child).join() is always


@pytest.mark.rtsync(workers=2, runs=3)
async def test_an_outsider_and_a_coroutine_thread_meet_on_a_channel():
    there, back = Channel(), Channel()

    def outsider():
        for _ in range(50):
            block_on(back.put(block_on(there)))

    t = threading.Thread(target=outsider)
    t.start()
    for n in range(50):
        await there.put(n)
        assert await back.get() == n
    t.join()


@pytest.mark.rtsync(workers=2, runs=3)
async def test_outsiders_may_wait_for_a_thread():
    gate = Semaphore()

    async def child():
        await gate.wait()
        return "result"

    target = thread(child)
    got = []
    outsiders = [threading.Thread(target=lambda: got.append(block_on(target.join()))) for _ in range(5)]
    for t in outsiders:
        t.start()
    gate.post()
    for t in outsiders:
        while t.is_alive():
            await sleep(0)
    assert got == ["result"] * 5


@pytest.mark.rtsync(workers=2, runs=3)
async def test_crossed_syncs_between_outsiders_and_coroutine_threads():
    one, two = Channel(), Channel()
    rounds = 100

    def outsider():
        for _ in range(rounds):
            block_on(choice(one, two))

    async def child():
        for _ in range(rounds):
            await sync(two.put_evt(2), one.put_evt(1))

    outsiders = [threading.Thread(target=outsider) for _ in range(2)]
    threads = [thread(child) for _ in range(2)]
    for t in outsiders:
        t.start()
    for t in threads:
        await t.join()
    for t in outsiders:
        while t.is_alive():
            await sleep(0)


# -- interruptions ---------------------------------------------------------------------------------


def test_keyboard_interrupt_leaves_the_queues(script):
    done = script(
        """
        import os, signal, threading, time
        import rtsync
        from rtsync.waiter import living

        ch, sem = rtsync.Channel(), rtsync.Semaphore()

        def interrupt():
            while not (living(ch._getters) and living(ch._putters) and living(sem._queue)):
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)

        try:
            threading.Thread(target=interrupt).start()
            rtsync.block_on(rtsync.sync(ch, ch.put_evt(1), sem))
        except KeyboardInterrupt:
            print("interrupted")
        sem.post()
        print(sem.count, ch.try_get("nothing"), rtsync.block_on(rtsync.sync(ch.put_evt(1), timeout=0)))
        rtsync.block_on(sem.wait())  # and it works as before
        print(sem.count)
        """
    )
    assert done.stdout == "interrupted\n1 nothing None\n0\n"


def test_keyboard_interrupt_with_a_timer_armed(script):
    done = script(
        """
        import os, signal, threading, time
        import rtsync

        try:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            rtsync.block_on(rtsync.sleep(1000))
        except KeyboardInterrupt:
            print("interrupted")
        rtsync.block_on(rtsync.sleep(0.01))
        """
    )
    assert done.stdout == "interrupted\n"


def test_keyboard_interrupt_may_be_caught_in_the_operation(script):
    done = script(
        """
        import os, signal, threading
        import rtsync

        async def patient(ch):
            try:
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
                await ch.get()
            except KeyboardInterrupt:
                threading.Timer(0.1, lambda: rtsync.block_on(ch.put("value"))).start()
                return await ch.get()

        ch = rtsync.AsyncChannel()
        print(rtsync.block_on(patient(ch)))
        """
    )
    assert done.stdout == "value\n"


def test_another_signal_handler_that_raises(script):
    done = script(
        """
        import os, signal, threading
        import rtsync

        def handler(number, frame):
            raise RuntimeError("from the handler")

        signal.signal(signal.SIGUSR1, handler)
        try:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            rtsync.block_on(rtsync.Channel().get())
        except RuntimeError as error:
            print(error)
        """
    )
    assert done.stdout == "from the handler\n"


def test_a_signal_handler_that_does_not_raise_does_not_disturb(script):
    done = script(
        """
        import os, signal, threading
        import rtsync

        ch = rtsync.AsyncChannel()
        signal.signal(signal.SIGUSR1, lambda number, frame: rtsync.block_on(ch.put("from the handler")))
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        print(rtsync.block_on(ch.get()))
        """
    )
    assert done.stdout == "from the handler\n"
