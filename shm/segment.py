"""Segments: blocks of memory that processes share, and that are gone when the last of them lets go.

A segment is a file without a name in the system's shared-memory folder (``O_TMPFILE``). So it is the
kernel that counts who holds it: each process by a descriptor and by mappings, each message in flight
through a Unix socket by the descriptor that travels in it (``SCM_RIGHTS``). Whoever is last, whoever created
it and however they ended (SIGKILL too, all of them at once too), the memory is free at that moment. Nobody
has to unlink, so nobody can fail to, and the folder never lists anything of ours.
`multiprocessing.shared_memory` cannot do this: its segments have names from their creation on, which
outlive their processes, and for which a tracker process has to care.

Processes that are not connected find a segment by `Segment.name`, and that is how it is pickled: which
file it is (device and inode, on which boot of which kernel) and who held it (a process and its descriptor).
`attach` opens the descriptor's entry under ``/proc``, if that still is the same file, and else looks for
anybody of the same user who holds it. A name keeps nothing alive: whoever sends one holds the segment
until the other side has attached it. Messages that carry the descriptor itself need no such care:

    socket.send_fds(sock, [data], [segment.fileno()])       # may be dropped by the sender at once
    segment = Segment.from_fd(socket.recv_fds(...)[1][0])

A layer that sends vectors in its own messages therefore pickles with a ``reducer_override`` (or
``persistent_id``) for `Segment`, and only for that: vectors pickle as their class and their segment.
For buffers out of band (pickle protocol 5): ``Segment.copy_of(buffer)`` here, and there
``pickle.loads(data, buffers=[segment.view()])``; the view lives on without its segment and its descriptor.

Space is reserved when a segment is made, so a full folder is an `OSError` (``ENOSPC``) then, not a SIGBUS
at some write later. After that nothing here fails.

A process that forks shares what it holds with its child, as everything else in it.

On systems other than Linux the files are unlinked ones in the folder for temporary files, and
there are no names: segments go to other processes by descriptor only.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Buffer, Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from stat import S_ISREG
from typing import TYPE_CHECKING, Any
from weakref import finalize

try:  # what pickle takes them from: that imports much more
    from _pickle import PickleBuffer, PicklingError
except ImportError:
    from pickle import PickleBuffer, PicklingError

if TYPE_CHECKING:
    from mmap import mmap

_FOLDER = "/dev/shm"
_GONE = (FileNotFoundError, PermissionError, ProcessLookupError, NotADirectoryError)
_keepers: list[Callable[[], object]] = []
"""See `when_full`."""


class Segment:
    """A block of ``nbytes`` bytes, zero at first. ``memoryview(segment)`` is its contents.

    ``TypeError`` or ``ValueError`` for what is no size, ``OSError`` when the shared memory is full.
    """

    __slots__ = ("__weakref__", "_fd", "_map", "_nbytes")

    _fd: int
    _map: mmap | bytearray | None
    _nbytes: int

    def __init__(self, nbytes: int) -> None:
        check_size("Segment", "nbytes", nbytes)
        self._own(_filled(nbytes, lambda fd: _reserve(fd, nbytes)), nbytes)

    @classmethod
    def copy_of(cls, buffer: Buffer) -> Segment:
        """A new segment with the contents of ``buffer``, which must be contiguous.

        The one copy goes straight into the file: nothing is mapped here until somebody looks.
        """
        raw = PickleBuffer(memoryview(buffer)).raw()
        return cls.written([raw], raw.nbytes)

    @classmethod
    def written(cls, blocks: Iterable[memoryview], nbytes: int) -> Segment:
        """A new segment with the contents of ``blocks``, one after the other: ``nbytes`` bytes in all."""
        segment = cls.__new__(cls)
        segment._own(_filled(nbytes, lambda fd: _write(fd, blocks)), nbytes)
        return segment

    @classmethod
    def from_fd(cls, fd: int) -> Segment:
        """The segment whose `fileno` came here as ``fd``, which belongs to the segment from now on.

        ``ValueError``, and nothing has changed, for a descriptor of something else.
        """
        stat = os.fstat(fd)
        if not S_ISREG(stat.st_mode):
            raise ValueError(f"Segment.from_fd: fd must be the descriptor of a segment, got {fd!r}")
        os.set_inheritable(fd, False)
        segment = cls.__new__(cls)
        segment._own(fd, stat.st_size)
        return segment

    def _own(self, fd: int, nbytes: int) -> None:
        self._fd = fd
        self._map = None
        self._nbytes = nbytes
        # No __del__: a call into C, from a finalizer of the standard library, is made whole or not at all
        # when somebody is killing the thread in which it happens.
        finalize(self, os.close, fd).atexit = False

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return self._nbytes

    @property
    def name(self) -> str:
        """What other processes on this host `attach` it by, for as long as anybody holds it."""
        host = _host()
        if host is None:
            raise PicklingError("Segment: this system has no names for shared memory; send the descriptor")
        stat = os.fstat(self._fd)
        return f"{host}/{stat.st_dev}/{stat.st_ino}/{os.getpid()}/{self._fd}"

    def fileno(self) -> int:
        """The descriptor, which stays the segment's own. Send it to another process, or `os.dup` it."""
        return self._fd

    def view(self) -> memoryview[int]:
        """The contents as bytes, writable. It lives on when the segment is dropped."""
        mapped = self._map
        if mapped is None:
            from mmap import mmap  # not needed by a place that sees no shared memory

            # Two threads may come here together: two mappings of the same memory, and one is kept.
            size = self._nbytes
            mapped = self._map = mmap(self._fd, size, trackfd=False) if size else bytearray()
        return memoryview(mapped)

    def __buffer__(self, flags: int, /) -> memoryview[int]:
        return self.view()

    def __len__(self) -> int:
        return self._nbytes

    def __reduce__(self) -> tuple[Callable[[str], Segment], tuple[str]]:
        return attach, (self.name,)

    def __repr__(self) -> str:
        return f"<Segment of {self._nbytes} bytes>"


def attach(name: str) -> Segment:
    """The segment that a process of this host and this user holds, by its `Segment.name`.

    ``FileNotFoundError`` when nobody holds it any more, or when it is on another host.
    """
    try:
        host, *numbers = name.split("/")
        device, inode, pid, fd = map(int, numbers)
    except (AttributeError, TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise refuse("attach", "name", "the name of a segment", name, kind) from None
    if host != _host():
        raise FileNotFoundError(errno.ENOENT, "shared memory of another host, or from before a restart", name)
    identity = device, inode
    for path in _candidates(f"/proc/{pid}/fd/{fd}"):
        with suppress(*_GONE):
            if not _is(os.stat(path), identity):
                continue
            opened = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                # The number may have changed hands since we looked.
                if _is(os.fstat(opened), identity):
                    return Segment.from_fd(opened)
            except BaseException:
                os.close(opened)
                raise
            os.close(opened)
    raise FileNotFoundError(errno.ENOENT, "shared memory that no process holds any more", name)


def _is(stat: os.stat_result, identity: tuple[int, int]) -> bool:
    return (stat.st_dev, stat.st_ino) == identity


def _candidates(first: str) -> Iterator[str]:
    """Where a segment may be found: where it was when its name was made, then anywhere."""
    yield first
    for process in os.listdir("/proc"):
        if process.isdigit():
            folder = f"/proc/{process}/fd"
            with suppress(*_GONE):
                yield from [f"{folder}/{fd}" for fd in os.listdir(folder)]


@cache
def _host() -> str | None:
    """The boot of the kernel that we run on; ``None`` where there is no such thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return None


def _filled(nbytes: int, fill: Callable[[int], None]) -> int:
    """The descriptor of a new file without a name, once ``fill`` has given it its contents."""
    fd = _unnamed_file()
    try:
        if nbytes > _free(fd):
            for give_back in _keepers:
                give_back()
            if nbytes > _free(fd):
                raise _full(fd, nbytes)  # before it has taken from others all that there is
        try:
            fill(fd)
        except OSError as error:
            raise _full(fd, nbytes) if error.errno == errno.ENOSPC else error from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def when_full(give_back: Callable[[], object]) -> None:
    """Have ``give_back()`` called when there is too little room for a new segment, before that is an error.
    For who keeps memory that is not in use. Any OS thread, whatever it is doing."""
    _keepers.append(give_back)


def _free(fd: int) -> int:
    disk = os.fstatvfs(fd)
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else sys.maxsize


def _unnamed_file() -> int:
    if sys.platform == "linux":
        try:
            return os.open(_FOLDER, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EISDIR, errno.EOPNOTSUPP):
                raise
    import tempfile  # rarely needed, and it takes long

    with tempfile.TemporaryFile(dir=_FOLDER if os.path.isdir(_FOLDER) else None) as file:
        return os.dup(file.fileno())


def _reserve(fd: int, nbytes: int) -> None:
    if not nbytes:
        return
    if sys.platform != "darwin":
        os.posix_fallocate(fd, 0, nbytes)
    else:
        block = memoryview(bytes(1 << 20))
        _write(fd, (block[: nbytes - start] for start in range(0, nbytes, len(block))))


def _write(fd: int, blocks: Iterable[memoryview]) -> None:
    for block in blocks:
        done = 0
        while done < block.nbytes:
            done += os.write(fd, block[done:])


def _full(fd: int, nbytes: int) -> OSError:
    disk = os.fstatvfs(fd)
    free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    text = f"shared memory is full: {nbytes} bytes wanted, {free} of {size} are free"
    return OSError(errno.ENOSPC, text, _FOLDER)


def check_size(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no number of things."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(operation, argument, "a non-negative integer", value, TypeError)
    if value < 0:
        raise refuse(operation, argument, "a non-negative integer", value, ValueError)


def refuse(operation: str, argument: str, expected: str, got: object, kind: type[Exception]) -> Exception:
    """The error for one bad argument, to be raised by the caller."""
    return kind(f"{operation}: {argument} must be {expected}, got {got!r}")
