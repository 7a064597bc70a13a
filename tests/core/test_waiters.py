"""Queues of waiters, seen by an OS thread that does not hold their lock."""

import threading

import pytest

from rtsync import Channel, thread
from rtsync.evt import Latch
from rtsync.ports import pipe
from rtsync.waiter import WaitQueue, has_living, living


def test_a_look_at_a_queue_that_others_change_meanwhile():
    queue, stop, seen = WaitQueue(), threading.Event(), 0
    entries = [([], None) for _ in range(100)]
    queue.extend(entries)

    def change():
        while not stop.is_set():
            queue.append(queue.popleft())

    other = threading.Thread(target=change)
    other.start()
    for _ in range(2000):
        seen += has_living(queue)
    stop.set()
    other.join()
    assert seen == 0
    entries[50][0].append("a thread")
    assert has_living(queue)
    assert living(queue) == 1


def test_a_bare_waiter_is_an_entry_too():
    assert not has_living([[], ([], 0)])
    assert has_living([[], ["a thread"]])
    assert has_living([[], (["a thread"], 0)])


class Leaver:
    """Stands for a task that waits. While it is resumed, others leave the queue in another OS thread."""

    def __init__(self, queue, lock):
        self.queue = queue
        self.lock = lock
        self.resumed = 0
        self.value = None

    def ready(self):
        self.resumed += 1
        other = threading.Thread(target=lambda: [self.queue.left(self.lock) for _ in range(50)])
        other.start()
        other.join()

    ready_last = ready


async def an_event_that_happens():
    latch = Latch()
    for _ in range(3):
        latch._block([], 0)
    return latch, lambda: latch._waiters, latch.set


async def a_thread_that_ends():
    t = thread(Channel().get)
    for _ in range(3):
        t._block([], 0)
    return t, lambda: t._waiters, t.kill


async def a_port_that_is_closed():
    port, _ = pipe()
    for _ in range(3):
        port._queue.append(([], 0, None))
    return port, lambda: port._queue, port.abort


@pytest.mark.rtsync
@pytest.mark.parametrize("what", [an_event_that_happens, a_thread_that_ends, a_port_that_is_closed])
async def test_others_may_leave_while_all_are_woken(what):
    owner, queue, happen = await what()
    leavers = [Leaver(queue(), owner._lock) for _ in range(3)]
    for entry, leaver in zip(queue(), leavers, strict=True):
        entry[0].append(leaver)
    happen()
    assert [leaver.resumed for leaver in leavers] == [1, 1, 1]
