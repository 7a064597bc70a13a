"""Guide 18.5, Buffered Asynchronous Channels: a put that does not wait for a get. With Racket's names.

``work_channel`` holds three items; `async_channel_put` waits only while it is full. All printing is done by
one thread, to which the others send.

As the chapter remarks, nothing here makes sure that all is done: the program ends with its main thread, and
some of the last lines may be missing. ``18_5_async_channels_pythonic.py`` adds what is needed.
"""

from rtsync import Thread
from rtsync.racket import (
    async_channel_get,
    async_channel_put,
    make_async_channel,
    run,
    thread,
    thread_receive,
    thread_send,
)


async def main() -> None:
    async def print_loop() -> None:
        while True:
            print(await thread_receive())

    print_thread = thread(print_loop)

    def safer_printf(form: str, *items: object) -> None:
        thread_send(print_thread, form.format(*items))

    work_channel = make_async_channel(3)

    def make_worker_thread(thread_id: int) -> Thread:
        async def loop() -> None:
            while True:
                item = await async_channel_get(work_channel)
                safer_printf("Thread {} processing item: {}", thread_id, item)

        return thread(loop)

    for thread_id in (1, 2, 3):
        make_worker_thread(thread_id)
    for item in "abcdefghijklm":
        await async_channel_put(work_channel, item)


if __name__ == "__main__":
    run(main)
