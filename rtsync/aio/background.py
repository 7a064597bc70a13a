"""The asyncio loop of a runtime: an OS thread of its own, from the first use to the end of the runtime.

Its tasks are *driven* (see `drive`): they may await operations of ours directly. ``here.driver`` is set
there, so `thread` and the like know the runtime; a task sees the context of the thread that has called `run`,
so it has that thread's custodian.

For deadlock detection the loop counts as an OS thread of the program that may do something, unless it
*rests*: it sleeps without a timer, watches no descriptor but its own, and nothing has been handed to it
that it has not begun. Then only somebody else can make it go on. (A loop of another make, from a policy
that somebody has set, never rests.)
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from scheduler import OsDriver, OsTask, here

from .drive import drive

if TYPE_CHECKING:
    from rtsync.runtime import Runtime

    from .crossing import Crossing


def driven(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    """The task factory of the loop."""
    outer: Any = drive(coro)
    outer.__name__ = getattr(coro, "__name__", "task")
    outer.__qualname__ = getattr(coro, "__qualname__", "task")
    task = asyncio.Task(outer, loop=loop, **options)
    # One that is cancelled before its first step has not got as far as `coro`: that somebody forgot to await
    # that is not to be warned of.
    task.add_done_callback(lambda _: coro.close())
    return task


class Selector(selectors.DefaultSelector):
    """In which the loop sleeps; knows whether it does so for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.resting = False
        """The loop sleeps until somebody hands it something. Holds lock."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # The loop gives no timeout if no callback is ready and no timer is set.
        with self.lock:
            self.resting = timeout is None and len(self.get_map()) == 1  # by which it can be woken
        try:
            return super().select(timeout)
        finally:
            with self.lock:
                self.resting = False


class Loop(asyncio.SelectorEventLoop):
    """asyncio's own loop, which can tell whether it rests."""

    def __init__(self) -> None:
        self._sleep = Selector()
        self._handed: deque[None] = deque()  # one for each callback from outside that has not begun
        super().__init__(self._sleep)

    def call_soon_threadsafe[*Ts](
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._handed.append(None)
        try:
            return super().call_soon_threadsafe(self._begin, callback, *args, context=context)
        except BaseException:
            self._handed.pop()
            raise

    def _begin[*Ts](self, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        self._handed.pop()
        callback(*args)

    def rests(self) -> bool:
        """Whether nothing will happen here by itself. Any OS thread."""
        # What is handed over is counted first, and `resting` ends before it counts as begun: who sees neither
        # has looked before it came. Who handed it over was running at that time.
        if self._handed:
            return False
        with self._sleep.lock:
            return self._sleep.resting and not self._handed


def new_loop() -> asyncio.AbstractEventLoop:
    """The loop for a runtime: ours, unless a policy asks for another kind."""
    loop = asyncio.new_event_loop()
    if type(loop) is not asyncio.SelectorEventLoop:
        return loop
    loop.close()
    return Loop()


class Background:
    """What a runtime has of asyncio: at most one living loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None

    def post(self, crossing: Crossing) -> None:
        """Begin a crossing, on the loop, which is started if there is none. Any OS thread."""
        while True:
            with self._lock:
                loop = self._loop
                if loop is None or loop.ended:
                    loop = self._loop = LoopThread(self._runtime)
            if loop.post(crossing):
                return

    def is_here(self) -> bool:
        """Whether this OS thread is that of the loop."""
        loop = self._loop
        return loop is not None and loop.os_thread is threading.current_thread()

    def resting(self) -> threading.Thread | None:
        """The OS thread of the loop if nothing will happen there by itself. Any OS thread."""
        thread = self._loop
        if thread is None or not isinstance(loop := thread.loop, Loop) or not loop.rests():
            return None
        return thread.os_thread

    def close(self, patience: float) -> None:
        """End the loop: its tasks are cancelled. Waits at most ``patience`` seconds for them."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.close(patience)


class LoopThread:
    """One loop and its OS thread."""

    def __init__(self, runtime: Runtime) -> None:
        """Starts it. Raises what the system has against that."""
        self._runtime = runtime
        self._lock = threading.Lock()
        self._crossings: set[Crossing] = set()  # posted, and not ended
        self.loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self.ended = False
        failure: list[BaseException] = []
        started = threading.Lock()
        started.acquire()
        self.os_thread = threading.Thread(
            target=self._main, args=(started, failure), name=f"{runtime.name}-asyncio", daemon=True
        )
        self.os_thread.start()
        started.acquire()
        if failure:
            raise failure[0]

    def post(self, crossing: Crossing) -> bool:
        """Begin a crossing; whether that was possible. Any OS thread."""
        with self._lock:
            # Under the lock: the end of the loop finds it among the crossings, or we find the end.
            if self.ended:
                return False
            assert self.loop is not None
            try:
                crossing.post(self.loop, self._begin)
            except RuntimeError:  # somebody has closed the loop, and `_main` is about to notice
                self.ended = True
                return False
            self._crossings.add(crossing)
            return True

    def close(self, patience: float) -> None:
        """See `Background.close`."""
        with self._lock:
            self._stopping = True
            if self.loop is not None:
                try:
                    self.loop.call_soon_threadsafe(self.loop.stop)
                except RuntimeError:
                    pass  # closed already
        self.os_thread.join(patience)

    # -- in its OS thread from here on -----------------------------------------------------------

    def _begin(self, crossing: Crossing) -> None:
        if self._stopping:
            crossing.refuse(None)
            self._end(crossing)
        else:
            crossing.begin(self._end)

    def _end(self, crossing: Crossing) -> None:
        with self._lock:
            self._crossings.discard(crossing)

    def _main(self, started: Any, failure: list[BaseException]) -> None:
        here.driver = OsDriver(_LoopTask(), self._runtime)
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                self.loop = loop = runner.get_loop()
                loop.set_task_factory(driven)
                started.release()
                while not self._stopping and not loop.is_closed():
                    try:
                        loop.run_forever()
                    except (KeyboardInterrupt, SystemExit):
                        pass  # of a task, which ends by it: it is for who waits for that
        except BaseException as why:
            error = why
        finally:
            del here.driver
        with self._lock:
            self.ended = True
            left, self._crossings = self._crossings, set()
        for crossing in left:
            crossing.refuse(error)
        if self.loop is None:
            assert error is not None
            failure.append(error)
            started.release()


class _LoopTask(OsTask):
    """The task of the loop's driver, for operations of ours that callbacks of asyncio call."""

    __slots__ = ("_rare",)

    def __init__(self) -> None:
        super().__init__()
        self._rare = None
