"""What each request does to a thread in each state. `TABLE` is the one of ``docs/control.md``; each of its
cells is a test, whose name reads as the cell: ``[computing-suspend]``.

A thread in these tests notes in ``log`` that it has begun, the result of its operation, the break it got, and
that its clean-up has run. What it waits for comes with `State.release`.
"""

import re
import threading
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

import pytest

import rtsync as rt
from rtsync.testing import run_deterministic

DOCS = Path(__file__).parents[2] / "docs" / "control.md"
LONG = 30.0  # seconds that a test waits for what must happen

KINDS = {None: rt.Break, "hang-up": rt.BreakHangUp, "terminate": rt.BreakTerminate}


# -- states ------------------------------------------------------------------------------------------


class State:
    """A thread that is brought into a state by `enter`."""

    real = deterministic = True  # on which schedulers
    begun = True  # whether the thread has begun when it is in the state
    value: Any = "value"  # the result of its operation

    thread: rt.Thread

    def __init__(self, disabled: bool) -> None:
        self.disabled = disabled
        self.log: list[Any] = []
        self.custodian = rt.Custodian()

    async def op(self) -> Any:
        """What the thread does; its result."""
        raise NotImplementedError

    async def release(self) -> None:
        """Let the operation go on, if it still waits. Never blocks."""

    async def body(self) -> None:
        self.log.append("begun")
        try:
            self.log.append(("done", await self.op()))
            with rt.breaks(True):
                await rt.sleep(0.001)
        except rt.Break as error:
            self.log.append(type(error))
        finally:
            self.log.append("clean")

    def start(self) -> None:
        with self.custodian, rt.breaks(not self.disabled):
            self.thread = rt.thread(self.body)

    async def enter(self) -> None:
        self.start()
        while not self.thread.waiter:
            await rt.sleep(0)

    async def ask(self, request: Callable[["State"], None]) -> None:
        """Make the request."""
        request(self)


class NotStarted(State):
    real = False  # another worker might begin it
    begun = False

    def __init__(self, disabled):
        super().__init__(disabled)
        self.gate = rt.Channel()

    async def op(self):
        return await self.gate.get()

    async def release(self):
        rt.thread(self.gate.put, "value")

    async def enter(self):
        self.start()


class Runnable(State):
    real = False  # another worker might be running it

    def __init__(self, disabled):
        super().__init__(disabled)
        self.stop = False

    async def op(self):
        while not self.stop:
            await rt.sleep(0)
        return "value"

    async def release(self):
        self.stop = True

    async def enter(self):
        self.start()
        while not self.log:
            await rt.sleep(0)


class RunningHere(State):
    """It makes the request itself."""

    def __init__(self, disabled):
        super().__init__(disabled)
        self.requests = rt.Channel()
        self.asking = False

    async def op(self):
        request = await self.requests.get()
        self.asking = True
        request(self)
        return "value"

    async def ask(self, request):
        await self.requests.put(request)
        while not self.asking:
            await rt.sleep(0)


class Computing(State):
    deterministic = False  # which has one OS thread

    def __init__(self, disabled):
        super().__init__(disabled)
        self.stop = False
        self.inside = False

    def compute(self):
        self.inside = True
        while not self.stop:
            pass
        return "value"

    async def op(self):
        return self.compute()

    async def release(self):
        self.stop = True

    async def enter(self):
        self.start()
        while not self.inside:
            await rt.sleep(0)


class InC(Computing):
    def __init__(self, disabled):
        super().__init__(disabled)
        self.lock = threading.Lock()
        self.lock.acquire()

    def compute(self):
        self.inside = True
        self.lock.acquire()
        self.log.append("the call has returned")
        return "value"

    async def release(self):
        self.lock.release()


def backed(kind: type[State]) -> type[State]:
    """The same state of an OS-backed thread."""

    class Backed(kind):  # type: ignore[misc, valid-type]
        def start(self):
            def main():
                rt.block_on(self.body())

            with self.custodian, rt.breaks(not self.disabled):
                self.thread = rt.thread(main)

    return Backed


class PlainComputing(Computing):
    """An OS-backed thread that computes, in no operation at all."""

    def start(self):
        def main():
            self.log.append("begun")
            try:
                self.log.append(("done", self.compute()))
                with rt.breaks(True):
                    rt.block_on(rt.sleep(0.001))
            except rt.Break as error:
                self.log.append(type(error))
            finally:
                self.log.append("clean")

        with self.custodian, rt.breaks(not self.disabled):
            self.thread = rt.thread(main)


class PlainInC(InC):
    start = PlainComputing.start


class Blocked(State):
    """Blocked in an operation on the objects that it makes."""

    def __init__(self, disabled):
        super().__init__(disabled)
        self.channel = rt.Channel()
        self.semaphore = rt.Semaphore()
        self.empty = rt.AsyncChannel()
        self.full = rt.AsyncChannel(1)
        assert self.full._offer("first")


class ChannelGet(Blocked):
    async def op(self):
        return await self.channel.get()

    async def release(self):
        rt.thread(self.channel.put, "value")


class ChannelPut(Blocked):
    value = None

    async def op(self):
        return await self.channel.put("value")

    async def release(self):
        rt.thread(self.channel.get)


class SemaphoreWait(Blocked):
    value = None

    async def op(self):
        return await self.semaphore.wait()

    async def release(self):
        self.semaphore.post()


class AsyncGet(Blocked):
    async def op(self):
        return await self.empty.get()

    async def release(self):
        await self.empty.put("value")


class AsyncPut(Blocked):
    value = None

    async def op(self):
        return await self.full.put("value")

    async def release(self):
        self.full.try_get()


class Receive(Blocked):
    async def op(self):
        return await rt.receive()

    async def release(self):
        self.thread.send("value", None)


class ThreadWait(Blocked):
    async def op(self):
        self.other = rt.thread(self.other_body)
        return await self.other.wait()

    async def other_body(self):
        await self.semaphore.wait()
        return "value"

    async def release(self):
        self.semaphore.post()


class ThreadJoin(ThreadWait):
    async def op(self):
        self.other = rt.thread(self.other_body)
        return await self.other.join()


class SyncOne(ChannelGet):
    async def op(self):
        return await rt.sync(self.channel)


class SyncSeveral(ChannelGet):
    async def op(self):
        return await rt.sync(self.channel, self.semaphore, self.empty, rt.after(1000), timeout=2000)


class SyncGuardsAndNacks(ChannelGet):
    """Whatever happens, the nack of what is not chosen happens, and that of the chosen does not."""

    def __init__(self, disabled):
        super().__init__(disabled)
        self.chosen: Any = None
        self.other: Any = None

    async def op(self):
        def good(nack):
            self.chosen = nack
            return self.channel.wrap(lambda value: value)

        def bad(nack):
            self.other = nack
            return rt.choice(rt.never, self.semaphore)

        try:
            return await rt.sync(
                rt.nack_guard(good), rt.choice(rt.guard(lambda: self.empty), rt.nack_guard(bad))
            )
        finally:
            self.log_nacks = (self.chosen.is_set, self.other.is_set)

    async def check_nacks(self):
        done = ("done", "value") in self.log
        assert self.log_nacks == (not done, True)


class Sleeping(Blocked):
    value = None

    async def op(self):
        return await rt.sync(self.semaphore.wrap(lambda _: None), rt.after(10_000).wrap(lambda _: "slept"))

    async def release(self):
        self.semaphore.post()


class Chosen(ChannelGet):
    """Blocked, but a partner has chosen it."""

    real = False  # on another worker it would have gone on

    async def enter(self):
        await super().enter()
        assert await rt.sync(self.channel.put_evt("value"), timeout=0) is not None

    async def release(self):
        pass


def suspended(kind: type[State]) -> type[State]:
    """The same state, but the thread has been suspended in it."""

    class Suspended(kind):  # type: ignore[misc, valid-type]
        async def enter(self):
            await super().enter()
            self.thread.suspend()
            if self.deterministic:
                return
            while self.thread._state == 0:  # it computed: until it stands
                await rt.sleep(0)

    return Suspended


class Dead(State):
    async def op(self):
        return "value"

    async def enter(self):
        self.start()
        await self.thread.wait()


BLOCKED = {
    "blocked in a channel get": ChannelGet,
    "blocked in a channel put": ChannelPut,
    "blocked in a semaphore wait": SemaphoreWait,
    "blocked in an async channel get": AsyncGet,
    "blocked in an async channel put": AsyncPut,
    "blocked in a receive": Receive,
    "blocked in a thread wait": ThreadWait,
    "blocked in a thread join": ThreadJoin,
    "blocked in a sync of one": SyncOne,
    "blocked in a sync of several": SyncSeveral,
    "blocked in a sync with guards and nacks": SyncGuardsAndNacks,
    "blocked until a time": Sleeping,
}
STATES: dict[str, dict[str, type[State]]] = {
    "not started": {"not started": NotStarted, "OS-backed, not started": backed(NotStarted)},
    "runnable": {"runnable": Runnable},
    "the caller itself": {"the caller itself": RunningHere, "OS-backed, the caller": backed(RunningHere)},
    "computing": {"computing": Computing},
    "in a call into C": {"in a call into C": InC, "OS-backed, in a call into C": PlainInC},
    "blocked": BLOCKED,
    "blocked, but chosen by a partner": {"blocked, but chosen by a partner": Chosen},
    "suspended": {
        "suspended before it began": suspended(NotStarted),
        "suspended when runnable": suspended(Runnable),
        **{name.replace("blocked", "suspended"): suspended(kind) for name, kind in BLOCKED.items()},
        "suspended while it computed": suspended(Computing),
        "OS-backed, suspended when blocked": suspended(backed(ChannelGet)),
        "OS-backed, suspended while it computed": suspended(PlainComputing),
    },
    "OS-backed, blocked": {f"OS-backed, {name}": backed(kind) for name, kind in BLOCKED.items()},
    "OS-backed, computing": {"OS-backed, computing": PlainComputing},
    "dead": {"dead": Dead, "OS-backed, dead": backed(Dead)},
}


# -- requests ----------------------------------------------------------------------------------------

REQUESTS: dict[str, dict[str, tuple[Callable[[State], None], bool, Any]]] = {
    "kill": {"kill": (lambda s: s.thread.kill(), False, None)},
    "custodian shutdown": {"custodian shutdown": (lambda s: s.custodian.shutdown_all(), False, None)},
    "suspend": {"suspend": (lambda s: s.thread.suspend(), False, None)},
    "resume": {"resume": (lambda s: s.thread.resume(), False, None)},
    "break": {
        f"break {kind or 'of the first kind'}": (lambda s, k=kind: s.thread.break_(k), False, kind)
        for kind in KINDS
    },
    "break, disabled": {
        f"break {kind or 'of the first kind'}, disabled": (lambda s, k=kind: s.thread.break_(k), True, kind)
        for kind in KINDS
    },
}
"""Column: for each test in it the request, whether the thread has disabled breaks, the kind of break."""


# -- effects -----------------------------------------------------------------------------------------


async def ended(s: State) -> None:
    assert await rt.sync(s.thread, timeout=LONG) is s.thread


async def killed(s: State) -> None:
    await ended(s)
    assert await s.thread.wait(lambda: "killed") == "killed"
    with pytest.raises(rt.ThreadKilled):
        await s.thread.join()


async def dead(s: State, kind: Any) -> None:
    if not isinstance(s, RunningHere):
        assert not s.thread.running
        assert s.thread.dead or not s.deterministic
    await killed(s)
    assert s.log == (["begun", "clean"] if s.begun else [])


async def dead_after_the_call(s: State, kind: Any) -> None:
    assert not s.thread.running
    assert not s.thread.dead
    await s.release()
    await killed(s)
    assert s.log == ["begun", "clean"]


async def stays(s: State) -> None:
    """Nothing happens to a thread that is suspended."""
    log = list(s.log)
    assert not s.thread.running
    assert not s.thread.dead
    await s.release()
    for _ in range(30):
        await rt.sleep(0)
    if s.deterministic:
        await rt.sync(rt.idle())
    assert s.log == log
    assert not s.thread.dead


async def held(s: State, kind: Any) -> None:
    if isinstance(s, RunningHere):
        while s.thread.running:
            await rt.sleep(0)
    await stays(s)
    s.thread.resume()
    await completes(s)


async def held_after_the_call(s: State, kind: Any) -> None:
    await held(s, kind)


async def completes(s: State) -> None:
    await ended(s)
    assert ("done", s.value) in s.log
    assert [what for what in s.log if what != "the call has returned"] == [
        "begun",
        ("done", s.value),
        "clean",
    ]


async def nothing(s: State, kind: Any) -> None:
    await s.release()
    await completes(s)


async def nothing_of_the_suspended(s: State, kind: Any) -> None:
    await held(s, kind)


async def goes_on(s: State, kind: Any) -> None:
    assert s.thread.running
    await s.release()
    await completes(s)


async def raised(s: State, kind: Any) -> None:
    await ended(s)
    if s.begun:
        assert s.log == ["begun", KINDS[kind], "clean"]
        assert await s.thread.join() is None
    else:
        assert s.log == []
        with pytest.raises(KINDS[kind]) as caught:
            await s.thread.join()
        assert type(caught.value) is KINDS[kind]


async def raised_after_the_call(s: State, kind: Any) -> None:
    assert not s.thread.dead
    await s.release()
    await ended(s)
    # A break is raised between two bytecodes, or at the next operation.
    assert s.log[0] == "begun"
    assert s.log[-2:] == [KINDS[kind], "clean"]


async def raised_after_the_result(s: State, kind: Any) -> None:
    await ended(s)
    assert s.log == ["begun", ("done", s.value), KINDS[kind], "clean"]


async def raised_on_resume(s: State, kind: Any) -> None:
    log = list(s.log)
    for _ in range(10):
        await rt.sleep(0)
    assert s.log == log
    assert not s.thread.dead
    s.thread.resume()
    await raised(s, kind)


async def waits(s: State, kind: Any) -> None:
    s.thread.resume()
    await s.release()
    await ended(s)
    log = [what for what in s.log if what != "the call has returned"]
    assert log == ["begun", ("done", s.value), KINDS[kind], "clean"]


async def nothing_to_the_dead(s: State, kind: Any) -> None:
    assert s.thread.dead
    assert s.log == ["begun", ("done", "value"), "clean"]
    assert await s.thread.join() is None


EFFECTS: dict[str, Callable[[State, Any], Any]] = {
    "dead": dead,
    "dead after the call": dead_after_the_call,
    "held": held,
    "held after the call": held_after_the_call,
    "nothing": nothing,
    "goes on": goes_on,
    "raised": raised,
    "raised after the call": raised_after_the_call,
    "raised after the result": raised_after_the_result,
    "raised on resume": raised_on_resume,
    "waits": waits,
}
OTHERWISE = {
    ("suspended", "nothing"): nothing_of_the_suspended,
    ("dead", "nothing"): nothing_to_the_dead,
}
"""How "nothing" shows in a thread that does not run."""


# -- the table ---------------------------------------------------------------------------------------


def read_table() -> dict[str, dict[str, str]]:
    """The table of the documentation: effects by state and request."""
    lines = DOCS.read_text().splitlines()
    (first,) = (n for n, line in enumerate(lines) if "| custodian shutdown |" in line)
    table = takewhile(lambda line: line.startswith("|"), lines[first:])
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in table
        if not re.match(r"\|[-|\s]+$", line)
    ]
    columns = rows[0][1:]
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in rows[1:]}


TABLE = read_table()


def test_the_documented_table_has_every_state_and_request():
    assert list(TABLE) == list(STATES)
    for row in TABLE.values():
        assert list(row) == list(REQUESTS)
        assert set(row.values()) <= set(EFFECTS)


def cells():
    for row, states in STATES.items():
        for column, requests in REQUESTS.items():
            for state in states:
                for request in requests:
                    yield pytest.param(row, column, state, request, id=f"{state}-{request}")


async def cell(row: str, column: str, state: str, request: str) -> None:
    rt.uncaught_exception_handler(lambda thread, error: None)
    ask, disabled, kind = REQUESTS[column][request]
    s = STATES[row][state](disabled)
    await s.enter()
    await s.ask(ask)
    effect = TABLE[row][column]
    await OTHERWISE.get((row, effect), EFFECTS[effect])(s, kind)
    if isinstance(s, SyncGuardsAndNacks):
        await s.check_nacks()


CELLS = list(cells())
ON_REAL = [c for c in CELLS if STATES[c.values[0]][c.values[2]].real]
ON_DETERMINISTIC = [c for c in CELLS if STATES[c.values[0]][c.values[2]].deterministic]


@pytest.mark.parametrize(("row", "column", "state", "request_"), ON_DETERMINISTIC)
def test_on_the_deterministic_scheduler(row, column, state, request_):
    for seed in range(3):
        run_deterministic(cell, row, column, state, request_, seed=seed)


@pytest.mark.parametrize(("row", "column", "state", "request_"), ON_REAL)
def test_on_real_workers(row, column, state, request_):
    rt.run(cell, row, column, state, request_, workers=2)


# -- ending at this very moment ------------------------------------------------------------------------


class Ending(Computing):
    """It has nothing left to do but to end, on another worker, while the request is made."""

    async def body(self):
        try:
            self.compute()
        finally:
            self.log.append("clean")
        return "ended"


@pytest.mark.parametrize("os_backed", [False, True], ids=["coroutine", "OS-backed"])
@pytest.mark.parametrize(
    ("column", "request_"), [(column, name) for column, names in REQUESTS.items() for name in names]
)
def test_a_thread_that_ends_at_this_very_moment_ends_once(column, request_, os_backed):
    ask, disabled, kind = REQUESTS[column][request_]
    make: ClassVar = backed(Ending) if os_backed else Ending

    async def main():
        rt.uncaught_exception_handler(lambda thread, error: None)
        for _ in range(10):
            s = make(disabled)
            await s.enter()
            s.stop = True
            ask(s)
            s.thread.resume()
            await ended(s)
            assert s.log == ["clean"]
            assert s.thread.dead
            assert not s.thread.running
            try:
                outcome = await s.thread.join()
            except BaseException as error:
                outcome = type(error)
            if column in ("kill", "custodian shutdown"):
                assert outcome in ("ended", None, rt.ThreadKilled)
            elif column == "break":
                assert outcome in ("ended", None, KINDS[kind])
            else:
                assert outcome in ("ended", None)

    rt.run(main, workers=2)
