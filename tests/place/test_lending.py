"""Shared memory for large messages is used again, but never while anybody has what is in it."""

import gc
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from rtsync import block_on
from rtsync.place import dynamic_place, lending, place_channel
from shm import Segment

from .conftest import WORKERS, wait_until

SIZE = 1 << 21


def block(byte):
    return [memoryview(bytes([byte]) * SIZE)]


def inode(segment):
    return os.fstat(segment.fileno()).st_ino


def inodes():
    """Of all that this process has open or mapped."""
    found = {int(line.split()[4]) for line in Path("/proc/self/maps").read_text().splitlines()}
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the folder's own, which is closed
            found.add(os.fstat(int(fd)).st_ino)
    return found


def test_memory_that_nobody_has_any_more_is_written_again():
    lender = lending._Lender()
    first = lender.written(block(1), SIZE)
    which = inode(first)
    del first
    gc.collect()
    second = lender.written(block(2), SIZE)
    assert inode(second) == which
    assert bytes(second.view()) == bytes([2]) * SIZE


@pytest.mark.parametrize("held", ["segment", "view", "copied descriptor"])
def test_memory_that_somebody_has_is_left_alone(held):
    lender = lending._Lender()
    segment = lender.written(block(1), SIZE)
    if held == "segment":
        holder = segment
    elif held == "view":
        holder = segment.view()
    else:
        holder = Segment.from_fd(os.dup(segment.fileno()))
    which = inode(segment)
    del segment
    gc.collect()
    assert inode(lender.written(block(2), SIZE)) != which
    assert bytes(memoryview(holder)) == bytes([1]) * SIZE


def test_memory_in_flight_is_left_alone():
    one, other = place_channel()
    for n in range(5):
        one.put(np.full(SIZE, n, dtype="u1"))
    for n in range(5):
        array = block_on(other.get())
        one.put(np.full(SIZE, 99, dtype="u1"))
        assert (array == n).all()


def test_small_and_huge_messages_are_not_lent():
    lender = lending._Lender()
    segment = lender.written([memoryview(b"x")], 1)
    assert bytes(segment.view()) == b"x"
    assert not lender._pages


def test_no_more_is_kept_than_the_limit(monkeypatch):
    monkeypatch.setattr(lending, "MOST", 3 * SIZE)
    lender = lending._Lender()
    kept = [lender.written(block(n), SIZE) for n in range(6)]
    assert len(lender._pages) == 3
    assert [bytes(segment.view())[0] for segment in kept] == list(range(6))


def test_what_is_not_used_is_given_back(monkeypatch):
    monkeypatch.setattr(lending, "KEEP", 0.01)
    lender = lending._Lender()
    lender.written(block(1), SIZE)
    wait_until(lambda: not lender._pages and not lender._sweeping)
    lender.written(block(1), SIZE)
    wait_until(lambda: not lender._pages and not lender._sweeping)


def test_what_is_not_used_is_given_back_although_the_thread_that_sent_it_sleeps(monkeypatch):
    monkeypatch.setattr(lending, "KEEP", 0.01)
    lender = lending._Lender()
    sent, asleep = [], threading.Event()

    def send():
        sent.append(inode(lender.written(block(1), SIZE)))
        asleep.wait()

    sender = threading.Thread(target=send)
    sender.start()
    wait_until(lambda: sent and not lender._pages)
    try:
        # A descriptor of it, or a mapping.
        wait_until(lambda: sent[0] not in inodes())
    finally:
        asleep.set()
        sender.join()


def test_what_is_not_used_is_given_back_at_once_when_there_is_no_room(private_shm):
    program = """
    from rtsync import SharedBytes, block_on
    from rtsync.place import place_channel

    one, other = place_channel()
    for size in (12_000_000, 5_000_000, 14_000_000, 5_000_000):
        one.put(bytes(size))
        print(len(block_on(other.get())))
    one.put(bytes(10_000_000))
    block_on(other.get())
    print(len(SharedBytes(12_000_000)))
    """
    assert private_shm(program).split() == ["12000000", "5000000", "14000000", "5000000", "12000000"]


def test_what_somebody_has_is_not_given_back():
    lender = lending._Lender()
    kept, gone = lender.written(block(1), SIZE), lender.written(block(2), SIZE)
    del gone
    gc.collect()
    lender.give_back()
    assert len(lender._pages) == 1
    assert bytes(kept.view()) == bytes([1]) * SIZE


def test_a_finalizer_that_sends_while_memory_is_looked_for_gets_none_of_it(monkeypatch):
    monkeypatch.setattr(lending, "MOST", 2 * SIZE)
    lender = lending._Lender()
    kept, gone = lender.written(block(1), SIZE), lender.written(block(2), SIZE)
    which = inode(gone)
    del gone
    gc.collect()
    look, sent = lending._Page.is_ours_alone, []

    def look_and_finalize(page):
        alone = look(page)
        if alone and not sent:
            sent.append(None)
            sent.append(lender.written(block(3), SIZE))
        return alone

    monkeypatch.setattr(lending._Page, "is_ours_alone", look_and_finalize)
    again = lender.written(block(4), SIZE)
    assert inode(again) == which
    assert [bytes(segment.view())[0] for segment in (kept, sent[1], again)] == [1, 3, 4]


@pytest.mark.rtsync(workers=2)
async def test_a_place_that_keeps_its_arrays_keeps_their_contents():
    p = dynamic_place(WORKERS, "keeps_arrays")
    for n in range(8):
        p.put(np.full(SIZE, n, dtype="u1"))
        assert await p.get() == n
    p.put(None)
    assert await p.get() == list(range(8))
    assert await p.wait() == 0
