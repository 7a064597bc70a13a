"""Guide 18.2, Thread Mailboxes: send to a thread, receive as a thread. With Racket's names.

Each thread has a mailbox. `thread_send` puts a message into another's and does not wait; `thread_receive`
takes the oldest from one's own, and waits for one. Racket's symbols are strings here.
"""

from collections.abc import Callable
from operator import add, sub

from rtsync import Thread
from rtsync.racket import current_thread, run, thread, thread_receive, thread_send, thread_wait


async def one_worker() -> None:
    """Data for a worker, then the word that there is no more."""

    async def loop() -> None:
        while True:
            match await thread_receive():
                case int(number):
                    print(f"Processing {number}")
                case "done":
                    print("Done")
                    return

    worker_thread = thread(loop)
    for i in range(20):
        thread_send(worker_thread, i)
    thread_send(worker_thread, "done")
    await thread_wait(worker_thread)


def make_arithmetic_thread(symbol: str, operation: Callable[[int, int], int]) -> Thread:
    """A thread that answers each message with the result of one operation."""

    async def loop() -> None:
        while True:
            match await thread_receive():
                case (left, right, result_thread):
                    result = f"{left} {symbol} {right} = {operation(left, right)}"
                    thread_send(result_thread, result)

    return thread(loop)


async def arithmetic() -> None:
    """Work for several threads. Whoever sends a request sends along who is to get the answer."""
    addition_thread = make_arithmetic_thread("+", add)
    subtraction_thread = make_arithmetic_thread("-", sub)
    worklist = [("+", 1, 1), ("+", 2, 2), ("-", 3, 2), ("-", 4, 1)]
    for item in worklist:
        match item:
            case ("+", left, right):
                thread_send(addition_thread, (left, right, current_thread()))
            case ("-", left, right):
                thread_send(subtraction_thread, (left, right, current_thread()))
    for _ in worklist:
        print(await thread_receive())


async def main() -> None:
    await one_worker()
    await arithmetic()


if __name__ == "__main__":
    run(main)
