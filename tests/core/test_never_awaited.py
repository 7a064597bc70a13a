"""SPEC §2: an awaitable that is created and never awaited warns, as Python's own do."""

import gc

import pytest

import rtsync
from rtsync import (
    AsyncChannel,
    Channel,
    Semaphore,
    always,
    call,
    call_in_nested_thread,
    current_break_parameterization,
    current_thread,
    racket,
    receive,
    sleep,
    sync,
    thread,
    to_os_thread,
)
from rtsync.ports import copy_port, pipe

OPERATIONS = {
    "Channel.get": lambda: Channel().get(),
    "Channel.put": lambda: Channel().put(1),
    "AsyncChannel.get": lambda: AsyncChannel().get(),
    "AsyncChannel.put": lambda: AsyncChannel().put(1),
    "Semaphore.wait": lambda: Semaphore().wait(),
    "receive": lambda: receive(),
    "sleep": lambda: sleep(1),
    "sleep(0)": lambda: sleep(0),
    "sync": lambda: sync(always),
    "sync(wrap)": lambda: sync(always.wrap(id)),
    "sync(timeout)": lambda: sync(always, timeout=1),
    "wait": lambda: current_thread().wait(),
    "join": lambda: current_thread().join(),
    "call": lambda: call(id, 1),
    "to_os_thread": lambda: to_os_thread(id, 1),
    "call_in_nested_thread": lambda: call_in_nested_thread(id, 1),
    "call_with_semaphore": lambda: racket.call_with_semaphore(Semaphore(), id),
    "call_with_break_parameterization": lambda: racket.call_with_break_parameterization(
        current_break_parameterization(), id
    ),
    "OutputPort.write": lambda: pipe()[1].write("x"),
    "InputPort.read_line": lambda: pipe()[0].read_line(),
    "copy_port": lambda: copy_port(*pipe()),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_it_warns(operation):
    name = operation.split("(")[0].split(".")[-1]
    with pytest.warns(RuntimeWarning, match=rf"coroutine '(\w+\.)?{name}' was never awaited"):
        OPERATIONS[operation]()


async def test_nothing_has_happened_then():
    sem, ch = Semaphore(1), AsyncChannel()
    for forget in (sem.wait, lambda: ch.put(1), lambda: sync(sem)):
        with pytest.warns(RuntimeWarning, match="never awaited"):
            forget()
    assert (sem.count, len(ch)) == (1, 0)


def test_a_thread_that_was_never_begun_does_not_warn(script):
    done = script(
        """
        import rtsync

        async def child():
            pass

        async def main():
            for _ in range(100):
                rtsync.thread(child)

        for _ in range(5):
            rtsync.run(main, workers=2)
        """
    )
    assert done.stderr == ""


async def test_a_thread_killed_before_its_first_step_does_not_warn(recwarn):
    async def child():
        pass

    for _ in range(10):
        thread(child).kill()
    gc.collect()
    assert not [w for w in recwarn if "never awaited" in str(w.message)]


def test_a_refused_main_does_not_warn(recwarn):
    async def main():
        pass

    with pytest.raises(ValueError):
        rtsync.run(main, workers=0)
    gc.collect()
    assert not list(recwarn)


async def test_a_refused_thread_does_not_warn(recwarn):
    async def child():
        pass

    for arguments in ({"name": 3}, {"keep": 3}, {"pool": 3}):
        with pytest.raises(TypeError):
            thread(child, **arguments)
    gc.collect()
    assert not [w for w in recwarn if "never awaited" in str(w.message)]
