"""Two "hosts" on one machine, a Dask worker on the other one, and a place there. Run by test_two_hosts.

Each has its own network, processes and shared memory (Linux namespaces), and a cable to the other. By hand:

    unshare --map-root-user --net --mount python tests/place/two_hosts.py
"""

import os
import subprocess
import sys
from pathlib import Path

HERE, THERE = "10.77.0.1", "10.77.0.2"
WORKERS = str(Path(__file__).with_name("dask_workers.py"))

# The other host: its worker. Once the cable is there, which is plugged in from this side.
OTHER = f"""
mount -t tmpfs none /dev/shm &&
until ip link show there >/dev/null 2>&1; do sleep 0.05; done &&
ip link set lo up && ip addr add {THERE}/24 dev there && ip link set there up &&
exec "$@"
"""
WORKER = """
import asyncio, sys
from distributed import Worker

async def main():
    async with Worker(sys.argv[1], nthreads=1, dashboard=False) as worker:
        await worker.finished()

if __name__ == "__main__":
    asyncio.run(main())
"""


def shell(command):
    subprocess.run(command, shell=True, check=True)


def start_other_host():
    """Its first process, as seen from here, once there is a cable to it."""
    unshare = ["unshare", "--net", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]
    worker = [sys.executable, "-c", WORKER, f"tcp://{HERE}:8786"]
    other = subprocess.Popen([*unshare, "sh", "-c", OTHER, "sh", *worker])
    shell("ip link set lo up")
    # unshare(1) itself has the new network; its child is the new host's first process.
    while os.readlink(f"/proc/{other.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        pass
    shell(f"ip link add here type veth peer name there netns {other.pid}")
    shell(f"ip addr add {HERE}/24 dev here && ip link set here up")
    return other


def check(client):
    import numpy

    import rtsync as rt
    from rtsync.place import dynamic_place, place_channel
    from rtsync.place.dask import DaskLocation

    at = DaskLocation(client)

    async def main():
        place = dynamic_place(WORKERS, "echo", at=at)
        a = numpy.arange(500_000.0)
        assert (await place.put_get(a) == a).all()
        print("a large array crosses", flush=True)
        place.put("end")
        assert await place.wait() == 0

        v = rt.SharedFxvector([1, 2])
        place = dynamic_place(WORKERS, "write_shared", at=at)
        place.put(v)
        assert await place.get() == "written"
        assert v == [1, 2]
        print("a vector is copied", flush=True)
        place.put("end")
        assert await place.wait() == 0

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
        print("ends of channels cross", flush=True)

        place = dynamic_place(WORKERS, "pid_and_wait", at=at)
        await place.get()
        place.kill()
        assert await place.wait() == 1
        print("kill reaches it", flush=True)

        place = dynamic_place(WORKERS, "pid_and_wait", at=at)
        await place.get()
        shell("ip link set here down")
        assert await place.wait() == 1
        print("a pulled cable is its death", flush=True)

    rt.run(main)


def main():
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.comm.timeouts.tcp": "12s"})
    other = start_other_host()
    try:
        options = {"dashboard_address": None, "silence_logs": 60}
        with LocalCluster(n_workers=0, host=HERE, scheduler_port=8786, **options) as cluster:
            with Client(cluster) as client:
                client.wait_for_workers(1, timeout=60)
                check(client)
    finally:
        other.kill()
        other.wait()


if __name__ == "__main__":
    main()
