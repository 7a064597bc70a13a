"""Messages that have waited for room and cross in batches; an end of a bulk channel that is sole, and shared.

A channel whose two ends are in this process has batches when it is made for that; those of places have.
"""

import fcntl
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from itertools import chain
from marshal import dumps

import pytest

import rtsync as rt
from rtsync import ContractError, sync
from rtsync.place import PlaceChannel, channel, dynamic_place, packet, place_channel
from rtsync.place.channel import end_pair
from rtsync.place.message import pack, unpack
from rtsync.place.packet import (
    EMPTY,
    GONE,
    MARK,
    MARSHAL,
    SENT,
    Batch,
    Bundle,
    Pipe,
    receive_shared,
    transmit,
)
from shm import Segment, SharedFxvector
from tests.chaos import chaos

from .conftest import WORKERS, wait_until
from .test_bridge import bridged, get, got, put

MANY = 3000
"""Messages of `PADDED` bytes, of which most have to wait."""

PADDED = 300


def bulk_channel():
    one, other = end_pair(bulk=True)
    one.be_sole()
    other.be_sole()
    return PlaceChannel(one), PlaceChannel(other)


def padded(n):
    return f"{n:{PADDED}}"


def flood(one, count=MANY, first=0):
    """Put more than the system's buffer has room for."""
    for n in range(first, first + count):
        one.put(padded(n))


async def number(other):
    return int(await other.get())


async def until_in_a_batch(other, left=2):
    """Get until the next ``left`` messages at least are those of a batch; how many were got."""
    got = 0
    while other._end._batch is None or len(other._end._batch.items) < left:
        assert await number(other) == got
        got += 1
    return got


@pytest.mark.rtsync(workers=2)
async def test_what_waits_for_room_goes_in_batches_in_its_order():
    one, other = bulk_channel()
    flood(one)
    assert one.queued.messages
    assert [await number(other) for _ in range(MANY)] == list(range(MANY))
    assert one._end._batches
    assert one.queued == (0, 0)
    one.put("again")
    assert await other.get() == "again"


@pytest.mark.rtsync(workers=2)
async def test_a_channel_that_is_not_a_places_has_no_batches():
    one, other = place_channel()
    flood(one)
    assert [await number(other) for _ in range(MANY)] == list(range(MANY))
    assert not one._end._batches


@pytest.mark.rtsync(workers=2)
async def test_messages_of_all_kinds_keep_their_order_among_batches():
    one, other = bulk_channel()
    messages = []
    for n in range(600):
        messages += [n, padded(n), (n, [n]), b"x" * 2000]
        if not n % 7:
            messages += [SharedFxvector([n]), bytes(80_000), b"y" * 60_000, bytearray(b"z")]
    for message in messages:
        one.put(message)
    assert one.queued.messages
    for message in messages:
        assert await other.get() == message
    assert one._end._batches


@pytest.mark.rtsync(workers=2)
@pytest.mark.parametrize("message", [None, 7, b"", "x" * 40_000], ids=["None", "int", "bytes", "long"])
async def test_however_short_the_messages_are_a_batch_is_no_longer_than_a_socket_takes(message):
    one, other = bulk_channel()
    for _ in range(3000):
        one.put(b"x" * 300)
    count = 100 if isinstance(message, str) else 60_000
    for _ in range(count):
        one.put(message)
    for _ in range(3000):
        assert await other.get() == b"x" * 300
    for _ in range(count):
        assert await other.get() == message
    assert one.queued == (0, 0)


VALUES = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1 << 40,
        -(1 << 5000),
        1.5,
        float("inf"),
        2j,
        b"",
        b"\0" * 300,
        "",
        "x" * 300,
    ),
    *("é" * 300, "\U0001f600" * 300, "\ud800", (1, "a"), [b"b"], {"c": 1.0}, frozenset({1})),
    *("é" * 40_000, "\U0001f600" * 15_000, 1 << 300_000, b"y" * 65_000, b"y" * 70_000),
]
"""Of each kind, short and long."""


@pytest.mark.rtsync(workers=2)
async def test_every_kind_of_value_arrives_as_it_was_whatever_it_waited_with():
    one, other = bulk_channel()
    draw = random.Random(7)
    flood(one)
    sent = [draw.choice(VALUES) for _ in range(2000)]
    for value in sent:
        one.put(value)
    assert one.queued.messages > 2000
    assert [await number(other) for _ in range(MANY)] == list(range(MANY))
    for value in sent:
        got = await other.get() if draw.random() < 0.8 else await sync(other)
        assert got == value
        assert type(got) is type(value)
    assert one.queued == (0, 0)


@pytest.mark.rtsync(workers=2)
async def test_what_waits_is_counted_one_by_one():
    one, _ = bulk_channel()
    with one._end._flush_lock:  # nothing of it is sent
        flood(one)
        before = one.queued
        for value in (1, "x" * 1000, (2,), b"y" * 60_000, b"z" * 80_000, None):
            one.put(value)
        after = one.queued
    assert after.messages == before.messages + 6
    assert 141_000 < after.bytes - before.bytes < 143_000


@pytest.mark.rtsync(workers=2)
async def test_finalizers_that_put_in_the_middle_of_a_put_lose_nothing():
    one, other = bulk_channel()

    class Cycle:
        def __init__(self, n):
            self.n = n
            self.itself = self

        def __del__(self):
            one.put(-self.n)
            one.put((-self.n, "packed"))

    flood(one)
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for n in range(1, 401):
            Cycle(n)
            one.put(n)
            one.put(("x" * 100, n))
    finally:
        gc.set_threshold(*before)
        gc.collect()
    one.put("end")
    assert [await number(other) for _ in range(MANY)] == list(range(MANY))
    got = []
    while (message := await other.get()) != "end":
        got.append(message)
    numbers = [n for n in got if type(n) is int]
    assert [n for n in numbers if n > 0] == list(range(1, 401))
    assert sorted(-n for n in numbers if n < 0) == list(range(1, 401))
    assert len(got) == 4 * 400


def fill(one):
    """Put until one message has to wait; how many that were."""
    count = 0
    while not one._end._outgoing:
        one.put(padded(count))
        count += 1
    return count


def got_all(other, count):
    """The next ``count`` messages, whenever they come."""
    got = []
    deadline = time.monotonic() + 60
    while len(got) < count:
        assert time.monotonic() < deadline, got[-5:]
        if (message := other.try_get()) is not None:
            got.append(message)
    return got


def test_what_is_put_while_a_bundle_is_taken_apart_comes_behind_it(monkeypatch):
    one, other = bulk_channel()
    late = []

    def packets(bundle):
        if not late:
            late.append(threading.Thread(target=one.put, args=("late",)))
            late[0].start()
            late[0].join(0.2)  # it waits for us, or it has sent
        return of_bundle(bundle)

    of_bundle = Bundle.packets
    monkeypatch.setattr(Bundle, "packets", packets)
    count = fill(one)
    got = got_all(other, count + 1)
    late[0].join()
    assert got == [*map(padded, range(count)), "late"]


def test_what_a_finalizer_puts_in_the_middle_of_a_put_comes_in_its_order():
    one, other = bulk_channel()
    count = fill(one)
    with one._end._send_lock:  # as in a put
        for message in ((1,), 2, (3,), 4):
            one.put(message)
    assert got_all(other, count + 4)[count:] == [(1,), 2, (3,), 4]


def test_what_a_finalizer_puts_in_the_middle_of_a_flush_is_counted_well(monkeypatch):
    one, other = bulk_channel()
    count = fill(one)
    with one._end._flush_lock:
        one.put(bytes(100_000))
        for _ in range(3):
            one.put(7)
    nbytes = channel._nbytes
    finalizers = [lambda: one.put(8)]

    def with_a_collection(packet):
        if nested_in_a_flush() and finalizers:
            finalizers.pop()()
        return nbytes(packet)

    def nested_in_a_flush():
        return sys._getframe(2).f_code.co_name == "_flush_first"

    monkeypatch.setattr(channel, "_nbytes", with_a_collection)
    assert got_all(other, count + 5)[count + 1 :] == [7, 7, 7, 8]
    assert not finalizers
    wait_until(lambda: one.queued == (0, 0), 5)


def test_values_that_there_was_no_memory_to_marshal_are_sent_later(monkeypatch):
    one, other = bulk_channel()
    count = fill(one)
    one.put(1)
    one.put(2)

    class NoMemory:
        loads = staticmethod(packet.marshal.loads)

        @staticmethod
        def dumps(value, version):
            if type(value) is list:
                raise MemoryError
            return dumps(value, version)

    with one._end._flush_lock:
        with monkeypatch.context() as patch:
            patch.setattr(packet, "marshal", NoMemory)
            with pytest.raises(MemoryError):
                one.put(bytes(100_000))  # closes the bundle
    assert got_all(other, count + 2)[count:] == [1, 2]
    wait_until(lambda: one.queued == (0, 0), 5)


@pytest.mark.rtsync(workers=2)
async def test_both_sides_flood_each_other_with_batches():
    one, other = bulk_channel()
    flood(one)
    flood(other)
    for n in range(MANY):
        assert await number(other) == n
        assert await number(one) == n
    assert one._end._batches
    assert other._end._batches


@pytest.mark.rtsync(workers=2)
async def test_a_message_counts_as_queued_until_the_last_of_its_batch_is_taken():
    one, other = bulk_channel()
    flood(one)
    for n in range(MANY - 1):
        assert await number(other) == n
    assert one.queued.bytes >= PADDED
    await other.get()
    assert one.queued == (0, 0)


async def exchange(one, other, putters, getters, count):
    """Put and get by several threads: each message comes once, and those of one putter in order."""
    got = []

    async def put(number):
        for n in range(count):
            one.put((number, n, "x" * 200))
            if not n % 50:
                await rt.sleep(0)

    async def get():
        mine = []
        got.append(mine)
        while (message := await other.get()) is not None:
            mine.append(message[:2])

    threads = [rt.thread(get) for _ in range(getters)]
    for thread in [rt.thread(put, number) for number in range(putters)]:
        await thread.join()
    for _ in threads:
        one.put(None)
    for thread in threads:
        await thread.join()
    assert sorted(chain(*got)) == [(number, n) for number in range(putters) for n in range(count)]
    for mine in got:
        for number in range(putters):
            of_it = [n for putter, n in mine if putter == number]
            assert of_it == sorted(of_it)


@pytest.mark.rtsync(workers=4)
async def test_many_putters_and_getters_and_each_message_comes_once():
    one, other = bulk_channel()
    await exchange(one, other, 3, 3, 1500)
    assert one._end._batches


@pytest.mark.rtsync(seeds=10)
async def test_many_putters_and_getters_in_any_order_of_their_steps():
    one, other = bulk_channel()
    await exchange(one, other, 3, 3, 400)


@pytest.mark.parametrize("seed", range(3))
def test_many_putters_and_getters_under_chaos(seed):
    async def main():
        one, other = bulk_channel()
        await exchange(one, other, 2, 3, 400)

    with chaos(seed, rate=0.005, stalls=20) as stalls:
        try:
            rt.run(main, workers=3)
        except BaseException as error:
            error.add_note(f"stalls: {stalls}")
            raise


@pytest.mark.rtsync(workers=2)
@pytest.mark.parametrize("how", ["kill", "break", "suspend"])
async def test_a_getter_that_is_interrupted_takes_a_message_or_leaves_it(how):
    one, other = bulk_channel()
    got = []
    draw = random.Random(how)

    async def get():
        while True:
            with rt.breaks(False):
                got.append(int(await sync(other, enable_break=True)))

    for first in range(0, MANY, 300):
        flood(one, 300, first)
        t = rt.thread(get)
        for _ in range(draw.randrange(20)):
            await rt.sleep(0)
        if how == "break":
            t.break_()
            await t.wait()
            continue
        if how == "suspend":
            t.suspend()
            got += [int(message) for _ in range(20) if (message := other.try_get()) is not None]
            t.resume()
        t.kill()
    one.put("-1")
    while (n := await number(other)) >= 0:
        got.append(n)
    assert len(set(got)) == len(got)
    # A killed thread may have taken one and been killed before it could say so.
    assert len(got) >= MANY - (0 if how == "break" else 10)


# -- ends that travel ----------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_an_end_is_sole_until_it_is_sent():
    p = dynamic_place(WORKERS, "echo")
    assert p._end.sole
    one, _ = place_channel()
    one.put(p)
    assert not p._end.sole
    p.put("x")
    assert await p.get() == "x"
    p.put(None)
    await p.wait()


@pytest.mark.rtsync(workers=2)
async def test_an_end_that_is_sent_in_the_middle_of_a_batch_goes_on_there(no_leaks):
    p = dynamic_place(WORKERS, "gets_some")
    one, other = bulk_channel()
    flood(one)
    here = await until_in_a_batch(other)
    first = await number(other)
    assert first == here
    p.put((other, 500))
    assert [int(message) for message in await p.get()] == list(range(first + 1, first + 501))
    assert [await number(other) for _ in range(100)] == list(range(first + 501, first + 601))
    p.put((other, 70))
    assert [int(message) for message in await p.get()] == list(range(first + 601, first + 671))
    left = MANY - first - 671
    assert [await number(other) for _ in range(left)] == list(range(first + 671, MANY))
    assert one.queued == (0, 0)
    p.put(None)
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_an_end_that_is_sent_to_a_place_which_dies_before_receiving_it_loses_nothing(no_leaks):
    p = dynamic_place(WORKERS, "sleeps")
    await p.get()
    one, other = bulk_channel()
    flood(one)
    first = await until_in_a_batch(other)
    p.put((other, 500))
    os.kill(p.id, signal.SIGKILL)
    await p.wait()
    assert [await number(other) for _ in range(first, MANY)] == list(range(first, MANY))


@pytest.mark.rtsync(workers=2)
async def test_places_that_share_an_end_get_each_message_once_and_in_order(no_leaks):
    one, other = bulk_channel()
    places = [dynamic_place(WORKERS, "gets_some") for _ in range(2)]
    flood(one)
    for p in places:
        p.put((other, 700))
    mine = [await number(other) for _ in range(MANY - 1400)]
    got = [mine, *[[int(message) for message in await p.get()] for p in places]]
    assert sorted(chain(*got)) == list(range(MANY))
    assert all(numbers == sorted(numbers) for numbers in got)
    for p in places:
        p.put(None)
        assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_a_place_that_is_killed_while_it_shares_an_end_has_taken_one_message_more_at_most(no_leaks):
    seen = SharedFxvector(MANY)
    one, other = bulk_channel()
    killed = 0
    for _ in range(4):
        p = dynamic_place(WORKERS, "marks_what_it_gets")
        p.put((other, seen))
        await p.get()
        before = sum(seen)
        flood(one, MANY // 4, killed * (MANY // 4))
        while sum(seen) < before + 20:
            await rt.sleep(0.0005)
        os.kill(p.id, signal.SIGKILL)
        await p.wait()
        killed += 1
    one.put("end")
    while (message := await other.get()) != "end":
        seen[int(message)] += 1
    assert max(seen) == 1
    assert list(seen).count(0) <= killed


@pytest.mark.rtsync(workers=2)
async def test_a_place_that_is_killed_while_it_sends_has_sent_the_first_ones_of_its_messages(no_leaks):
    p = dynamic_place(WORKERS, "puts_numbers")
    p.put(200_000)
    for n in range(1000):
        assert await p.get() == n
    os.kill(p.id, signal.SIGKILL)
    n = 1000
    while (message := await sync(p, rt.after(0.05).wrap(lambda _: None))) is not None or not p._end.gone:
        if message is not None:
            assert message == n
            n += 1
    await p.wait()


@pytest.mark.rtsync(workers=2)
async def test_a_place_that_ends_hands_over_what_it_has_in_the_order_it_was_put(no_leaks):
    p = dynamic_place(WORKERS, "puts_numbers")
    p.put(30_000)
    p.put("end")
    assert [await p.get() for _ in range(30_000)] == list(range(30_000))
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_what_another_thread_puts_while_a_place_ends_overtakes_nothing(no_leaks):
    p = dynamic_place(WORKERS, "ends_while_a_thread_puts")
    got = []
    while isinstance(message := await sync(p, p.dead_evt()), tuple):
        got.append(message[0])
    while (message := p.try_get()) is not None:
        got.append(message[0])
    assert got == list(range(len(got)))


def test_nothing_is_put_any_more_once_what_was_queued_has_been_taken():
    one, other = place_channel()
    flood(one)
    taken = one._end.take_queued()
    sent = got_all(other, MANY - len(taken))
    one.put("late")
    one.put(["late"])
    assert sent + list(map(unpack, taken)) == list(map(padded, range(MANY)))
    assert other.try_get() is None


@pytest.mark.rtsync(workers=2)
async def test_without_room_for_a_descriptor_an_end_is_not_sent_and_stays_sole(monkeypatch):
    one, other = bulk_channel()
    near, far = place_channel()
    flood(one)
    first = await until_in_a_batch(other)

    def no_room(*_):
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(channel, "share", no_room)
        with pytest.raises(OSError, match="no room"):
            near.put([1, other])
    assert other._end.sole
    assert far.try_get("nothing") == "nothing"
    assert [await number(other) for _ in range(first, MANY)] == list(range(first, MANY))


@pytest.mark.rtsync(workers=2)
async def test_without_room_for_a_cursor_messages_go_one_by_one(monkeypatch):
    def no_room(*_):
        raise OSError("no room")

    one, other = bulk_channel()
    monkeypatch.setattr(channel, "Segment", no_room)
    flood(one)
    assert [await number(other) for _ in range(MANY)] == list(range(MANY))
    assert not one._end._batches


def test_an_end_is_not_sent_by_a_finalizer_in_the_middle_of_a_get_of_it():
    _, other = bulk_channel()
    near, _far = place_channel()
    with other._end._lock, pytest.raises(ContractError, match="by a finalizer"):
        near.put(other)


# -- on the socket -------------------------------------------------------------------------------------


@pytest.fixture
def pipe():
    ours, theirs = Pipe.pair()
    for end in (ours, theirs):
        end.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def send_batch(sock, number, messages, cursor):
    bundle = Bundle(messages[0], 1)
    bundle.items += messages[1:]
    bundle.close()
    bundle.number, bundle.cursor = number, cursor
    assert transmit(sock, MARK) is SENT
    assert transmit(sock, bundle) is SENT


def test_those_who_share_an_end_take_a_batch_apart(pipe):
    ours, theirs = pipe
    cursor = Segment(packet.CURSOR_SIZE)
    send_batch(ours, 1, ["a", (b"b",)], cursor)
    send_batch(ours, 2, ["c", 7], cursor)
    assert [receive_shared(theirs) for _ in range(5)] == [
        dumps("a", MARSHAL),
        b"b",
        dumps("c", MARSHAL),
        dumps(7, MARSHAL),
        EMPTY,
    ]
    ours.close()
    assert receive_shared(theirs) is GONE


def test_a_batch_whose_last_taker_was_killed_before_he_could_take_it_off_is_passed_over(pipe):
    ours, theirs = pipe
    cursor = Segment(packet.CURSOR_SIZE)
    send_batch(ours, 1, ["a", (b"b",)], cursor)
    packet.discard(theirs)  # the mark
    packet.share(theirs, Batch(1, ["a", (b"b",)]), 2)
    assert receive_shared(theirs) is EMPTY
    send_batch(ours, 2, ["c"], cursor)
    assert receive_shared(theirs) == dumps("c", MARSHAL)


def test_who_is_killed_while_it_is_its_turn_to_read_does_not_keep_others_from_it(pipe):
    ours, theirs = pipe
    code = (
        f"import fcntl, os\nfcntl.lockf({theirs.fileno()}, fcntl.LOCK_EX)\nprint('mine', flush=True)\ninput()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "mine\n"
    transmit(ours, b"NN")
    with pytest.raises(BlockingIOError):
        fcntl.lockf(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
    got = []
    reader = threading.Thread(target=lambda: got.append(receive_shared(theirs)))
    reader.start()
    child.kill()
    reader.join()
    assert got == [b"NN"]
    child.communicate()


def test_batches_cross_to_another_machine_as_what_is_in_them():
    async def check(tunnel):
        one, other = bulk_channel()
        flood(one)
        first = 0
        while other._end._batch is None or len(other._end._batch.items) < 3:
            assert int(await got(other)) == first
            first += 1
        await put(tunnel.here, pack(other))
        del other
        arrived = await get(tunnel.there)
        assert not arrived._end.bulk
        for n in range(first, MANY):
            assert int(await got(arrived)) == n

    bridged(check)


def test_a_second_descriptor_of_an_end_is_closed_when_it_is_not_its_turn():
    _, other = bulk_channel()
    near, far = place_channel()
    near.put(other)
    end = other._end
    gc.collect()
    fds = len(os.listdir("/proc/self/fd"))
    with end._lock:
        reader = threading.Thread(target=far.try_get)
        reader.start()
        wait_until(lambda: len(os.listdir("/proc/self/fd")) > fds)
        assert reader.is_alive()
    reader.join()
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= fds)
