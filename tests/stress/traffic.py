"""Threads that exchange values while others kill, suspend, resume and break them at random, and what must
hold at the end.

Every value is unique and followed on its way. A thread that is killed after a partner has chosen it leaves
what it was given in ``Rare.given``; so at the end each value whose put has returned is with exactly one
thread that got it, or in a buffer, or with one that was killed. Semaphores are taken in ``async with`` blocks
only: they have the count with which they began. Messages come once, and those of one sender in their order.
"""

import itertools
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import rtsync as rt
from rtsync.alarm import monotonic
from rtsync.waiter import RETRY, living


@dataclass(frozen=True)
class Message:
    """From whom, and its how-manieth action."""

    sender: int
    number: int


class Town:
    """The objects that the citizens share, and the record of what they did."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.channels = [rt.Channel() for _ in range(8)]
        self.buffers = [rt.AsyncChannel(4) for _ in range(4)]
        self.semaphores = [rt.Semaphore(2) for _ in range(4)]
        self.custodian = rt.Custodian()
        self.citizens: dict[int, rt.Thread] = {}
        self.killed: list[rt.Thread] = []
        self.houses: dict[int, rt.Custodian] = {}  # of those that have one of their own
        self.names = itertools.count(1)
        self.begun: set[int] = set()  # values whose put has begun
        self.put: set[int] = set()  # values whose put has returned
        self.got: list[int] = []
        self.lost: list[int] = []  # given to one that was killed before it could see it
        self.mail: dict[int, list[Message]] = {}  # what was received, by receiver

    # -- what a citizen does -----------------------------------------------------------------------

    async def citizen(self, me: int, own: random.Random) -> None:
        numbers = itertools.count(1)
        try:
            with rt.breaks(False):
                while True:
                    try:
                        with rt.breaks(True):
                            await self.act(me, next(numbers), own)
                    except rt.Break:
                        pass
        except rt.ThreadKilled:
            rare = rt.current_thread()._rare
            given = RETRY if rare is None else rare.given
            if isinstance(given, tuple):
                given = given[1]
            if isinstance(given, int):
                self.lost.append(given)
            raise

    async def act(self, me: int, number: int, own: random.Random) -> None:
        value = me * 1_000_000 + number
        kind = own.randrange(9)
        if kind == 0:
            self.begun.add(value)
            await own.choice(self.channels).put(value)
            self.put.add(value)
        elif kind == 1:
            self.got.append(await own.choice(self.channels).get())
        elif kind == 2:
            self.begun.add(value)
            evts = [own.choice(self.buffers).put_evt(value), own.choice(self.channels).put_evt(value)]
            if await rt.sync(*evts, timeout=own.random() * 0.002) is not None:
                self.put.add(value)
        elif kind == 3:
            await rt.sync(
                *(evt.wrap(self.got.append) for evt in own.sample(self.channels, 2)),
                *(rt.nack_guard(lambda nack, evt=evt: evt.wrap(self.got.append)) for evt in self.buffers[:2]),
                timeout=0.002,
            )
        elif kind == 4:
            await own.choice(self.buffers).put(self.begin(value))
            self.put.add(value)
        elif kind == 5:
            self.got.append(await own.choice(self.buffers).get())
        elif kind == 6:
            async with own.choice(self.semaphores):
                await rt.sleep(0)
        elif kind == 7:
            await self.write(me, number, own)
        else:
            sum(range(2000))

    def begin(self, value: int) -> int:
        self.begun.add(value)
        return value

    async def write(self, me: int, number: int, own: random.Random) -> None:
        """Send a message to somebody and read one's own."""
        other = own.choice(list(self.citizens))
        t = self.citizens.get(other)
        if t is not None:
            t.send(Message(me, number), None)
        box = self.mail.setdefault(me, [])
        if own.random() < 0.5:
            await rt.sync(rt.receive_evt(), own.choice(self.semaphores).peek_evt(), timeout=0.001)
            while (message := rt.try_receive()) is not None:
                box.append(message)
        elif own.random() < 0.1:
            box.append(await rt.receive())

    # -- what is done to them ----------------------------------------------------------------------

    def settle(self, backed: bool = False) -> None:
        """A new citizen. Breaks are disabled at first, which it inherits: no break before it has begun."""
        name, own = next(self.names), random.Random(self.draw.random())
        house = self.custodian
        if self.draw.random() < 0.2:
            house = self.houses[name] = rt.Custodian(self.custodian)

        def main() -> None:
            rt.block_on(self.citizen(name, own))

        with house, rt.breaks(False):
            self.citizens[name] = rt.thread(main) if backed else rt.thread(self.citizen, name, own)

    def disturb(self) -> None:
        """One random request of a random citizen."""
        name = self.draw.choice(list(self.citizens))
        t = self.citizens[name]
        what = self.draw.randrange(12)
        if what == 0:
            del self.citizens[name]
            self.killed = [other for other in self.killed if not other.dead]
            self.killed.append(t)
            house = self.houses.pop(name, None)
            if house is None:
                t.kill()
            else:
                house.shutdown_all()
            self.settle()
        elif what < 4:
            t.suspend()
        elif what < 8:
            t.resume(self.draw.choice([None, self.citizens[self.draw.choice(list(self.citizens))]]))
        else:
            t.break_(self.draw.choice([None, "hang-up", "terminate"]))

    # -- the end -----------------------------------------------------------------------------------

    def check(self) -> None:
        """When nobody is left."""
        stored = [value for buffer in self.buffers for value in buffer._buffer]
        arrived = Counter([*self.got, *self.lost, *stored])
        assert all(count == 1 for count in arrived.values()), "delivered twice"
        assert arrived.keys() <= self.begun, "a value from nowhere"
        assert self.put <= arrived.keys(), f"lost: {sorted(self.put - arrived.keys())}"
        for owner in (*self.channels, *self.buffers):
            assert living(owner._getters) == living(owner._putters) == 0
        for semaphore in self.semaphores:
            assert living(semaphore._queue) == 0
            assert semaphore.count == 2
        for box in self.mail.values():
            assert len(set(box)) == len(box), "a message twice"
            numbers: dict[int, int] = {}
            for message in box:
                assert numbers.get(message.sender, 0) < message.number, "one sender's messages out of order"
                numbers[message.sender] = message.number
        assert self.custodian.everything() == [], "a thread is left"
        assert rt.current_thread().runtime.stats()["timers"] == 0


async def traffic(seconds: float, seed: int, many: int = 2000, backed: int = 0, requests: int = 20) -> Any:
    """``many`` citizens, some of them OS-backed, for ``seconds``; ``requests`` each millisecond. Gives the
    town."""
    town = Town(seed)
    for number in range(many):
        town.settle(number < backed)
    end = monotonic() + seconds
    while monotonic() < end:
        for _ in range(requests):
            town.disturb()
        await rt.sleep(0.001)
    threads = list(town.citizens.values())
    for t in threads:
        t.resume()
    await rt.sleep(0.01)
    town.custodian.shutdown_all()
    for t in (*threads, *town.killed):  # one that seems to sit in a call into C is not waited for
        assert await rt.sync(t, timeout=60) is t
    town.check()
    return town
