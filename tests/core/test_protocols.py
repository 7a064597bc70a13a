"""SPEC §5: classes with ``__evt__``, types adapted by `register_evt`, and futures."""

import asyncio
import concurrent.futures
import threading
import weakref

import pytest

from rtsync import (
    Channel,
    always,
    block_on,
    choice,
    guard,
    idle,
    is_evt,
    never,
    register_evt,
    sync,
    thread,
)
from tests.collecting import collected


class Box:
    """An event through ``__evt__``, whatever is in it."""

    def __init__(self, content):
        self.content = content
        self.asked = 0

    def __evt__(self):
        self.asked += 1
        return self.content


async def test_an_object_with_evt_stands_for_the_event_it_gives():
    ch = Channel()
    thread(ch.put, "value")
    assert await sync(Box(ch)) == "value"


async def test_it_is_asked_at_each_sync():
    box = Box(always)
    await sync(box)
    await sync(box)
    assert box.asked == 2


async def test_one_that_gives_no_event_is_ready_with_itself():
    for content in (None, 3, "x", []):
        box = Box(content)
        assert await sync(box, timeout=0) is box


async def test_one_that_gives_itself_is_ready_with_itself():
    box = Box(None)
    box.content = box
    assert await sync(box, timeout=0) is box


async def test_one_that_gives_another_such_object():
    assert await sync(Box(Box(Box(always)))) is always


async def test_the_inner_of_two_that_gives_no_event_is_the_result():
    inner = Box(3)
    assert await sync(Box(inner)) is inner


async def test_it_can_be_used_wherever_an_event_can():
    box = Box(always)
    assert is_evt(box)
    assert await sync(choice(never, box)) is always
    assert await sync(guard(lambda: box)) is always
    assert await sync(choice(box).wrap(lambda _: 1)) == 1
    assert await sync(always.replace(lambda _: box)) is always


async def test_an_exception_of_evt_comes_out_of_sync():
    class Broken:
        def __evt__(self):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await sync(Broken())


async def test_evt_counts_only_on_the_class():
    class Plain:
        pass

    plain = Plain()
    plain.__evt__ = lambda: always
    assert not is_evt(plain)
    assert is_evt(Box(1))
    assert not is_evt(3)


async def test_subclasses_inherit_it():
    class Special(Box):
        pass

    assert await sync(Special(always)) is always


# -- register_evt ----------------------------------------------------------------------------------


async def test_a_registered_type_is_an_event():
    class Foreign:
        pass

    foreign = Foreign()
    assert not is_evt(foreign)
    register_evt(Foreign, lambda f: always.wrap(lambda _: ("adapted", f)))
    assert is_evt(foreign)
    assert await sync(foreign) == ("adapted", foreign)


async def test_an_adapter_that_gives_no_event_makes_the_object_ready_with_itself():
    class Foreign:
        pass

    register_evt(Foreign, lambda f: None)
    foreign = Foreign()
    assert await sync(foreign) is foreign


async def test_subclasses_of_a_registered_type_are_events():
    class Foreign:
        pass

    class Special(Foreign):
        pass

    register_evt(Foreign, lambda f: always)
    assert is_evt(Special())
    assert await sync(Special()) is always


async def test_the_most_special_registration_counts():
    class Foreign:
        pass

    class Special(Foreign):
        pass

    register_evt(Foreign, lambda f: always.wrap(lambda _: "general"))
    register_evt(Special, lambda f: always.wrap(lambda _: "special"))
    assert await sync(Special()) == "special"
    assert await sync(Foreign()) == "general"


async def test_a_registration_may_be_replaced():
    class Foreign:
        pass

    register_evt(Foreign, lambda f: always.wrap(lambda _: 1))
    assert await sync(Foreign()) == 1
    register_evt(Foreign, lambda f: always.wrap(lambda _: 2))
    assert await sync(Foreign()) == 2


# -- concurrent.futures ----------------------------------------------------------------------------


async def test_a_concurrent_future_is_an_event_ready_when_it_is_done_with_its_result():
    future = concurrent.futures.Future()
    assert is_evt(future)
    assert await sync(future, timeout=0) is None
    future.set_result("result")
    assert await sync(future) == "result"
    assert await sync(future) == "result"


async def test_the_exception_of_a_concurrent_future_comes_out_of_sync():
    future = concurrent.futures.Future()
    future.set_exception(KeyError("mine"))
    with pytest.raises(KeyError, match="mine"):
        await sync(future)


async def test_a_cancelled_concurrent_future_raises():
    future = concurrent.futures.Future()
    future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        await sync(future)


@pytest.mark.rtsync(workers=2, runs=3)
async def test_a_concurrent_future_of_an_executor_wakes_who_waits():
    gate = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(gate.wait)

        async def child():
            return await sync(future, never)

        t = thread(child)
        gate.set()
        assert await t.join() is True


async def test_many_threads_may_wait_for_one_concurrent_future():
    future = concurrent.futures.Future()

    async def child():
        return await sync(future)

    threads = [thread(child) for _ in range(5)]
    thread(lambda: future.set_result("done"))
    assert [await t.join() for t in threads] == ["done"] * 5


async def test_a_concurrent_future_that_is_not_chosen_is_left_alone():
    future = concurrent.futures.Future()
    for _ in range(100):
        assert await sync(future, always.wrap(lambda _: "other")) == "other"
        assert await sync(future, timeout=0) is None
    assert len(future._done_callbacks) <= 2
    future.set_result(1)
    assert await sync(future) == 1


async def test_the_error_of_a_concurrent_future_that_is_not_chosen_is_not_raised():
    future = concurrent.futures.Future()
    ch = Channel()

    async def child():
        return await sync(future, ch)

    t = thread(child)
    await sync(idle())
    await ch.put("other")
    future.set_exception(ValueError())
    assert await t.join() == "other"


async def test_a_wrap_around_a_concurrent_future():
    future = concurrent.futures.Future()
    future.set_result(1)
    assert await sync(choice(never, future).wrap(lambda v: v + 1)) == 2


@pytest.mark.parametrize("done", [True, False])
async def test_a_concurrent_future_that_was_waited_for_is_collected(done):
    future = concurrent.futures.Future()
    await sync(future, timeout=0)
    if done:
        future.set_result(1)
        await sync(future)
    gone = weakref.ref(future)
    del future
    assert collected(lambda: gone() is None)


def test_block_on_a_concurrent_future():
    future = concurrent.futures.Future()
    os_thread = threading.Thread(target=future.set_result, args=(1,))
    os_thread.start()
    assert block_on(future) == 1
    os_thread.join()


# -- asyncio ---------------------------------------------------------------------------------------


@pytest.fixture
def loop():
    """An asyncio loop that runs in an OS thread of its own."""
    loop = asyncio.new_event_loop()
    os_thread = threading.Thread(target=loop.run_forever)
    os_thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    os_thread.join()
    loop.close()


@pytest.mark.rtsync(workers=2)
async def test_an_asyncio_future_is_an_event_ready_when_it_is_done_with_its_result(loop):
    future = loop.create_future()
    assert is_evt(future)
    assert await sync(future, timeout=0) is None
    loop.call_soon_threadsafe(future.set_result, "result")
    assert await sync(future) == "result"
    assert await sync(future) == "result"


@pytest.mark.rtsync(workers=2)
async def test_the_exception_of_an_asyncio_future_comes_out_of_sync(loop):
    future = loop.create_future()
    loop.call_soon_threadsafe(future.set_exception, KeyError("mine"))
    with pytest.raises(KeyError, match="mine"):
        await sync(future)


@pytest.mark.rtsync(workers=2)
async def test_an_asyncio_task_is_an_event_too(loop):
    async def work():
        await asyncio.sleep(0.01)
        return "worked"

    started = concurrent.futures.Future()
    loop.call_soon_threadsafe(lambda: started.set_result(loop.create_task(work())))
    task = started.result()
    assert await sync(task, never) == "worked"


@pytest.mark.rtsync(workers=2)
async def test_an_asyncio_future_that_is_not_chosen_is_left_alone(loop):
    future = loop.create_future()
    for _ in range(50):
        assert await sync(future, always) is always
    loop.call_soon_threadsafe(future.set_result, 1)
    assert await sync(future) == 1


@pytest.mark.rtsync(workers=2)
async def test_an_asyncio_future_of_a_closed_loop_that_is_done():
    other = asyncio.new_event_loop()
    future = other.create_future()
    future.set_result(1)
    other.close()
    assert await sync(future) == 1
