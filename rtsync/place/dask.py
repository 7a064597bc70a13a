"""Places on the workers of a Dask cluster: ``dynamic_place(module, start, at=DaskLocation(client))``.

Needs `distributed` (``pip install rtsync[dask]``), here and at the workers, and rtsync at the workers.

For each place there is a Dask *actor* at one of the workers (which one is Dask's choice, or ``workers=``).
The actor's process starts the place as a process of its own, as `LocalLocation` does, and has one side of a
`Bridge` (see there); this process has the other. Frames cross as calls of the actor, so they go wherever the
cluster's own messages go, with its security: through the scheduler, or from the client to the worker if it
was made with ``Client(..., direct_to_workers=True)``, which is faster.

Calls are numbered. Dask may make one a second time when a connection breaks: ``put`` does nothing then, and
``get`` gives the same again.

**Ends.** The place's end is told by a frame, after everything that it has said and written. If the worker
is lost, or the scheduler, calls fail, and the place counts as ended, with the completion value 1. If the
creator is lost nobody calls any more: the actor ends the place when it is dropped by the scheduler, or at the
latest after `LEASE` seconds without a call. If the worker's process ends, the place's control socket closes.

The bridge outlives the place for as long as ends of channels that have crossed are in use.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from threading import Lock
from typing import Any, Final
from weakref import finalize

try:
    from distributed import Client
except ImportError as error:  # pragma: no cover
    raise ImportError("rtsync.place.dask needs the package distributed: pip install rtsync[dask]") from error

from rtsync.errors import ContractError, refuse
from shm import Segment, attach

from .bridge import CONTROL, ERR, OUT, Bridge, Frame, Link, Sink, Source, in_loop, report
from .local import LocalLocation
from .location import PlaceLocation
from .log import PlaceEvent
from .message import pack_own, unpack
from .packet import Packet, Pipe

PATIENCE: Final = 5.0
"""Seconds that a call waits at the worker for something to bring."""

LEASE: Final = 30.0
"""Seconds without a call after which the actor gives the creator up."""

_ids = count(1 << 32)  # no process has such a number, on whatever machine


class DaskLocation(PlaceLocation):
    """The workers of the cluster that ``client``, a `distributed.Client`, is connected to.

    ``workers`` (addresses or names, one or several) and ``resources`` say which of them, as in
    ``Client.submit``. A place there is like any other, with these differences: sockets and files cannot be
    sent to it; a shared vector that is sent to it is shared if the worker is on this host (and of this user),
    and else copied; the module must be importable at the worker; `Place.id` is no process id.

    ``TypeError`` for what is no client, ``ContractError`` by `dynamic_place` when it is closed.
    """

    remote = True

    def __init__(
        self,
        client: Client,
        *,
        workers: str | Iterable[str] | None = None,
        resources: dict[str, float] | None = None,
    ) -> None:
        if not isinstance(client, Client):
            raise refuse("DaskLocation", "client", "a distributed.Client", client, TypeError)
        if isinstance(workers, str):
            workers = [workers]
        names: list[Any] | None = list(workers) if isinstance(workers, Iterable) else None
        if workers is not None and (names is None or not all(isinstance(name, str) for name in names)):
            raise refuse("DaskLocation", "workers", "names or addresses of workers", workers, TypeError)
        if resources is not None and not isinstance(resources, dict):
            raise refuse("DaskLocation", "resources", "a dict or None", resources, TypeError)
        self._client = client
        self._options: dict[str, Any] = {"workers": names, "resources": resources}

    def launch(self, control: socket.socket, out: int, err: int, named: Any) -> DaskPlace:
        """See `PlaceLocation.launch`."""
        if self._client.status not in ("running", "connecting", "newly-created"):
            raise ContractError(f"dynamic_place: the Dask client is {self._client.status}")
        streams = {OUT: os.dup(out)}
        try:
            if err != out:
                streams[ERR] = os.dup(err)
            return DaskPlace(self._client, self._options, control, streams)
        except BaseException:
            for fd in streams.values():
                os.close(fd)
            raise


class DaskPlace:
    """The creator's side. See `rtsync.place.location.Body`."""

    def __init__(
        self, client: Client, options: dict[str, Any], control: socket.socket, streams: dict[int, int]
    ) -> None:
        self.id = next(_ids)
        self._client = client
        self._options = options
        self._control = Pipe(control.detach())
        self._streams = streams
        self._bridge: Bridge | None = None
        self._main: asyncio.Task[None] | None = None
        self._lock = Lock()
        self._killed = False
        self._over = False
        self._ended: Callable[[int | None], object] | None = None

    def watch(self, ended: Callable[[int | None], object]) -> None:
        """See `Body.watch`. The place begins now: before, there was nobody to be told."""
        self._ended = ended
        self._client.loop.add_callback(self._begin)

    def kill(self) -> None:
        """See `Body.kill`."""
        self._client.loop.add_callback(self._kill)

    # -- in the client's event loop --------------------------------------------------------------

    def _begin(self) -> None:
        self._main = asyncio.ensure_future(self._live())

    def _kill(self) -> None:
        self._killed = True
        if self._bridge is not None:
            self._bridge.say("kill")
        elif self._main is not None:
            self._main.cancel()  # it has no worker yet

    async def _live(self) -> None:
        future: Any = None
        try:
            future = self._client.submit(
                Remote, actor=True, pure=False, key=f"rtsync-place-{os.urandom(8).hex()}", **self._options
            )
            await self._cross(await future)
        except asyncio.CancelledError:
            if not self._killed:
                raise
        except Exception as error:
            if not self._over:
                report(f"the place's Dask worker is lost: {error!r}")
        finally:
            if self._bridge is not None:
                self._bridge.close()
            self._tell(None)
            self._control.close()
            for fd in self._streams.values():
                os.close(fd)
            if future is not None:
                with suppress(Exception):  # the client may be closed
                    future.release()

    async def _cross(self, actor: Any) -> None:
        probe = Segment(1)
        name = _name(probe)
        found = await actor.open(self.id, name, ERR in self._streams)
        loop = asyncio.get_running_loop()
        bridge = self._bridge = Bridge(loop, near=True, same_host=name is not None and _can_attach(found))
        Link(bridge, CONTROL, self._control).listen()
        while self._streams:
            Sink(bridge, *self._streams.popitem())
        if self._killed:
            bridge.say("kill")
        bridge.say("same host", bridge.same_host)
        giving = asyncio.ensure_future(self._give(actor, bridge))
        try:
            for number in count(1):
                for frame in pickle.loads(await actor.get(number)):
                    if frame[0] == "status":
                        self._ending(bridge, frame[1])
                    else:
                        bridge.heard(frame)
                if giving.done():
                    giving.result()
                if self._over and not bridge.links:
                    break
        finally:
            giving.cancel()

    async def _give(self, actor: Any, bridge: Bridge) -> None:
        for number in count(1):
            frames: list[Frame] = []
            while not frames:
                frames = await bridge.frames(LEASE)
            await actor.put(number, pickle.dumps(frames, 5))

    def _ending(self, bridge: Bridge, status: int | None) -> None:
        """The place has ended. Its creator is told when all that it has said is told and written."""
        waiting = [link for number in (CONTROL, OUT, ERR) if (link := bridge.links.get(number)) is not None]
        left = count(len(waiting) - 1, -1)

        def one_is_drained() -> None:
            if next(left) == 0:
                self._tell(status)

        for link in waiting:
            link.when_drained(one_is_drained)
        if not waiting:
            self._tell(status)

    def _tell(self, status: int | None) -> None:
        with self._lock:
            over, self._over = self._over, True
        if not over and self._ended is not None:
            self._ended(status)


def _name(segment: Segment) -> str | None:
    try:
        return segment.name
    except pickle.PicklingError:
        return None


def _can_attach(name: str | None) -> bool:
    if name is None:
        return False
    try:
        attach(name)
    except OSError:
        return False
    return True


# -- at the worker ---------------------------------------------------------------------------------


class Remote:
    """The actor. Its methods run in the worker's event loop; dropping it ends the place."""

    def __init__(self) -> None:
        self._session: Session | None = None

    async def open(self, place_id: int, probe: str | None, own_err: bool) -> str | None:
        """Start the place; ``probe`` is the name of a segment of the creator's. The name of one of ours if
        that could be attached here."""
        if self._session is None:
            self._session = Session(place_id, _can_attach(probe), own_err)
            finalize(self, in_loop, self._session.loop, self._session.close).atexit = False
        return self._session.probe_name

    async def put(self, number: int, frames: bytes) -> None:
        """Take frames."""
        self._opened().put(number, frames)

    async def get(self, number: int) -> bytes:
        """Give frames, as soon as there are some."""
        return await self._opened().get(number)

    def _opened(self) -> Session:
        if self._session is None or self._session.closed:
            raise RuntimeError("the place is no longer here")
        return self._session


class Session:
    """The worker's side of one place."""

    def __init__(self, place_id: int, same_host: bool, own_err: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self._place_id = place_id
        self._put = 0
        self._got = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._seen = self.loop.time()
        self._probe = Segment(1) if same_host else None
        self.probe_name = None if self._probe is None else _name(self._probe)
        self._bridge = Bridge(self.loop, near=False, same_host=same_host)
        near, far = Pipe.pair()
        pipes = [os.pipe() for _ in range(1 + own_err)]
        try:
            self._body = LocalLocation().launch(far, pipes[0][1], pipes[-1][1], None)
        finally:
            for _, write in pipes:
                os.close(write)
        self._control = ControlLink(self._bridge, CONTROL, near)
        self._control.session = self
        self._control.listen()
        self._sources: list[Source] = [
            Source(self._bridge, number, read) for number, (read, _) in zip((OUT, ERR), pipes, strict=False)
        ]
        self._body.watch(lambda status: in_loop(self.loop, self._over, status))
        self._look()

    def put(self, number: int, frames: bytes) -> None:
        """See `Remote.put`."""
        self._seen = self.loop.time()
        if number <= self._put:
            return
        self._put = number
        for frame in pickle.loads(frames):
            if frame[0] == "kill":
                self._body.kill()
            elif frame[0] == "same host":
                self._bridge.same_host = frame[1]
                self._probe = None
            else:
                self._bridge.heard(frame)

    async def get(self, number: int) -> bytes:
        """See `Remote.get`."""
        if number > self._got:
            self._got = number
            self._answer = asyncio.ensure_future(self._collected())
        assert self._answer is not None
        return await asyncio.shield(self._answer)

    async def _collected(self) -> bytes:
        self._seen = self.loop.time()
        frames = await self._bridge.frames(PATIENCE)
        self._seen = self.loop.time()
        return pickle.dumps(frames, 5)

    def said(self, raw: Packet | bytes) -> Packet | bytes | None:
        """What the place says on its control socket, as it is to be told to its creator."""
        message = unpack(raw)
        if message[0] == "rest":  # a message that it had no room for: to be sent on from here
            _, channel, packet = message
            channel._end.send(packet)
            return None
        if message[0] == "event":
            event: PlaceEvent = message[1]
            if event.place_id == self._body.id:
                return pack_own(("event", event._replace(place_id=self._place_id)))
        return raw

    def _over(self, status: int | None) -> None:
        """The process has ended."""
        if self.closed:
            return
        links: list[Link | Source] = [self._control, *self._sources]
        for link in links:
            while link.read_one():
                pass
        self._bridge.say("status", status)

    def _look(self) -> None:
        if not self.closed:
            if self.loop.time() - self._seen > LEASE:
                self.close()
            else:
                self.loop.call_later(LEASE / 4, self._look)

    def close(self) -> None:
        """Nobody cares for the place any more."""
        if not self.closed:
            self.closed = True
            self._body.kill()
            self._bridge.close()


class ControlLink(Link):
    """The control socket of a place at a worker."""

    session: Session

    def forward(self, raw: Packet | bytes) -> None:
        """See `Link.forward`."""
        with suppress(OSError):
            told = self.session.said(raw)
            if told is not None:
                super().forward(told)
