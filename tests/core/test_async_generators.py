"""Asynchronous generators that are dropped before their end: their clean-up runs, also where it waits."""

import sys

import pytest

from rtsync import (
    Break,
    Channel,
    ParallelThreadPool,
    Semaphore,
    block_on,
    current_thread,
    run,
    sleep,
    thread,
)
from rtsync.testing import run_deterministic


class Generators:
    """Makes generators that say when they have cleaned up."""

    def __init__(self):
        self.cleaned = Semaphore()

    async def numbers(self):
        try:
            for number in range(10):
                yield number
        finally:
            await sleep(0.001)
            self.cleaned.post()

    async def one(self):
        async for number in self.numbers():
            return number
        return None

    async def all_but(self, blocks):
        async for _ in self.numbers():
            await blocks.get()


@pytest.fixture(autouse=True)
def nothing_is_reported(capsys):
    yield
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["coroutine", "OS-backed", "pool"])
async def test_one_that_is_left_early_is_cleaned_up(kind):
    made = Generators()
    if kind == "coroutine":
        t = thread(made.one)
    elif kind == "OS-backed":
        t = thread(lambda: block_on(made.one()))
    else:
        t = thread(made.one, pool=ParallelThreadPool(1))
    assert await t.join() == 0
    await made.cleaned.wait()


@pytest.mark.parametrize("how", ["kill", "break_"])
async def test_that_of_a_thread_that_is_stopped_is_cleaned_up(how):
    made, blocks = Generators(), Channel()

    async def body():
        try:
            await made.all_but(blocks)
        except Break:
            pass

    t = thread(body)
    await blocks.put(0)
    getattr(t, how)()
    await t.wait()
    await made.cleaned.wait()


async def test_the_clean_up_has_a_thread_of_its_own():
    seen = []

    async def numbers():
        try:
            yield 1
        finally:
            await sleep(0)
            seen.append(current_thread())
            over.post()

    over = Semaphore()
    async for _ in numbers():
        break
    await over.wait()
    assert seen[0] is not current_thread()
    assert "numbers" in seen[0].name


@pytest.mark.parametrize("start", [run, run_deterministic])
def test_at_the_end_of_run_what_need_not_wait_is_cleaned_up(start):
    log = []

    async def numbers(waits):
        try:
            yield 1
        finally:
            log.append("begun")
            if waits:
                await Channel().get()
            log.append("done")

    async def stays(waits):
        async for _ in numbers(waits):
            begun.post()
            await Channel().get()

    async def main(waits):
        thread(stays, waits)
        await begun.wait()

    begun = Semaphore()
    start(main, False)
    assert log == ["begun", "done"]
    log.clear()
    start(main, True)
    assert log == ["begun"]


def test_the_hooks_of_the_os_thread_are_put_back_after_a_deterministic_run():
    before = sys.get_asyncgen_hooks()
    run_deterministic(sleep)
    assert sys.get_asyncgen_hooks() == before
