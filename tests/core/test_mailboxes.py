"""SPEC §4: mailboxes."""

import threading

import pytest

import rtsync
from rtsync import (
    Channel,
    Semaphore,
    ThreadDead,
    block_on,
    current_thread,
    idle,
    receive,
    receive_evt,
    rewind_receive,
    sleep,
    sync,
    thread,
    try_receive,
)
from tests.collecting import collected


async def test_messages_arrive_in_the_order_in_which_they_were_sent():
    me = current_thread()
    for n in range(10):
        me.send(n)
    assert [await receive() for _ in range(10)] == list(range(10))


async def test_send_does_not_block_and_gives_none():
    t = thread(Channel().get)
    assert [t.send(n) for n in range(100)] == [None] * 100


async def test_receive_waits_for_a_message():
    async def child():
        return await receive()

    t = thread(child)
    await sync(idle())
    t.send("message")
    assert await t.join() == "message"


async def test_any_value_can_be_sent():
    me = current_thread()
    for value in (None, False, 0, "", me, [], rtsync.never, rtsync.waiter.RETRY):
        me.send(value)
        assert try_receive("nothing") is value


async def test_none_reaches_a_thread_that_waits():
    async def child():
        return [await receive(), await receive()]

    t = thread(child)
    await sync(idle())
    t.send(None)
    t.send(0)
    assert await t.join() == [None, 0]


async def test_the_messages_of_many_senders_all_arrive_each_senders_in_order():
    me = current_thread()

    async def sender(name):
        for n in range(20):
            me.send((name, n))
            await sleep(0)

    for name in range(5):
        thread(sender, name)
    got = [await receive() for _ in range(100)]
    for name in range(5):
        assert [n for who, n in got if who == name] == list(range(20))


async def test_each_thread_has_its_own_mailbox():
    async def child():
        return await receive()

    one, two = thread(child), thread(child)
    two.send(2)
    one.send(1)
    assert (await one.join(), await two.join()) == (1, 2)


async def test_try_receive_takes_the_oldest_or_gives_the_default():
    me = current_thread()
    assert try_receive() is None
    assert try_receive("default") == "default"
    me.send(1)
    me.send(2)
    assert [try_receive(), try_receive(), try_receive("none")] == [1, 2, "none"]


async def test_rewind_makes_the_last_item_the_next_message():
    current_thread().send(4)
    rewind_receive([1, 2, 3])
    assert [try_receive() for _ in range(4)] == [3, 2, 1, 4]


async def test_rewind_of_nothing_changes_nothing():
    rewind_receive([])
    assert try_receive("empty") == "empty"


async def test_rewind_takes_a_tuple_too():
    rewind_receive((1, 2))
    assert await receive() == 2


async def test_receive_evt_is_constant():
    async def child():
        return receive_evt()

    assert await thread(child).join() is receive_evt()
    assert receive_evt() is receive_evt()


async def test_receive_evt_is_ready_with_itself_and_takes_nothing():
    current_thread().send("message")
    assert await sync(receive_evt()) is receive_evt()
    assert await sync(receive_evt()) is receive_evt()
    assert try_receive() == "message"


async def test_receive_evt_is_not_ready_without_a_message():
    assert await sync(receive_evt(), timeout=0) is None


async def test_receive_evt_waits_for_a_message():
    async def child():
        assert await sync(receive_evt()) is receive_evt()
        return try_receive()

    t = thread(child)
    await sync(idle())
    t.send("message")
    assert await t.join() == "message"


async def test_receive_evt_is_about_the_thread_that_synchronizes():
    evt = receive_evt()

    async def child():
        return await sync(evt, timeout=0)

    current_thread().send("mine")
    assert await thread(child).join() is None


async def test_receive_evt_loses_against_another_event_and_leaves_the_mailbox_alone():
    ch = Channel()

    async def child():
        got = await sync(receive_evt(), ch)
        return got, await receive()

    t = thread(child)
    await sync(idle())
    await ch.put("from the channel")
    t.send("message")
    assert await t.join() == ("from the channel", "message")


async def test_receive_evt_in_several_branches_of_one_sync():
    async def child():
        return await sync(receive_evt().wrap(lambda evt: "one"), receive_evt().wrap(lambda evt: "two"))

    t = thread(child)
    await sync(idle())
    t.send("message")
    assert await t.join() in ("one", "two")


async def test_receive_after_a_sync_on_receive_evt_timed_out():
    ready = Channel()

    async def child():
        assert await sync(receive_evt(), timeout=0.001) is None
        await ready.put(None)
        return await receive()

    t = thread(child)
    await ready.get()
    await sync(idle())
    t.send("message")
    assert await t.join() == "message"


async def test_sending_to_a_dead_thread_raises_thread_dead():
    async def f():
        pass

    t = thread(f, name="Tom")
    await t.join()
    with pytest.raises(ThreadDead, match=r"send: .*Tom"):
        t.send(1)


async def test_sending_to_a_dead_thread_calls_fail():
    async def f():
        pass

    t = thread(f)
    await t.join()
    assert t.send(1, lambda: "failed") == "failed"
    assert t.send(1, fail=lambda: "failed") == "failed"


async def test_sending_to_a_dead_thread_with_fail_none_gives_none():
    async def f():
        pass

    t = thread(f)
    await t.join()
    assert t.send(1, fail=None) is None


async def test_fail_is_not_called_for_a_living_thread():
    t = thread(Channel().get)
    assert t.send(1, lambda: pytest.fail("called")) is None


async def test_what_fail_raises_comes_out_of_send():
    def fail():
        raise KeyError("mine")

    t = thread(Channel().get)
    t.kill()
    with pytest.raises(KeyError, match="mine"):
        t.send(1, fail)


async def test_messages_that_nobody_received_are_dropped_at_the_end():
    import weakref

    class Message:
        pass

    async def f():
        await Channel().get()

    t = thread(f)
    message = Message()
    gone = weakref.ref(message)
    t.send(message)
    t.kill()
    del message
    assert collected(lambda: gone() is None)


async def test_sending_to_a_suspended_thread_queues():
    async def child():
        return [await receive(), await receive()]

    t = thread(child)
    await sync(idle())
    t.suspend()
    t.send(1)
    t.send(2)
    await sync(idle())
    assert not t.dead
    t.resume()
    assert await t.join() == [1, 2]


async def test_an_os_backed_thread_receives_and_is_sent_to():
    def child():
        return block_on(receive()), try_receive(), block_on(sync(receive_evt(), timeout=0))

    t = thread(child)
    t.send(1)
    assert (await t.join())[0] == 1


@pytest.mark.rtsync(workers=2, runs=3)
async def test_an_os_thread_of_the_program_sends():
    me = current_thread()
    outsider = threading.Thread(target=me.send, args=("hello",))
    outsider.start()
    assert await receive() == "hello"
    outsider.join()


@pytest.mark.parametrize("operation", [receive, try_receive, lambda: rewind_receive([])])
def test_a_mailbox_needs_a_thread(operation):
    with pytest.raises(rtsync.NoRuntime):
        block_on(operation())


async def test_a_message_sent_between_two_receives_is_not_lost():
    rounds = 50

    async def child():
        return [await receive() for _ in range(rounds)]

    t = thread(child)
    for n in range(rounds):
        t.send(n)
        if n % 7 == 0:
            await sleep(0)
    assert await t.join() == list(range(rounds))


async def test_a_threads_own_message_wakes_it():
    me = current_thread()
    gate = Semaphore()

    async def sender():
        await gate.wait()
        me.send("late")

    thread(sender)
    gate.post()
    assert await sync(receive_evt()) is receive_evt()
    assert try_receive() == "late"
