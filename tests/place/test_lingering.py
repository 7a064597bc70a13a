"""A get that waits for a moment inside its step before it parks, and ends that are taken off the poller."""

import math
import select
import socket

import pytest

import rtsync as rt
from rtsync import block_on
from rtsync.place import channel, place, place_channel
from scheduler import linger
from scheduler.linger import LATE, SOON

from . import workers


def look_at(sock):
    look = select.poll()
    look.register(sock, select.POLLIN)
    return look.poll


@pytest.mark.rtsync(workers=1)
async def test_lingering_tells_whether_there_is_something_to_read():
    one, other = socket.socketpair()
    with one, other:
        assert not linger(look_at(other))
        one.send(b"x")
        assert linger(look_at(other))


def test_nobody_lingers_where_no_thread_runs():
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        assert not linger(look_at(other))


@pytest.mark.rtsync(seeds=1)
async def test_nobody_lingers_in_virtual_time():
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        assert not linger(look_at(other))


@pytest.mark.rtsync(workers=1)
async def test_a_worker_with_another_task_does_not_linger():
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        while not linger(look_at(other)):
            await rt.sleep(0)
        t = rt.thread(rt.sleep)
        assert not linger(look_at(other))
        await t.join()


@pytest.mark.rtsync(workers=1)
async def test_a_conversation_with_a_place_does_not_keep_others_from_running_nor_timers_from_firing():
    p = place(workers.echo)
    done = False
    turns = 0

    async def converse():
        n = 0
        while not done:
            assert await p.put_get(n) == n
            n += 1

    async def other():
        nonlocal turns
        while not done:
            turns += 1
            await rt.sleep(0.001)

    threads = [rt.thread(converse), rt.thread(other)]
    await rt.sleep(0.05)
    while turns < 10:
        await rt.sleep(0.01)
    done = True
    for t in threads:
        await t.join()
    p.put(None)
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=1)
async def test_a_conversation_with_a_place_does_not_keep_other_descriptors_from_being_served():
    p = place(workers.echo)
    one, other = place_channel()
    done = False

    async def converse():
        n = 0
        while not done:
            assert await p.put_get(n) == n
            n += 1

    t = rt.thread(converse)
    waits = rt.thread(other.get)
    await rt.sleep(0.01)
    one.put("x")
    assert await waits.join() == "x"
    done = True
    await t.join()
    p.put(None)
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_an_end_that_was_taken_off_the_poller_is_reported_again_to_who_waits_later():
    one, other = place_channel()
    for n in range(20):
        getter = rt.thread(other.get)
        await rt.sync(rt.idle())  # it is parked
        one.put(n)
        assert await getter.join() == n
        one.put("for nobody")  # a report that finds no waiter
        while other._end.poller is not None:
            await rt.sleep(0.001)
        assert other.try_get() == "for nobody"


@pytest.mark.rtsync(workers=2)
async def test_an_end_with_messages_that_wait_for_room_stays_on_the_poller():
    one, other = place_channel()
    getter = rt.thread(one.get)
    await rt.sync(rt.idle())
    other.put("x")
    assert await getter.join() == "x"
    for _ in range(2000):
        one.put(bytes(1000))  # more than the socket takes
    assert one.queued.messages
    other.put("for nobody")
    for _ in range(2000):
        assert await other.get() == bytes(1000)
    assert await one.get() == "for nobody"
    assert one.queued == (0, 0)


def test_an_os_thread_without_a_runtime_lingers_too():
    one, other = place_channel()
    for n in range(50):
        one.put(n)
        assert block_on(other.get()) == n


INTEGERS = [0, -(2**31), 2**31, 2**64 - 1, -(2**4000)]
NUMBERS = [None, True, *INTEGERS, -0.0, math.inf, 1e-320, 1 + 2j]
STRINGS = ["", "é", "\ud800", "\0", b"", b"\x80\x01"]


@pytest.mark.parametrize("value", [*NUMBERS, *STRINGS], ids=ascii)
def test_a_single_plain_value_arrives_exactly(value):
    one, other = place_channel()
    one.put(value)
    arrived = other.try_get("nothing")
    assert type(arrived) is type(value)
    assert repr(arrived) == repr(value)


def test_not_a_number_arrives():
    one, other = place_channel()
    one.put(math.nan)
    assert math.isnan(other.try_get())


def test_a_get_keeps_the_processor_awake_only_where_answers_come_soon(monkeypatch):
    asked = []
    comes = LATE

    def fake(look, awake):
        asked.append(bool(awake))
        return comes

    monkeypatch.setattr(channel, "linger", fake)
    monkeypatch.setattr(channel, "AWAKE", 0.00005)
    _, other = place_channel()
    for _ in range(1000):
        other._end.linger()
    assert asked[0]
    assert 5 < sum(asked) < 30  # ever more rarely, but again and again
    comes = SOON
    for _ in range(1000):
        other._end.linger()
    assert all(asked[-500:])


@pytest.mark.rtsync(workers=1)
async def test_lingering_tells_whether_the_processor_was_kept_awake():
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        while (came := linger(look_at(other), 1.0)) == 0:  # something else came up
            await rt.sleep(0)
        assert came == SOON
        while (came := linger(look_at(other), 0.0)) == 0:
            await rt.sleep(0)
        assert came == LATE
