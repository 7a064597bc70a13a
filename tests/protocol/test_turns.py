"""The turn of a thread group: every interleaving of those who make members ready, those who run them, and one
who takes a member back.

What is explored is the real code, and no OS thread is needed for it. What an actor does next depends only on
what its operations on the shared queues have given so far. So an actor is run from its start, in the one
process, with the answers of its past read to it; where they end it wants its next operation, and is left
there by an exception. The search then has only tuples in its hands: what is in the queues, and the answers
that each actor has been given. It goes on from each such state once.
"""

from collections import deque

import pytest

from rtsync.thread_group import ThreadGroup, Turn

EMPTY = "empty"  # the answer to who takes something where nothing is


class Stop(BaseException):
    """An actor has come to the end of its answers, at an operation."""


class Shared:
    """A deque or list for the code under test: tells the answers that its actor has been given before."""

    def __init__(self, scene, name):
        self.scene, self.name = scene, name

    def _do(self, *operation):
        return self.scene.answer((self.name, *operation))

    def append(self, item):
        self._do("append", item)

    def popleft(self):
        if (item := self._do("popleft")) is EMPTY:
            raise IndexError
        return item

    def pop(self):
        if (item := self._do("pop")) is EMPTY:
            raise IndexError
        return item

    def remove(self, item):
        if self._do("remove", item) is EMPTY:
            raise ValueError

    def __bool__(self):
        return self._do("bool")


def perform(queues, operation):
    """The queues after ``operation``, and its answer."""
    name, what, *item = operation
    items = queues[name]
    match what:
        case "bool":
            return queues, bool(items)
        case "append":
            answer, items = None, (*items, *item)
        case "remove":
            if item[0] not in items:
                return queues, EMPTY
            where = items.index(item[0])
            answer, items = None, items[:where] + items[where + 1 :]
        case _ if not items:
            return queues, EMPTY
        case "popleft":
            answer, items = items[0], items[1:]
        case "pop":
            answer, items = items[-1], items[:-1]
    return (*queues[:name], items, *queues[name + 1 :]), answer


class Coroutine:
    send = None


class Member:
    pending = 0
    value = None
    coro = Coroutine


QUEUE, HOME, RUN_QUEUE = range(3)


class Scene:
    """A group, its run queue, pushers, workers, and perhaps one who takes the first member back."""

    attention = 0  # the workers' own: see `rtsync.thread_group._step`
    task = None

    def __init__(self, turn, pushes, workers, take_back=False):
        self.group = group = ThreadGroup.__new__(ThreadGroup)
        group._setup(0, None)
        self.turn = turn(group)
        group._queue, group._home = Shared(self, QUEUE), Shared(self, HOME)
        self.turn.run_queue = self.run_queue = Shared(self, RUN_QUEUE)
        self.members = [Member() for _ in range(sum(pushes))]
        members = iter(self.members)
        self.actors = [self.pusher([next(members) for _ in range(many)]) for many in pushes]
        self.actors += [self.work] * workers
        if take_back:
            self.actors.append(self.take_back)
        self.start = ((), (self.turn,), ()), ((),) * len(self.actors)
        self.answers = iter(())
        self.wants = None
        self.gone = []  # members that were run or taken back
        self.known = {}

    def pusher(self, members):
        def push():
            for member in members:
                self.group.push(member)

        return push

    def work(self):
        for _ in range(2):
            self.work_once()

    def work_once(self):
        try:
            turn = self.run_queue.popleft()
        except IndexError:
            return
        turn.take(self)

    def step(self, member, send, value):
        self.gone.append(member)

    def take_back(self):
        if self.group.remove(self.members[0]):
            self.gone.append(self.members[0])

    def answer(self, operation):
        try:
            return next(self.answers)
        except StopIteration:
            self.wants = operation
            raise Stop from None

    def run(self, actor, answers):
        """What an actor wants that has been given these answers (None: it is over), and the members that it
        has run or taken back."""
        if (known := self.known.get((actor, answers))) is None:
            self.answers, self.wants, self.gone = iter(answers), None, []
            try:
                self.actors[actor]()
            except Stop:
                pass
            known = self.known[actor, answers] = self.wants, self.gone
        return known

    def check(self, queues, past):
        """All actors are over. Whoever comes to the run queue now finds what is left to do."""
        gone = [member for actor, answers in enumerate(past) for member in self.run(actor, answers)[1]]
        queues = [deque(items) for items in queues]
        self.group._queue, self.group._home, self.turn.run_queue = queues
        self.gone = gone
        while queues[RUN_QUEUE]:
            assert len(queues[RUN_QUEUE]) == 1
            queues[RUN_QUEUE].popleft().take(self)
        self.group._queue, self.group._home = Shared(self, QUEUE), Shared(self, HOME)
        self.turn.run_queue = self.run_queue
        assert sorted(map(id, gone)) == sorted(map(id, self.members))
        assert len(queues[HOME]) == 1


class QueuedTurn(Turn):
    """Knows no runtime, only a run queue."""

    __slots__ = ("run_queue",)

    def queue_up(self):
        self.run_queue.append(self)


class WithoutSecondLook(QueuedTurn):
    __slots__ = ()

    def _go_home(self):
        self.group._home.append(self)


class HomeBeforeTaking(QueuedTurn):
    """Goes home before it takes what it was sent for."""

    __slots__ = ()

    def take(self, worker):
        self._go_home()
        worker.step(self.group._queue.popleft(), None, None)


def explore(turn, pushes, workers, take_back=False):
    """Try all interleavings; how many states there are."""
    scene = Scene(turn, pushes, workers, take_back)
    states, to_try = {scene.start}, [scene.start]
    while to_try:
        queues, past = to_try.pop()
        over = True
        for actor, answers in enumerate(past):
            wants, _ = scene.run(actor, answers)
            if wants is None:
                continue
            over = False
            after, answer = perform(queues, wants)
            state = after, (*past[:actor], (*answers, answer), *past[actor + 1 :])
            if state not in states:
                states.add(state)
                to_try.append(state)
        if over:
            scene.check(queues, past)
    return len(states)


@pytest.mark.parametrize(
    ("pushes", "workers", "take_back"),
    [([2], 1, True), ([1], 2, True), ([2], 2, True), ([1, 1], 2, True), ([2, 1], 1, True)],
)
def test_every_member_is_run_once_and_the_turn_comes_home(pushes, workers, take_back):
    assert explore(QueuedTurn, pushes, workers, take_back) > 100


@pytest.mark.parametrize("turn", [WithoutSecondLook, HomeBeforeTaking])
def test_a_mutation_of_the_turn_is_found(turn):
    """So the exploration is known to find what it looks for."""
    with pytest.raises((AssertionError, IndexError)):
        explore(turn, [2], 2)
