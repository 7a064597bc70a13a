"""Reference counts of objects that several OS threads touch.

On a free-threaded build each object counts its owner's references cheaply and everybody else's by atomic
operations on one memory word. For the few objects that every worker reads at every step (the runtime, its
queues) that word becomes the bottleneck: a method call on one costs 160 ns instead of 30 ns as soon as two
threads make it. Even one worker pays, because most of them were made by the OS thread that called `run`; and
as soon as another OS thread has let go of an object for the first time, its maker counts atomically too.
Deferred counting leaves references from running code uncounted; the cycle collector frees such objects in the
end, which is fine for objects that live as long as a runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final
from weakref import ref

_FREE_THREADED: Final = not getattr(sys, "_is_gil_enabled", lambda: True)()


def _find() -> Callable[[object], int] | None:
    if sys.version_info < (3, 14) or not _FREE_THREADED:
        return None
    try:
        # What ctypes is made of: to import that takes as long as a twentieth of the start of a place.
        import _ctypes

        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "PyUnstable_Object_EnableDeferredRefcount")

        class Object(_ctypes._SimpleCData):  # type: ignore[type-arg]
            _type_ = "O"

        class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
            _type_ = "i"

        class Function(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
            _restype_ = Int
            _argtypes_ = (Object,)

        return Function(address)
    except (ImportError, AttributeError, OSError):
        return None


_enable = _find()


def shared[T](thing: T) -> T:
    """Count references to ``thing``, made by this OS thread just now, in the deferred way if possible."""
    if _enable is not None:
        _enable(thing)
    return thing


if _FREE_THREADED:

    def published[T](thing: T) -> T:
        """Let other OS threads get at ``thing``, which is to be in a slot, as quickly as the one that made
        it: without this the interpreter cannot tell, until somebody else holds on to it, whether it may be
        about to be freed, and takes a lock to find out, at each look. (It may be weakly referenced: then it
        is freed with more care.)

        For what is in a slot of an object that several workers use; `shared` is for what all of them use at
        once. A task whose objects belong to another OS thread was a quarter slower without this."""
        ref(thing)
        return thing

else:

    def published[T](thing: T) -> T:
        """Does nothing where there is a global lock."""
        return thing
