"""Guide 18.4, Channels: a value passes when both sides are there. With Racket's names.

`channel_put` waits for a thread that gets, `channel_get` for one that puts. Unlike a mailbox a channel
belongs to nobody: several workers get from ``work_channel``, and each item goes to one of them.
"""

from rtsync import Thread
from rtsync.racket import channel_get, channel_put, make_channel, run, thread, thread_wait


async def main() -> None:
    result_channel = make_channel()
    work_channel = make_channel()

    async def print_results() -> None:
        while True:
            print(await channel_get(result_channel), end="")

    def make_worker(thread_id: int) -> Thread:
        async def loop() -> None:
            while True:
                match await channel_get(work_channel):
                    case "DONE":
                        await channel_put(result_channel, f"Thread {thread_id} done\n")
                        return
                    case item:
                        await channel_put(result_channel, f"Thread {thread_id} processed {item}\n")

        return thread(loop)

    thread(print_results)
    work_threads = [make_worker(thread_id) for thread_id in (1, 2)]
    for item in "A B C D E F G H DONE DONE".split():
        await channel_put(work_channel, item)
    for thd in work_threads:
        await thread_wait(thd)
    await channel_put(result_channel, "")  # taken only when all other output has been printed


if __name__ == "__main__":
    run(main)
