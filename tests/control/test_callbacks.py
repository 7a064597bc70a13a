"""A computation in a function that the library calls can be stopped like any other. (Not in the ``fail`` of
`Thread.send`, which is called from within an operation.)"""

import pytest

import rtsync as rt
from rtsync import racket

STARTED: list[int] = []


def compute(*args):
    STARTED.append(1)
    while True:
        pass


async def compute_async(*args):
    compute()


async def fails():
    rt.uncaught_exception_handler(compute)
    raise ValueError


async def waits_for_a_killed_thread():
    t = rt.thread(rt.Channel().get)
    t.kill()
    return await t.wait(compute)


async def in_blocks():
    with rt.Custodian(), rt.breaks(True):
        async with rt.Semaphore(1):
            compute()


async def iterates():
    ch = rt.AsyncChannel()
    await ch.put(1)
    async for _ in ch:
        compute()


CALLBACKS = {
    "the thread's function": compute_async,
    "a wrap": lambda: rt.sync(rt.always.wrap(compute)),
    "an async wrap": lambda: rt.sync(rt.always.wrap(compute_async)),
    "a handle": lambda: rt.sync(rt.always.handle(compute)),
    "an async handle": lambda: rt.sync(rt.always.handle(compute_async)),
    "a wrapped handle": lambda: rt.sync(rt.always.handle(compute).wrap(id)),
    "a guard": lambda: rt.sync(rt.guard(compute)),
    "an async guard": lambda: rt.sync(rt.guard(compute_async)),
    "a nack guard": lambda: rt.sync(rt.nack_guard(compute)),
    "a poll guard": lambda: rt.sync(rt.poll_guard(compute)),
    "a guard in a choice": lambda: rt.sync(rt.choice(rt.never, rt.guard(compute))),
    "a replace": lambda: rt.sync(rt.always.replace(compute)),
    "a timeout": lambda: rt.sync(rt.never, timeout=compute),
    "call": lambda: rt.call(compute),
    "call of an async function": lambda: rt.call(compute_async),
    "a tail call": lambda: rt.call(lambda: rt.tail(compute)),
    "the fail of wait": waits_for_a_killed_thread,
    "blocks": in_blocks,
    "an async for": iterates,
    "call_with_semaphore": lambda: racket.call_with_semaphore(rt.Semaphore(1), compute),
    "call_with_semaphore, async": lambda: racket.call_with_semaphore(rt.Semaphore(1), compute_async),
    "call_in_nested_thread": lambda: rt.call_in_nested_thread(compute_async),
    "parameterize": lambda: racket_parameterized(),
    "the handler of uncaught exceptions": fails,
}


async def racket_parameterized():
    with rt.parameterize(rt.current_custodian, rt.Custodian()):
        compute()


async def run_callback(name):
    return await CALLBACKS[name]()


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.rtsync(workers=2)
async def test_it_is_killed(name):
    STARTED.clear()
    t = rt.thread(run_callback, name)
    while not STARTED:
        await rt.sleep(0)
    t.kill()
    assert await rt.sync(t, timeout=30) is t


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.rtsync(workers=2)
async def test_it_is_suspended(name):
    STARTED.clear()
    t = rt.thread(run_callback, name)
    while not STARTED:
        await rt.sleep(0)
    t.suspend()
    while t._state == 0 and name != "call_in_nested_thread":  # it stands at its next safepoint
        await rt.sleep(0.001)
    t.resume()
    assert t.running
    t.kill()


@pytest.mark.parametrize("name", [name for name in CALLBACKS if "wrap" not in name and "handler" not in name])
@pytest.mark.rtsync(workers=2)
async def test_it_is_broken(name):
    rt.uncaught_exception_handler(lambda thread, error: None)
    STARTED.clear()
    t = rt.thread(run_callback, name)
    while not STARTED:
        await rt.sleep(0)
    t.break_()
    assert await rt.sync(t, timeout=30) is t
    with pytest.raises(rt.Break):
        await t.join()


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.rtsync(workers=2)
async def test_a_thread_that_is_killed_in_its_handler_of_uncaught_exceptions_counts_as_killed(backed):
    STARTED.clear()
    t = rt.thread((lambda: rt.block_on(fails())) if backed else fails)
    while not STARTED:
        await rt.sleep(0)
    t.kill()
    assert await rt.sync(t, timeout=30) is t
    with pytest.raises(rt.ThreadKilled):
        await t.join()


@pytest.mark.rtsync(workers=2)
async def test_a_break_ends_a_handler_of_uncaught_exceptions_and_is_reported(capsys):
    STARTED.clear()
    t = rt.thread(fails)
    while not STARTED:
        await rt.sleep(0)
    t.break_()
    with pytest.raises(ValueError):
        await t.join()
    assert "rtsync.breaks.Break" in capsys.readouterr().err


def test_no_computation_of_a_handler_is_left_when_the_program_ends():
    async def main():
        rt.thread(fails)
        while not STARTED:
            await rt.sleep(0)

    STARTED.clear()
    runtime = rt.Runtime(2)
    runtime.start()
    runtime.run(main)
    assert runtime.close() == []
