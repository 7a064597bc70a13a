"""Queues of waiters, seen by an OS thread that does not hold their lock."""

import threading

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
