"""Output ports: text and bytes in, and a buffer between the writers and the descriptor.

A write is taken *as a whole or not at all*: it waits until at most ``limit`` bytes are pending, and then all
its bytes become the port's, in one go, even if that makes it more. From then on they will be sent whatever
becomes of the writer, by whoever learns that there is room. So a killed writer has written all or nothing,
messages of different threads are never mixed, and a peer that does not read stops its writers after ``limit``
bytes and one message each. The writer itself goes on when at most ``limit`` bytes are pending.

Bytes stay in the buffer until there are ``block`` of them, or somebody flushes; then they are *draining*.

Positions count the bytes that have not gone to the kernel at once: ``_total`` were taken, and
``_total - _pending`` were sent.

Source: Racket Reference 13.3 (Byte and string output), 13.1.3 (buffering), 13.1.11 (Port events).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Generator
from inspect import markcoroutinefunction
from os import write
from typing import Any, Final

from rtsync.current import let_go
from rtsync.errors import check_at_most_one, check_count, refuse
from rtsync.evt import Evt, guard
from rtsync.waiter import NOT_READY, RETRY
from scheduler import Parking, direct, published
from scheduler.poller import WRITE

from .descriptor import Descriptor
from .ends import end_of
from .errors import Failed, given
from .input import DONE
from .port import PortEvt, Request, check_encoding, performing
from .timeouts import TimedPort, TimedRequest

BLOCK: Final = 1 << 12
"""Bytes that are collected before they are sent, unless someone flushes."""

LIMIT: Final = 1 << 16
"""Bytes that may be pending before writers wait."""

_AT_ONCE: Final = 1 << 18
"""Bytes put together for one call of the kernel."""

_MODES: Final = ("block", "line", "none")


class OutputPort(TimedPort["OutputPort"]):
    """A sink of bytes. As an event: ready when writing would not block, with itself as the result.

    ``async with port`` closes it, and waits until all was sent.
    Made by `open_output`, `tcp_connect`, `pipe` and others.

    Every writing operation is all or nothing, see `write`.
    Source: Racket Reference, ``output-port?``.
    """

    __slots__ = (
        "_chunks",
        "_closing",
        "_draining",
        "_free",
        "_limit",
        "_mode",
        "_offset",
        "_pending",
        "_tell",
        "_total",
    )

    _what = WRITE
    _kind = "output port"
    _public = "OutputPort"

    def __init__(
        self,
        sink: Any,
        name: str | None = None,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        buffer: str = "block",
        limit: int = LIMIT,
    ) -> None:
        """Writes to ``sink``: a descriptor or a socket, which becomes the port's, or a file object.
        ``encoding`` and ``errors`` say how text becomes bytes; ``buffer``: see `buffering`; ``limit``: bytes
        that may be pending before writers wait.

        A port over a descriptor belongs to the current custodian, which closes it when it is shut down."""
        check_encoding("OutputPort", encoding, errors, lines=False)
        check_mode("OutputPort", buffer)
        check_count("OutputPort", "limit", limit)
        end, name = end_of("OutputPort", sink, name, False)
        super().__init__(end, name, encoding, errors)
        if isinstance(end, Descriptor):
            end.writer = self
        self._chunks: deque[bytes] = published(deque())
        self._offset = 0  # of the first chunk, what was sent
        self._pending = 0
        self._total = 0
        self._draining = False  # all that is pending is to be sent, not only from `block` bytes on
        self._mode = buffer
        self._limit = limit
        self._closing = False  # no more is taken; it closes as soon as all was sent
        self._tell = True  # the other end, when it closes
        # The descriptor as long as a write may go straight to it: it is a plain one, nothing is pending, and
        # there is room as far as we know. Else -1.
        self._free = self._fd
        if end is not sink:
            self._adopt()

    # -- operations ----------------------------------------------------------------------------------

    @markcoroutinefunction
    def write(self, data: str | bytes | Any, *, flush: bool = False) -> Coroutine[Any, Any, int]:
        """Write ``data``, text (in the port's encoding) or bytes, as a whole; how many bytes that was. With
        ``flush`` it also waits until they have been sent.

        A thread that is killed or broken in it has written all or nothing: once the bytes are the port's,
        they are sent.
        Source: Racket Reference, ``write-bytes``, ``write-string``."""
        return self._write(data if type(data) is bytes else self._bytes("write", data), flush)

    @markcoroutinefunction
    def write_bytes_avail(self, data: Any) -> Coroutine[Any, Any, int]:
        """Send what was written before and then at least one byte of ``data`` and as many as can be without
        blocking; how many.

        Source: Racket Reference, ``write-bytes-avail``."""
        return self._write_bytes_avail(WriteAvail(self, self._bytes("write_bytes_avail", data)))  # type: ignore[no-any-return]

    @markcoroutinefunction
    def flush(self) -> Coroutine[Any, Any, None]:
        """Wait until all that was written before has been sent.

        Source: Racket Reference, ``flush-output``."""
        return self._flush(Flush(self))  # type: ignore[no-any-return]

    def pending(self) -> int:
        """Bytes that were written and not yet sent."""
        return self._pending

    def send(self) -> None:
        """Begin to send what is pending, without waiting. Any OS thread."""
        if not self._later(self.send):
            with self._lock:
                if self._pending or self._end.unsent:
                    self._drain()

    def buffering(self, *mode: str) -> Any:
        """How long bytes are kept: ``'block'`` until there are enough or someone flushes, ``'line'`` also
        until a line ends, ``'none'`` not at all. Reads without an argument, sets with one.

        Source: Racket Reference, ``file-stream-buffer-mode``."""
        if not mode:
            return self._mode
        check_at_most_one("buffering", mode)
        self._mode = check_mode("buffering", mode[0])
        return None

    @direct
    def _write(self, data: bytes, flush: bool) -> Generator[Parking, Any, Any]:
        # What `performing` does, with the usual case first: nothing is pending, and there is room.
        lock = self._lock
        value: Any
        lock.acquire()
        try:
            if flush and (fd := self._free) >= 0:
                try:
                    sent = write(fd, data)
                except BlockingIOError:
                    self._ready = False
                    self._free = -1
                    value = NOT_READY
                except Exception as error:
                    self._fail(error)
                    value = self._error
                else:
                    value = sent if sent == len(data) else self._rest(data, sent)
            else:
                value = NOT_READY
        except BaseException:
            lock.release()
            raise
        if type(value) is int:
            lock.release()
            return value
        request: Any = None
        while True:
            try:
                if value is NOT_READY:
                    if request is None:
                        request = Write(self, data, flush)
                    value = request._poll()
                    if value is NOT_READY:
                        waiter: list[Any] = []
                        self._enqueue(waiter, None, request)
            except BaseException:
                lock.release()
                raise
            if value is NOT_READY:
                try:
                    value = yield waiter, lock
                except BaseException:
                    let_go(waiter, lock)
                    self._left()
                    raise
                if value is RETRY:
                    self._left()
            else:
                lock.release()
            if value is not RETRY:
                if type(value) is int:
                    return value
                if type(value) is not Sent:
                    return given(value)
                if self._timeout is not None:
                    value._since(request)
                request = value
            value = NOT_READY
            lock.acquire()

    _write.__name__, _write.__qualname__ = "write", "OutputPort.write"  # for warnings
    _write_bytes_avail = performing("OutputPort.write_bytes_avail")
    _flush = performing("OutputPort.flush")
    _finish_closing = performing("OutputPort.close")

    # -- the same as events --------------------------------------------------------------------------

    def write_evt(self, data: Any) -> Evt[int]:
        """Writing ``data`` as a whole as an event: ready when the port has taken all of it, which is then on
        its way; the result is how many bytes that was."""
        return PortEvt(Write(self, self._bytes("write_evt", data), None))

    def write_bytes_avail_evt(self, data: Any) -> Evt[int]:
        """`write_bytes_avail` as an event. Source: Racket Reference, ``write-bytes-avail-evt``."""
        return PortEvt(WriteAvail(self, self._bytes("write_bytes_avail_evt", data)))

    def flush_evt(self) -> Evt[None]:
        """`flush` as an event."""

        def begin() -> Evt:
            with self._lock:
                if self._pending or self._end.unsent:
                    self._drain()
                return PortEvt(Flushed(self, self._total, True, None))

        return guard(begin)

    # -- closing -------------------------------------------------------------------------------------

    def close(self) -> Any:
        """Close it. Nothing more is taken; what is pending is sent first, then the other end is told. That
        begins at once; await the result to wait until it is done. Any OS thread.

        What comes in the way of sending is raised by the awaiting only.
        Source: Racket Reference, ``close-output-port``."""
        return self._close(True)

    def abandon(self) -> Any:
        """`close`, but the other end of a connection whose input port is open is not told.

        Source: Racket Reference, ``tcp-abandon-port``."""
        return self._close(False)

    def _close(self, tell: bool) -> Any:
        if self._later(lambda: self._close(tell)):
            return DONE
        with self._lock:
            if self._closed:
                return DONE
            if not self._closing:
                self._closing = True
                self._fd = self._free = -1  # no more by the short way
                self._tell = tell
                self._refuse_writers()
            self._drain()
            if self._closed:
                return DONE if self._error is None else Closing(self)
            return Closing(self)

    def _shut(self) -> bool:
        with self._lock:
            self._free = -1
        return super()._shut()

    def abort(self) -> None:
        """Close it at once; what is pending is lost. Who waits gets `PortClosed`."""
        if not self._later(self.abort) and self._shut():
            with self._lock:
                if (self._pending or self._end.unsent) and self._error is None:
                    self._error = self._refusal()  # for who awaits its closing
                self._forget_pending()
                self._end.close_write(self._tell)

    def __enter__(self) -> OutputPort:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> OutputPort:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # -- the buffer; all hold _lock --------------------------------------------------------------------

    def _bytes(self, operation: str, data: Any) -> bytes:
        """``data`` as it is to be sent; refuses what is neither text nor bytes. Needs no lock."""
        if type(data) is bytes:
            return data
        if isinstance(data, str):
            return data.encode(self.encoding, self.errors)
        if isinstance(data, (bytes, bytearray, memoryview)):
            return bytes(data)
        raise refuse(operation, "data", "a string or bytes", data, TypeError)

    def _request(self) -> Request:
        return Writable(self)

    def _rest(self, data: bytes, sent: int) -> Any:
        """Of ``data`` the kernel has taken only the first ``sent`` bytes: the port keeps the others. What is
        to be waited for."""
        size = len(data)
        self._free = -1
        self._total += size
        self._chunks.append(data[sent:])
        self._pending = size - sent
        self._ready = self._look_closely
        self._drain()
        return Sent(self, self._total, True, size) if self._pending else size

    def _accept(self, data: bytes, flush: bool) -> None:
        """Take ``data``, and send what is to be sent now."""
        size = len(data)
        if not size:
            if flush:
                self._drain()
            return
        self._total += size
        end = self._end
        if (
            not self._pending
            and self._ready
            and (flush or size >= BLOCK or self._mode == "none")
            and not end.unsent
        ):
            # Nothing before it: try without the buffer.
            try:
                sent = end.write(data)
            except BlockingIOError:
                self._ready = False
                sent = 0
            except Exception as error:
                self._fail(error)
                return
            if sent == size:
                if end.unsent:
                    self._drain()
                return
            self._draining = True
            if not self._look_closely:
                self._ready = False
            data = data[sent:]
        self._free = -1
        self._chunks.append(data)
        self._pending += len(data)
        if (
            flush
            or self._draining
            or self._pending >= BLOCK
            or self._mode == "none"
            or (self._mode == "line" and (b"\n" in data or b"\r" in data))
        ):
            self._drain()

    def _drain(self) -> None:
        """Send all that is pending, now and as soon as there is room."""
        self._draining = True
        self._push()
        if self._draining and self._watched is not None:
            self._want()

    def _push(self) -> None:
        """Send what can be sent, and see who waited for that."""
        end, chunks = self._end, self._chunks
        try:
            while (self._pending or end.unsent) and self._ready:
                if end.unsent:
                    end.push()
                    continue
                if self._offset:
                    data: Any = memoryview(chunks[0])[self._offset :]
                else:
                    data = chunks[0] if len(chunks) == 1 else self._join()
                sent = end.write(data)
                if sent < len(data) and not self._look_closely:
                    self._ready = False
                self._sent(sent)
        except BlockingIOError:
            self._ready = False
        except Exception as error:
            self._fail(error)
            return
        if not self._pending and not end.unsent:
            if self._closing and not self._closed:
                if self._tell:
                    end.farewell()
                    if end.unsent:
                        self._ready = False
                        return
                self._draining = False
                self._finish_close()
                return
            self._draining = False
            if self._ready:
                self._free = self._fd
            if self._held and not self._queue:
                self._unhold()

    def _join(self) -> bytes:
        """Put small chunks at the front together."""
        chunks = self._chunks
        size, count = 0, 0
        for chunk in chunks:
            if count and size + len(chunk) > _AT_ONCE:
                break
            size += len(chunk)
            count += 1
        if count > 1:
            chunks.appendleft(b"".join([chunks.popleft() for _ in range(count)]))
        return chunks[0]

    def _sent(self, count: int) -> None:
        """The first ``count`` pending bytes are on their way."""
        self._pending -= count
        count += self._offset
        chunks = self._chunks
        while chunks and count >= len(chunks[0]):
            count -= len(chunks.popleft())
        self._offset = count

    def _forget_pending(self) -> None:
        self._chunks.clear()
        self._offset = self._pending = 0
        self._draining = False

    def _fail(self, error: BaseException) -> None:
        """The descriptor takes no more."""
        if self._error is None:
            self._error = Failed(error)
        self._ready = False
        self._fd = self._free = -1
        self._forget_pending()
        if self._closing and not self._closed:
            self._finish_close()

    def _refuse_writers(self) -> None:
        """It is being closed: who still waits to write will not."""
        if self._queue:
            self._serve()

    def _finish_close(self) -> None:
        """All was sent, or never will be."""
        self._closed = True
        self._fd = self._free = -1
        if self._queue:
            self._serve()
        self._unhold()
        self._end.close_write(self._tell)

    def _idle(self) -> None:
        if self._held and not self._draining:
            self._unhold()

    def on_ready(self, look_closely: bool) -> None:
        with self._lock:
            self._ready = True
            if look_closely:
                self._look_closely = True
            if self._closed:
                return
            if self._draining:
                self._push()
            elif not self._pending:
                self._free = self._fd
            if self._queue:
                self._serve()
            elif self._held:
                self._idle()
            if self._held:
                self._want_again()

    def _look_again(self) -> bool:
        if not super()._look_again():
            return False
        if self._draining:
            self._push()
        return True

    def _room(self) -> bool:
        """Whether a write would be taken; sends first what can be sent."""
        if self._pending > self._limit:
            self._drain()
        return self._pending <= self._limit


# -- what threads want of an output port. All methods but _finish hold the port's lock --------------------


class Writing(TimedRequest):
    """Of an output port."""

    __slots__ = ()

    _port: OutputPort

    def _over(self) -> Any:
        """Why nothing can be written any more, or `NOT_READY`."""
        port = self._port
        if port._error is not None:
            return port._error
        return port._refusal() if port._closing or port._closed else NOT_READY


class Write(Writing):
    """`OutputPort.write`. Taken at the first sight of room; the thread may then have to wait for bytes to
    go."""

    __slots__ = ("_data", "_flush")

    operation = "write"

    def __init__(self, port: OutputPort, data: bytes, flush: bool | None) -> None:
        """``flush``: ``None`` for an event, which never waits any more once it is taken."""
        self._port = port
        self._lock = port._lock
        self._data = data
        self._flush = flush

    def _find(self) -> Any:
        port = self._port
        if port._error is not None or port._closing or port._closed:
            return self._over()
        return True if port._room() else self._over()

    def _take(self, found: Any) -> Any:
        if found is not True:
            return found
        port, flush = self._port, self._flush
        port._accept(self._data, bool(flush))
        if port._error is not None:
            return port._error
        size = len(self._data)
        # The write has happened. What is still to be waited for is a request of its own.
        if flush:
            if port._pending or port._end.unsent:
                return Sent(port, port._total, True, size)
        elif port._pending > port._limit and flush is not None:
            return Sent(port, port._total - port._limit, False, size)
        return size


class WriteAvail(Writing):
    """`OutputPort.write_bytes_avail`."""

    __slots__ = ("_data",)

    operation = "write_bytes_avail"

    def __init__(self, port: OutputPort, data: bytes) -> None:
        super().__init__(port)
        self._data = data

    def _find(self) -> Any:
        port = self._port
        over = self._over()
        if over is not NOT_READY:
            return over
        if port._pending or port._end.unsent:
            port._drain()
            if port._pending or port._end.unsent:
                return self._over()
        return True if port._ready or not self._data else NOT_READY

    def _take(self, found: Any) -> Any:
        if found is not True:
            return found
        value = self._send()
        if value is not NOT_READY:
            return value
        # There was no room after all, but our thread has been chosen. The port takes what it would have to.
        port = self._port
        data = self._data[: port._limit or 1]
        port._accept(data, True)
        return len(data)

    def _send(self) -> Any:
        """Send as much as possible; how many bytes, or `NOT_READY`."""
        port, data = self._port, self._data
        if not data:
            return 0
        try:
            sent = port._end.write(data)
        except BlockingIOError:
            port._ready = False
            port._free = -1
            return NOT_READY
        except Exception as error:
            port._fail(error)
            return port._error
        if sent < len(data) and not port._look_closely:
            port._ready = False
            port._free = -1
        port._total += sent
        if port._end.unsent:
            port._drain()
        return sent

    def _poll(self) -> Any:
        port = self._port
        if port._queue:
            port._serve()
        if not port._told and not port._pending:
            port._ready = True  # as far as anybody knows: only trying will tell
        found = self._find()
        value = self._send() if found is True else found
        if port._queue:
            port._serve()
        return value


class Flush(Writing):
    """`OutputPort.flush`."""

    __slots__ = ()

    operation = "flush"

    def _find(self) -> Any:
        port = self._port
        if port._error is not None:
            return port._error
        return port._refusal() if port._closed else True

    def _take(self, found: Any) -> Any:
        if found is not True:
            return found
        port = self._port
        if not port._pending and not port._end.unsent:
            return None
        port._drain()
        return Flushed(port, port._total, True, None)


class Sent(Writing):
    """That all bytes before a position have been sent: the rest of a `Write`."""

    __slots__ = ("_exactly", "_position", "_value")

    operation = "write"

    def __init__(self, port: OutputPort, position: int, exactly: bool, value: Any) -> None:
        """``exactly``: bytes that have been encrypted but not sent yet do not count. ``value``: the
        result."""
        super().__init__(port)
        self._position = position
        self._exactly = exactly
        self._value = value

    def _find(self) -> Any:
        port = self._port
        if port._error is not None:
            return port._error
        if port._total - port._pending >= self._position and not (self._exactly and port._end.unsent):
            return True
        return port._refusal() if port._closed else NOT_READY

    def _take(self, found: Any) -> Any:
        return self._value if found is True else found


class Flushed(Sent):
    """The rest of a `Flush`."""

    __slots__ = ()

    operation = "flush"


class Rest(Sent):
    """The rest of what a port has that closes."""

    __slots__ = ()

    operation = "close"


class Writable(Writing):
    """An output port as an event."""

    __slots__ = ()

    operation = "writing"

    def _find(self) -> Any:
        port = self._port
        over = port._error is not None or port._closing or port._closed
        # A port that keeps nothing pending has a writer wait for its sink as well.
        return port if over or (port._room() and (port._ready or port._limit)) else NOT_READY


class Closing:
    """What `OutputPort.close` gives when something is still to be sent: await it."""

    __slots__ = ("_port",)

    def __init__(self, port: OutputPort) -> None:
        self._port = port

    def __await__(self) -> Any:
        port = self._port
        try:
            yield from port._finish_closing(Rest(port, port._total, True, None)).__await__()
        except TimeoutError:
            port.abort()  # nobody else may be left to do it
            raise

    def __repr__(self) -> str:
        return f"<closing {self._port!r}>"


def check_mode(operation: str, mode: object) -> str:
    """Refuse what is no buffer mode."""
    if isinstance(mode, str) and mode in _MODES:
        return mode
    kind = ValueError if isinstance(mode, str) else TypeError
    raise refuse(operation, "mode", f"one of {', '.join(map(repr, _MODES))}", mode, kind)


def check_output(operation: str, argument: str, value: object) -> OutputPort:
    """Refuse what is no output port."""
    if not isinstance(value, OutputPort):
        raise refuse(operation, argument, "an output port", value, TypeError)
    return value
