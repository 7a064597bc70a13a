"""Places on the workers of a Dask cluster: everything a place is, over a `Bridge`.

The cluster is a real one, of two worker processes, started once for this file.
"""

import io
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import rtsync as rt
from rtsync.place import PlaceEvent, dynamic_place, dynamic_place_star, place_channel, place_context

distributed = pytest.importorskip("distributed", reason="distributed is not installed (extra rtsync[dask])")

from rtsync.place.dask import DaskLocation  # noqa: E402

ROOT = Path(__file__).parents[2]
WORKERS = str(Path(__file__).with_name("dask_workers.py"))

# Starting the cluster counts for the first test, and Dask warns of this and that as it pleases.
pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def client():
    options = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def at(client):
    return DaskLocation(client)


def stat(pid):
    """The state of a process and its parent; none if there is no such process."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None, None
    return state, int(parent)


def parent(pid):
    return stat(pid)[1]


def lives(pid):
    return stat(pid)[0] not in (None, "Z", "X")


async def ended(pid):
    """Wait until the process is no more."""
    while lives(pid):
        await rt.sleep(0.01)


def run(main):
    return rt.run(main, workers=2)


def test_messages_go_to_and_fro_in_order(at):
    async def main():
        place = dynamic_place(WORKERS, "echo", at=at)
        messages = [*range(300), "text", None, {"a": (1, [2.5])}, b"x" * 200_000]
        for message in messages:
            place.put(message)
        assert [await place.get() for _ in messages] == messages
        place.put("end")
        assert await place.wait() == 0
        assert not place.running

    run(main)


def test_a_large_array_arrives(at):
    async def main():
        place = dynamic_place(WORKERS, "echo", at=at)
        a = numpy.random.default_rng(1).random(1_000_000)
        assert (await place.put_get(a) == a).all()
        place.kill()
        await place.wait()

    run(main)


@pytest.mark.parametrize(("start", "value"), [("exits", 7), ("fails", 1), ("dies", 128 + 9), ("missing", 1)])
def test_the_completion_value_comes_back(at, start, value):
    async def main():
        place, in_, out, err = dynamic_place_star(WORKERS, start, out=None, err=None, at=at)
        async with in_, out, err:
            assert await place.wait() == value
            return (await err.read_all()).decode()

    said = run(main)
    expected = {"fails": "LookupError: on purpose", "missing": "has no function 'missing'"}.get(start)
    assert expected in said if expected else said == ""


def test_a_module_that_is_not_there_is_reported_and_ends_the_place(at):
    async def main():
        place, in_, out, err = dynamic_place_star(
            "no_such_module_anywhere", "main", out=None, err=None, at=at
        )
        async with in_, out, err:
            assert await place.wait() == 1
            assert b"No module named 'no_such_module_anywhere'" in await err.read_all()

    run(main)


def test_streams_cross(at):
    async def main():
        place, in_, out, err = dynamic_place_star(WORKERS, "speaks", in_=None, out=None, err=None, at=at)
        async with in_, out, err:
            await in_.write(b"to in", flush=True)
            in_.close()
            assert await place.get() == "to in"
            assert await place.wait() == 0
            assert (await out.read_all(), await err.read_all()) == (b"to out\n", b"to err\n")

    run(main)


def test_output_and_error_may_go_the_same_way(at):
    async def main():
        place, _, out, err = dynamic_place_star(
            WORKERS, "speaks", in_=io.BytesIO(), out=None, err="stdout", at=at
        )
        async with out:
            assert err is None
            assert await place.get() == ""
            assert await place.wait() == 0
            assert sorted((await out.read_all()).split(b"\n")) == [b"", b"to err", b"to out"]

    run(main)


def test_nothing_is_lost_of_what_a_place_says_that_ends_at_once(at):
    async def main():
        place, _, out, _ = dynamic_place_star(WORKERS, "much", in_=io.BytesIO(), out=None, at=at)
        reader = rt.thread(out.read_all)
        assert [(await place.get())[0] for _ in range(2000)] == list(range(2000))
        assert await place.wait() == 0
        assert len(await reader.join()) == 300_000
        out.close()

    run(main)


def test_a_shared_vector_stays_shared_on_the_same_host(at):
    async def main():
        v = rt.SharedFxvector([1, 2])
        place = dynamic_place(WORKERS, "write_shared", at=at)
        place.put(v)
        assert await place.get() == "written"
        assert v == [42, 2]
        place.put("end")
        assert await place.wait() == 0

    run(main)


def test_ends_of_channels_cross_both_ways(at):
    async def main():
        place = dynamic_place(WORKERS, "over_an_end", at=at)
        mine, other = place_channel()
        place.put(other)
        theirs = await place.get()
        assert await mine.get() == "over yours"
        theirs.put("over mine")
        mine.put("back")
        assert await theirs.get() == "back"
        place.put("end")
        assert await place.wait() == 0

    run(main)


def test_a_place_is_an_event(at):
    async def main():
        place = dynamic_place(WORKERS, "echo", at=at)
        assert await rt.sync(place, timeout=0) is None
        place.put("message")
        assert await rt.sync(place, place.dead_evt()) == "message"
        place.put("end")
        assert await rt.sync(place, place.dead_evt()) is place.dead_evt()

    run(main)


@pytest.mark.parametrize(
    ("kind", "name"), [(None, "Break"), ("hang-up", "BreakHangUp"), ("terminate", "BreakTerminate")]
)
def test_a_break_reaches_it(at, kind, name):
    async def main():
        place = dynamic_place(WORKERS, "broken", at=at)
        assert await place.get() == "up"
        place.break_(kind)
        assert await place.get() == name
        assert await place.wait() == 0

    run(main)


def test_kill_ends_it_and_its_process(at):
    async def main():
        place = dynamic_place(WORKERS, "pid_and_wait", at=at)
        pid = await place.get()
        assert lives(pid)
        place.kill()
        assert await place.wait() == 1
        await ended(pid)

    run(main)


def test_a_place_that_has_no_worker_yet_can_be_killed(client):
    async def main():
        place = dynamic_place(WORKERS, "echo", at=DaskLocation(client, workers="no-such-worker"))
        assert await rt.sync(place.dead_evt(), timeout=0.1) is None
        place.kill()
        assert await place.wait() == 1

    run(main)


def test_its_custodian_ends_it(at):
    async def main():
        custodian = rt.Custodian()
        with custodian:
            place = dynamic_place(WORKERS, "pid_and_wait", at=at)
        pid = await place.get()
        custodian.shutdown_all()
        assert await place.wait() == 1
        await ended(pid)

    run(main)


def test_a_function_goes_there_with_what_it_closes_over(at):
    factor = 3

    async def triple(channel):
        channel.put(factor * await channel.get())

    async def main():
        place = place_context(triple, at=at)
        assert await place.put_get(14) == 42
        assert await place.wait() == 0

    run(main)


def test_its_events_are_logged_here_under_its_id(at, caplog):
    caplog.set_level(logging.DEBUG, "place")

    async def main():
        place = dynamic_place(WORKERS, "exits", at=at)
        await place.wait()
        return place.id

    number = run(main)
    events = [record.place_event for record in caplog.records if record.name == "place"]
    assert all(isinstance(event, PlaceEvent) for event in events)
    assert {("create", number), ("reap", number)} <= {(event.action, event.value) for event in events}
    assert {event.action for event in events if event.place_id == number} >= {"enter", "exit"}


def test_a_socket_cannot_be_sent_there(at):
    async def main():
        place = dynamic_place(WORKERS, "echo", at=at)
        with socket.socket() as sock:
            with pytest.raises(
                rt.ContractError, match=r"put: message\[0\]: .* cannot be sent to a place on another"
            ):
                place.put([sock])
        place.put("end")
        assert await place.wait() == 0

    run(main)


def test_places_run_on_the_workers_that_are_asked_for(client):
    address = sorted(client.scheduler_info()["workers"])[0]

    async def main():
        at = DaskLocation(client, workers=address)
        places = [dynamic_place(WORKERS, "pid_and_wait", at=at) for _ in range(3)]
        pids = [await place.get() for place in places]
        worker = client.run(os.getpid)[address]
        assert [parent(pid) for pid in pids] == [worker] * 3
        for place in places:
            place.put("end")
            assert await place.wait() == 0

    run(main)


def test_a_worker_that_is_lost_is_the_death_of_its_places_alone(client, capfd):
    one, other = sorted(client.scheduler_info()["workers"])

    async def main():
        victim = dynamic_place(WORKERS, "pid_and_wait", at=DaskLocation(client, workers=one))
        spared = dynamic_place(WORKERS, "echo", at=DaskLocation(client, workers=other))
        pid = await victim.get()
        assert await spared.put_get(1) == 1
        os.kill(client.run(os.getpid, workers=[one])[one], signal.SIGKILL)
        assert await victim.wait() == 1
        await ended(pid)
        assert await spared.put_get(2) == 2
        spared.put("end")
        assert await spared.wait() == 0

    run(main)
    assert "Dask worker is lost" in capfd.readouterr().err
    client.wait_for_workers(2, timeout=120)


def test_a_creator_that_is_killed_takes_its_places_with_it(client, tmp_path):
    program = tmp_path / "creator.py"
    program.write_text(
        f"""
import os, signal
import distributed
import rtsync as rt
from rtsync.place import dynamic_place
from rtsync.place.dask import DaskLocation

async def main():
    place = dynamic_place({WORKERS!r}, "pid_and_wait", at=DaskLocation(client))
    print(await place.get(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

client = distributed.Client({client.scheduler.address!r})
rt.run(main)
"""
    )
    done = subprocess.run(
        [sys.executable, program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)

    async def main():
        await ended(pid)

    run(main)


def test_a_closed_client_is_refused(client):
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()

    async def main():
        with pytest.raises(rt.ContractError, match="dynamic_place: the Dask client is closed"):
            dynamic_place(WORKERS, "echo", at=DaskLocation(other))

    run(main)


def test_a_client_that_is_closed_ends_its_places(client):
    other = distributed.Client(client.scheduler.address, set_as_default=False)

    async def main():
        place = dynamic_place(WORKERS, "pid_and_wait", at=DaskLocation(other))
        pid = await place.get()
        await rt.thread(other.close).join()
        assert await place.wait() == 1
        await ended(pid)

    run(main)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ((5,), "client"),
        ((None,), "client"),
        (("client", 5), "workers"),
        (("client", [5]), "workers"),
        (("client", None, 5), "resources"),
    ],
)
def test_what_is_no_location_is_refused(client, arguments, argument):
    given, *rest = arguments
    options = dict(zip(("workers", "resources"), rest, strict=False))
    with pytest.raises(TypeError, match=f"DaskLocation: {argument} must be "):
        DaskLocation(client if given == "client" else given, **options)
