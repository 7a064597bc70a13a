"""Guide 18.6, Synchronizable Events and sync: wait for whichever comes first. With Racket's names.

Channels, threads, alarms and many other things are events; `sync` waits for the first of several.
`handle_evt` attaches to an event what is to be done with its result. A handler is in tail position, so a
loop may go on from inside it: where Racket simply calls the loop, return ``tail(loop, ...)`` here, and
a million rounds take no more memory than one.

The chapter's echo server needs TCP ports; what it shows of `sync_timeout` and mailboxes is here with a
channel for the lines that come in.
"""

from functools import partial
from math import prod
from typing import Any

from rtsync import Channel, Thread
from rtsync.racket import (
    alarm_evt,
    channel_put,
    current_inexact_milliseconds,
    current_thread,
    handle_evt,
    make_channel,
    run,
    sync,
    sync_timeout,
    system_idle_evt,
    tail,
    thread,
    thread_receive,
    thread_receive_evt,
    thread_send,
    thread_wait,
    wrap_evt,
)


async def until_an_alarm() -> None:
    """Three workers wait for an item or the alarm; there are items for two of them."""
    main_thread = current_thread()
    alarm = alarm_evt(3000 + current_inexact_milliseconds())
    channel = make_channel()

    def make_worker_thread(thread_id: int) -> Thread:
        async def work() -> None:
            result = await sync(channel, alarm)
            if result is alarm:
                thread_send(main_thread, "alarm")
            else:
                thread_send(main_thread, f"Thread {thread_id} received {result}")

        return thread(work)

    for thread_id in (1, 2, 3):
        make_worker_thread(thread_id)
    await channel_put(channel, "A")
    await channel_put(channel, "B")
    while True:
        match await thread_receive():
            case "alarm":
                print("Done")
                return
            case result:
                print(result)


async def serve(lines: Channel) -> None:
    """Echo lines, tell of messages in the mailbox, and end when two seconds pass without either."""
    while True:
        # The result tells what happened: the receive event gives itself, and None means time out.
        result = await sync_timeout(2, lines, thread_receive_evt())
        if result is None:
            print("Timed out, exiting")
            return
        if result is thread_receive_evt():
            print(f"Received a message in mailbox: {await thread_receive()}")
        else:
            print(f"Echo: {result}")


async def echo() -> None:
    lines = make_channel()
    server = thread(partial(serve, lines))
    await channel_put(lines, "first")
    await channel_put(lines, "second")
    thread_send(server, "hello")
    await thread_wait(server)


async def handlers() -> None:
    """Three channels, each with a handler of its own: no dispatch on the result of `sync`."""
    add_channel = make_channel()
    multiply_channel = make_channel()
    append_channel = make_channel()

    async def work() -> None:
        while True:
            await sync(
                handle_evt(add_channel, lambda numbers: print(f"Sum of {numbers} is {sum(numbers)}")),
                handle_evt(
                    multiply_channel, lambda numbers: print(f"Product of {numbers} is {prod(numbers)}")
                ),
                handle_evt(
                    append_channel,
                    lambda strings: print(f"Concatenation of {strings} is {''.join(strings)!r}"),
                ),
            )

    thread(work)
    await channel_put(add_channel, [1, 2])
    await channel_put(multiply_channel, [3, 4])
    await channel_put(multiply_channel, [5, 6])
    await channel_put(add_channel, [7, 8])
    await channel_put(append_channel, ["a", "b"])
    # The worker has taken the last list, but may not have printed yet. It has when nothing runs any more.
    await sync(system_idle_evt())


async def state_in_the_loop() -> None:
    """The handlers call the loop again, with its next state."""
    control_channel = make_channel()
    add_channel = make_channel()
    subtract_channel = make_channel()

    async def work(state: int) -> Any:
        print(f"Current state: {state}")

        def add(number: int) -> Any:
            print(f"Adding: {number}")
            return tail(work, state + number)

        def subtract(number: int) -> Any:
            print(f"Subtracting: {number}")
            return tail(work, state - number)

        return await sync(
            handle_evt(add_channel, add),
            handle_evt(subtract_channel, subtract),
            handle_evt(control_channel, lambda kill_message: print("Done")),
        )

    worker = thread(partial(work, 0))
    await channel_put(add_channel, 2)
    await channel_put(subtract_channel, 3)
    await channel_put(add_channel, 4)
    await channel_put(add_channel, 5)
    await channel_put(subtract_channel, 1)
    await channel_put(control_channel, "done")
    await thread_wait(worker)


async def wrapped() -> None:
    """`wrap_evt` is like `handle_evt`, but not in tail position, and its results can be wrapped on."""
    channel = make_channel()
    thread(partial(channel_put, channel, 20))
    doubled = wrap_evt(channel, lambda number: 2 * number)
    print(f"Wrapped: {await sync(wrap_evt(doubled, lambda number: number + 2))}")


async def main() -> None:
    await until_an_alarm()
    await echo()
    await handlers()
    await state_in_the_loop()
    await wrapped()


if __name__ == "__main__":
    run(main)
