"""Racket Reference 11.5.1 (Using Places); SPEC §10: the life of a place. Each test starts a process or so."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

import rtsync as rt
from rtsync import ContractError, Custodian, block_on, sync
from rtsync.place import (
    LocalLocation,
    Place,
    PlaceChannel,
    PlaceLocation,
    dynamic_place,
    is_place_location,
    place,
    place_channel,
    place_context,
    place_enabled,
)

from .conftest import WORKERS, lives, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


def start(name, **options):
    return dynamic_place(WORKERS, name, **options)


# -- life ------------------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_a_place_runs_a_function_with_the_other_end_of_its_channel():
    p = start("echo")
    assert isinstance(p, Place)
    assert isinstance(p, PlaceChannel)
    assert p.running
    p.put(["hello", 1])
    assert await p.get() == ["hello", 1]
    dead = p.dead_evt()
    assert dead is p.dead_evt()
    assert await sync(dead, timeout=0, default="lives") == "lives"
    p.put(None)
    assert await p.wait() == 0
    assert await p.wait() == 0
    assert await sync(dead) is dead
    assert p.dead
    assert not p.running
    assert not lives(p.id)


@pytest.mark.rtsync(workers=2)
async def test_a_plain_function_runs_in_an_os_backed_main_thread():
    p = start("echo_plain")
    p.put("x")
    assert await sync(p) == "x"
    p.put(None)
    assert await p.wait() == 0


def test_a_place_can_be_created_and_used_in_an_os_thread_without_a_runtime():
    p = start("echo")
    p.put("x")
    assert block_on(p.get()) == "x"
    p.put(None)
    assert block_on(p.wait()) == 0


@pytest.mark.rtsync(workers=2)
async def test_inside_is_a_runtime_of_its_own_in_the_creators_surroundings():
    p = start("about")
    told = await p.get()
    assert told["pid"] == p.id != os.getpid()
    assert told["argv"] == sys.argv
    assert told["path"][1:] == sys.path
    assert told["threads"] == [0, 1, 4, 9]
    assert told["stdin"] == ""
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_a_module_is_found_by_its_name(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(WORKERS).parent))
    p = dynamic_place("workers", "returns", named="mine")
    assert p.name == "mine"
    assert await p.wait() == 0


# -- completion values -----------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_the_completion_value_is_what_exit_was_given_if_it_is_one():
    values = {5: 5, 0: 0, 255: 255, 256: 0, -1: 0, None: 0, 2.5: 0}
    places = {given: start("exits") for given in values}
    for given, p in places.items():
        p.put(given)
    assert {given: await p.wait() for given, p in places.items()} == values


@pytest.mark.rtsync(workers=2)
async def test_what_was_written_to_a_file_that_is_left_open_is_there(tmp_path):
    p = start("leaves_a_file_open")
    p.put(str(tmp_path / "file"))
    assert await p.wait() == 0
    assert (tmp_path / "file").read_text() == "written"


@pytest.mark.rtsync(workers=2)
async def test_an_uncaught_exception_is_reported_and_gives_1(capfd):
    p = start("fails", named="unlucky")
    assert await p.wait() == 1
    err = capfd.readouterr().err
    assert "uncaught exception in place unlucky" in err
    assert "ValueError: on purpose" in err


@pytest.mark.rtsync(workers=2)
async def test_a_process_that_leaves_by_itself_gives_its_status():
    assert await start("exits_hard").wait() == 9


@pytest.mark.rtsync(workers=2)
async def test_a_signal_gives_128_plus_its_number():
    places = {number: start("killed_by") for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV)}
    for number, p in places.items():
        p.put(int(number))
    assert {number: await p.wait() for number, p in places.items()} == {n: 128 + n for n in places}


@pytest.mark.rtsync(workers=2)
async def test_a_termination_signal_arrives_as_a_break_and_gives_143(capfd):
    p = start("breakable")
    await p.get()
    os.kill(p.id, signal.SIGTERM)
    assert await p.wait() == 143


# -- kill and break --------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_kill_ends_it_with_1():
    begun, fresh = start("sleeps"), start("never_listens")
    pid = await begun.get()
    begun.kill()
    assert begun.dead
    assert not lives(pid)
    fresh.kill()
    begun.kill()
    assert await begun.wait() == 1
    assert await fresh.wait() == 1
    begun.kill()
    begun.break_()
    begun.put("dropped")


@pytest.mark.rtsync(workers=2)
async def test_killing_what_has_ended_keeps_its_value():
    p = start("exits")
    p.put(7)
    await sync(p.dead_evt())
    p.kill()
    assert await p.wait() == 7


@pytest.mark.rtsync(workers=2)
async def test_exit_in_any_thread_of_a_place_ends_it():
    for name, value in ("exits_in_a_thread", 7), ("exits_in_an_os_thread", 8):
        p = start(name)
        assert await p.wait() == value
        assert p.try_get() == "cleaned up"


@pytest.mark.rtsync(workers=2)
@pytest.mark.parametrize("name", ["computes", "computes_plainly"])
async def test_a_main_thread_that_computes_can_be_broken(name):
    p = start(name)
    assert await p.get() == "ready"
    p.break_("hang-up")
    assert await p.wait() == 0
    assert await p.get() == "BreakHangUp"


@pytest.mark.rtsync(workers=2)
async def test_breaks_of_all_kinds_reach_the_main_thread():
    p = start("says_breaks")
    assert await p.get() == "ready"
    for kind, name in ((None, "Break"), ("hang-up", "BreakHangUp"), ("terminate", "BreakTerminate")):
        p.break_(kind)
        assert await p.get() == name
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_a_break_before_it_has_begun_is_not_lost():
    p = start("breakable")
    p.break_("terminate")
    assert await p.wait() == 143


@pytest.mark.rtsync(workers=2)
async def test_ctrl_c_in_the_terminal_is_the_creators_business():
    p = start("echo")
    assert await p.put_get("ready") == "ready"
    os.kill(p.id, signal.SIGINT)
    assert await p.put_get("still here") == "still here"
    p.put(None)
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_ctrl_c_does_not_disturb_a_place_that_is_only_starting():
    p = start("echo")
    os.kill(p.id, signal.SIGINT)
    assert await p.put_get("here") == "here"
    p.put(None)
    assert await p.wait() == 0


# -- custodians and the creator's end --------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_the_shutdown_of_its_custodian_kills_a_place():
    custodian = Custodian()
    with custodian:
        p = start("sleeps")
    assert p in custodian.managed_list()
    custodian.shutdown_all()
    assert p.dead
    assert await p.wait() == 1
    with custodian, pytest.raises(ContractError, match="dynamic_place: the current custodian has been shut"):
        start("sleeps")


def test_a_place_ends_with_the_run_that_created_it():
    pids = []

    async def main():
        p = start("sleeps")
        pids.append(await p.get())

    rt.run(main, workers=2)
    assert not lives(pids[0])


def test_a_place_and_its_places_end_when_the_creator_is_killed(program, tmp_path):
    out = tmp_path / "pids"
    program(
        f"""
        import os, signal
        import rtsync as rt
        from rtsync.place import dynamic_place

        async def main():
            p = dynamic_place({WORKERS!r}, "creates")
            with open({str(out)!r}, "w") as file:
                print(*await p.get(), file=file)
            os.kill(os.getpid(), signal.SIGKILL)

        rt.run(main)
        """,
        status=-signal.SIGKILL,
    )
    pids = [int(pid) for pid in out.read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(lives, pids)))


def test_waiting_for_a_message_of_a_place_is_a_deadlock_once_that_has_ended(program):
    done = program(
        f"""
        import rtsync as rt
        from rtsync.place import dynamic_place

        async def main():
            p = dynamic_place({WORKERS!r}, "exits")
            never = rt.Channel()
            waits = rt.thread(never.get)
            p.put(3)
            print(await p.wait())
            await p.get()

        try:
            rt.run(main, workers=2)
        except rt.Deadlock:
            print("deadlock")
        """
    )
    assert done.stdout == "3\ndeadlock\n"


@pytest.mark.rtsync(workers=2)
async def test_a_place_that_only_its_creator_can_break_is_not_deadlocked():
    p = start("waits_for_a_break")
    assert await p.get() == "ready"
    await rt.sleep(0.2)  # longer than it takes to go idle; a deadlock would have been found by then
    assert p.running
    p.break_()
    assert await p.get() == "Break"
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_a_place_that_waits_with_breaks_disabled_for_what_cannot_happen_is_deadlocked():
    p = start("waits_for_nothing")
    assert await p.get() == "Deadlock"
    assert await p.wait() == 0


# -- functions -------------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_place_context_sends_a_function_with_what_it_closes_over():
    near, far = place_channel()
    number, text = 5, ["a"]

    def helper(value):
        return value * 2

    async def body(channel):
        near.put([helper(number), text])
        channel.put(await channel.get())

    p = place_context(body)
    p.put("x")
    assert await p.get() == "x"
    assert await far.get() == [10, ["a"]]
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_place_context_coerces_as_messages_do():
    data = bytearray(b"abc")

    def tell(channel, default=bytearray(b"d")):  # noqa: B008
        channel.put([type(data) is bytes, type(default) is bytes, data + default])

    p = place_context(tell)
    assert await p.get() == [True, True, b"abcd"]
    await p.wait()


@pytest.mark.rtsync(workers=2)
async def test_place_context_refuses_free_variables_that_are_not_allowed_as_messages():
    import threading

    lock = {"a": [threading.Lock()]}

    def body(channel):
        return lock

    with pytest.raises(
        ContractError, match=r"the free variable lock\['a'\]\[0\]: threading.Lock cannot be sent"
    ):
        place_context(body)
    with pytest.raises(TypeError, match="place_context: fn must be a function"):
        place_context(5)


@pytest.mark.rtsync(workers=2)
async def test_place_refuses_a_function_that_another_process_cannot_import():
    async def local(channel):
        pass

    for fn in (local, lambda channel: None):
        with pytest.raises(ContractError, match=r"place: .* place_context"):
            place(fn)
    with pytest.raises(TypeError, match="place: fn must be a function"):
        place(5)


@pytest.mark.rtsync(workers=2)
async def test_only_what_place_context_takes_is_referred_to_it():
    with pytest.raises(ContractError, match=r"not a function of a module that another process can import$"):
        place(partial(print, end=""))


def test_a_class_method_of_the_main_program_works(program):
    done = program(
        """
        import rtsync as rt
        from rtsync.place import place

        class Worker:
            @classmethod
            async def main(cls, channel):
                channel.put(cls.__name__)

        async def main():
            print(await place(Worker.main).get())

        if __name__ == "__main__":
            rt.run(main)
        """
    )
    assert done.stdout == "Worker\n"


def test_functions_and_classes_of_the_main_program_work(program):
    done = program(
        """
        from dataclasses import dataclass
        import rtsync as rt
        from rtsync.place import place, place_star

        @dataclass(frozen=True)
        class Point:
            x: int

        async def swap(channel):
            point = await channel.get()
            channel.put([point, Point(point.x + 1), __name__])

        async def main():
            p = place(swap)
            p.put(Point(1))
            print(await p.get(), await p.wait())

        if __name__ == "__main__":
            rt.run(main)
        """
    )
    assert done.stdout == "[Point(x=1), Point(x=2), '__mp_main__'] 0\n"


# -- channels between places -----------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_places_talk_to_each_other_through_ends_that_they_were_sent():
    a, b = start("echo"), start("passes_on")
    near, far = place_channel()
    b.put(near)
    for n in range(100):
        b.put(n)
    assert [await far.get() for _ in range(100)] == list(range(100))
    a.put([far, near, a])
    back = await a.get()
    assert back[:2] == [far, near]
    assert back[2] != a  # a place descriptor arrives as a place channel
    assert isinstance(back[2], PlaceChannel)
    assert not isinstance(back[2], Place)
    back[0].put("by the copy")
    assert await near.get() == "by the copy"
    a.put(None)
    b.put(None)
    assert [await a.wait(), await b.wait()] == [0, 0]


@pytest.mark.rtsync(workers=2)
async def test_two_places_that_hold_the_same_end_share_its_messages():
    a, b = start("takes_one"), start("takes_one")
    near, far = place_channel()
    a.put(near)
    b.put(near)
    far.put("one")
    far.put("two")
    assert {await a.get(), await b.get()} == {"one", "two"}
    for p in (a, b):
        p.put(None)
        assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_all_that_a_place_has_put_arrives_although_it_has_ended():
    p = start("floods")
    assert await p.wait() == 0
    for n in range(20_000):
        assert (await p.get())[0] == n
    assert await p.get() == bytes(1 << 20)
    near = await p.get()
    assert await near.get() == "through a channel that was sent last"


@pytest.mark.rtsync(workers=2)
async def test_a_channel_made_in_a_place_that_then_ends_goes_on():
    p = start("gets_channel_and_ends")
    near, far = place_channel()
    p.put(near)
    del near
    assert await p.wait() == 0
    assert await far.get() == "first"
    theirs = await far.get()
    assert await theirs.get() == "later"


@pytest.mark.rtsync(workers=2)
async def test_arrays_and_shared_vectors_cross():
    import numpy as np

    from shm import SharedFxvector

    p, q = start("sums_array"), start("writes_shared")
    array = np.arange(1_000_000.0)
    p.put(array)
    assert await p.get() == float((array + 1).sum())
    assert ((await p.get()) == array + 1).all()
    vector = SharedFxvector(1000)
    q.put(vector)
    assert await q.get() == "done"
    assert list(vector) == [2 * n for n in range(1000)]
    await p.wait()
    await q.wait()


@pytest.mark.rtsync(workers=2)
async def test_sockets_and_files_cross(tmp_path):
    import socket

    path = tmp_path / "file"
    p, q = start("sends_by_socket"), start("writes_file")
    left, right = socket.socketpair()
    with left, right, open(path, "w") as file:  # noqa: ASYNC230
        p.put(left)
        file.write("first line\n")
        q.put(file)
        assert await q.get() == "written"
        await p.wait()
        assert right.recv(100) == b"hello"
        await q.wait()
    assert path.read_text() == "first line\nsecond line\n"


# -- locations -------------------------------------------------------------------------------------


@pytest.mark.rtsync(workers=2)
async def test_a_place_location_is_asked_to_create_the_place():
    asked = []

    class Elsewhere(PlaceLocation):
        def dynamic_place(self, module, start, named=None):
            asked.append((module, start, named))
            return super().dynamic_place(module, start, named)

        def launch(self, control, out, err, named):
            return LocalLocation().launch(control, out, err, named)

    location = Elsewhere()
    assert is_place_location(location)
    assert not is_place_location(5)
    p = dynamic_place(WORKERS, "returns", at=location, named="n")
    assert asked == [(WORKERS, "returns", "n")]
    assert await p.wait() == 0
    with pytest.raises(TypeError, match="at must be a place location"):
        dynamic_place(WORKERS, "returns", at=5)


@pytest.mark.rtsync(workers=2)
async def test_what_cannot_go_to_another_machine_is_refused_there():
    import socket

    from rtsync.place.channel import end_pair

    one, _ = map(PlaceChannel, end_pair(remote=True))
    with socket.socket() as sock, pytest.raises(ContractError, match=r"message\[0\]: .*another machine"):
        one.put([sock])
    one.put(list(place_channel()))


# -- misuse ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((5, "f"), TypeError, "dynamic_place: module must be"),
        (("not a name!", "f"), ValueError, "dynamic_place: module must be"),
        (("", "f"), ValueError, "dynamic_place: module must be"),
        (("m", 5), TypeError, "dynamic_place: start must be"),
        (("m", "no name"), ValueError, "dynamic_place: start must be"),
        (("m", ""), ValueError, "dynamic_place: start must be"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_started(args, error, text):
    with pytest.raises(error, match=text):
        dynamic_place(*args)


def test_a_bad_kind_of_break_is_refused():
    p = start("sleeps")
    with pytest.raises(ValueError, match="kind must be None, 'hang-up' or 'terminate'"):
        p.break_("hard")
    p.kill()
    block_on(p.wait())


def test_places_are_enabled_here():
    assert place_enabled()


def test_waiting_for_a_place_needs_a_runtime_or_block_on():
    p = dynamic_place(WORKERS, "returns")
    waiting = p.wait()
    with pytest.raises(rt.NoRuntime, match=r"^Place\.wait: no rtsync runtime"):
        waiting.send(None)
    assert rt.block_on(p.wait()) == 0
