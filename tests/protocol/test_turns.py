"""The turn of a thread group: every interleaving of those who make members ready and those who run them.

What is explored is the real code. Its queue and its home are replaced by ones that stop before each operation
until a scheduler lets them go on. The scheduler tries all orders by running again from the start, and goes on
from each state once: that is what is in the queues, and what each actor has seen of them.
"""

import threading
from collections import deque

import pytest

from rtsync.thread_group import ThreadGroup, Turn


class Actor(threading.Thread):
    """Runs ``body`` from one point to the next, each time it is let."""

    def __init__(self, body):
        super().__init__(daemon=True)
        self.body = body
        self.go, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.over = False
        self.error = None
        self.steps = 0
        self.seen = []

    def run(self):
        self.go.acquire()
        try:
            self.body()
        except BaseException as error:
            self.error = error
        self.over = True
        self.stopped.release()

    def step(self):
        self.steps += 1
        self.go.release()
        self.stopped.acquire()


def point():
    me = threading.current_thread()
    if isinstance(me, Actor):
        me.stopped.release()
        me.go.acquire()


def saw(what):
    me = threading.current_thread()
    if isinstance(me, Actor):
        me.seen.append(what)


class Queue(deque):
    def append(self, item):
        point()
        saw("append")
        super().append(item)

    def popleft(self):
        point()
        saw(len(self) and getattr(self[0], "number", -1))
        return super().popleft()

    def __bool__(self):
        point()
        saw(len(self) > 0)
        return len(self) > 0


class Home(list):
    def append(self, item):
        point()
        saw("append")
        super().append(item)

    def pop(self):
        point()
        saw(len(self))
        return super().pop()

    def __bool__(self):
        point()
        saw(len(self) > 0)
        return len(self) > 0


class Coroutine:
    send = None


class Member:
    pending = 0
    value = None
    coro = Coroutine

    def __init__(self, number):
        self.number = number


class Scene:
    """A group, its run queue, pushers and workers."""

    def __init__(self, turn, pushes, workers):
        self.group = group = ThreadGroup.__new__(ThreadGroup)
        group._setup(0, None)
        group._queue, group._home = Queue(), Home()
        self.run_queue = Queue()
        self.stepped = []
        self.members = []
        made = turn(group)
        made.run_queue = self.run_queue
        list.append(group._home, made)
        actors = []
        for many in pushes:
            mine = [Member(len(self.members) + number) for number in range(many)]
            self.members += mine
            actors.append(Actor(lambda mine=mine: self.push(mine)))
        actors += [Actor(self.work) for _ in range(workers)]
        self.actors = actors
        for actor in actors:
            actor.start()

    attention = 0
    task = None

    def step(self, member, send, value):
        self.stepped.append(member)

    def push(self, members):
        for member in members:
            self.group.push(member)

    def work(self):
        for _ in range(2):
            try:
                turn = self.run_queue.popleft()
            except IndexError:
                continue
            turn.take(self)

    def state(self):
        queues = [[m.number for m in self.group._queue], len(self.group._home), len(self.run_queue)]
        return str([queues, [(actor.steps, actor.seen) for actor in self.actors]])

    def check(self):
        for actor in self.actors:
            if actor.error is not None:
                raise actor.error
        while len(self.run_queue):  # the workers go on
            assert len(self.run_queue) == 1
            self.run_queue.popleft().take(self)
        assert sorted(map(id, self.stepped)) == sorted(map(id, self.members))
        assert len(self.group._home) == 1


class QueuedTurn(Turn):
    """Knows no runtime, only a run queue."""

    __slots__ = ("run_queue",)

    def queue_up(self):
        self.run_queue.append(self)


class WithoutSecondLook(QueuedTurn):
    __slots__ = ()

    def _go_home(self):
        self.group._home.append(self)


def explore(turn, pushes, workers):
    """Try all interleavings; how many states there are."""
    states, to_try = set(), [[]]
    while to_try:
        path = to_try.pop()
        scene = Scene(turn, pushes, workers)
        for number in path:
            scene.actors[number].step()
        while alive := [n for n, actor in enumerate(scene.actors) if not actor.over]:
            state = scene.state()
            if state not in states:
                states.add(state)
                to_try += [[*path, number] for number in alive[1:]]
            path.append(alive[0])
            scene.actors[alive[0]].step()
        scene.check()
    return len(states)


@pytest.mark.parametrize(("pushes", "workers"), [([2], 1), ([1, 1], 1), ([1], 2)])
def test_every_member_is_run_once_and_the_turn_comes_home(pushes, workers):
    assert explore(QueuedTurn, pushes, workers) > 100


def test_without_the_second_look_a_member_is_forgotten():
    """So the exploration is known to find what it looks for."""
    with pytest.raises(AssertionError):
        explore(WithoutSecondLook, [2], 1)
