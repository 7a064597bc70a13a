"""No half-done operation (SPEC §3): whatever is done to a thread at whatever moment, its operation is done or
was never begun, and nobody else is disturbed.

Each test runs one small program in *every* order of its steps (`rtsync.testing.explore_all`). A *victim*
makes one operation; a *bystander* makes a plain one on the same object; a *partner* does what makes each
possible; and an *interrupter* makes requests of the victim. When all have come to rest:

* the bystander's operation is done, always: it was not disturbed;
* the victim's is done, and has used up one unit of what the partner gives (or takes); or it is not, and that
  unit is where it was;
* a break that was registered with a living victim came out exactly once, and not in place of a result;
* the nacks of the victim's event have happened exactly if it was not chosen;
* nobody is left in any queue.

A thread that is killed after a partner has chosen it never sees its result. That operation counts as done
(the partner went on), except for semaphores, which pass the unit on.

The combinators run without a bystander here, and with one under `make stress`, which takes minutes.
"""

from collections.abc import Callable
from typing import Any

import pytest

import rtsync as rt
from rtsync.alarm import monotonic
from rtsync.evt import Latch
from rtsync.testing import explore_all
from rtsync.waiter import RETRY, living

REST = 100.0  # seconds of virtual time after which every sleeper has woken


class World:
    """What the threads of one run share. Subclasses say what the operation is."""

    passes_on = False  # whether the unit of a killed thread goes to the next
    puts = False  # the operation gives, and the partner takes
    comes_back = False  # the operation gives back what it took
    timed = False  # the operation ends by itself after a second
    enables = False  # the operation enables breaks

    victim: rt.Thread

    def __init__(self) -> None:
        self.nacks: list[rt.Evt] = []
        self.chosen = False  # a wrap of the victim's event has begun

    def op(self) -> Any:
        """The operation of the victim."""
        raise NotImplementedError

    def plain(self) -> Any:
        """The operation of the bystander."""
        return self.op()

    async def give(self, unit: int) -> Any:
        """What the partner does for one operation (1) and then for another (2); its result, if that tells
        anything."""
        raise NotImplementedError

    def left(self) -> int | None:
        """How many units are left, taking them; ``None`` if there are no units."""
        return None

    def queues(self) -> list[Any]:
        """All queues in which waiters may stand."""
        return []


# -- operations that take -----------------------------------------------------------------------------


class ChannelGet(World):
    def __init__(self) -> None:
        super().__init__()
        self.channel = rt.Channel()

    def op(self):
        return self.channel.get()

    def plain(self):
        return self.channel.get()

    async def give(self, unit):
        await self.channel.put(unit)

    def left(self):
        return sum(self.channel.try_get() is not None for _ in range(3))

    def queues(self):
        return [self.channel._getters, self.channel._putters]


class SyncOne(ChannelGet):
    def op(self):
        return rt.sync(self.channel)


class SyncTwo(ChannelGet):
    def op(self):
        return rt.sync(self.channel, rt.Semaphore())


class SyncTimeout(ChannelGet):
    def op(self):
        return rt.sync(self.channel, timeout=2 * REST)


class SyncWrap(ChannelGet):
    def op(self):
        return rt.sync(self.channel.wrap(lambda value: value), rt.never)


class SyncAsyncWrap(ChannelGet):
    """A kill within the wrap comes after the choice."""

    def op(self):
        async def wait_a_moment(value):
            self.chosen = True
            await rt.sleep(0)
            return value

        return rt.sync(self.channel.wrap(wait_a_moment))


class SyncHandle(ChannelGet):
    """A break may come where the handler begins, after the choice."""

    def op(self):
        def choose(value):
            self.chosen = True
            return value

        return rt.sync(self.channel.wrap(choose).handle(lambda value: value), rt.Channel())


class SyncChoice(ChannelGet):
    def op(self):
        return rt.sync(rt.choice(rt.choice(self.channel, rt.never), rt.Channel()))


class SyncGuard(ChannelGet):
    def op(self):
        return rt.sync(rt.guard(lambda: self.channel), rt.never)


class SyncPollGuard(ChannelGet):
    def op(self):
        return rt.sync(rt.poll_guard(lambda polling: rt.never if polling else self.channel))


class SyncNackGuard(ChannelGet):
    """Its nack must happen exactly if it was not chosen."""

    def op(self):
        def maker(nack):
            self.nacks.append(nack)
            return self.channel

        return rt.sync(rt.nack_guard(maker), rt.Channel())


class SyncReplace(ChannelGet):
    """The first event is consumed, and stays so, when the second is still to come."""

    def __init__(self) -> None:
        super().__init__()
        self.first = rt.Semaphore(2)

    def op(self):
        return rt.sync(self.first.replace(lambda _: self.channel), rt.Channel())


class SemaphoreWait(World):
    passes_on = True

    def __init__(self) -> None:
        super().__init__()
        self.semaphore = rt.Semaphore()

    def op(self):
        return self.semaphore.wait()

    def plain(self):
        return self.semaphore.wait()

    async def give(self, unit):
        self.semaphore.post()
        if unit == 1:
            await rt.sleep(0)

    def left(self):
        return sum(self.semaphore.try_wait() for _ in range(3))

    def queues(self):
        return [self.semaphore._queue]


class SyncSemaphore(SemaphoreWait):
    def op(self):
        return rt.sync(self.semaphore)


class WaitEnableBreak(SemaphoreWait):
    enables = True

    def op(self):
        return self.semaphore.wait_enable_break()


class SyncEnableBreak(ChannelGet):
    enables = True

    def op(self):
        return rt.sync(self.channel, rt.Channel(), enable_break=True)


class SyncSemaphoreAmongOthers(SemaphoreWait):
    def op(self):
        return rt.sync(self.semaphore, rt.Channel(), rt.Channel())


class SyncSemaphoreOrChannel(SemaphoreWait):
    def op(self):
        return rt.sync(self.semaphore, rt.Channel())


class AsyncWithSemaphore(SemaphoreWait):
    """The block is entered or not, and if it is, the unit comes back."""

    comes_back = True

    def op(self):
        async def block():
            async with self.semaphore:
                await rt.sleep(0)

        return block()


class AsyncChannelGet(World):
    def __init__(self) -> None:
        super().__init__()
        self.channel = rt.AsyncChannel(1)

    def op(self):
        return self.channel.get()

    def plain(self):
        return self.channel.get()

    async def give(self, unit):
        await self.channel.put(unit)

    def left(self):
        return sum(self.channel.try_get() is not None for _ in range(3))

    def queues(self):
        return [self.channel._getters, self.channel._putters]


class SyncAsyncChannel(AsyncChannelGet):
    def op(self):
        return rt.sync(self.channel, rt.Semaphore())


# -- operations that put ------------------------------------------------------------------------------


class ChannelPut(World):
    puts = True

    def __init__(self) -> None:
        super().__init__()
        self.channel = rt.Channel()

    def op(self):
        return self.channel.put("victim")

    def plain(self):
        return self.channel.put("bystander")

    async def give(self, unit):
        return await self.channel.get()

    def queues(self):
        return [self.channel._getters, self.channel._putters]


class SyncPut(ChannelPut):
    def op(self):
        return rt.sync(self.channel.put_evt("victim"))


class SyncPutAmongOthers(ChannelPut):
    def op(self):
        return rt.sync(self.channel.put_evt("victim"), rt.Channel(), rt.Semaphore())


class SyncPutNackGuard(ChannelPut):
    def op(self):
        def maker(nack):
            self.nacks.append(nack)
            return self.channel.put_evt("victim")

        return rt.sync(rt.nack_guard(maker))


class AsyncChannelPut(World):
    """To a channel that is full at first; the partner's takes give room."""

    puts = True

    def __init__(self) -> None:
        super().__init__()
        self.channel = rt.AsyncChannel(1)
        assert self.channel._offer("first")

    def op(self):
        return self.channel.put("victim")

    def plain(self):
        return self.channel.put("bystander")

    async def give(self, unit):
        if unit == 1:
            assert await self.channel.get() == "first"
        return await self.channel.get()

    def queues(self):
        return [self.channel._getters, self.channel._putters]


class SyncAsyncPut(AsyncChannelPut):
    def op(self):
        return rt.sync(self.channel.put_evt("victim"), rt.Channel())


# -- operations that wait for something that stays -----------------------------------------------------


class Sleep(World):
    timed = True

    def op(self):
        return rt.sleep(1)

    async def give(self, unit):
        await rt.sleep(0)


class SyncAfter(Sleep):
    def op(self):
        return rt.sync(rt.after(1))


class SyncAt(Sleep):
    def op(self):
        return rt.sync(rt.at(monotonic() + 1, monotonic=True), rt.Channel())


class SyncTimesOut(Sleep):
    def op(self):
        return rt.sync(rt.Channel(), rt.Semaphore(), timeout=1)


class SyncIdle(Sleep):
    timed = False

    def op(self):
        return rt.sync(rt.idle())


class SemaphorePeek(World):
    def __init__(self) -> None:
        super().__init__()
        self.semaphore = rt.Semaphore()

    def op(self):
        return rt.sync(self.semaphore.peek_evt(), rt.Channel())

    async def give(self, unit):
        if unit == 1:
            self.semaphore.post()
        await rt.sleep(0)

    def left(self):
        assert self.semaphore.count == 1

    def queues(self):
        return [self.semaphore._queue]


class SyncLatch(World):
    def __init__(self) -> None:
        super().__init__()
        self.latch = Latch()

    def op(self):
        return rt.sync(self.latch, rt.Channel())

    async def give(self, unit):
        self.latch.set()

    def queues(self):
        return [self.latch._waiters or ()]


class WaitForThread(World):
    def __init__(self) -> None:
        super().__init__()
        self.gate = rt.Semaphore()
        self.target = rt.thread(self.gate.wait)

    def op(self):
        return self.target.wait()

    async def give(self, unit):
        if unit == 1:
            self.gate.post()

    def queues(self):
        return [self.target._waiters or ()]


class JoinThread(WaitForThread):
    def op(self):
        return self.target.join()


class SyncThread(WaitForThread):
    def op(self):
        return rt.sync(self.target, rt.Channel())


class Receive(World):
    def op(self):
        return rt.receive()

    async def give(self, unit):
        self.victim.send(unit, None)


class SyncReceive(Receive):
    def op(self):
        return rt.sync(rt.receive_evt(), rt.Channel())


class SyncDeadEvt(WaitForThread):
    def op(self):
        return rt.sync(self.target.dead_evt())


class SyncSuspendEvt(WaitForThread):
    def __init__(self) -> None:
        super().__init__()
        self.evt = self.target.suspend_evt()

    def op(self):
        return rt.sync(self.evt)

    async def give(self, unit):
        if unit == 1:
            self.target.suspend()


class SyncResumeEvt(WaitForThread):
    def __init__(self) -> None:
        super().__init__()
        self.target.suspend()
        self.evt = self.target.resume_evt()

    def op(self):
        return rt.sync(self.evt, rt.Channel())

    async def give(self, unit):
        if unit == 1:
            self.target.resume()


BASIC = [
    *(ChannelGet, SyncOne, SyncTwo, SemaphoreWait, AsyncWithSemaphore, AsyncChannelGet),
    *(ChannelPut, AsyncChannelPut, Sleep, WaitForThread),
]
COMBINED = [
    *(SyncTimeout, SyncWrap, SyncAsyncWrap, SyncHandle, SyncChoice, SyncGuard, SyncPollGuard, SyncPut),
    *(SyncNackGuard, SyncReplace, SyncSemaphore, SyncSemaphoreAmongOthers, SyncSemaphoreOrChannel),
    *(SyncAsyncChannel, SyncPutAmongOthers, SyncPutNackGuard, SyncAsyncPut, SyncAfter, SyncAt, SyncTimesOut),
    *(SyncIdle, SemaphorePeek, SyncLatch, JoinThread, SyncThread, SyncDeadEvt, SyncSuspendEvt),
    *(SyncResumeEvt, WaitEnableBreak, SyncEnableBreak),
]
ALONE = [Receive, SyncReceive]  # nobody else can do this with the victim's mailbox


# -- requests -----------------------------------------------------------------------------------------


async def kill(victim, custodian):
    victim.kill()


async def shut_down(victim, custodian):
    custodian.shutdown_all()


async def suspend(victim, custodian):
    """The main thread resumes it when all others have come to rest."""
    victim.suspend()


async def suspend_and_resume(victim, custodian):
    victim.suspend()
    await rt.sleep(0)
    victim.resume()


async def suspend_and_kill(victim, custodian):
    victim.suspend()
    await rt.sleep(0)
    victim.kill()


async def break_(victim, custodian):
    victim.break_()


async def break_while_disabled(victim, custodian):
    """The victim has disabled breaks."""
    victim.break_()


async def suspend_break_and_resume(victim, custodian):
    victim.suspend()
    victim.break_()
    victim.resume()


async def break_and_kill(victim, custodian):
    victim.break_()
    victim.kill()


REQUESTS = [
    *(kill, shut_down, suspend, suspend_and_resume, suspend_and_kill),
    *(break_, break_while_disabled, suspend_break_and_resume, break_and_kill),
]


# -- the program --------------------------------------------------------------------------------------


class Outcome:
    """What became of one thread's operation."""

    def __init__(self) -> None:
        self.begun = self.done = False
        self.given = False  # killed after a partner had chosen it
        self.breaks = 0


class Run:
    """One run of the program, and what is to be seen at its end."""

    def __init__(self, make: Callable[[], World], request: Any, backed: bool, beside: bool) -> None:
        self.make = make
        self.request = request
        self.backed = backed
        self.beside = beside
        self.mine, self.others = Outcome(), Outcome()
        self.taken: list[Any] = []
        self.asked = False  # the victim was there for the request

    async def operate(self, outcome: Outcome, op: Callable[[], Any]) -> None:
        """The body of the victim and of the bystander."""
        try:
            outcome.begun = True
            await op()
            outcome.done = True
            if outcome is self.mine:
                await rt.sleep(1)  # where a break comes out that came too late for the operation
        except rt.Break:
            outcome.breaks += 1
        except rt.ThreadKilled:
            rare = rt.current_thread()._rare
            outcome.given = not outcome.done and rare is not None and rare.given is not RETRY
            raise

    async def partner(self) -> None:
        for unit in range(1, 2 + self.beside):
            self.taken.append(await self.world.give(unit))

    async def interrupter(self, custodian: rt.Custodian) -> None:
        if self.world.timed:
            await rt.sleep(1)
        self.asked = not self.world.victim.dead
        await self.request(self.world.victim, custodian)

    async def main(self) -> None:
        rt.uncaught_exception_handler(lambda thread, error: None)
        world = self.world = self.make()
        custodian = rt.Custodian()

        def backed() -> None:
            rt.block_on(self.operate(self.mine, world.op))

        with custodian, rt.breaks(self.request is not break_while_disabled):
            if self.backed:
                world.victim = rt.thread(backed)
            else:
                world.victim = rt.thread(self.operate, self.mine, world.op)
        if self.beside:
            bystander = rt.thread(self.operate, self.others, world.plain)
        helper = rt.thread(self.partner)
        rt.thread(self.interrupter, custodian)
        await rt.sync(rt.idle())
        if self.request is suspend:
            await rt.sleep(REST)
            await rt.sync(rt.idle())
            world.victim.resume()
        await rt.sleep(REST)
        await rt.sync(rt.idle())
        if self.beside:
            assert self.others.done, "the bystander was disturbed"
            assert bystander.dead
        self.check_victim()
        self.check_units(helper)
        helper.kill()
        for queue in world.queues():
            assert living(queue) == 0, "somebody is left in a queue"

    def used(self) -> bool:
        """Whether the victim's operation has happened, for others."""
        return self.mine.done or self.world.chosen or (self.mine.given and not self.world.passes_on)

    def check_victim(self) -> None:
        mine, request = self.mine, self.request
        assert self.world.victim.dead
        if request in (suspend, suspend_and_resume) or (
            request is break_while_disabled and not self.world.enables
        ):
            assert mine.done, "nothing was to stop the victim for ever"
        if request in (break_, suspend_break_and_resume):
            # Before its first step a break ends it, and nobody sees that.
            assert mine.breaks == (self.asked and mine.begun)
        else:
            assert mine.breaks <= (self.asked and "break" in request.__name__)
        for nack in self.world.nacks:
            assert (nack._poll() is nack) == (not self.used()), "it must happen exactly if not chosen"

    def check_units(self, helper: rt.Thread) -> None:
        world, used = self.world, self.used()
        if world.puts:
            got = {"victim"} if used else set()
            assert {value for value in self.taken if value} == got | ({"bystander"} if self.beside else set())
            assert helper.dead == used
        elif (left := world.left()) is not None:
            assert left == 1 - (used and not world.comes_back)


async def program(make: Callable[[], World], request: Any, backed: bool, beside: bool) -> None:
    await Run(make, request, backed, beside).main()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("make", BASIC, ids=lambda kind: kind.__name__)
def test_an_interrupted_operation_is_done_or_was_never_begun(make, request_):
    assert explore_all(program, make, request_, False, True) > 20


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("make", [*COMBINED, *ALONE], ids=lambda kind: kind.__name__)
def test_an_interrupted_sync_is_done_or_was_never_begun(make, request_):
    assert explore_all(program, make, request_, False, False) > 4


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("make", [*BASIC, *COMBINED, *ALONE], ids=lambda kind: kind.__name__)
def test_an_interrupted_operation_of_an_os_backed_thread_is_done_or_was_never_begun(make, request_):
    assert explore_all(program, make, request_, True, False) > 4
