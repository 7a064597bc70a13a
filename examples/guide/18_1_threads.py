"""Guide 18.1, Threads: start them, stop them, wait for them. With Racket's names.

`thread` takes a function without arguments and returns at once; the thread runs beside its maker, and in
parallel with it if there is a free core. Racket's procedures become ``async def`` functions here, because a
coroutine thread gives way where it says ``await``. See ``18_1_threads_pythonic.py`` for the other naming.
"""

from rtsync.racket import kill_thread, run, sleep, thread, thread_wait


async def start() -> None:
    """Two new threads beside the original one. Which of the two prints first is open."""
    print("This is the original thread")

    async def new() -> None:
        print("This is a new thread.")

    async def another() -> None:
        print("This is another new thread.")

    threads = [thread(new), thread(another)]
    # The Guide types this at a prompt. A program is over when its main thread is, so this one waits.
    for thd in threads:
        await thread_wait(thd)


async def kill() -> None:
    """A worker that would go on for ever, and is stopped from outside."""

    async def loop() -> None:
        while True:
            print("Working...")
            await sleep(0.2)

    worker = thread(loop)
    await sleep(2.5)
    kill_thread(worker)


async def wait() -> None:
    """The main thread makes sure that the worker comes to its end."""

    async def work() -> None:
        for i in range(100):
            print(f"Working hard... {i}")

    worker = thread(work)
    await thread_wait(worker)
    print("Worker finished")


async def main() -> None:
    await start()
    await kill()
    await wait()


if __name__ == "__main__":
    run(main)
