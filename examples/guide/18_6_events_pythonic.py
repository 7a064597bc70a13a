"""Guide 18.6, Synchronizable Events and sync: wait for whichever comes first. In the Pythonic naming.

`rtsync.sync`, with ``timeout=`` in seconds; events have the methods ``wrap`` and ``handle``. A loop with
state is a loop with a variable here, so it needs no tail calls: each event says what the next state is.
"""

from functools import partial
from math import prod

import rtsync as rt


async def until_an_alarm() -> None:
    """Threads are events, too: whoever ends first tells its story first."""
    alarm = rt.after(3)
    channel = rt.Channel()

    async def work(number: int) -> str:
        result = await rt.sync(channel, alarm)
        return "Done" if result is alarm else f"Thread {number} received {result}"

    workers = {rt.thread(work, number) for number in (1, 2, 3)}
    await channel.put("A")
    await channel.put("B")
    while workers:
        ended = await rt.sync(*workers)
        workers.remove(ended)
        print(await ended.join())


async def handlers() -> None:
    """Three channels, each with a handler of its own."""
    add, multiply, append = rt.Channel(), rt.Channel(), rt.Channel()

    async def work() -> None:
        anything = rt.choice(
            add.handle(lambda numbers: print(f"Sum of {numbers} is {sum(numbers)}")),
            multiply.handle(lambda numbers: print(f"Product of {numbers} is {prod(numbers)}")),
            append.handle(lambda strings: print(f"Concatenation of {strings} is {''.join(strings)!r}")),
        )
        while True:
            await rt.sync(anything)  # an event is a value: made once, used in each round

    rt.thread(work)
    await add.put([1, 2])
    await multiply.put([3, 4])
    await multiply.put([5, 6])
    await add.put([7, 8])
    await append.put(["a", "b"])
    await rt.sync(rt.idle())


async def state_in_the_loop() -> None:
    control, add, subtract = rt.Channel(), rt.Channel(), rt.Channel()

    async def work(state: int) -> None:
        print(f"Current state: {state}")
        while True:
            match await rt.sync(
                add.wrap(lambda number: ("Adding", number)),
                subtract.wrap(lambda number: ("Subtracting", -number)),
                control,
            ):
                case (what, change):
                    print(f"{what}: {abs(change)}")
                    state += change
                    print(f"Current state: {state}")
                case _:
                    print("Done")
                    return

    worker = rt.thread(partial(work, 0))
    await add.put(2)
    await subtract.put(3)
    await add.put(4)
    await add.put(5)
    await subtract.put(1)
    await control.put("done")
    await worker.join()


async def main() -> None:
    await until_an_alarm()
    await handlers()
    await state_in_the_loop()


if __name__ == "__main__":
    rt.run(main)
