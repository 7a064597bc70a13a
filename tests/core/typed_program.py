"""What a user's type checker makes of our interface. Read by mypy for test_types.py, and never run:
an ``assert_type`` says what a thing is, and an ``ignore`` that a mistake is found, for it would be an error
itself if there were nothing to ignore."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from random import Random
from typing import Any, assert_type

import rtsync as rt
from rtsync import aio, ports
from rtsync.testing import explore, explore_all, run_deterministic


class Account:
    def __init__(self, balance: int = 0) -> None:
        self.balance = balance

    async def deposit(self, amount: int) -> str:
        return f"{self.balance + amount}"


class Address:
    def __evt__(self) -> rt.Channel[bytes]:
        return rt.Channel()


async def describe(number: int, unit: str = "s") -> bytes:
    return f"{number} {unit}".encode()


def length(text: str, *, most: int = 80) -> int:
    return min(len(text), most)


def total(*numbers: int) -> int:
    return sum(numbers)


async def same[X](value: X) -> X:
    return value


async def channels() -> None:
    numbers = rt.Channel[int]()
    assert_type(await numbers.get(), int)
    await numbers.put(3)
    await numbers.put("three")  # type: ignore[arg-type]
    assert_type(numbers.try_get(), int | None)
    assert_type(numbers.try_get("nothing"), int | str)
    numbers.put_evt("three")  # type: ignore[arg-type]
    async for number in numbers:
        assert_type(number, int)

    words: rt.AsyncChannel[str] = rt.AsyncChannel(limit=5)
    assert_type(await words.get(), str)
    await words.put(b"word")  # type: ignore[arg-type]
    assert_type(words.try_get(None), str | None)
    async for word in words:
        assert_type(word, str)


async def channels_of_anything(given: rt.Channel) -> rt.AsyncChannel:
    made = rt.Channel()
    assert_type(made, rt.Channel[Any])
    await made.put(await given.get())
    return rt.AsyncChannel()


async def threads() -> None:
    described = rt.thread(describe, 3, "m")
    assert_type(described, rt.Thread[bytes])
    assert_type(await described.join(), bytes)
    assert_type(await described.wait(), bytes | None)
    assert_type(await described.wait(lambda: 3), bytes | int)
    assert_type(await described.wait(lambda: same("")), bytes | str)
    described.send(3)
    assert_type(described.send(3, fail=lambda: False), bool | None)
    assert_type(rt.thread(describe, 3, name="d", suspend_to_kill=True), rt.Thread[bytes])
    assert_type(rt.thread(describe, 3, pool="own"), rt.Thread[bytes])
    assert_type(rt.thread(describe, 3, pool=rt.ParallelThreadPool(2)), rt.Thread[bytes])
    assert_type(rt.thread(describe, 3, keep=False), rt.Thread[None])
    assert_type(rt.thread(length, "abc"), rt.Thread[int])
    assert_type(rt.thread(total, 1, 2, 3), rt.Thread[int])
    assert_type(rt.thread(same, "x"), rt.Thread[str])
    assert_type(rt.thread(Account().deposit, 3), rt.Thread[str])
    assert_type(rt.thread(Account, 3), rt.Thread[Account])
    assert_type(rt.thread(partial(describe, 3)), rt.Thread[bytes])
    assert_type(rt.thread(lambda: 3), rt.Thread[int])
    assert_type(rt.thread(lambda: describe(3)), rt.Thread[bytes])
    rt.thread(describe)  # type: ignore[call-arg, arg-type]
    rt.thread(describe, "three")  # type: ignore[arg-type]
    rt.thread(describe, 3, "m", None)  # type: ignore[call-arg, arg-type]
    rt.thread(describe(3))  # type: ignore[call-overload]
    rt.thread(length, "abc", most=3)  # type: ignore[call-overload]
    rt.thread(describe, 3, pool="mine")  # type: ignore[call-overload]


async def threads_of_any_kind(thread: rt.Thread, keep: bool) -> list[rt.Thread]:
    assert_type(await thread.join(), Any)
    assert_type(rt.thread(describe, 3, keep=keep), rt.Thread[bytes | None])
    assert_type(rt.thread(length, "abc", keep=keep), rt.Thread[int | None])
    return [thread, rt.thread(describe, 3), rt.thread(length, "abc"), rt.current_thread()]


async def calls() -> None:
    assert_type(await rt.call_in_nested_thread(describe, 3), bytes)
    assert_type(await rt.call_in_nested_thread(length, "abc", custodian=rt.Custodian()), int)
    await rt.call_in_nested_thread(length, 3)  # type: ignore[arg-type]
    assert_type(await rt.to_os_thread(length, "abc"), int)
    assert_type(await rt.to_os_thread(lambda: 3), int)
    await rt.to_os_thread(length, 3)  # type: ignore[arg-type]


def programs() -> None:
    assert_type(rt.run(describe, 3), bytes)
    assert_type(rt.run(length, "abc", workers=2), int)
    assert_type(rt.run(threads), None)
    assert_type(rt.Runtime(2).run(describe, 3, "m"), bytes)
    rt.run(describe, "three")  # type: ignore[arg-type]
    rt.run(describe(3))  # type: ignore[call-overload]


def any_function(fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    assert_type(rt.thread(fn, *args), rt.Thread[Any])
    assert_type(rt.run(fn, *args), Any)


async def events(pending: Future[float], task: asyncio.Task[bool], address: Address) -> None:
    numbers, words, done = rt.Channel[int](), rt.AsyncChannel[str](), rt.Semaphore()
    assert_type(await rt.sync(numbers), int)
    assert_type(await rt.sync(words), str)
    assert_type(await rt.sync(done), rt.Semaphore)
    assert_type(await rt.sync(pending), float)
    assert_type(await rt.sync(task), bool)
    assert_type(await rt.sync(address), bytes)
    assert_type(await rt.sync(rt.CustodianBox(rt.Custodian(), 3)), rt.CustodianBox[int])
    thread = rt.thread(describe, 3)
    assert_type(await rt.sync(thread), rt.Thread[bytes])
    assert_type(await rt.sync(thread.resume_evt()), rt.Thread[bytes])
    assert_type(await rt.sync(thread.dead_evt()), rt.Evt)
    assert_type(await rt.sync(rt.after(3)), rt.Evt)
    await rt.sync(numbers.get())  # type: ignore[call-overload]
    await rt.sync(3)  # type: ignore[call-overload]


async def several_events(some: list[rt.Channel[int]], others: list[rt.Evt]) -> None:
    numbers, words, parts = rt.Channel[int](), rt.Channel[str](), rt.Channel[bytes]()
    assert_type(await rt.sync(numbers, words), int | str)
    assert_type(await rt.sync(numbers, words, parts, rt.Semaphore()), int | str | bytes | rt.Semaphore)
    assert_type(await rt.sync(numbers, numbers, words, numbers, numbers, numbers), int | str)
    assert_type(await rt.sync(numbers, rt.never), int)
    assert_type(await rt.sync(numbers, rt.always), int | rt.Evt)
    assert_type(await rt.sync(*some), int)
    assert_type(await rt.sync(words, *some), int | str)
    assert_type(await rt.sync(*others), Any)


async def time_limits() -> None:
    numbers, words = rt.Channel[int](), rt.Channel[str]()
    assert_type(await rt.sync(numbers, timeout=3), int | None)
    assert_type(await rt.sync(numbers, timeout=0.5, default=b""), int | bytes)
    assert_type(await rt.sync(numbers, words, timeout=0, default=-1), int | str)
    assert_type(await rt.sync(numbers, timeout=lambda: b""), int | bytes)
    assert_type(await rt.sync(numbers, timeout=lambda: describe(3)), int | bytes)
    assert_type(await rt.sync(numbers, timeout=None, enable_break=True), int)
    got = await rt.sync(words, timeout=3, enable_break=True)
    assert_type(got, str | None)
    number: int | None = await rt.sync(numbers, timeout=3)
    either: int | str = await rt.sync(numbers, words)
    assert_type((number, either), tuple[int | None, int | str])
    await rt.sync(numbers, timeout="3")  # type: ignore[call-overload]


async def bigger_events(address: Address) -> None:
    numbers, words = rt.Channel[int](), rt.Channel[str]()
    assert_type(numbers.wrap(str), rt.Evt[str])
    assert_type(numbers.wrap(describe), rt.Evt[bytes])
    assert_type(numbers.wrap(lambda number: number + 0.5), rt.Evt[float])
    assert_type(words.handle(length), rt.Evt[int])
    assert_type(words.handle(same), rt.Evt[str])
    assert_type(rt.after(3).wrap(lambda _: None), rt.Evt[None])
    assert_type(numbers.replace(lambda number: words), rt.Evt[str])
    assert_type(rt.choice(numbers, words), rt.Evt[int | str])
    assert_type(rt.choice(numbers, rt.after(3).wrap(lambda _: None)), rt.Evt[int | None])
    assert_type(rt.choice(*[numbers, numbers]), rt.Evt[int])
    assert_type(rt.choice(numbers, address).wrap(str), rt.Evt[str])
    assert_type(rt.guard(lambda: words), rt.Evt[str])
    assert_type(rt.poll_guard(lambda polling: words), rt.Evt[str])
    assert_type(await rt.sync(numbers.put_evt(3).wrap(lambda _: "put"), words), str)
    numbers.wrap(length)  # type: ignore[arg-type]
    numbers.handle(lambda number: number.upper())  # type: ignore[attr-defined]

    async def ask(nack: rt.Evt) -> rt.Channel[int]:
        return numbers

    async def give(text: str) -> rt.Evt[int]:
        return numbers

    assert_type(rt.nack_guard(ask), rt.Evt[int])
    assert_type(words.replace(give), rt.Evt[int])
    anything: rt.Evt[object] = numbers
    await rt.sync(anything)


async def repeat(sum_so_far: int) -> int:
    numbers = rt.Channel[int]()
    return await rt.sync(numbers.handle(lambda number: rt.tail(repeat, sum_so_far + number)))


async def more_calls() -> None:
    assert_type(await rt.call(describe, 3), bytes)
    assert_type(await rt.call(length, "abc"), int)
    rt.tail(repeat, "0")  # type: ignore[arg-type]


def from_other_os_threads() -> None:
    numbers = rt.Channel[int]()
    assert_type(rt.block_on(numbers), int)
    assert_type(rt.block_on(numbers.get()), int)
    assert_type(rt.block_on(rt.sync(numbers, timeout=3)), int | None)
    assert_type(rt.block_on(rt.thread(describe, 3).join()), bytes)
    rt.block_on(3)  # type: ignore[call-overload]


async def scopes() -> None:
    async with rt.Scope() as scope:
        assert_type(scope.thread(describe, 3), rt.Thread[bytes])
        assert_type(scope.thread(length, "abc", name="l"), rt.Thread[int])
        assert_type(scope.thread(describe, 3, keep=False), rt.Thread[None])
        assert_type(await scope.thread(describe, 3).join(), bytes)
        scope.thread(describe, "three")  # type: ignore[arg-type]


verbosity = rt.Parameter("verbosity", 0)
nickname: rt.Parameter[str | None] = rt.Parameter("nickname", None)


def parameters(group: rt.ThreadGroup, random: Random) -> None:
    assert_type(verbosity(), int)
    assert_type(nickname(), str | None)
    assert_type(verbosity(3), None)
    verbosity("high")  # type: ignore[call-overload]
    with (
        rt.parameterize(verbosity, 3),
        rt.parameterize(nickname, "x"),
        rt.parameterize(rt.break_enabled, False),
    ):
        assert_type(rt.break_enabled(), bool)
    rt.parameterize(verbosity, "high")  # type: ignore[misc]
    assert_type(rt.current_custodian(), rt.Custodian)
    assert_type(rt.current_thread_group(), rt.ThreadGroup)
    rt.current_custodian(group)  # type: ignore[call-overload]
    with rt.parameterize(rt.current_thread_group, group):
        rt.current_evt_pseudo_random_generator(random)
    with rt.parameterize(rt.uncaught_exception_handler, lambda thread, error: print(thread.name, error)):
        pass


async def modes() -> None:
    assert_type(rt.call_as_atomic(lambda: 3), int)
    assert_type(await rt.call_as_atomic(lambda: describe(3)), bytes)
    assert_type(rt.call_as_uninterruptible(lambda: 3), int)
    with rt.atomic():
        assert_type(rt.call_as_nonatomic(lambda: 3), int)


def boxes(custodian: rt.Custodian) -> None:
    box = rt.CustodianBox(custodian, "text")
    assert_type(box, rt.CustodianBox[str])
    assert_type(box.value, str | None)


def tests() -> None:
    assert_type(run_deterministic(describe, 3, seed=7), bytes)
    assert_type(run_deterministic(length, "abc"), int)
    explore(describe, 3, seeds=5)
    assert_type(explore_all(describe, 3), int)
    explore(describe, "three")  # type: ignore[arg-type]


async def beside_asyncio() -> None:
    numbers = rt.Channel[int]()
    assert_type(await aio.run(describe(3)), bytes)
    assert_type(await aio.run(asyncio.sleep(0, "x")), str)
    assert_type(await aio.wait(numbers), int)
    assert_type(await aio.wait(numbers.get()), int)


async def input_and_output(inp: ports.InputPort, out: ports.OutputPort) -> None:
    assert_type(await inp.read_all(), bytes)
    async for line in inp:
        assert_type(line, str)
    while data := await inp.read_bytes_avail():
        assert_type(data, bytes)
    got = await rt.sync(inp.read_line_evt(), timeout=2)
    if got is not None and got is not ports.EOF:
        assert_type(got, str)
    assert_type(await rt.sync(inp), ports.InputPort)
    assert_type(await rt.sync(out.write_evt("x"), out), int | ports.OutputPort)
    listener = ports.tcp_listen(0)
    assert_type(await rt.sync(listener.accept_evt()), tuple[ports.InputPort, ports.OutputPort])
    async for inp, out in listener:
        assert_type(await ports.copy_port(inp, out), None)
    assert_type(ports.current_output_port(), ports.OutputPort)
