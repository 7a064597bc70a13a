"""Places under load: a message of 1 GiB, a hundred places at once, vectors that many places write to."""

import gc
import os
import shutil
from pathlib import Path

import numpy
import pytest

import rtsync as rt
from rtsync.place import dynamic_place, place_context

WORKERS = str(Path(__file__).parents[1] / "place" / "workers.py")


@pytest.mark.timeout(600)
@pytest.mark.rtsync(workers=2)
async def test_a_message_of_a_gibibyte_goes_there_and_back():
    if shutil.disk_usage("/dev/shm").free < 5 << 30:
        pytest.skip("needs 5 GiB of shared memory")
    a = numpy.arange((1 << 30) // 8, dtype="i8")
    place = dynamic_place(WORKERS, "echo")
    place.put(a)
    b = await place.get()
    assert (b == a).all()
    del b
    place.put(None)
    assert await place.wait() == 0


@pytest.mark.timeout(600)
@pytest.mark.rtsync(workers=2)
async def test_a_hundred_places_at_once():
    before = len(os.listdir("/proc/self/fd"))
    places = [dynamic_place(WORKERS, "echo") for _ in range(100)]
    for n, place in enumerate(places):
        place.put(n)
    assert [await place.get() for place in places] == list(range(100))
    for place in places:
        place.put(None)
    assert [await place.wait() for place in places] == [0] * 100
    del place, places
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 5


@pytest.mark.timeout(600)
@pytest.mark.rtsync(workers=2)
async def test_ten_places_fill_a_vector_together():
    v = rt.SharedFxvector(100_000)

    def fill(channel):
        view, start = rt.block_on(channel.get())
        for i in range(start, len(view), 10):
            view[i] = i * i

    places = [place_context(fill) for _ in range(10)]
    for start, place in enumerate(places):
        place.put((v, start))
    assert [await place.wait() for place in places] == [0] * 10
    assert v == [i * i for i in range(100_000)]
