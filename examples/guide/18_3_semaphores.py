"""Guide 18.3, Semaphores: one thread at a time. With Racket's names.

`semaphore_wait` waits until the count is positive and decrements it, `semaphore_post` increments it. With a
count of 1 to begin with, one thread is between the two, and its line is not torn by another's.
`call_with_semaphore` does both around a call, and posts also when the call raises.
"""

from rtsync import Thread
from rtsync.racket import (
    call_with_semaphore,
    make_semaphore,
    run,
    semaphore_post,
    semaphore_wait,
    thread,
    thread_wait,
)


async def wait_and_post() -> None:
    output_semaphore = make_semaphore(1)

    def make_thread(name: str) -> Thread:
        async def loop() -> None:
            for i in range(10):
                await semaphore_wait(output_semaphore)
                print(f"thread {name}: {i}")
                semaphore_post(output_semaphore)

        return thread(loop)

    for thd in [make_thread(name) for name in "ABC"]:
        await thread_wait(thd)


async def around_a_call() -> None:
    output_semaphore = make_semaphore(1)

    def make_thread(name: str) -> Thread:
        async def loop() -> None:
            for i in range(10):
                await call_with_semaphore(output_semaphore, print, None, f"thread {name}: {i}")

        return thread(loop)

    for thd in [make_thread(name) for name in "ABC"]:
        await thread_wait(thd)


async def main() -> None:
    await wait_and_post()
    await around_a_call()


if __name__ == "__main__":
    run(main)
