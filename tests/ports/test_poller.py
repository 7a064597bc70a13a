"""The engine's poller, of both kinds: who is told what, and who sleeps."""

import os
import selectors
import socket
import sys
import threading
import time

import pytest

import rtsync
import scheduler.deterministic
import scheduler.io_thread
import scheduler.runtime
from rtsync import Semaphore, block_on, idle, run, sleep, sync, thread
from rtsync.ports import EOF, InputPort, OutputPort, socket_ports, tcp_connect, tcp_listen
from rtsync.testing import run_deterministic, wait_real
from scheduler.poller import END, READ, WRITE, EpollPoller, SelectorPoller, new_poller
from tests.chaos import chaos

KINDS = {"poll": lambda nudge=None: SelectorPoller(nudge, selectors.PollSelector)}
KINDS["select"] = lambda nudge=None: SelectorPoller(nudge, selectors.SelectSelector)
if new_poller is EpollPoller:
    KINDS["epoll"] = EpollPoller


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


class Seen:
    """A watched descriptor that remembers what it was told."""

    def __init__(self, sock):
        self.fd = sock.fileno()
        self.pollers = []
        self.told = []

    def on_ready(self, what):
        self.told.append(what)


@pytest.fixture
def pair():
    one, two = socket.socketpair()
    one.setblocking(False)
    with one, two:
        yield one, two


@pytest.fixture
def poller(kind):
    made = kind()
    yield made
    made.close()


def until_it_blocks(call):
    try:
        while True:
            call()
    except BlockingIOError:
        pass


def told_within(poller, seen, bit, seconds=30):
    """Poll until ``seen`` has been told ``bit``."""
    deadline = time.monotonic() + seconds
    while not any(what & bit for what in seen.told):
        assert time.monotonic() < deadline
        poller.poll(0.1)


def test_who_wants_to_read_is_told_of_data(poller, pair):
    one, two = pair
    seen = Seen(one)
    poller.want(seen, READ)
    poller.glance()
    assert seen.told == []
    two.send(b"x")
    told_within(poller, seen, READ)


def test_data_that_is_there_already_is_told_too(poller, pair):
    one, two = pair
    two.send(b"x")
    seen = Seen(one)
    poller.want(seen, READ)
    told_within(poller, seen, READ)


def test_who_wants_to_write_is_told_of_room(poller, pair):
    one, two = pair
    two.setblocking(False)
    until_it_blocks(lambda: one.send(b"x" * 10000))
    seen = Seen(one)
    poller.want(seen, WRITE)
    poller.glance()
    assert not any(what & WRITE for what in seen.told)
    until_it_blocks(lambda: two.recv(1 << 20))
    told_within(poller, seen, WRITE)


def test_both_directions_at_once(poller, pair):
    one, two = pair
    seen = Seen(one)
    poller.want(seen, READ)
    poller.want(seen, WRITE)
    told_within(poller, seen, WRITE)
    two.send(b"x")
    told_within(poller, seen, READ)


def test_an_end_is_told(poller, pair):
    one, two = pair
    seen = Seen(one)
    poller.want(seen, READ)
    two.close()
    told_within(poller, seen, READ)
    if poller.persistent:
        assert any(what & END for what in seen.told)


def test_who_was_dropped_is_told_nothing(poller, pair):
    one, two = pair
    seen = Seen(one)
    poller.want(seen, READ)
    assert poller.busy
    poller.drop(seen, seen.fd)
    assert not poller.busy
    two.send(b"x")
    poller.poll(0)
    assert seen.told == []
    poller.drop(seen, seen.fd)


def test_enrolling_does_not_keep_alive(poller, pair):
    seen = Seen(pair[0])
    poller.want(seen, READ)
    pair[1].send(b"x")
    del seen
    poller.poll(0)
    poller.poll(0)


def test_an_owner_that_fails_is_reported_and_does_not_keep_others_from_being_told(poller, pair, capsys):
    class Fails(Seen):
        def on_ready(self, what):
            raise RuntimeError("my fault")

    first, second = Fails(pair[0]), Seen(pair[1])
    poller.want(first, WRITE)
    poller.want(second, WRITE)
    told_within(poller, second, WRITE)
    poller.poll(0)
    assert "RuntimeError: my fault" in capsys.readouterr().err
    assert not poller.dispatching


def test_the_first_enrolment_nudges(kind, pair):
    nudges = []
    poller = kind(lambda: nudges.append(None))
    seen = [Seen(sock) for sock in pair]
    for watched in seen:
        poller.want(watched, READ)
    assert len(nudges) == 1
    poller.close()


def test_the_first_after_there_were_none_nudges_whoever_does_not_sleep_here(kind, pair):
    nudges = []
    poller = kind(lambda: nudges.append(None))
    watched = Seen(pair[0])
    poller.want(watched, READ)
    for polled in (False, True, False):
        poller.drop(watched, watched.fd)
        poller.sleeper = polled
        poller.want(watched, READ)
    assert len(nudges) == 3
    poller.close()


def test_an_enrolment_nudges_again_when_all_others_have_gone(kind, pair):
    """The one that waits may have gone to sleep elsewhere meanwhile."""
    nudges = []
    poller = kind(lambda: nudges.append(None))
    seen = [Seen(sock) for sock in pair]
    for watched in seen:
        poller.want(watched, READ)
    for watched in seen:
        poller.drop(watched, watched.fd)
    poller.want(seen[0], READ)
    assert len(nudges) == 2
    poller.close()


def test_a_descriptor_is_watched_that_comes_when_a_worker_sleeps_because_there_are_none(connected):
    """An OS-backed thread makes the only enrolment while all workers are idle, after others have come and
    gone."""

    async def main():
        for port in await connected():
            port.abort()
        await sync(idle())  # the workers are asleep; nothing is enrolled
        one, two = socket.socketpair()
        inp, out = socket_ports(one)

        def read():
            return block_on(inp.read_bytes_avail())

        reader = thread(read)
        await sync(idle())
        two.send(b"x")
        assert await reader.join() == b"x"
        two.close()
        inp.abort()
        out.abort()

    for workers in (1, 2):
        run(main, workers=workers)


def test_a_sleeper_can_be_interrupted(poller, pair):
    seen = Seen(pair[0])
    poller.want(seen, READ)
    poller.sleeper = True
    woken = []
    sleeper = threading.Thread(target=lambda: woken.append(poller.wait(None)))
    sleeper.start()
    poller.interrupt()
    sleeper.join(30)
    assert len(woken) == 1


def test_a_glance_does_not_swallow_the_wake_up_of_a_sleeper(poller, pair):
    seen = Seen(pair[0])
    poller.want(seen, READ)
    for _ in range(200):
        poller.sleeper = True
        sleeper = threading.Thread(target=poller.wait, args=(None,))
        sleeper.start()
        poller.interrupt()
        while sleeper.is_alive():
            poller.glance()
        sleeper.join(30)
        assert not sleeper.is_alive()
        poller.sleeper = False


def test_registering_while_another_thread_sleeps(poller, pair):
    """The sleeper learns of a descriptor that comes later."""
    one, two = pair
    other, peer = socket.socketpair()
    with other, peer:
        first, second = Seen(other), Seen(one)
        poller.want(first, READ)
        stop = []

        def sleep():
            while not stop:
                poller.poll(None)

        poller.sleeper = True
        sleeper = threading.Thread(target=sleep)
        sleeper.start()
        poller.want(second, READ)
        two.send(b"x")
        deadline = time.monotonic() + 30
        while not second.told and time.monotonic() < deadline:
            time.sleep(0.001)
        stop.append(True)
        poller.interrupt()
        sleeper.join(30)
        assert second.told
        poller.drop(first, first.fd)


@pytest.fixture
def everywhere(kind, monkeypatch):
    """Runtimes made meanwhile, and the poller of other OS threads, are of this kind."""
    monkeypatch.setattr(scheduler.runtime, "new_poller", kind)
    monkeypatch.setattr(scheduler.deterministic, "new_poller", kind)
    monkeypatch.setattr(scheduler.io_thread, "new_poller", kind)
    old = scheduler.io_thread._io_thread.poller
    scheduler.io_thread._io_thread._renew()
    yield
    made = scheduler.io_thread._io_thread.poller
    scheduler.io_thread._io_thread.poller = old
    made.close()


async def program():
    """Echo over several connections, with much data, timeouts and closing."""
    with tcp_listen(0, "127.0.0.1") as listener:

        async def serve(inp, out):
            while data := await inp.read_bytes_avail():
                await out.write(data, flush=True)
            await out.close()
            inp.close()

        async def accept():
            while True:
                thread(serve, *await listener.accept())

        accepting = thread(accept)

        async def client(number):
            inp, out = await tcp_connect("127.0.0.1", listener.port)
            assert await sync(inp.read_line_evt(), timeout=0.001) is None
            data = f"{number}\n".encode() * 100_000
            reader = thread(inp.read_all)
            await out.write(data)
            await out.close()
            assert await reader.join() == data
            inp.close()

        for t in [thread(client, number) for number in range(5)]:
            await t.join()
        accepting.kill()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_program_on_real_workers(everywhere, workers):
    run(program, workers=workers)


def test_a_program_on_the_deterministic_scheduler(everywhere):
    run_deterministic(program, seed=3)


def test_the_worker_that_sleeps_elsewhere_for_want_of_descriptors_is_told_of_one(everywhere, monkeypatch):
    monkeypatch.setattr(rtsync.runtime, "_RECHECK", 1000.0)
    ours, theirs = socket.socketpair()
    none_left, go = threading.Event(), Semaphore()
    polled = []

    async def comes_and_goes():
        one, two = socket.socketpair()
        with two:
            ports = socket_ports(one)
            assert await sync(ports[0].read_line_evt(), timeout=0.001) is None
            for port in ports:
                port.close()

    async def main():
        await comes_and_goes()
        none_left.set()
        await go.wait()
        inp, out = socket_ports(theirs)
        try:
            return await inp.read_line()
        finally:
            inp.close()
            out.close()

    def outside():
        assert none_left.wait(30)
        wait_real(lambda: runtime.polling is not None, 30)
        go.post()  # to another worker
        wait_real(lambda: runtime.poller.busy > 0, 30)
        polled.append(wait_real(lambda: runtime.poller.sleeper, 20))
        runtime.nudge()
        with ours:
            ours.send(b"line\n")

    runtime = rtsync.Runtime(2)
    other = threading.Thread(target=outside)
    other.start()
    assert runtime.run(main) == "line"
    other.join(30)
    assert polled == [True]


@pytest.mark.parametrize("seed", range(3))
def test_descriptors_that_come_and_go_under_chaos(seed, monkeypatch):
    monkeypatch.setattr(rtsync.runtime, "_RECHECK", 1000.0)  # a wake-up that is lost stays lost

    async def exchange(number):
        one, two = socket.socketpair()
        (inp, out), (other_inp, other_out) = socket_ports(one), socket_ports(two)
        reader = thread(inp.read_line)
        await sleep(0.0005 * (number % 3))
        await other_out.write("line\n", flush=True)
        assert await reader.join() == "line"
        for port in (inp, out, other_inp, other_out):
            port.close()

    async def main():
        for number in range(8):
            for t in [thread(exchange, number + beside) for beside in range(1 + number % 2)]:
                await t.join()

    with chaos(seed, rate=0.01, stalls=20) as stalls:
        try:
            run(main, workers=2)
        except BaseException:
            sys.stderr.write(f"stalls: {stalls}\n")
            raise


def test_operations_without_a_runtime(everywhere):
    one, two = socket.socketpair()
    ours, theirs = socket_ports(one), socket_ports(two)

    def echo():
        while (line := block_on(theirs[0].read_line())) is not EOF:
            block_on(theirs[1].write(line + "\n", flush=True))
        theirs[1].close()

    os_thread = threading.Thread(target=echo)
    os_thread.start()
    for number in range(50):
        block_on(ours[1].write(f"{number}\n", flush=True))
        assert block_on(ours[0].read_line()) == str(number)
    ours[1].close()
    assert block_on(ours[0].read_line()) is EOF
    os_thread.join(30)
    ours[0].close()
    theirs[0].close()


def test_virtual_time_waits_for_what_is_on_its_way():
    async def main():
        one, two = socket.socketpair()
        (inp, out), (theirs_in, theirs_out) = socket_ports(one), socket_ports(two)

        async def answer():
            await sleep(5)
            await theirs_out.write(await theirs_in.read_line() + "!\n", flush=True)

        thread(answer)
        await out.write("hi\n", flush=True)
        found = await sync(inp.read_line_evt(), timeout=6)
        for port in (inp, out, theirs_in, theirs_out):
            port.abort()
        return found

    for seed in range(10):
        assert run_deterministic(main, seed=seed) == "hi!"


def test_an_idle_runtime_is_idle_while_it_waits_for_descriptors():
    async def main():
        read, write = os.pipe()
        inp, out = InputPort(read), OutputPort(write)
        reader = thread(inp.read_line)
        await sync(idle())
        assert not reader.dead
        await out.write("x\n", flush=True)
        assert await reader.join() == "x"
        inp.close()
        await out.close()

    run(main, workers=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_child_of_a_fork_does_not_disturb_its_parents_poller():
    one, two = socket.socketpair()
    inp, out = socket_ports(one)
    assert block_on(sync(inp.read_line_evt(), timeout=0.01)) is None
    child = os.fork()
    if not child:
        status = 1
        try:
            inp.close()
            out.abort()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    two.send(b"still here\n")
    assert block_on(sync(inp.read_line_evt(), timeout=30)) == "still here"
    inp.close()
    out.abort()
    two.close()
