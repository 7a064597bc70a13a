"""Every function of the Racket reference under its Racket name.

For those who port a Racket program, and for the conformance tests. ``-`` and ``/`` become ``_``,
``!`` goes, and the ``?`` of a predicate becomes the prefix ``is_``: ``thread-dead?`` is
`is_thread_dead`, ``sync/timeout`` is `sync_timeout`. Arguments come in Racket's order, and the
optional ones are also keywords. ``#f`` is ``None``, as an argument and as a result, and so is
``#<void>``. A function that may block gives an awaitable. Times are in Racket's units: seconds for
`sleep` and timeouts, milliseconds for `alarm_evt`.

There is no logic here. Each function checks that it got the kind of object it is about (in the
Pythonic naming the method call does that) and calls its twin, which checks the rest. A program needs
`run` too, and `tail` where Racket has tail calls; they are here so that one import is enough.

One file for each area:

* `core`: threads, mailboxes, semaphores, channels, events, breaks, custodians;
* `control`: breaks around a wait, nested threads, boxes, groups;
* `places`: places and place channels;
* `ports`: ports and TCP;
* `shared`: shared vectors;
* `atomic`: atomic and uninterruptible modes.
"""

# ruff: noqa: F403
from . import atomic, control, core, places, pools, ports, shared
from .atomic import *
from .control import *
from .core import *
from .places import *
from .pools import *
from .ports import *
from .shared import *

__all__: list[str] = []
__all__ += core.__all__
__all__ += control.__all__
__all__ += places.__all__
__all__ += ports.__all__
__all__ += shared.__all__
__all__ += atomic.__all__
__all__ += pools.__all__
