"""The main program of a place.

In the process's main OS thread: read on the control socket what to run, import it, run it as the main thread
of a runtime, say how it ended, and end. The control socket is watched by an OS thread of its own, which ends
the process when the creator is no more, whatever else goes on in it.

Messages that were put here and that nobody has taken yet are in the system's buffers, and stay there for
whoever holds the other end. Those for which there was no room are handed to the creator, which sends them on:
so a place can end at once, and nothing that it has put is lost."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from stat import S_ISREG
from typing import Any

import rtsync.runtime
from rtsync.control import Controlled
from rtsync.current import current
from rtsync.errors import ThreadKilled
from rtsync.runtime import Runtime
from rtsync.spawn import is_async
from scheduler import defer
from scheduler.safepoint import transparent

from . import handles as handles  # so that they can be received
from . import target
from .channel import PlaceChannel, all_sending
from .log import log
from .main_module import set_main_origin
from .message import pack_own, unpack
from .packet import Fd, Packet, Pipe, receive
from .place import Control

_OWN = ("rtsync.", "scheduler.", "importlib.")

_PATIENCE = 5.0
"""Seconds that the main thread has for its clean-up when another thread has called `sys.exit`."""

_finishing = threading.Lock()

_BUFFERED = frozenset({io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom})


class Creator:
    """The place that created this one, as far as its control socket tells."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._main: Controlled | None = None
        self._breaks: list[str | None] = []
        self.exit_value: int | None = None
        """What a thread other than the main one has exited with."""
        control.place = self

    def _told(self, message: Any) -> None:
        if message[0] == "break":
            self._breaks.append(message[1])
            self._deliver()

    def _control_ended(self) -> None:
        os._exit(1)

    def begun(self) -> None:
        """The current thread is the main thread."""
        self._main = current("place")
        self._deliver()

    def _deliver(self) -> None:
        # Published above (the append, the assignment) before it is looked at here: one of the two delivers.
        main = self._main
        while main is not None:
            try:
                kind = self._breaks.pop()
            except IndexError:
                return
            defer(partial(main.break_, kind))

    def say(self, *message: Any) -> None:
        """Tell it something. While there is no room for it in shared memory, that is waited for too."""
        self._control.send(pack_own(message, private=True))

    def leave(self, value: int) -> None:
        """A thread has called ``sys.exit(value)``: the place ends, whatever its main thread does. On a
        worker."""
        main = self._main
        if main is None or main.dead or self.exit_value is not None:
            return
        self.exit_value = value
        defer(main.kill)  # so that clean-up runs, and `main` goes on

        def ends() -> None:  # also if the main thread is in a C call that does not return
            time.sleep(_PATIENCE)
            _finish(value, self)

        threading.Thread(target=ends, name="place-exit", daemon=True).start()


class PlaceRuntime(Runtime):
    """The runtime of a place: `sys.exit` in any of its threads ends the place."""

    def __init__(self, creator: Creator) -> None:
        super().__init__(name="place")
        self._creator = creator

    def awaits_outside(self) -> bool:
        """The creator, without whom we would not be here, may break the main thread."""
        main = self.main
        return super().awaits_outside() or (main is not None and main._breakable())

    def exited(self, error: SystemExit) -> None:
        """See `Runtime.exited`."""
        self._creator.leave(_completion(error.code))


def main() -> None:
    """Be a place. Does not return."""
    # What was imported, with the collector off, is for good: no collection need look at it.
    gc.freeze()
    gc.enable()
    pid = os.getpid()
    # Ctrl-C goes to all processes of a terminal; what it means for a place is for its creator to say. Not
    # SIG_IGN, which programs started by the place would inherit. Our location has held it back until now.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    rtsync.runtime._KINDS.pop(signal.SIGINT, None)
    control = Pipe(os.dup(0))
    order = unpack(receive(control))
    _take_input(order["stdin"])
    sent = receive(control) if order["what"][0] == "value" else None
    own = Control(control)
    creator = Creator(own)
    own.watch()
    log.place_id = pid
    if order["log"]:
        log.forward = lambda event: creator.say("event", event)
    set_main_origin(order["main"])
    sys.argv = order["argv"]
    channel = order.pop("channel")
    channel._end.be_sole()  # our creator has let go of it, having sent it
    if log.wanted():
        log("enter")
    value = _run(order["name"], order["what"], sent, channel, creator)
    if os.getpid() != pid:  # the program forked, and this is the child, which has come to its end
        os._exit(value)
    _finish(value, creator)


def _take_input(stdin: Fd | None) -> None:
    """Descriptor 0 was the control socket until now."""
    fd = os.open(os.devnull, os.O_RDONLY) if stdin is None else stdin.take()
    os.dup2(fd, 0)
    os.close(fd)


def _run(name: str, what: Any, sent: Any, channel: PlaceChannel, creator: Creator) -> int:
    """Its completion value."""
    try:
        fn = target.found(what) if sent is None else target.arrived(what, sent)
        del sent
        PlaceRuntime(creator).run(_main_of(fn, channel, creator))
    except SystemExit as exit:
        return _completion(exit.code)
    except ThreadKilled:
        return 1 if creator.exit_value is None else creator.exit_value
    except BaseException as error:
        _report(name, error)
        return 1
    return 0


def _main_of(fn: Callable[[PlaceChannel], Any], channel: PlaceChannel, creator: Creator) -> Callable[[], Any]:
    """What the main thread does."""
    if is_async(fn):

        @transparent  # so that it can be broken and killed while it computes
        async def begin() -> Any:
            creator.begun()
            return await fn(channel)

        return begin

    @transparent
    def begin_plain() -> Any:
        creator.begun()
        return fn(channel)

    return begin_plain


def _completion(code: Any) -> int:
    if isinstance(code, int):
        return int(code) if 0 <= code <= 255 else 0
    if code is not None:  # a message, as for any Python program
        _report_text(f"{code}\n")
    return 0


def _report(name: str, error: BaseException) -> None:
    import traceback  # rarely needed, and it takes long

    where = trace = error.__traceback__
    while where is not None and where.tb_frame.f_globals.get("__name__", "").startswith(_OWN):
        where = where.tb_next
    lines = traceback.format_exception(type(error), error, where or trace)
    _report_text(f"uncaught exception in place {name}:\n" + "".join(lines))


def _report_text(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # it has none, or has closed it
        pass


def _finish(value: int, creator: Creator) -> None:
    _finishing.acquire()  # and never released: who comes second waits for the end
    try:
        atexit._run_exitfuncs()
    except BaseException as error:
        _report("at exit", error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
    _write_out()
    if log.wanted():
        log("exit")
    for end in all_sending():
        channel = PlaceChannel(end)
        for packet in end.take_queued():
            creator.say("rest", channel, packet if isinstance(packet, Packet) else Packet.of(packet))
    creator.say("value", value)
    os._exit(value)


def _write_out() -> None:
    """What an interpreter that is finalized does with files that are still open. (Only with files: writing to
    anything else may take for ever.)"""
    for thing in gc.get_objects():
        if type(thing) in _BUFFERED:
            try:
                if S_ISREG(os.fstat(thing.fileno()).st_mode):
                    thing.flush()
            except (OSError, ValueError):  # it is closed, or the disk is full
                pass
