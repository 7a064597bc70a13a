"""Guide 18.1, Threads: start them, stop them, wait for them. In the Pythonic naming.

What Racket has no word for: `rtsync.thread` passes arguments on; a plain function gets an OS thread of its
own, so that it may block; `Thread.join` gives the thread's result, or raises its exception; a ``finally`` in
a thread that is killed still runs.
"""

import time

import rtsync as rt


async def start() -> None:
    """The same call starts both kinds of threads."""
    print("This is the original thread")
    coroutine_thread = rt.thread(greet, "a new thread")
    os_thread = rt.thread(greet_and_block, "another new thread")
    await coroutine_thread.join()
    await os_thread.join()


async def greet(name: str) -> None:
    await rt.sleep(0)  # lets others run; no core is held
    print(f"This is {name}.")


def greet_and_block(name: str) -> None:
    time.sleep(0)  # would hold a core's worker in a coroutine thread; here it holds nobody
    print(f"This is {name}.")


async def kill() -> None:
    """A killed thread does not go on, but cleans up."""

    async def loop() -> None:
        try:
            while True:
                print("Working...")
                await rt.sleep(0.2)
        finally:
            print("Stopped.")

    worker = rt.thread(loop)
    await rt.sleep(2.5)
    worker.kill()


async def wait() -> None:
    """A result needs no channel and no variable: it comes with the end."""

    async def work() -> int:
        return sum(range(101))

    worker = rt.thread(work)
    print(f"Worker finished with {await worker.join()}")


async def main() -> None:
    await start()
    await kill()
    await wait()


if __name__ == "__main__":
    rt.run(main)
