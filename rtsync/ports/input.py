"""Input ports: bytes underneath, lines and text on top.

The buffer holds what was read from the source and not yet taken from the port. It is a ``bytes`` as it came
from the kernel as long as that is possible, so that a message which is read as it arrives is never copied.

Source: Racket Reference 13.2 (Byte and string input), 13.1.11 (Port events).
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from inspect import markcoroutinefunction
from os import read
from typing import Any, Final

from rtsync.current import let_go
from rtsync.errors import check_count, refuse
from rtsync.evt import Evt
from rtsync.waiter import NOT_READY, RETRY
from scheduler import NoRuntime, Parking, direct, here, poller_here
from scheduler.poller import READ, Enrolment
from scheduler.timers import FAR

from .descriptor import Descriptor
from .ends import end_of
from .errors import EOF, Eof, Failed, LineTooLong, given
from .lines import finder
from .port import PortEvt, Request, check_encoding, performing
from .timeouts import TimedPort, TimedRequest

LEAST_READ: Final = 1 << 14
MOST_READ: Final = (1 << 17) - 64
"""Bytes asked of the kernel at once: from the one to the other as long as it fills what we ask for. Blocks of
up to 128 KiB stay with the allocator when they are freed; larger ones go back to the system, and four page
faults for each message of 100 KiB cost as much as all the rest of receiving it."""

_COMPACT: Final = 1 << 16
"""Bytes already taken that may stay at the front of a growing buffer."""


class InputPort(TimedPort["InputPort"]):
    """A source of bytes. As an event: ready when reading would not block, with itself as the result.

    ``async for line in port`` gives the lines as text; ``with port`` and ``async with port`` close it.
    Made by `open_input`, `tcp_connect`, `pipe` and others.

    Every reading operation is all or nothing: a thread that is killed or broken in one has consumed what it
    asked for, or not a byte. Several threads may read; each gets whole lines or blocks.
    Source: Racket Reference, ``input-port?``.
    """

    __slots__ = (
        "_buffer",
        "_calm",
        "_deadline",
        "_ended_input",
        "_enrolment",
        "_key",
        "_pos",
        "_size",
        "_start",
    )

    _what = READ
    _kind = "input port"
    _public = "InputPort"

    def __init__(
        self, source: Any, name: str | None = None, *, encoding: str = "utf-8", errors: str = "replace"
    ) -> None:
        """Reads from ``source``: a descriptor or a socket, which becomes the port's, a file object, or bytes.
        ``encoding`` and ``errors`` say how lines become text.

        A port over a descriptor belongs to the current custodian, which closes it when it is shut down."""
        check_encoding("InputPort", encoding, errors)
        end, name = end_of("InputPort", source, name, True)
        super().__init__(end, name, encoding, errors)
        if isinstance(end, Descriptor):
            end.reader = self
        self._buffer: Any = b""  # bytes, or a bytearray once something had to be put together
        self._start = 0  # where in it what was not taken begins
        self._pos = 0  # bytes taken out of the buffer since the beginning
        self._size = LEAST_READ
        self._ended_input = False
        self._enrolment: Enrolment | None = (
            None  # of a plain descriptor, in a poller that tells again and again
        )
        self._key = -1  # of the workers that this poller serves
        # The same as long as we know that nothing is there, nobody stands in the queue and trying makes no
        # sense: for them there is a short way to wait. Else -1.
        self._calm = -1
        self._deadline = FAR  # of the one who waits in `_quick`
        if end is not source:
            self._adopt()

    # -- operations ----------------------------------------------------------------------------------

    @markcoroutinefunction
    def read_bytes_avail(self, n: int = MOST_READ) -> Coroutine[Any, Any, bytes | Eof]:
        """Wait for at least one byte, and take as many as are there, at most ``n``; `EOF` at the end.

        Source: Racket Reference, ``read-bytes-avail!``."""
        if n is not MOST_READ:
            check_count("read_bytes_avail", "n", n, 1)
        return self._read_bytes_avail(n)

    @markcoroutinefunction
    def read_bytes(self, n: int) -> Coroutine[Any, Any, bytes | Eof]:
        """Wait for ``n`` bytes, or what is left before the end; `EOF` if that is nothing.

        Source: Racket Reference, ``read-bytes``."""
        check_count("read_bytes", "n", n)
        return self._read_bytes(Bytes(self, n))  # type: ignore[no-any-return]

    @markcoroutinefunction
    def read_all(self) -> Coroutine[Any, Any, bytes]:
        """Wait for the end, and take everything before it; ``b""`` if that is nothing.

        Source: Racket Reference, ``port->bytes``."""
        return self._read_all(All(self))  # type: ignore[no-any-return]

    @markcoroutinefunction
    def read_line(
        self, mode: str = "linefeed", *, limit: int | None = None
    ) -> Coroutine[Any, Any, str | Eof]:
        """Wait for a line; its text without what ended it, or `EOF`. What stands before the end of the input
        is a line too.

        ``mode``: ``'linefeed'``, ``'return'``, ``'return-linefeed'``, ``'any'`` (each of these) or
        ``'any-one'`` (a return and a linefeed end one line each). ``limit``: bytes that a line may have;
        `LineTooLong` if it has more, with nothing consumed.
        Source: Racket Reference, ``read-line``."""
        return self._read_line(Line("read_line", self, mode, limit, True))  # type: ignore[no-any-return]

    @markcoroutinefunction
    def read_bytes_line(
        self, mode: str = "linefeed", *, limit: int | None = None
    ) -> Coroutine[Any, Any, bytes | Eof]:
        """`read_line` without decoding. Source: Racket Reference, ``read-bytes-line``."""
        return self._read_bytes_line(Line("read_bytes_line", self, mode, limit, False))  # type: ignore[no-any-return]

    @markcoroutinefunction
    def peek(self, n: int, skip: int = 0) -> Coroutine[Any, Any, bytes | Eof]:
        """Wait for ``n`` bytes that come after the next ``skip``, or for the end; they stay in the port.

        Source: Racket Reference, ``peek-bytes``."""
        check_count("peek", "n", n)
        check_count("peek", "skip", skip)
        return self._peek(Peek(self, n, skip))  # type: ignore[no-any-return]

    def buffered(self) -> int:
        """Bytes that have been received and not yet taken."""
        return len(self._buffer) - self._start

    @direct
    def _read_bytes_avail(self, n: int) -> Generator[Parking, Any, Any]:
        # What `performing` does, with the usual case first: nothing is there, and nobody else waits.
        lock = self._lock
        while True:
            lock.acquire()
            try:
                try:
                    driver = here.driver
                except AttributeError:
                    raise NoRuntime("read_bytes_avail") from None
                waiter: list[Any] = []
                if (driver.key != self._calm and not self._calms(driver)) or self._quick or n != MOST_READ:
                    value = self._look_for(n, waiter)
                    if value is not NOT_READY:
                        break
                else:
                    self._quick = waiter
                    self._enrolment.reader = self  # type: ignore[union-attr]
                    if self._timeout is not None:
                        self._deadline = deadline = driver.clock() + self._timeout
                        armed = self._armed.get(driver.timers)
                        if armed is None or deadline < armed[0]:
                            self._arm(driver.timers, deadline)
            except BaseException:
                lock.release()
                raise
            try:
                value = yield waiter, lock
            except BaseException:
                let_go(waiter, lock)
                self._left()
                raise
            if type(value) is bytes:
                return value
            if value is not RETRY:
                return given(value)
            if self._queue:  # else it was `on_data` that had us try again
                self._left()
        lock.release()
        return value if type(value) is bytes else given(value)

    def _calms(self, driver: Any) -> bool:
        """Whether the short way to wait is open for the worker ``driver``. Holds _lock."""
        if driver.key != self._key or self._ready or self._buffer or self._queue:
            return False
        self._calm = driver.key
        return True

    def _look_for(self, n: int, waiter: list[Any]) -> Any:
        """Take at most ``n`` bytes, or have ``waiter`` wait for them. Holds _lock."""
        if n >= self._size and not (self._buffer or self._queue or self._quick):
            data = self._grab()
            if data is not None:
                return data
        request = Avail(self, n)
        value = request._poll()
        if value is NOT_READY:
            self._enqueue(waiter, None, request)
        return value

    _read_bytes = performing("InputPort.read_bytes")
    _read_all = performing("InputPort.read_all")
    _read_line = performing("InputPort.read_line")
    _read_bytes_line = performing("InputPort.read_bytes_line")
    _peek = performing("InputPort.peek")
    _handshake = performing("start_tls")

    # -- the same as events --------------------------------------------------------------------------

    def read_bytes_avail_evt(self, n: int = MOST_READ) -> Evt[bytes | Eof]:
        """`read_bytes_avail` as an event. Source: Racket Reference, ``read-bytes-avail!-evt``."""
        check_count("read_bytes_avail_evt", "n", n, 1)
        return PortEvt(Avail(self, n))

    def read_bytes_evt(self, n: int) -> Evt[bytes | Eof]:
        """`read_bytes` as an event. Source: Racket Reference, ``read-bytes-evt``."""
        check_count("read_bytes_evt", "n", n)
        return PortEvt(Bytes(self, n))

    def read_all_evt(self) -> Evt[bytes]:
        """`read_all` as an event."""
        return PortEvt(All(self))

    def read_line_evt(self, mode: str = "linefeed", *, limit: int | None = None) -> Evt[str | Eof]:
        """`read_line` as an event. Source: Racket Reference, ``read-line-evt``."""
        return PortEvt(Line("read_line_evt", self, mode, limit, True))

    def read_bytes_line_evt(self, mode: str = "linefeed", *, limit: int | None = None) -> Evt[bytes | Eof]:
        """`read_bytes_line` as an event. Source: Racket Reference, ``read-bytes-line-evt``."""
        return PortEvt(Line("read_bytes_line_evt", self, mode, limit, False))

    def peek_evt(self, n: int, skip: int = 0) -> Evt[bytes | Eof]:
        """`peek` as an event. Source: Racket Reference, ``peek-bytes-evt``."""
        check_count("peek_evt", "n", n)
        check_count("peek_evt", "skip", skip)
        return PortEvt(Peek(self, n, skip))

    def eof_evt(self) -> Evt[Eof]:
        """An event ready when the input is at its end, with `EOF` as the result.

        Source: Racket Reference, ``eof-evt``."""
        return PortEvt(AtEnd(self))

    # -- closing -------------------------------------------------------------------------------------

    def close(self) -> Done:
        """Close it; what was not read is lost, and who waits gets `PortClosed`. Any OS thread. Never blocks;
        the result may be awaited, for symmetry with output ports.

        Source: Racket Reference, ``close-input-port``."""
        if not self._later(self.close) and self._shut():
            with self._lock:
                self._buffer = b""
                self._start = 0
                self._end.close_read()
        return DONE

    def abort(self) -> None:
        self.close()

    def abandon(self) -> Done:
        """`close`: for an input port the other end learns of neither.

        Source: Racket Reference, ``tcp-abandon-port``."""
        return self.close()

    def __enter__(self) -> InputPort:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> InputPort:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> InputPort:
        return self

    async def __anext__(self) -> str:
        line = await self.read_line()
        if line is EOF:
            raise StopAsyncIteration
        return line

    # -- the buffer; all hold _lock --------------------------------------------------------------------

    def _request(self) -> Request:
        return Readable(self)

    def _grab(self) -> bytes | None:
        """Read a block that need not go through the buffer, which is empty: or ``None``."""
        if not self._ready or self._fd < 0 or self._ended_input or self._error is not None:
            return None
        size = self._size
        try:
            data = read(self._fd, size)
        except BlockingIOError:
            self._ready = False
            return None
        except Exception as error:
            self._error = Failed(error)
            return None
        if len(data) < size:
            if not data:
                self._ended_input = True
                return None
            if not self._look_closely:
                self._ready = False
        elif size < MOST_READ:
            self._size = min(size * 4, MOST_READ)
        return data

    def on_ready(self, look_closely: bool) -> None:
        if look_closely:
            with self._lock:
                self._look_closely = True
        task = self.on_data()
        if task is not None:
            task.ready()

    def on_data(self) -> Any:
        """See `scheduler.poller.Reader`."""
        lock = self._lock
        lock.acquire()
        waiter = self._quick
        if waiter:
            # The usual case of `_serve`, at a tenth of its time.
            size = self._size
            data: Any
            if size > LEAST_READ:
                # Much comes here: its thread may read for itself. Who polls does not read for all then, and
                # what is read is warm in the caches of who uses it.
                data = RETRY
                self._ready = True
                self._calm = -1
            else:
                try:
                    data = read(self._fd, size)
                except BlockingIOError:
                    self._ready = False
                    lock.release()
                    return None
                except Exception as error:
                    data = b""
                    self._error = Failed(error)
                if len(data) == size:
                    self._ready = True
                    self._calm = -1
                    self._size = size * 4
                elif self._look_closely:
                    self._ready = True
                    self._calm = -1
            if data:
                try:
                    task = waiter.pop()
                except IndexError:  # it has just been stopped: the data is for the next one
                    if data is not RETRY:
                        self._put(data)
                else:
                    self._enrolment.reader = None  # type: ignore[union-attr]
                    lock.release()
                    task.value = data
                    return task
            elif self._error is None:
                self._ended_input = True
            if waiter:
                self._quick_to_queue()
        self._ready = True
        self._calm = -1
        if self._queue:
            self._serve()
            if self._held:
                self._want_again()
        lock.release()
        return None

    def _quick_to_queue(self) -> None:
        """A thread that takes whatever comes, at a plain descriptor that nobody else waits for, is the usual
        case. Its waiter stands in ``_quick`` instead of the queue then: all that `on_data` would have to
        check is known. For as long as it lives there, the queue and the buffer are empty, and the port is
        open. Whoever is about to change that calls this first."""
        waiter, self._quick = self._quick, None
        request = Avail(self, MOST_READ)
        request._deadline = self._deadline
        self._calm = -1
        self._queue.append((waiter, None, request))

    def _enqueue(self, waiter: list[Any], case: Any, request: Any) -> None:
        self._calm = -1
        super()._enqueue(waiter, case, request)

    def _look_again(self) -> bool:
        self._calm = -1
        return super()._look_again()

    def _restart(self) -> None:
        self._deadline = FAR

    def _shut(self) -> bool:
        with self._lock:
            self._calm = -1
        return super()._shut()

    def _want(self) -> None:
        poller = poller_here()
        if self._fd >= 0 and poller.persistent:
            enrolment = self._enrolment
            if enrolment is None or (enrolment.poller is not poller and enrolment.reader is None):
                self._enrolment = enrolment = poller.want(self._watched, READ)
                if enrolment is None:  # the poller has been closed
                    self._key = -1
                    return
                self._told = True
            if enrolment.poller is poller:
                self._key = here.driver.key
                enrolment.reader = self
                return
        super()._want()

    def _unhold(self) -> None:
        if self._enrolment is not None:
            self._enrolment.reader = None
        if self._held:
            super()._unhold()

    def _idle(self) -> None:
        self._unhold()

    def _fill(self) -> bool:
        """Read from the source if that makes sense: whether something has changed."""
        if (not self._ready and self._told) or self._ended_input or self._error is not None:
            return False
        size = self._size
        try:
            data = self._end.read(size)
        except BlockingIOError:
            self._ready = False
            return False
        except Exception as error:
            self._error = Failed(error)
            return True
        got = len(data)
        if not got:
            self._ended_input = True
            return True
        if got < size:
            if not self._look_closely:
                self._ready = False  # the kernel has no more; it will tell
        elif size < MOST_READ:
            self._size = min(size * 4, MOST_READ)
        self._put(data)
        return True

    def _put(self, data: bytes) -> None:
        """Add ``data`` at the end."""
        self._calm = -1
        buffer, start = self._buffer, self._start
        if start == len(buffer):
            self._buffer = data
            self._start = 0
            return
        if type(buffer) is bytes:
            self._buffer = buffer = bytearray(memoryview(buffer)[start:])
            self._start = 0
        elif start > _COMPACT:
            del buffer[:start]
            self._start = 0
        buffer += data

    def _past_end(self) -> None:
        """Somebody has been told that this is the end. A file may grow, a terminal and a named pipe go on: it
        is looked for again by the next one."""
        end = self._end
        if isinstance(end, Descriptor) and not end.is_socket:
            self._ended_input = False
            self._ready = True

    def _look(self, n: int, skip: int = 0) -> bytes:
        """The next ``n`` bytes after ``skip``, which are there."""
        buffer, start = self._buffer, self._start + skip
        if type(buffer) is bytes:
            return buffer[start : start + n]
        return bytes(memoryview(buffer)[start : start + n])

    def _drop(self, n: int) -> None:
        """Take the next ``n`` bytes out of the buffer."""
        self._pos += n
        self._start += n
        if self._start == len(self._buffer):
            self._buffer = b""
            self._start = 0
        if self._watched is None:
            self._end.taken(n)


class Done:
    """Something that is done already, and can be awaited all the same."""

    __slots__ = ()

    def __await__(self) -> Any:
        return iter(())

    def __repr__(self) -> str:
        return "<done>"


DONE: Final = Done()


# -- what threads want of an input port. All methods but _finish hold the port's lock ---------------------


class Reading(TimedRequest):
    """Of an input port. ``_find`` gives a number of bytes, `EOF` or a `Failed`."""

    __slots__ = ()

    takes = True
    """Whether more bytes will do."""

    _port: InputPort

    def _over(self) -> Any:
        """What is to be given if no more bytes will come, else `NOT_READY`. The buffer is exhausted, or does
        not suffice."""
        port = self._port
        if port._closed:
            return port._refusal()
        if port._error is not None:
            return port._error
        return EOF if port._ended_input else NOT_READY

    def _take(self, found: Any) -> Any:
        port = self._port
        if type(found) is not int:
            if found is EOF:
                port._past_end()
            return found
        data = port._look(found)
        port._drop(found)
        return data


class Avail(Reading):
    """`InputPort.read_bytes_avail`."""

    __slots__ = ("_n",)

    operation = "read_bytes_avail"

    def __init__(self, port: InputPort, n: int) -> None:
        self._port = port
        self._lock = port._lock
        self._n = n

    def _find(self) -> Any:
        port = self._port
        while True:
            have = len(port._buffer) - port._start
            if have:
                return have if have < self._n else self._n
            if not port._fill():
                return self._over()


class Bytes(Reading):
    """`InputPort.read_bytes`."""

    __slots__ = ("_n",)

    operation = "read_bytes"

    def __init__(self, port: InputPort, n: int) -> None:
        super().__init__(port)
        self._n = n

    def _find(self) -> Any:
        port, n = self._port, self._n
        while True:
            have = len(port._buffer) - port._start
            if have >= n and not port._closed:
                return n
            if not port._fill():
                over = self._over()
                return have if over is EOF and have else over

    def _take(self, found: Any) -> Any:
        if type(found) is int and found < self._n:
            self._port._past_end()
        return super()._take(found)


class All(Reading):
    """`InputPort.read_all`."""

    __slots__ = ()

    operation = "read_all"

    def _find(self) -> Any:
        port = self._port
        while port._fill():
            pass
        over = self._over()
        return len(port._buffer) - port._start if over is EOF else over

    def _take(self, found: Any) -> Any:
        self._port._past_end()
        return super()._take(found)


class Line(Reading):
    """`InputPort.read_line` and `read_bytes_line`."""

    __slots__ = ("_finder", "_limit", "_scanned", "_text")

    operation = "read_line"

    def __init__(self, operation: str, port: InputPort, mode: str, limit: int | None, text: bool) -> None:
        super().__init__(port)
        self._finder = finder(operation, mode)
        if limit is not None:
            check_count(operation, "limit", limit, 1)
        self._limit = limit
        self._text = text
        self._scanned = 0  # up to here in the stream no line ends, so it need not be looked at again

    def _find(self) -> Any:
        port = self._port
        while True:
            buffer, start = port._buffer, port._start
            have = len(buffer) - start
            if have:
                scan = max(start, start + self._scanned - port._pos)
                span = self._finder(buffer, scan, port._ended_input)
                if span is not None:
                    if self._limit is not None and span[0] - start > self._limit:
                        return self._too_long()
                    return span[0] - start, span[1] - start
                # The last byte may be the first half of what ends a line.
                self._scanned = port._pos + have - 1
                if self._limit is not None and have > self._limit + 1:
                    return self._too_long()
            if not port._fill():
                over = self._over()
                return (have, have) if over is EOF and have else over

    def _too_long(self) -> Failed:
        return Failed(LineTooLong(f"{self._port.name}: a line of more than {self._limit} bytes"))

    def _take(self, found: Any) -> Any:
        if type(found) is not tuple:
            return super()._take(found)
        text, whole = found
        port = self._port
        if text == whole:
            port._past_end()
        data = port._look(text)
        port._drop(whole)
        return data

    def _finish(self, value: Any) -> Any:
        if type(value) is bytes:
            return value.decode(self._port.encoding, self._port.errors) if self._text else value
        return super()._finish(value)


class Peek(Reading):
    """`InputPort.peek`."""

    __slots__ = ("_n", "_skip")

    operation = "peek"

    def __init__(self, port: InputPort, n: int, skip: int) -> None:
        super().__init__(port)
        self._n = n
        self._skip = skip

    def _find(self) -> Any:
        port = self._port
        while True:
            have = len(port._buffer) - port._start - self._skip
            if (have >= self._n or not self._n) and not port._closed:
                return self._n
            if not port._fill():
                over = self._over()
                return have if over is EOF and have > 0 else over

    def _take(self, found: Any) -> Any:
        if type(found) is not int:
            return found
        return self._port._look(found, self._skip)


class AtEnd(Reading):
    """`InputPort.eof_evt`. Looks no further than the next byte."""

    __slots__ = ()

    operation = "eof_evt"

    takes = False

    def _find(self) -> Any:
        port = self._port
        while True:
            if len(port._buffer) - port._start and not port._closed:
                return NOT_READY
            if not port._fill():
                return self._over()


class Readable(Reading):
    """An input port as an event."""

    __slots__ = ()

    operation = "reading"

    def _find(self) -> Any:
        port = self._port
        if len(port._buffer) - port._start or port._fill() or self._over() is not NOT_READY:
            return port
        return NOT_READY


def check_input(operation: str, argument: str, value: object) -> InputPort:
    """Refuse what is no input port."""
    if not isinstance(value, InputPort):
        raise refuse(operation, argument, "an input port", value, TypeError)
    return value
