"""Places on the workers of a Dask cluster: two count primes, each in its half of a shared vector.

    pip install rtsync[dask]
    python examples/places_dask.py                            # a small cluster on this machine
    python examples/places_dask.py tcp://scheduler:8786       # yours; rtsync must be installed at its workers

On workers of this host the vector is shared; on others they get copies, so the count comes back in a message.
"""

import sys
from math import isqrt

from distributed import Client, LocalCluster

import rtsync as rt
from rtsync.place import PlaceChannel, place_context
from rtsync.place.dask import DaskLocation


async def count_primes(client: Client, limit: int) -> int:
    def work(channel: PlaceChannel) -> None:
        v, start, stop = rt.block_on(channel.get())
        view = memoryview(v)
        for n in range(start, stop):
            view[n] = n > 1 and all(n % d for d in range(2, isqrt(n) + 1))
        channel.put(sum(view[start:stop]))

    v = rt.SharedBytes(limit)
    at = DaskLocation(client)
    places = [place_context(work, at=at) for _ in range(2)]
    for number, place in enumerate(places):
        place.put((v, number * limit // 2, (number + 1) * limit // 2))
    counts = [await place.get() for place in places]
    for place in places:
        await place.wait()
    print("the places wrote into our vector" if any(v) else "the places had copies of our vector")
    return sum(counts)


def main(*address: str) -> None:
    if address:
        with Client(*address) as client:
            print(rt.run(count_primes, client, 20_000))
    else:
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            with Client(cluster) as client:
                print(rt.run(count_primes, client, 20_000))


if __name__ == "__main__":
    main(*sys.argv[1:])
