"""Shared vectors, as a runtime has to see them.

Package `shm` knows nothing of threads that can be killed at any bytecode. Here its code is declared to be of
the kind that is not interrupted half-way, so that no descriptor is lost, except where it runs users' code: an
iterable of values may be endless, and computing.
"""

from __future__ import annotations

import shm
from scheduler.safepoint import own_folder, transparent
from shm import SharedBytes, SharedFlvector, SharedFxvector, SharedVector

__all__ = ["SharedBytes", "SharedFlvector", "SharedFxvector"]

own_folder(shm.__file__)
transparent(SharedVector.__init__)
transparent(SharedVector.__setitem__)
transparent(SharedVector._packed.__func__)  # type: ignore[attr-defined]
