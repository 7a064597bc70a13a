"""SPEC §6: breaks."""

import gc
import weakref

import pytest

from rtsync import (
    AsyncChannel,
    Break,
    BreakHangUp,
    BreakTerminate,
    Channel,
    Custodian,
    Semaphore,
    always,
    block_on,
    break_enabled,
    breaks,
    call,
    current_thread,
    idle,
    receive,
    sleep,
    sync,
    thread,
    uncaught_exception_handler,
)

BLOCKING = {
    "channel get": lambda: Channel().get(),
    "channel put": lambda: Channel().put(1),
    "semaphore wait": lambda: Semaphore().wait(),
    "async channel get": lambda: AsyncChannel().get(),
    "receive": lambda: receive(),
    "own end": lambda: current_thread().wait(),
    "sleep": lambda: sleep(1000),
    "sync": lambda: sync(Channel(), Semaphore(), timeout=1000),
}


async def broken(child, times=1):
    """A new thread, broken so many times, each time when it waits."""
    t = thread(child)
    for _ in range(times):
        await sync(idle())
        t.break_()
    return t


def test_the_classes():
    assert issubclass(Break, KeyboardInterrupt)
    assert issubclass(BreakHangUp, Break)
    assert issubclass(BreakTerminate, Break)


@pytest.mark.parametrize("operation", BLOCKING)
async def test_a_blocked_thread_gets_the_break_at_its_operation(operation):
    async def child():
        try:
            await BLOCKING[operation]()
        except Break as error:
            return type(error)

    t = await broken(child)
    assert await t.join() is Break


@pytest.mark.parametrize("operation", BLOCKING)
async def test_a_blocked_os_backed_thread_gets_the_break_at_its_operation(operation):
    def child():
        try:
            block_on(BLOCKING[operation]())
        except Break as error:
            return type(error)

    t = thread(child)
    while not t.waiter:
        await sleep(0)
    t.break_()
    assert await t.join() is Break


@pytest.mark.parametrize(
    ("kind", "error"), [(None, Break), ("hang-up", BreakHangUp), ("terminate", BreakTerminate)]
)
async def test_each_kind_has_its_exception(kind, error):
    async def child():
        try:
            await Channel().get()
        except Break as caught:
            return type(caught)

    t = thread(child)
    await sync(idle())
    t.break_(kind)
    assert await t.join() is error


async def test_a_runnable_thread_gets_the_break_at_its_next_operation():
    async def child():
        try:
            while True:
                await sleep(0)
        except Break:
            return "broken"

    t = thread(child)
    for _ in range(10):
        await sleep(0)
    t.break_()
    try:
        assert await t.join() == "broken"
    except Break:  # it had not begun
        pass


async def test_a_thread_goes_on_after_a_break_it_has_caught():
    ch = Channel()

    async def child():
        try:
            await Channel().get()
        except Break:
            pass
        return await ch.get()

    t = await broken(child)
    await ch.put("value")
    assert await t.join() == "value"


async def test_the_queues_are_left_before_the_break_is_raised():
    ch, sem = Channel(), Semaphore()
    seen = []

    async def child():
        try:
            await sync(ch, ch.put_evt(1), sem)
        except Break:
            sem.post()
            seen.append((sem.count, ch.try_get("nothing"), await sync(ch.put_evt(1), timeout=0)))

    t = await broken(child)
    await t.join()
    assert seen == [(1, "nothing", None)]


async def test_an_uncaught_break_ends_the_thread():
    uncaught_exception_handler(lambda thread, error: None)
    t = thread(Channel().get)
    await sync(idle())
    t.break_()
    with pytest.raises(Break):
        await t.join()


async def test_breaking_a_dead_thread_does_nothing():
    async def f():
        return 1

    t = thread(f)
    await t.join()
    t.break_()
    assert await t.join() == 1


async def test_breaking_oneself_raises_at_once():
    with pytest.raises(Break):
        current_thread().break_()
    with pytest.raises(BreakTerminate):
        current_thread().break_("terminate")


async def test_an_operation_that_happened_keeps_its_result():
    for _ in range(20):
        ch, got = Channel(), []

        async def child(ch=ch, got=got):
            try:
                got.append(await ch.get())
                await Channel().get()
            except Break:
                return "broken"

        t = thread(child)
        await sync(idle())
        await ch.put("value")
        t.break_()
        assert await t.join() == "broken"
        assert got == ["value"]


async def test_a_suspended_thread_gets_its_break_after_the_resumption():
    async def child():
        try:
            await Channel().get()
        except Break:
            return "broken"

    t = thread(child)
    await sync(idle())
    t.suspend()
    t.break_()
    await sync(idle())
    assert not t.dead
    t.resume()
    assert await t.join() == "broken"


@pytest.mark.parametrize("kinds", [("terminate", None), (None, "terminate"), ("terminate", "hang-up")])
async def test_one_break_is_pending_at_most_and_the_stronger_kind_stays(kinds):
    seen = []

    async def child():
        try:
            await Channel().get()
        except Break as error:
            seen.append(type(error))
        await sync(Channel(), timeout=0.001)  # a second break would come out here

    t = thread(child)
    await sync(idle())
    t.suspend()
    for kind in kinds:
        t.break_(kind)
    t.resume()
    await t.join()
    assert seen == [BreakTerminate]


@pytest.mark.rtsync(workers=2, runs=3)
async def test_a_thread_that_computes_gets_the_break_at_a_safepoint():
    log = []

    async def hog():
        log.append("computes")
        try:
            while True:
                pass
        except Break:
            return "broken"

    t = thread(hog)
    while not log:
        await sleep(0)
    t.break_()
    assert await t.join() == "broken"


@pytest.mark.rtsync(workers=2, runs=3)
async def test_an_os_backed_thread_that_computes_gets_the_break_at_a_safepoint():
    log = []

    def hog():
        log.append("computes")
        try:
            while True:
                pass
        except Break:
            return "broken"

    t = thread(hog)
    while not log:
        await sleep(0)
    t.break_()
    assert await t.join() == "broken"


async def test_breaks_need_no_authority():
    mine, other = Custodian(), Custodian()

    async def child():
        try:
            await Channel().get()
        except Break:
            return "broken"

    with mine:
        t = thread(child)
    await sync(idle())
    with other:
        t.break_()
    assert await t.join() == "broken"


# -- enabling and disabling ------------------------------------------------------------------------


async def test_breaks_are_enabled_at_first():
    assert break_enabled() is True
    assert await thread(enabled).join() is True


async def enabled():
    return break_enabled()


async def test_a_break_waits_while_breaks_are_disabled():
    ch, log = Channel(), []

    async def child():
        try:
            with breaks(False):
                log.append(await ch.get())
            log.append("not reached")
        except Break:
            log.append("broken")

    t = await broken(child)
    await sync(idle())
    assert log == []
    await ch.put("value")
    await t.join()
    assert log == ["value", "broken"]


async def test_a_pending_break_is_raised_when_breaks_are_enabled():
    with breaks(False):
        current_thread().break_()
        with pytest.raises(Break):
            break_enabled(True)
        assert break_enabled()


async def test_a_pending_break_is_raised_at_the_beginning_of_a_block_that_enables():
    log = []
    with breaks(False):
        current_thread().break_()
        with pytest.raises(Break):
            with breaks(True):
                log.append("not reached")
        assert not break_enabled()
    assert log == []


async def test_a_pending_break_is_raised_at_the_end_of_a_block_that_disabled():
    log = []

    async def child():
        with breaks(False):
            current_thread().break_()
            log.append("inside")
        log.append("not reached")

    with pytest.raises(Break):
        await call(child)
    assert log == ["inside"]


async def test_blocks_nest_and_put_the_old_value_back():
    with breaks(False):
        assert not break_enabled()
        with breaks(True):
            assert break_enabled()
        assert not break_enabled()
    assert break_enabled()


async def test_a_block_that_an_exception_leaves_puts_the_old_value_back():
    with pytest.raises(ValueError):
        with breaks(False):
            raise ValueError
    assert break_enabled()


async def test_break_enabled_lasts_for_the_rest_of_the_innermost_block():
    with breaks(False):
        break_enabled(True)
        assert break_enabled()
    assert break_enabled()
    with breaks(True):
        break_enabled(False)
        assert not break_enabled()
    assert break_enabled()


async def test_each_thread_has_its_own():
    gate = Channel()

    async def child():
        await gate.get()
        return break_enabled()

    t = thread(child)
    with breaks(False):
        await gate.put(1)
        assert await t.join() is True


async def test_a_new_thread_starts_with_the_value_with_which_the_innermost_block_was_entered():
    with breaks(False):
        t = thread(enabled)
        break_enabled(True)
        u = thread(enabled)
        assert await t.join() is False
        assert await u.join() is False
    break_enabled(False)
    v = thread(enabled)
    break_enabled(True)
    assert await v.join() is True


async def test_a_break_in_a_disabled_thread_stays_pending_until_its_end():
    async def child():
        with breaks(False):
            await Channel().get()

    t = await broken(child)
    await sync(idle())
    assert not t.dead
    t.kill()
    assert t.dead


@pytest.mark.parametrize("secs", [0, 0.0, 0.001])
async def test_a_break_that_comes_during_a_sleep_is_raised_at_it(secs):

    async def child():
        while True:
            await sleep(secs)

    uncaught_exception_handler(lambda thread, error: None)
    t = thread(child)
    await sleep(secs)
    t.break_()
    with pytest.raises(Break):
        await t.join()


@pytest.mark.rtsync(seeds=20)
async def test_a_break_that_comes_after_it_has_given_way_for_the_last_time():
    """To give way gives nothing that could be lost, and may be the last that the thread does."""

    async def child():
        await ch.get()
        begun.append(1)
        await sleep(0)

    begun, ch = [], Channel()
    uncaught_exception_handler(lambda thread, error: None)
    t = thread(child)
    await sync(idle())
    await ch.put(1)
    while not begun:
        await sleep(0)
    if not t.dead:
        t.break_()
        with pytest.raises(Break):
            await t.join()


async def test_breaks_are_disabled_in_a_wrap():
    assert await sync(always.wrap(lambda _: break_enabled())) is False
    assert break_enabled()


async def test_breaks_are_disabled_in_an_async_wrap():
    async def f(_):
        await sleep(0)
        return break_enabled()

    assert await sync(always.wrap(f)) is False
    assert break_enabled()


async def test_breaks_are_not_disabled_in_a_handle():
    assert await sync(always.handle(lambda _: break_enabled())) is True


async def test_breaks_are_disabled_in_a_handle_that_is_itself_wrapped():
    got = []
    await sync(always.handle(lambda _: got.append(break_enabled())).wrap(lambda _: None))
    assert got == [False]


async def test_breaks_are_enabled_again_after_a_wrap_that_failed():
    def f(_):
        raise ValueError

    with pytest.raises(ValueError):
        await sync(always.wrap(f))
    assert break_enabled()


@pytest.mark.rtsync(workers=2, runs=3)
async def test_a_hog_with_breaks_disabled_is_not_broken_before_it_enables_them():
    log, stop = [], []

    async def hog():
        try:
            with breaks(False):
                log.append("computes")
                while not stop:
                    pass
                log.append("done")
            log.append("not reached")
        except Break:
            log.append("broken")

    t = thread(hog)
    while not log:
        await sleep(0)
    t.break_()
    for _ in range(100):
        await sleep(0)
    assert log == ["computes"]
    stop.append(True)
    await t.join()
    assert log == ["computes", "done", "broken"]


async def test_a_second_break_waits_for_the_clean_up_of_the_first():
    gate, log = Channel(), []

    async def child():
        try:
            await Channel().get()
        finally:
            log.append(await gate.get())

    uncaught_exception_handler(lambda thread, error: None)
    t = await broken(child, times=2)
    await sync(idle())
    assert not t.dead
    await gate.put("clean")
    await t.wait()
    assert log == ["clean"]


async def test_breaks_are_disabled_in_clean_up_and_come_after_it():
    log = []

    async def child():
        try:
            try:
                await Channel().get()
            finally:
                log.append(break_enabled())
                current_thread().break_()
                with breaks(False):
                    log.append("own")
                await sleep(0)
                log.append("clean")
        except Break:
            log.append("first")
        log.append(break_enabled())
        try:
            await Semaphore().wait()
        except Break:
            log.append("second")

    t = await broken(child)
    await t.join()
    assert log == [False, "own", "clean", "first", True, "second"]


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.rtsync(workers=2, runs=3)
async def test_a_break_that_waited_for_clean_up_comes_after_it(backed):
    gate, log = Channel(), []

    async def child():
        try:
            try:
                await Channel().get()
            except Break:
                log.append(await gate.get())
            while True:
                pass
        except Break:
            log.append("again")

    def backed_child():
        try:
            try:
                block_on(Channel().get())
            except Break:
                log.append(block_on(gate.get()))
            while True:
                pass
        except Break:
            log.append("again")

    t = thread(backed_child if backed else child)
    while not (first := t.waiter):
        await sleep(0)
    t.break_()
    while t.waiter is first or not t.waiter:
        await sleep(0)
    t.break_()
    await gate.put("clean")
    await t.wait()
    assert log == ["clean", "again"]


@pytest.mark.rtsync(workers=1)
async def test_a_break_waits_for_clean_up_in_an_asynchronous_generator():
    gate, log = Channel(), []

    async def items():
        try:
            yield await Channel().get()
        finally:
            log.append(await gate.get())

    async def child():
        async for _ in items():
            pass

    uncaught_exception_handler(lambda thread, error: None)
    t = await broken(child, times=2)
    await sync(idle())
    assert not t.dead
    await gate.put("clean")
    await t.wait()
    assert log == ["clean"]


class TestEnabledInCleanUp:
    """`breaks(True)` in the clean-up on the way out of a break lets the next one in."""

    async def test_where_it_waits(self):
        log = []

        async def child():
            try:
                await Channel().get()
            except Break:
                log.append(break_enabled())
                try:
                    with breaks(True):
                        log.append(break_enabled())
                        await Channel().get()
                except Break:
                    log.append(break_enabled())  # of the second one
                log.append(break_enabled())
            return break_enabled()

        t = await broken(child, times=2)
        assert await t.join() is True
        assert log == [False, True, False, False]

    @pytest.mark.parametrize("backed", [False, True])
    @pytest.mark.rtsync(workers=2, runs=3)
    async def test_where_it_computes(self, backed):
        log = []

        def clean_up():
            try:
                with breaks(True):
                    log.append("ready")
                    while True:
                        pass
            except Break:
                log.append("second")

        async def child():
            try:
                await Channel().get()
            except Break:
                clean_up()

        def backed_child():
            try:
                block_on(Channel().get())
            except Break:
                clean_up()

        t = thread(backed_child if backed else child)
        while not t.waiter:
            await sleep(0)
        t.break_()
        while not log:
            await sleep(0)
        t.break_()
        await t.join()
        assert log == ["ready", "second"]

    async def test_one_that_is_pending_comes_at_the_beginning(self):
        log = []

        async def child():
            try:
                await Channel().get()
            except Break:
                current_thread().break_()
                log.append("pending")
                with pytest.raises(Break), breaks(True):
                    log.append("not begun")
                log.append("goes on")
                await sleep(0)

        t = await broken(child)
        await t.join()
        assert log == ["pending", "goes on"]

    async def test_not_in_a_block_within_that_disables_them(self):
        gate = Channel()

        async def child():
            try:
                await Channel().get()
            except Break:
                with breaks(True):
                    with breaks(False):
                        await gate.get()
                    await Channel().get()

        uncaught_exception_handler(lambda thread, error: None)
        t = await broken(child, times=2)
        await sync(idle())
        assert not t.dead
        await gate.put("go on")
        with pytest.raises(Break):
            await t.join()

    async def test_by_break_enabled(self):
        async def child():
            try:
                await Channel().get()
            except Break:
                break_enabled(True)
                assert break_enabled()
                await Channel().get()

        uncaught_exception_handler(lambda thread, error: None)
        t = await broken(child, times=2)
        with pytest.raises(Break):
            await t.join()

    @pytest.mark.parametrize(
        "wait", [lambda: sync(Channel(), enable_break=True), lambda: Semaphore().wait_enable_break()]
    )
    async def test_at_an_operation_that_enables_them(self, wait):
        async def child():
            try:
                await Channel().get()
            except Break:
                await wait()

        uncaught_exception_handler(lambda thread, error: None)
        t = await broken(child, times=2)
        with pytest.raises(Break):
            await t.join()

    async def test_a_break_that_was_handled_is_not_kept(self):
        seen = []

        async def child():
            try:
                await Channel().get()
            except Break as error:
                seen.append(weakref.ref(error))
                break_enabled(True)
            await sleep(0)  # it was thrown in by the step before
            gc.collect()
            return seen[0]()

        t = await broken(child)
        assert await t.join() is None


def test_a_break_for_who_is_resumed_in_the_clean_up_after_another_at_that_moment(script):
    # Whether it is in such a clean-up is read off its coroutine, which must not run meanwhile.
    done = script(
        """
        import rtsync, threading

        async def main():
            rtsync.uncaught_exception_handler(lambda thread, error: None)
            ch, stop = rtsync.Channel(), []

            async def cleans():
                try:
                    await rtsync.sleep(1000)
                finally:
                    while True:
                        await ch.get()

            threads = [rtsync.thread(cleans) for _ in range(3)]
            await rtsync.sync(rtsync.idle())
            for t in threads:
                t.break_()

            def breaks():
                while not stop:
                    for t in threads:
                        t.break_()

            os_threads = [threading.Thread(target=breaks) for _ in range(2)]
            for os_thread in os_threads:
                os_thread.start()
            for _ in range(3000):
                await ch.put(1)
            stop.append(True)
            for os_thread in os_threads:
                await rtsync.to_os_thread(os_thread.join)
            print(*(t.dead for t in threads))

        rtsync.run(main, workers=2)
        """
    )
    assert done.stdout == "False False False\n"
