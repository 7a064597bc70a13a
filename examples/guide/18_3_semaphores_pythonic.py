"""Guide 18.3, Semaphores: one thread at a time. In the Pythonic naming.

``async with semaphore`` waits at the beginning and posts at the end, however the block is left. The second
half is the chapter's own advice: give the resource to one thread, and let the others send to that.
"""

import rtsync as rt


async def around_a_block() -> None:
    output = rt.Semaphore(1)

    async def count(name: str) -> None:
        for i in range(10):
            async with output:
                print(f"thread {name}: {i}")

    for thread in [rt.thread(count, name) for name in "ABC"]:
        await thread.join()


async def one_thread_prints() -> None:
    lines = rt.AsyncChannel()

    async def printer() -> None:
        async for line in lines:
            if line is None:
                return
            print(line)

    async def count(name: str) -> None:
        for i in range(10):
            await lines.put(f"thread {name}: {i}")

    printing = rt.thread(printer)
    for thread in [rt.thread(count, name) for name in "ABC"]:
        await thread.join()
    await lines.put(None)
    await printing.join()


async def main() -> None:
    await around_a_block()
    await one_thread_prints()


if __name__ == "__main__":
    rt.run(main)
