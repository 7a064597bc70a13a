"""Guide 18.2, Thread Mailboxes: send to a thread, receive as a thread. In the Pythonic naming.

`Thread.send` and `rtsync.receive`. The second half shows what mailboxes are not needed for: if each answer
is wanted by the one who asked, a thread per question and its result say it with less.
"""

from operator import add, sub

import rtsync as rt


async def one_worker() -> None:
    """Data for a worker, then the word that there is no more."""
    worker = rt.thread(process)
    for i in range(20):
        worker.send(i)
    worker.send(None)
    await worker.join()


async def process() -> None:
    while (number := await rt.receive()) is not None:
        print(f"Processing {number}")
    print("Done")


async def arithmetic() -> None:
    """The threads work at the same time; the answers are printed in the order of the questions."""
    worklist = [("+", 1, 1), ("+", 2, 2), ("-", 3, 2), ("-", 4, 1)]
    threads = [rt.thread(calculate, *item) for item in worklist]
    for thread in threads:
        print(await thread.join())


async def calculate(symbol: str, left: int, right: int) -> str:
    operation = {"+": add, "-": sub}[symbol]
    return f"{left} {symbol} {right} = {operation(left, right)}"


async def main() -> None:
    await one_worker()
    await arithmetic()


if __name__ == "__main__":
    rt.run(main)
