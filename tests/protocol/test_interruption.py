"""What is left in a thread after it was interrupted must not reach its next operation."""

import pytest

import rtsync as rt
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
