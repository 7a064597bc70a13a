"""Guide 18.5, Buffered Asynchronous Channels: a put that does not wait for a get. In the Pythonic naming.

The chapter's example may lose its last lines. Here nothing is lost: each worker ends when it gets the mark
for the end, the main thread waits for all of them, and only then lets the printer end.
"""

import rtsync as rt

END = None


async def main() -> None:
    work = rt.AsyncChannel(limit=3)
    printer = rt.thread(print_messages)
    workers = [rt.thread(process, number, work, printer) for number in (1, 2, 3)]
    for item in [*"abcdefghijklm", *(END for _ in workers)]:
        await work.put(item)  # waits while three are waiting
    for worker in workers:
        await worker.join()
    printer.send(END)
    await printer.join()


async def process(number: int, work: rt.AsyncChannel, printer: rt.Thread) -> None:
    async for item in work:
        if item is END:
            return
        printer.send(f"Thread {number} processing item: {item}")


async def print_messages() -> None:
    while (message := await rt.receive()) is not END:
        print(message)


if __name__ == "__main__":
    rt.run(main)
