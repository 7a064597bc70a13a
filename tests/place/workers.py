"""What the places of these tests run. Imports nothing that takes long."""

import errno
import os
import random
import sys
import threading
import time
from dataclasses import dataclass

import rtsync as rt
from rtsync.place import lending


@dataclass(frozen=True)
class Point:
    x: int
    y: int


async def echo(channel):
    """Send back what comes, until ``None``."""
    while (message := await channel.get()) is not None:
        channel.put(message)


def echo_plain(channel):
    while (message := rt.block_on(channel.get())) is not None:
        channel.put(message)


async def waits_for_a_break(channel):
    """Nothing in this process can wake it, nor can the other end of a channel that is gone."""
    one, other = rt.place.place_channel()
    del other
    channel.put("ready")
    try:
        await one.get()
    except rt.Break as error:
        channel.put(type(error).__name__)


async def waits_for_nothing(channel):
    """As `waits_for_a_break`, which cannot come."""
    one, other = rt.place.place_channel()
    del other
    with rt.breaks(False):
        try:
            await one.get()
        except rt.Deadlock:
            channel.put("Deadlock")


async def closes_its_streams(channel):
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()
    for fd in range(3):
        try:
            os.close(fd)
        except OSError:  # by the stream
            pass
    while (message := await channel.get()) is not None:
        channel.put(message)


async def returns(channel):
    return 5


async def fails(channel):
    raise ValueError("on purpose")


async def exits(channel):
    value = await channel.get()
    sys.exit(value)


async def exits_in_a_thread(channel):
    async def leave():
        sys.exit(7)

    rt.thread(leave)
    try:
        await rt.sleep(600)
    finally:
        channel.put("cleaned up")


async def exits_in_an_os_thread(channel):
    rt.thread(lambda: sys.exit(8))
    try:
        while True:
            pass
    finally:
        channel.put("cleaned up")


async def computes(channel):
    computes_plainly(channel)


def computes_plainly(channel):
    try:
        channel.put("ready")
        while True:
            pass
    except rt.Break as error:
        channel.put(type(error).__name__)


def exits_hard(channel):
    os._exit(9)


async def killed_by(channel):
    number = await channel.get()
    os.kill(os.getpid(), number)
    await rt.sleep(60)


async def sleeps(channel):
    channel.put(os.getpid())
    await rt.sleep(600)


async def says_breaks(channel):
    """Tell which breaks come, until one of the kind ``terminate``."""
    with rt.breaks(False):  # the next one may come before we wait again
        channel.put("ready")
        while True:
            try:
                await rt.sync(rt.after(600), enable_break=True)
            except rt.Break as error:
                channel.put(type(error).__name__)
                if isinstance(error, rt.BreakTerminate):
                    return


async def breakable(channel):
    channel.put("ready")
    await rt.sleep(600)


async def about(channel):
    """Tell about itself."""
    custodian = rt.current_custodian()
    results = [await rt.thread(square, n).join() for n in range(4)]
    channel.put(
        {
            "pid": os.getpid(),
            "argv": sys.argv,
            "path": sys.path,
            "main": sys.modules["__main__"].__dict__.get("__file__"),
            "threads": results,
            "custodian": type(custodian).__name__,
            "stdin": sys.stdin.read(),
        }
    )


async def square(n):
    await rt.sleep(0)
    return n * n


async def floods(channel):
    """Put more than any buffer holds, and return at once."""
    for n in range(20_000):
        channel.put((n, b"x" * 50))
    channel.put(bytes(1 << 20))
    near, far = rt.place.place_channel()
    far.put("through a channel that was sent last")
    channel.put(near)


async def ends_while_memory_is_full(channel):
    """With large messages that wait, some of them in its own memory, and first refused by the system."""
    for n in range(300):
        channel.put((n, bytes(3000)))
    for n in range(300, 400):
        channel.put((n, bytes(70_000)))
    refusals, real = [None] * 3, lending.written

    def written(blocks, nbytes):
        if refusals:
            refusals.pop()
            raise OSError(errno.ENOSPC, "shared memory is full")
        return real(blocks, nbytes)

    lending.written = written


async def ends_while_a_thread_puts(channel):
    def puts():
        for n in range(1_000_000):
            channel.put((n, bytes(1000)))

    threading.Thread(target=puts, daemon=True).start()
    while not channel.queued.messages:
        await rt.sleep(0.001)


async def gets_channel_and_ends(channel):
    given = await channel.get()
    given.put("first")
    near, far = rt.place.place_channel()
    far.put("later")
    given.put(near)


async def passes_on(channel):
    """Send what comes through the first channel that comes."""
    target = await channel.get()
    while (message := await channel.get()) is not None:
        target.put(message)


async def takes_one(channel):
    """Get one message from each end that comes."""
    while (end := await channel.get()) is not None:
        channel.put(await end.get())


async def creates(channel):
    """Create a place of its own; tell the process ids."""
    inner = rt.place.dynamic_place(__file__, "sleeps")
    channel.put((os.getpid(), await inner.get()))
    await rt.sleep(600)


async def writes_streams(channel):
    print("to output", flush=True)
    print("to error", file=sys.stderr, flush=True)
    channel.put(sys.stdin.read())


def copies_input(channel):
    for line in sys.stdin:
        sys.stdout.write(line.upper())


async def closes_streams(channel):
    for fd in (0, 1, 2):
        os.close(fd)
    channel.put(await channel.get())
    raise ValueError("nobody can read this")


async def writes_shared(channel):
    vector = await channel.get()
    for index in range(len(vector)):
        vector[index] = index * 2
    channel.put("done")


async def sends_by_socket(channel):
    sock = await channel.get()
    sock.sendall(b"hello")
    sock.close()


left_open = []


def leaves_a_file_open(channel):
    left_open.append(open(rt.block_on(channel.get()), "w"))  # noqa: SIM115
    left_open[0].write("written")


async def writes_file(channel):
    file = await channel.get()
    file.write("second line\n")
    file.close()
    channel.put("written")


async def sums_array(channel):
    array = await channel.get()
    array += 1
    channel.put(float(array.sum()))
    channel.put(array)


def forks(channel):
    child = os.fork()
    if not child:
        time.sleep(600)
    channel.put(child)
    rt.block_on(channel.get())


async def put_points(channel):
    point = await channel.get()
    channel.put(Point(point.y, point.x))


def never_listens(channel):
    time.sleep(600)


async def put_for_ever(channel):
    n = 0
    while True:
        channel.put((n, b"x" * 3000, bytes(70_000) if n % 100 == 0 else None))
        n += 1
        if channel.queued.messages > 100:
            await rt.sleep(0.001)


def forks_and_ends(channel):
    """Leave a child of its own behind, which holds copies of all that is open here."""
    child = os.fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    channel.put(child)


def forks_and_uses(channel):
    """The child of a fork has no place channels."""
    child = os.fork()
    if not child:
        try:
            channel.put("from the child of a fork")
            status = 1 if channel.try_get() is not None else 0
        except BaseException:
            status = 2
        os._exit(status)
    _, status = os.waitpid(child, 0)
    channel.put(os.waitstatus_to_exitcode(status))


async def keeps_arrays(channel):
    """Keep every second array; at the end tell what is in all of them."""
    kept = []
    while (array := await channel.get()) is not None:
        first = int(array[0])
        kept.append(array if first % 2 else first)
        channel.put(first)
    channel.put([a if isinstance(a, int) else int(a.min()) for a in kept])


async def gets_some(channel):
    """Get so many messages from an end that comes, and send them back; until ``None``."""
    while (order := await channel.get()) is not None:
        end, count = order
        channel.put([await end.get() for _ in range(count)])


async def marks_what_it_gets(channel):
    """Count in a shared vector what comes from an end, for ever."""
    end, seen = await channel.get()
    channel.put("begun")
    while True:
        seen[int(await end.get())] += 1


async def puts_numbers(channel):
    """Put so many numbers at once, and end when told to."""
    count = await channel.get()
    for n in range(count):
        channel.put(n)
    await channel.get()


async def shares(channel):
    """Get messages from an end that comes and note in a shared vector who has got each, until ``None``; pass
    the end on now and then, through the creator."""
    end, taken, who, seed = await channel.get()
    draw = random.Random(seed)
    last = -1
    while (message := await end.get()) is not None:
        number = int(message)
        taken[number] = taken[number] * 10 + who  # a second getter would leave two digits
        assert number > last
        last = number
        if draw.random() < 0.002:
            channel.put(end)
    channel.put(last)


async def generates(channel):
    channel.put("never")
    yield
