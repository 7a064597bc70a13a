"""What is left in a thread after it was interrupted must not reach its next operation."""

import pytest

import rtsync as rt
from rtsync.control import FROZEN
from rtsync.testing import run_deterministic


@pytest.mark.parametrize("seed", range(20))
def test_a_put_after_an_interrupted_put_gives_its_value_once(seed):
    """Found by the stress run: the mark of the given-up put was taken for the answer to the next one."""

    async def main():
        first, second = rt.Channel(), rt.Channel()

        async def putter():
            try:
                await first.put(1)
            except rt.Break:
                pass
            await second.put(2)
            return "put"

        t = rt.thread(putter)
        await rt.sync(rt.idle())
        t.suspend()
        t.resume()
        t.break_()
        await rt.sync(rt.idle())
        assert await second.get() == 2
        assert await rt.sync(second, timeout=1) is None
        assert await t.join() == "put"

    run_deterministic(main, seed=seed)


def test_a_value_given_to_an_os_backed_thread_as_it_is_suspended_is_not_lost_to_a_break():
    """Found by the stress run. The partner is held up between its claim and its handing over, for so long
    that the victim is taken to sit in a call into C."""

    async def main():
        ch, log = rt.Channel(), []

        def getter():
            try:
                log.append(rt.block_on(ch.get()))
                rt.block_on(rt.sleep(1000))
            except rt.Break:
                log.append("broken")

        t = rt.thread(getter)
        while not t.waiter:
            await rt.sleep(0)
        with ch._lock:
            ch._getters.clear()
        t.waiter.pop()
        t.suspend()
        t.break_()
        t.value = "value"
        t.ready()
        while t._state != FROZEN:
            await rt.sleep(0)
        t.resume()
        assert await rt.sync(t, timeout=30) is t
        assert log == ["value", "broken"]

    rt.run(main, workers=2)
