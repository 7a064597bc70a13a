"""Place channels: both ends in this process, which go through the same sockets as between two."""

import gc
import threading
import weakref

import pytest

import rtsync as rt
from rtsync import ContractError, block_on, sync
from rtsync.place import PlaceChannel, channel, place_channel
from scheduler import poller_here
from shm import SharedFxvector


@pytest.mark.rtsync(workers=2)
async def test_messages_arrive_in_their_order_in_both_directions():
    one, other = place_channel()
    for n in range(1000):
        one.put(n)
        other.put(-n)
    assert [await other.get() for _ in range(1000)] == list(range(1000))
    assert [await one.get() for _ in range(1000)] == [-n for n in range(1000)]


@pytest.mark.rtsync(workers=2)
async def test_a_get_waits_for_a_message():
    one, other = place_channel()
    getter = rt.thread(other.get)
    await sync(rt.idle())
    assert getter.running
    one.put("x")
    assert await getter.join() == "x"


@pytest.mark.rtsync(workers=2)
async def test_those_who_wait_are_served_in_their_order():
    one, other = place_channel()
    got = []

    async def getter(number):
        got.append((number, await other.get()))

    threads = []
    for number in range(5):
        threads.append(rt.thread(getter, number))
        await sync(rt.idle())
    for n in range(5):
        one.put(n)
        await threads[n].join()
    assert got == [(n, n) for n in range(5)]


@pytest.mark.rtsync(workers=2)
async def test_a_newcomer_does_not_overtake_those_who_wait():
    one, other = place_channel()
    waits = rt.thread(other.get)
    await sync(rt.idle())
    one.put("first")
    one.put("second")
    assert other.try_get() == "second"
    assert await waits.join() == "first"


@pytest.mark.rtsync(workers=2)
async def test_a_channel_is_an_event_whose_result_is_the_message():
    one, other = place_channel()
    third = rt.Channel()
    assert await sync(other, third, timeout=0, default="none") == "none"
    one.put([1])
    assert await sync(other, third) == [1]
    waits = rt.thread(sync, other.wrap(lambda v: v + 1), third)
    await sync(rt.idle())
    one.put(1)
    assert await waits.join() == 2
    one.put("not taken")
    rt.thread(third.put, "third")
    await sync(rt.idle())
    assert await sync(third) == "third"
    assert await other.get() == "not taken"


@pytest.mark.rtsync(workers=2, runs=5)
async def test_many_getters_and_putters_get_each_message_once():
    one, other = place_channel()
    got = []

    async def get():
        while (message := await other.get()) is not None:
            got.append(message)

    async def put(start):
        for n in range(start, start + 200):
            one.put(n)
            if n % 7 == 0:
                await rt.sleep(0)

    getters = [rt.thread(get) for _ in range(4)]
    for putter in [rt.thread(put, 1000 * k) for k in range(3)]:
        await putter.join()
    for _ in getters:
        one.put(None)
    for getter in getters:
        await getter.join()
    assert sorted(got) == [n for k in range(3) for n in range(1000 * k, 1000 * k + 200)]


@pytest.mark.rtsync(workers=2)
async def test_a_getter_that_is_killed_takes_nothing():
    one, other = place_channel()
    victim, survivor = rt.thread(other.get), rt.thread(other.get)
    await sync(rt.idle())
    victim.kill()
    one.put("x")
    assert await survivor.join() == "x"


@pytest.mark.rtsync(workers=2)
async def test_a_getter_that_is_suspended_takes_nothing_and_goes_on_when_resumed():
    one, other = place_channel()
    getter = rt.thread(other.get)
    await sync(rt.idle())
    getter.suspend()
    one.put("x")
    assert await other.get() == "x"
    getter.resume()
    one.put("y")
    assert await getter.join() == "y"


@pytest.mark.rtsync(workers=2)
async def test_a_broken_getter_takes_nothing():
    one, other = place_channel()

    async def get():
        try:
            await other.get()
        except rt.Break:
            return "broken"

    getter = rt.thread(get)
    await sync(rt.idle())
    getter.break_()
    assert await getter.join() == "broken"
    one.put("x")
    assert await other.get() == "x"


@pytest.mark.rtsync(workers=2)
async def test_iterating_gets_for_ever():
    one, other = place_channel()
    for n in range(3):
        one.put(n)
    got = []
    async for message in other:
        got.append(message)
        if message == 2:
            break
    assert got == [0, 1, 2]


@pytest.mark.rtsync(workers=2)
async def test_put_get_sends_and_waits_for_the_reply():
    one, other = place_channel()

    async def server():
        other.put(await other.get() + 1)

    rt.thread(server)
    assert await one.put_get(1) == 2


@pytest.mark.rtsync(workers=2)
async def test_put_get_sends_at_the_call():
    one, other = place_channel()
    reply = one.put_get(1)
    assert await other.get() == 1
    other.put(2)
    assert await reply == 2


def test_it_works_in_any_os_thread_without_a_runtime():
    one, other = place_channel()
    got = []
    thread = threading.Thread(target=lambda: got.extend(block_on(other.get()) for _ in range(3)))
    thread.start()
    for n in range(3):
        one.put(n)
    thread.join()
    assert got == [0, 1, 2]
    assert block_on(sync(other, timeout=0.01, default="none")) == "none"


@pytest.mark.rtsync(workers=2)
async def test_it_works_between_coroutine_threads_os_backed_threads_and_foreign_os_threads():
    one, other = place_channel()
    results = rt.AsyncChannel()

    def get():
        block_on(results.put(block_on(other.get())))

    rt.thread(get)
    foreign = threading.Thread(target=get)
    foreign.start()
    one.put("a")
    one.put("b")
    assert {await results.get(), await results.get()} == {"a", "b"}
    foreign.join()


# -- no put blocks ---------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_a_put_never_blocks_and_what_is_queued_can_be_seen():
    one, other = place_channel()
    assert one.queued == (0, 0)
    for n in range(5000):
        one.put((n, b"x" * 1000))
    queued = one.queued
    assert 4000 < queued.messages < 5000
    assert queued.bytes > 5_000_000
    assert [(await other.get())[0] for _ in range(5000)] == list(range(5000))
    while one.queued.messages:
        await rt.sleep(0.001)
    assert one.queued == (0, 0)


@pytest.mark.rtsync(workers=2)
async def test_large_messages_on_their_way_are_counted_too():
    one, other = place_channel()
    for _ in range(3):
        one.put(bytes(1_000_000))
    assert one.queued.bytes > 3_000_000
    for _ in range(3):
        await other.get()
    assert one.queued == (0, 0)


@pytest.mark.rtsync(workers=2)
async def test_more_large_messages_can_be_queued_than_there_are_descriptors_for():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        one, other = place_channel()
        for n in range(600):
            one.put(bytes([n % 256]) * 70_000)
        for n in range(600):
            assert (await other.get())[0] == n % 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.rtsync(workers=2)
async def test_two_that_flood_each_other_do_not_block():
    one, other = place_channel()
    for n in range(3000):
        one.put((n, b"x" * 500))
        other.put((n, b"x" * 500))

    async def drain(end):
        return [(await end.get())[0] for _ in range(3000)]

    first, second = rt.thread(drain, one), rt.thread(drain, other)
    assert await first.join() == await second.join() == list(range(3000))


@pytest.mark.rtsync(workers=2)
async def test_an_end_that_was_dropped_with_messages_queued_still_sends_them():
    one, other = place_channel()
    for n in range(2000):
        one.put((n, b"x" * 500))
    del one
    gc.collect()
    assert [(await other.get())[0] for _ in range(2000)] == list(range(2000))


# -- ends in messages ------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_ends_are_equal_when_they_stand_for_the_same_end():
    one, other = place_channel()
    a, b = place_channel()
    one.put([a, b])
    a2, b2 = await other.get()
    assert a == a2
    assert b == b2
    assert a != b
    assert a != one
    assert hash(a) == hash(a2)
    assert len({a, a2, b, b2}) == 2
    assert a != "an end"


@pytest.mark.rtsync(workers=2)
async def test_an_end_in_a_message_keeps_what_was_sent_to_it_when_the_sender_drops_it():
    one, other = place_channel()
    a, b = place_channel()
    b.put("in the queue")
    one.put(a)
    del a
    gc.collect()
    b.put("later")
    a = await other.get()
    assert [await a.get(), await a.get()] == ["in the queue", "later"]


@pytest.mark.rtsync(workers=2)
async def test_a_channel_can_be_sent_through_itself():
    one, other = place_channel()
    one.put(one)
    same = await other.get()
    assert same == one
    same.put("x")
    assert await other.get() == "x"


# -- the other end is gone -------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_what_was_sent_before_the_end_was_dropped_arrives():
    one, other = place_channel()
    other.put("unread by the other side")
    for n in range(10):
        one.put(n)
    del one
    gc.collect()
    assert [await other.get() for _ in range(10)] == list(range(10))
    assert await sync(other, timeout=0.01, default="nothing") == "nothing"


def test_a_put_to_an_end_that_nobody_holds_is_dropped():
    one, other = place_channel()
    del other
    gc.collect()
    for _ in range(1000):
        one.put(bytes(10_000))
    assert one.queued == (0, 0)


def test_a_get_from_an_end_that_is_gone_counts_as_deadlocked(program):
    done = program(
        """
        import gc
        import rtsync as rt
        from rtsync.place import place_channel

        async def main():
            one, other = place_channel()
            one.put(1)
            del one
            gc.collect()
            print(await other.get())
            await other.get()

        try:
            rt.run(main, workers=2)
        except rt.Deadlock as error:
            print("deadlock", "PlaceChannel" in str(error))
        """
    )
    assert done.stdout == "1\ndeadlock True\n"


def test_a_get_that_only_threads_of_this_process_could_answer_is_a_deadlock_when_none_can(program):
    done = program(
        """
        import rtsync as rt
        from rtsync.place import place_channel

        async def main():
            one, other = place_channel()
            three, four = place_channel()

            async def waits():
                one.put("first")
                await three.get()

            rt.thread(waits)
            print(await other.get())
            for wait in (other.get, lambda: rt.sync(other, three)):
                try:
                    await wait()
                except rt.Deadlock as error:
                    print("deadlock", str(error).count("waits in"))

        rt.run(main, workers=2)
        """
    )
    assert done.stdout == "first\ndeadlock 2\ndeadlock 2\n"


def test_what_a_foreign_os_thread_will_put_is_waited_for(program):
    done = program(
        """
        import threading, time
        import rtsync as rt
        from rtsync.place import place_channel

        async def main():
            for n in range(50):
                one, other = place_channel()
                foreign = threading.Thread(target=lambda: (time.sleep(n / 1000), one.put(n)))
                foreign.start()
                assert await other.get() == n
                foreign.join()
            print("all")

        rt.run(main, workers=2)
        """
    )
    assert done.stdout == "all\n"


@pytest.mark.rtsync(workers=2)
async def test_a_thread_that_waits_for_what_nobody_can_send_is_collected():
    one, other = place_channel()
    getter = rt.thread(other.get)
    await sync(rt.idle())
    gone = weakref.ref(getter)
    del getter, other
    gc.collect()
    assert gone() is not None  # `one` can still be put to
    del one
    for _ in range(200):
        gc.collect()
        if gone() is None:
            break
        await rt.sleep(0.01)
    assert gone() is None


@pytest.mark.rtsync(workers=2)
async def test_who_asks_whether_somebody_waits_does_not_keep_him_alive():
    one, other = map(PlaceChannel, channel.end_pair())  # as if another place could have it
    getter = rt.thread(other.get)
    await sync(rt.idle())
    assert poller_here().waits()
    gone = weakref.ref(getter)
    del getter, other, one
    for _ in range(200):
        gc.collect()
        if gone() is None:
            break
        await rt.sleep(0.01)
    assert gone() is None


# -- misuse ----------------------------------------------------------------------------------------


def test_it_cannot_be_pickled_other_than_in_a_message():
    import copy
    import pickle

    one, _ = place_channel()
    with pytest.raises(ContractError, match="send it in a message"):
        pickle.dumps(one)
    with pytest.raises(ContractError, match="send it in a message"):
        copy.copy(one)


def test_the_class_cannot_be_called():
    with pytest.raises(TypeError, match="place_channel"):
        PlaceChannel(5)


@pytest.mark.rtsync(workers=2)
async def test_a_message_that_cannot_be_made_here_raises_at_the_get_and_the_next_arrives(
    tmp_path, monkeypatch
):
    import sys
    import types
    from dataclasses import make_dataclass

    module = types.ModuleType("only_here")
    module.Thing = make_dataclass("Thing", ["x"], frozen=True, module="only_here")
    monkeypatch.setitem(sys.modules, "only_here", module)
    one, other = place_channel()
    one.put(module.Thing(1))
    one.put("next")
    monkeypatch.delitem(sys.modules, "only_here")
    with pytest.raises(ModuleNotFoundError):
        await other.get()
    assert await other.get() == "next"


@pytest.mark.rtsync(workers=2)
async def test_shared_vectors_in_messages_are_written_by_both_sides():
    one, other = place_channel()
    vector = SharedFxvector(10)
    one.put(vector)

    async def fill():
        got = await other.get()
        for index in range(len(got)):
            got[index] = index

    await rt.thread(fill).join()
    assert list(vector) == list(range(10))


@pytest.mark.parametrize("plain", [False, True])
def test_what_waits_for_room_when_a_run_ends_is_still_sent(plain):
    one, other = place_channel()

    def flood():
        for n in range(5000):
            one.put((n, b"x" * 100))

    async def main():
        flood()

    rt.run(flood if plain else main)
    assert one.queued.messages
    assert [block_on(other.get())[0] for _ in range(5000)] == list(range(5000))


def test_room_that_comes_before_a_message_is_queued_for_it_is_not_overlooked(monkeypatch):
    one, other = place_channel()
    got = []
    reports = []

    class ReportsAtOnce:
        def want(self, end, what):
            while (message := other.try_get()) is not None:
                got.append(message)
            looked = threading.Event()

            def report():
                end.on_ready(what)
                looked.set()

            reports.append(threading.Thread(target=report))
            reports[-1].start()
            looked.wait(0.05)  # it may have to wait for us

    with monkeypatch.context() as patch:
        patch.setattr(channel, "io_poller", ReportsAtOnce)
        count = 0
        while not reports:
            one.put(bytes(3000))
            count += 1
        for thread in reports:
            thread.join()
    assert one.queued.messages == 0
    while len(got) < count:
        got.append(block_on(other.get()))
