"""What goes wrong: each with a clear result, and without leaving processes, descriptors or shared memory."""

import errno
import io
import os
import signal
from collections import deque
from pathlib import Path

import pytest

import rtsync as rt
from rtsync import sync
from rtsync.place import (
    LocalLocation,
    dynamic_place,
    dynamic_place_star,
    place,
    place_channel,
    place_context,
    streams,
)
from rtsync.place import packet as packet_module
from shm import Segment

from . import workers
from .conftest import WORKERS, lives, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


def start(name, **options):
    return dynamic_place(WORKERS, name, **options)


@pytest.mark.rtsync(workers=2)
async def test_a_place_killed_while_it_sends_leaves_whole_messages():
    p = start("put_for_ever")
    for n in range(50):
        assert (await p.get())[0] == n
    os.kill(p.id, signal.SIGKILL)
    assert await p.wait() == 128 + signal.SIGKILL
    n = 50
    while (message := p.try_get()) is not None:
        assert message[0] == n
        assert message[1] == b"x" * 3000
        assert message[2] == (bytes(70_000) if n % 100 == 0 else None)
        n += 1


@pytest.mark.rtsync(workers=2)
async def test_ten_thousand_messages_to_a_place_that_ends_at_once():
    p = start("returns")
    for n in range(10_000):
        p.put((n, "message"))
    assert await p.wait() == 0
    p.put("more")
    while p.queued != (0, 0):  # as soon as the poller has told
        await rt.sleep(0.001)


@pytest.mark.rtsync(workers=2)
async def test_a_module_that_fails_to_import_is_reported_and_gives_1(capfd):
    broken = str(Path(WORKERS).with_name("broken_module.py"))
    p, q, r = (
        dynamic_place(broken, "main"),
        start("no_such_function"),
        dynamic_place("no.such.module", "main"),
    )
    assert [await p.wait(), await q.wait(), await r.wait()] == [1, 1, 1]
    err = capfd.readouterr().err
    assert "RuntimeError: this module cannot be imported" in err
    assert "has no function 'no_such_function'" in err
    assert "No module named 'no'" in err


@pytest.mark.rtsync(workers=2)
async def test_a_start_that_is_no_function_is_reported_and_gives_1(capfd):
    assert await dynamic_place(WORKERS, "__doc__").wait() == 1
    assert "is no function" in capfd.readouterr().err


@pytest.mark.rtsync(workers=2)
async def test_a_start_that_is_a_generator_would_run_nothing_and_is_refused(capfd):
    for make in (place, place_context):
        with pytest.raises(TypeError, match=f"{make.__name__}: fn must be a function that is no generator"):
            make(workers.generates)
    assert await dynamic_place(WORKERS, "generates").wait() == 1
    assert "'generates' of the module" in capfd.readouterr().err


@pytest.mark.rtsync(workers=2)
async def test_an_end_sent_to_a_place_that_dies_before_it_receives_it_is_gone():
    p = start("never_listens")
    near, far = place_channel()
    p.put([near])
    del near
    far.put("to nobody")
    p.kill()
    assert await p.wait() == 1
    assert await sync(far, timeout=0.01, default="nothing") == "nothing"
    assert far._end.gone
    far.put("still to nobody")
    assert far.queued == (0, 0)


@pytest.mark.rtsync(workers=2)
async def test_a_place_that_closes_its_standard_streams_goes_on_and_ends_with_0():
    p = start("closes_its_streams")
    assert await p.put_get("x") == "x"
    assert await p.put_get([b"y" * 100_000]) == [b"y" * 100_000]
    p.put(None)
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_a_dozen_places_at_once():
    places = [start("echo") for _ in range(12)]
    for n, p in enumerate(places):
        p.put(n)
    assert [await p.get() for p in places] == list(range(12))
    for p in places:
        p.put(None)
    assert [await p.wait() for p in places] == [0] * 12


# -- forks ----------------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_a_place_that_forked_ends_although_its_child_lives():
    p = start("forks_and_ends")
    child = await p.get()
    try:
        assert await p.wait() == 0
        assert lives(child)
    finally:
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: not lives(child))


@pytest.mark.rtsync(workers=2)
async def test_the_child_of_a_fork_in_a_place_does_not_disturb_its_channels():
    p = start("forks_and_uses")
    p.put("for the place")
    assert await p.get() == 0
    assert await p.wait() == 0


def test_a_place_ends_with_its_creator_although_that_forked(program, tmp_path):
    out = tmp_path / "pids"
    program(
        f"""
        import os, signal, time, warnings
        import rtsync as rt
        from rtsync.place import dynamic_place

        warnings.simplefilter("ignore")

        def main():
            p = dynamic_place({WORKERS!r}, "sleeps")
            pid = rt.block_on(p.get())
            child = os.fork()
            if not child:
                for fd in (0, 1, 2):
                    os.close(fd)
                time.sleep(600)
                os._exit(0)
            with open({str(out)!r}, "w") as file:
                print(pid, child, file=file)
            os.kill(os.getpid(), signal.SIGKILL)

        rt.run(main)
        """,
        status=-signal.SIGKILL,
    )
    place, child = map(int, out.read_text().split())
    try:
        wait_until(lambda: not lives(place))
        assert lives(child)
    finally:
        os.kill(child, signal.SIGKILL)


# -- no room ---------------------------------------------------------------------------------------


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "shared memory is full")


@pytest.mark.rtsync(workers=2)
async def test_a_put_for_which_there_is_no_shared_memory_raises_and_sends_nothing(monkeypatch):
    one, other = place_channel()
    with monkeypatch.context() as patch:
        patch.setattr(Segment, "written", full)
        with pytest.raises(OSError, match="full"):
            one.put(bytes(1_000_000))
    one.put("next")
    assert await other.get() == "next"


@pytest.mark.rtsync(workers=2)
async def test_a_real_limit_on_the_size_of_files_raises_at_the_put(program):
    done = program(
        """
        import resource
        from rtsync import block_on
        from rtsync.place import place_channel

        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        one, other = place_channel()
        try:
            one.put(bytes(1_000_000))
        except OSError as error:
            print("refused")
        one.put(bytes(200_000))
        print(len(block_on(other.get())), other.try_get())
        """
    )
    assert done.stdout == "refused\n200000 None\n"


@pytest.mark.rtsync(workers=2)
async def test_queued_messages_wait_while_there_is_no_shared_memory(monkeypatch):
    one, other = place_channel()
    for n in range(1000):
        one.put((n, b"x" * 1000))
    large = bytes(200_000)
    with monkeypatch.context() as patch:
        patch.setattr(Segment, "written", full)
        one.put(large)  # there is a queue, so it waits in memory of this process
        for n in range(1000):
            assert (await other.get())[0] == n
        assert one.queued.messages == 1
    assert await other.get() == large


@pytest.mark.rtsync(workers=2)
async def test_what_a_place_has_not_got_rid_of_when_it_ends_waits_for_shared_memory_too():
    p = start("ends_while_memory_is_full")
    assert await p.wait() == 0
    assert [(await p.get())[0] for _ in range(400)] == list(range(400))


@pytest.mark.rtsync(workers=2)
async def test_messages_wait_while_the_system_has_no_descriptors_to_spare(monkeypatch):
    one, other = place_channel()
    real = packet_module._send
    refusals = deque([errno.ETOOMANYREFS, errno.ENOBUFS])

    def send(*args):
        try:
            refusals.rotate()
            error = refusals[0]
        except IndexError:
            real(*args)
        else:
            raise OSError(error, "no room")

    monkeypatch.setattr(packet_module, "_send", send)
    near, _far = place_channel()
    one.put([near])
    one.put("next")
    assert one.queued.messages == 2
    refusals.clear()
    assert await other.get() == [near]
    assert await other.get() == "next"


@pytest.mark.rtsync(workers=2)
async def test_a_message_whose_descriptors_do_not_fit_is_an_error_at_the_get_and_the_next_arrives(program):
    done = program(
        """
        import os, resource
        from rtsync import block_on
        from rtsync.place import place_channel

        one, other = place_channel()
        files = [open(os.devnull) for _ in range(100)]
        one.put(files)
        one.put("next")
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, 4096))
        try:
            block_on(other.get())
        except OSError as error:
            print("ulimit" in str(error))
        print(block_on(other.get()))
        for file in files:
            file.close()
        """
    )
    assert done.stdout == "True\nnext\n"


def test_a_program_that_lets_the_system_reap_its_children_still_gets_completion_values(program):
    done = program(
        f"""
        import signal
        import rtsync as rt
        from rtsync.place import dynamic_place

        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

        async def main():
            p = dynamic_place({WORKERS!r}, "exits")
            p.put(7)
            print(await p.wait())
            q = dynamic_place({WORKERS!r}, "never_listens")
            q.kill()
            print(await q.wait())

        rt.run(main)
        """
    )
    assert done.stdout == "7\n1\n"


def test_a_place_that_cannot_be_created_for_want_of_descriptors_leaves_nothing_behind(program):
    done = program(
        f"""
        import gc, os, resource, time, weakref
        import rtsync as rt
        from rtsync.place import dynamic_place_star

        def wait_for(holds):
            deadline = time.monotonic() + 60
            while not holds():
                assert time.monotonic() < deadline
                gc.collect()
                time.sleep(0.001)

        async def main():
            p, *ports = dynamic_place_star({WORKERS!r}, "returns", in_=None, out=None, err=None)
            await p.wait()
            for port in ports:
                port.close()
            gone = weakref.ref(p)
            del p, ports, port
            wait_for(lambda: gone() is None)
            before = len(os.listdir("/proc/self/fd"))
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            failures = 0
            for spare in range(1, 20, 3):
                resource.setrlimit(resource.RLIMIT_NOFILE, (before + spare, hard))
                try:
                    p, *ports = dynamic_place_star({WORKERS!r}, "sleeps", in_=None, out=None, err=None)
                except OSError:
                    failures += 1
                else:
                    p.kill()
                    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
                    await p.wait()
                    for port in ports:
                        port.close()
                    del p, ports, port
                resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
                wait_for(lambda: len(os.listdir("/proc/self/fd")) == before)
            print(failures > 1, failures < 7)

        rt.run(main, workers=2)
        """
    )
    assert done.stdout == "True True\n"


def test_a_wait_for_which_there_is_no_descriptor_goes_on_when_there_is(program):
    done = program(
        """
        import os, resource, threading
        import rtsync as rt
        from rtsync.place import place_channel

        one, other = place_channel()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        print(rt.block_on(rt.sync(other, rt.never, timeout=0.2)))
        got = []
        waiting = threading.Thread(target=lambda: got.append(rt.block_on(other.get())))
        waiting.start()
        while not other._end._waiters:
            pass
        one.put(1)
        for fd in taken:
            os.close(fd)
        waiting.join()
        print(got)
        """
    )
    assert done.stdout == "None\n[1]\n"


@pytest.mark.rtsync(workers=2)
async def test_a_place_whose_streams_cannot_be_pumped_is_not_left_behind(monkeypatch):
    def no_room(**options):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(streams, "Thread", no_room)
    with pytest.raises(RuntimeError, match="new thread"):
        dynamic_place_star(WORKERS, "sleeps", out=io.StringIO())


@pytest.mark.rtsync(workers=2)
async def test_a_place_whose_custodian_is_shut_down_while_it_starts_is_not_left_behind(monkeypatch):
    custodian = rt.Custodian()
    launch = LocalLocation.launch

    def launch_late(*args):
        body = launch(*args)
        custodian.shutdown_all()
        return body

    monkeypatch.setattr(LocalLocation, "launch", launch_late)
    with custodian, pytest.raises(rt.ContractError, match="has been shut down"):
        dynamic_place_star(WORKERS, "sleeps", out=None)
