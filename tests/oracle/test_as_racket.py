"""Random programs do here what they did in Racket.

The ``.txt`` files hold programs and the answers of Racket CS 8.7 to them, as the ``.rkt`` file of the same
name writes both: ``racket control.rkt <programs >control.txt``, with one list of operations for each
program. They were drawn at random, but for what is left out on purpose: adding a custodian that has been shut
down, which the Reference lets pass and Racket 8.7 refuses; a break that is pending at the end of a
``parameterize-break``, which comes at once here and a little later there; and a break parameterization kept
in one thread and used in another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rtsync as rt
from rtsync import racket

BOTH = [
    pytest.param(marks=pytest.mark.rtsync(seeds=2), id="deterministic"),
    pytest.param(marks=pytest.mark.rtsync(workers=2), id="real"),
]

pytestmark = pytest.mark.parametrize((), BOTH)


def parse(text: str) -> tuple[Any, str]:
    """The list with which ``text`` begins, and what follows it."""
    stack: list[list[Any]] = [[]]
    position = 0
    while True:
        end = position
        while text[end] not in "() ":
            end += 1
        if end > position:
            word = text[position:end]
            stack[-1].append(int(word) if word.isdigit() else word)
        position = end + 1
        if text[end] == "(":
            stack.append([])
        elif text[end] == ")":
            done = tuple(stack.pop())
            if len(stack) == 1:
                return done, text[position:].strip()
            stack[-1].append(done)


def recorded(area: str) -> Iterator[list[str]]:
    """The lines of each program."""
    for program in Path(__file__).with_name(f"{area}.txt").read_text().strip().split("\n\n"):
        yield program.split("\n")


async def settle() -> None:
    """Until nobody can run."""
    for _ in range(2):
        await rt.sync(rt.idle())


async def blocked() -> None:
    await rt.sync(rt.never)


class Control:
    """Threads, custodians and boxes, and the operations on them."""

    def __init__(self) -> None:
        self.custodians: list[Any] = [racket.make_custodian()]
        self.threads: list[Any] = []
        self.boxes: list[Any] = []

    def made(self, what: str) -> list[Any] | None:
        """Where it belongs what the operation makes."""
        return {
            "custodian": self.custodians,
            "thread": self.threads,
            "suspend-to-kill": self.threads,
            "box": self.boxes,
        }.get(what)

    def perform(self, op: tuple[Any, ...]) -> Any:
        threads, custodians = self.threads, self.custodians
        with racket.parameterize(racket.current_custodian, custodians[op[1]]):
            match op:
                case "custodian", _, i:
                    if custodians[i] is None:  # there it is #f, which is none
                        raise TypeError
                    return racket.make_custodian(custodians[i])
                case "thread", _:
                    return racket.thread(blocked)
                case "suspend-to-kill", _:
                    return racket.thread_suspend_to_kill(blocked)
                case "box", _, i:
                    return racket.make_custodian_box(custodians[i], 5)
                case "suspend", _, i:
                    racket.thread_suspend(threads[i])
                case "resume", _, i:
                    racket.thread_resume(threads[i])
                case "resume-with-thread", _, i, j:
                    racket.thread_resume(threads[i], threads[j])
                case "resume-with-custodian", _, i, j:
                    racket.thread_resume(threads[i], custodians[j])
                case "kill", _, i:
                    racket.kill_thread(threads[i])
                case "break", _, i:
                    racket.break_thread(threads[i])
                case "shutdown", _, i:
                    racket.custodian_shutdown_all(custodians[i])
                case _:
                    raise NotImplementedError(op)
        return None

    async def state(self) -> str:
        threads = "".join(
            "x"
            if t is None
            else "D"
            if racket.is_thread_dead(t)
            else "R"
            if racket.is_thread_running(t)
            else "S"
            for t in self.threads
        )
        custodians = "".join(
            "x" if c is None else "d" if racket.is_custodian_shut_down(c) else "a" for c in self.custodians
        )
        boxes = "".join(
            [
                "x" if b is None else "v" if await racket.sync_timeout(0, b) is None else "e"
                for b in self.boxes
            ]
        )
        return f"{threads} {custodians} {boxes}"


async def test_control_of_threads_custodians_and_boxes():
    rt.uncaught_exception_handler(lambda thread, error: None)
    for lines in recorded("control"):
        world = Control()
        for number, line in enumerate(lines):
            op, expected = parse(line)
            made = world.made(op[0])
            outcome = "."
            try:
                result = world.perform(op)
            except (rt.ContractError, TypeError):
                outcome, result = "!", None
            if made is not None:
                made.append(result)
            await settle()
            assert f"{outcome} {await world.state()}".strip() == expected, lines[: number + 1]
        racket.custodian_shutdown_all(world.custodians[0])
        for t in world.threads:
            if t is not None:
                t.resume(rt.current_custodian())
                t.break_()
        await settle()


class Queues:
    """A semaphore, a channel, an async channel, and threads that wait at them."""

    def __init__(self) -> None:
        self.semaphore = racket.make_semaphore()
        self.channel = racket.make_channel()
        self.buffer = racket.make_async_channel()
        self.threads: list[Any] = []
        self.log: list[str] = []

    def start(self, operation: Any) -> None:
        name = str(len(self.threads))

        async def body() -> None:
            try:
                self.log.append(f"{name} {await operation(name)}")
            except rt.Break:
                self.log.append(f"{name} broken")

        self.threads.append(racket.thread(body))

    async def wait(self, name: str) -> str:
        await racket.semaphore_wait(self.semaphore)
        return "waited"

    async def put(self, name: str) -> str:
        await racket.channel_put(self.channel, f"of {name}")
        return "put"

    async def perform(self, op: tuple[Any, ...], value: str) -> None:
        say = self.log.append
        match op:
            case ("wait",):
                self.start(self.wait)
            case ("get",):
                self.start(lambda _: racket.channel_get(self.channel))
            case ("put",):
                self.start(self.put)
            case ("async-get",):
                self.start(lambda _: racket.async_channel_get(self.buffer))
            case ("receive",):
                self.start(lambda _: racket.thread_receive())
            case "suspend", i:
                racket.thread_suspend(self.threads[i])
            case "resume", i:
                racket.thread_resume(self.threads[i])
            case "kill", i:
                racket.kill_thread(self.threads[i])
            case "break", i:
                racket.break_thread(self.threads[i])
            case ("post",):
                racket.semaphore_post(self.semaphore)
            case ("try-wait",):
                say("taken" if racket.semaphore_try_wait(self.semaphore) else "none")
            case ("try-get",):
                say(racket.channel_try_get(self.channel) or "nothing")
            case ("try-put",):
                put = racket.channel_put_evt(self.channel, value)
                say("kept" if await racket.sync_timeout(0, put) is None else "given")
            case ("async-put",):
                await racket.async_channel_put(self.buffer, value)
            case "send", i:
                say(racket.thread_send(self.threads[i], value, lambda: "dead") or "sent")
            case _:
                raise NotImplementedError(op)


async def test_who_gets_what_while_others_suspend_resume_kill_and_break():
    for lines in recorded("queues"):
        world = Queues()
        for number, line in enumerate(lines):
            op, expected = parse(line)
            world.log.clear()
            await world.perform(op, f"value {number}")
            await settle()
            # Who of two partners goes on first is not said.
            assert sorted(world.log) == sorted(expected.split(", ") if expected else []), lines[: number + 1]
        for t in world.threads:
            t.kill()


class Breaks:
    """What a program notes on its way."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}
        self.log: list[str] = []

    async def all(self, ops: tuple[Any, ...]) -> None:
        for op in ops:
            await self.perform(op)

    async def all_nested(self, ops: tuple[Any, ...]) -> None:
        await self.all(ops)
        self.log.append("nested")

    async def catch(self, ops: tuple[Any, ...]) -> None:
        note = "not-caught"
        try:
            await self.all(ops)
        except rt.Break:
            note = "caught"
        self.log.append(note)

    async def perform(self, op: tuple[Any, ...]) -> None:
        note = self.log.append
        match op:
            case ("read",):
                note("+" if racket.break_enabled() else "-")
            case ("read-in-thread",):
                t = rt.thread(lambda: racket.break_enabled())
                note("thread+" if await t.join() else "thread-")
            case "set", on:
                racket.break_enabled(on == "on")
                note("set")
            case "keep", i:
                self.kept[i] = racket.current_break_parameterization()
            case "parameterize", on, *ops:
                with racket.parameterize_break(on == "on"):
                    await self.all(tuple(ops))
                note("left")
            case "call-with", i, *ops:
                if i in self.kept:
                    await racket.call_with_break_parameterization(self.kept[i], lambda: self.all(tuple(ops)))
                    note("called")
            case "catch", *ops:
                await self.catch(tuple(ops))
            case "finally", *ops:
                try:
                    await self.all(tuple(ops))
                finally:
                    note("finally")
            case ("break",):
                note("break")
                racket.break_thread(racket.current_thread())
                note("broken")
            case ("wait",):
                await racket.sync_timeout(0.0001, rt.never)
                note("waited")
            case ("wait-enable-break",):
                await racket.sync_timeout_enable_break(0.0001, rt.never)
                note("waited-open")
            case ("wrap",):
                note(await racket.sync(racket.wrap_evt(rt.always, lambda _: "wrapped")))
            case "thread", *ops:
                await rt.thread(self.catch, tuple(ops)).wait()
            case "nested", *ops:
                await rt.call_in_nested_thread(self.all_nested, tuple(ops))
            case _:
                raise NotImplementedError(op)


async def test_where_breaks_are_enabled_and_where_they_come():
    for line, expected in recorded("breaks"):
        program, _ = parse(line)
        world = Breaks()
        await rt.thread(world.catch, program).wait()
        assert " ".join(world.log) == expected, line
