"""Guide 18.7, Building Your Own Synchronization Patterns. With Racket's names.

A pattern is a thread that serves: it waits with `sync` for everything that may happen next, and goes on with
its next state. What can not be done now is simply not offered: `never_evt` in its place. Nothing is locked,
because the state is in the arguments of one thread's loop.

First a queue of any length between producers and consumers, then the same with a third operation: to wait
until so many items have been produced.
"""

from functools import partial
from random import randrange
from typing import Any

from rtsync import Channel
from rtsync.racket import (
    channel_get,
    channel_put,
    channel_put_evt,
    handle_evt,
    kill_thread,
    make_channel,
    never_evt,
    run,
    sleep,
    sync,
    tail,
    thread,
    thread_wait,
)

# -- producer and consumer -----------------------------------------------------------------------

producer_chan = make_channel()
consumer_chan = make_channel()


async def produce(x: Any) -> None:
    await channel_put(producer_chan, x)


async def consume() -> Any:
    return await channel_get(consumer_chan)


async def loop(items: tuple[Any, ...] = ()) -> Any:
    """``items``: produced and not yet consumed, the latest first."""
    return await sync(
        # Production: an item more.
        handle_evt(producer_chan, lambda i: tail(loop, (i, *items))),
        # Consumption, but only if there is something: the first item has gone.
        handle_evt(
            channel_put_evt(consumer_chan, items[0]) if items else never_evt,
            lambda _: tail(loop, items[1:]),
        ),
    )


async def produce_and_consume() -> None:
    async def produce_soon(x: int) -> None:
        await sleep(randrange(10) / 100)
        await produce(x)

    server = thread(loop)
    thread(partial(produce_soon, 1))
    thread(partial(produce_soon, 2))
    print([await consume(), await consume()])
    kill_thread(server)


# -- and waiting for enough ----------------------------------------------------------------------

wait_at_least_chan = make_channel()


async def wait_at_least(n: int) -> None:
    # The loop gets a new channel along, on which it answers when it is time.
    c = make_channel()
    await channel_put(wait_at_least_chan, (n, c))
    await channel_get(c)


async def patient_loop(
    items: tuple[Any, ...] = (),
    total_items_seen: int = 0,
    waiters: tuple[tuple[int, Channel], ...] = (),
) -> Any:
    """``waiters``: how many items each wants to have been produced, and the channel for the answer."""
    return await sync(
        handle_evt(producer_chan, lambda i: tail(patient_loop, (i, *items), total_items_seen + 1, waiters)),
        handle_evt(
            channel_put_evt(consumer_chan, items[0]) if items else never_evt,
            lambda _: tail(patient_loop, items[1:], total_items_seen, waiters),
        ),
        # Someone who wants to wait.
        handle_evt(
            wait_at_least_chan,
            lambda waiter: tail(patient_loop, items, total_items_seen, (waiter, *waiters)),
        ),
        # For each who waits long enough: the answer, and the loop goes on without that one.
        *(
            handle_evt(
                channel_put_evt(c, None) if n <= total_items_seen else never_evt,
                lambda _, me=c: tail(
                    patient_loop, items, total_items_seen, tuple(w for w in waiters if w[1] is not me)
                ),
            )
            for n, c in waiters
        ),
    )


async def wait_for_ten() -> None:
    async def work(i: int) -> None:
        await produce(i)
        await wait_at_least(10)
        print(f"{i} -> {await consume()}\n", end="")  # one write: lines of several threads stay whole

    thread(patient_loop)
    threads = [thread(partial(work, i)) for i in range(10)]
    for thd in threads:
        await thread_wait(thd)


async def main() -> None:
    await produce_and_consume()
    await wait_for_ten()


if __name__ == "__main__":
    run(main)
