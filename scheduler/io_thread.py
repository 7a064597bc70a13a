"""The poller for OS threads that belong to no runtime: an OS thread of our own sleeps in it.

It is started with the first descriptor that such a thread waits for, and then sleeps in the kernel for the
rest of the process; it is no `threading.Thread`, so it neither keeps the process nor counts as one of the
program's."""

from __future__ import annotations

import os
from _thread import start_new_thread
from functools import partial

from .poller import Poller, new_poller
from .task import here


class _IoThread:
    """The poller and its OS thread."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self.poller: Poller = new_poller(partial(self._start, [None]))

    def _start(self, token: list[None]) -> None:
        """The first descriptor was enrolled."""
        try:
            token.pop()
        except IndexError:  # more than one was the first
            return
        self.poller.sleeper = True
        start_new_thread(self._main, (self.poller,))

    def _main(self, poller: Poller) -> None:
        while not poller.closed:
            poller.poll(None)

    def after_fork(self) -> None:
        """In the child: the OS thread is not there."""
        self.poller.forked()
        self._renew()


_io_thread = _IoThread()
os.register_at_fork(after_in_child=_io_thread.after_fork)


def poller_here() -> Poller:
    """The poller that serves the task running in this OS thread: its runtime's, or the one for all others."""
    try:
        home = here.driver.home
    except AttributeError:
        home = None
    return _io_thread.poller if home is None else home.poller


def io_poller() -> Poller:
    """The poller with an OS thread of its own, for what is to be served whatever the runtimes do."""
    return _io_thread.poller
