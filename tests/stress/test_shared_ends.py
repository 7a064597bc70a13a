"""Ends of channels with batches that several places share, which come and go and are killed."""

import os
import random
import signal

import pytest

import rtsync as rt
from rtsync.place import dynamic_place
from shm import SharedFxvector
from tests.place.conftest import WORKERS
from tests.place.test_batches import bulk_channel, padded

COUNT = 4000


async def rounds(seed):
    draw = random.Random(seed)
    one, other = bulk_channel()
    taken = SharedFxvector(COUNT)
    places = [dynamic_place(WORKERS, "shares") for _ in range(3)]
    for who, p in enumerate(places):
        p.put((other, taken, who + 1, draw.random()))
    killed = 0
    sent = 0
    while sent < COUNT:
        for _ in range(min(draw.randrange(1, 600), COUNT - sent)):
            one.put(padded(sent))
            sent += 1
        for _ in range(draw.randrange(30)):
            if (message := other.try_get()) is not None:
                taken[int(message)] = taken[int(message)] * 10 + 9
        if killed < 2 and draw.random() < 0.2:
            os.kill(places[killed].id, signal.SIGKILL)
            killed += 1
        await rt.sleep(draw.random() * 0.005)
    for _ in places:
        one.put(None)
    for p in places[killed:]:
        while isinstance(last := await p.get(), rt.place.PlaceChannel):
            pass  # the end, which has been through another place
        assert isinstance(last, int)
    for p in places:
        await p.wait()
    # Those who were killed have left their `None`s.
    while one.queued.bytes:
        if (message := await rt.sync(other, timeout=0.01)) is not None:
            taken[int(message)] = taken[int(message)] * 10 + 9
    assert max(taken) < 10, "a message came twice"
    assert list(taken).count(0) <= killed


@pytest.mark.rtsync(workers=2)
@pytest.mark.parametrize("seed", range(20))
async def test_each_message_comes_once_however_its_end_is_shared(seed):
    await rounds(seed)
