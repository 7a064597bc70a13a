"""A thread that is killed while it makes or drops vectors loses none of their descriptors."""

import gc
import os

import pytest

from rtsync import Channel, SharedBytes, SharedFlvector, thread

from .conftest import eventually


@pytest.mark.rtsync(workers=2)
async def test_a_kill_in_the_middle_of_making_vectors_leaks_nothing():
    async def make(started):
        thread(started.put, None)
        while True:
            v = SharedBytes(100, 1)
            v[:2] = [1, 2]
            SharedFlvector([1.0, 2.0])

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        started = Channel()
        t = thread(make, started)
        await started.get()
        t.kill()
        await t.wait()
    del t
    # And what the runtime itself may have opened.
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)


@pytest.mark.rtsync(workers=2)
async def test_endless_values_do_not_keep_a_thread_from_being_killed():
    started = Channel()

    def values():
        thread(started.put, None)
        while True:
            yield 1

    async def make():
        SharedBytes(values())

    t = thread(make)
    await started.get()
    t.kill()
    await t.wait()
    assert t.dead
