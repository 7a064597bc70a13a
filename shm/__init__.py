"""Memory that several processes share: three kinds of vectors, and the segments under them.

`SharedBytes`, `SharedFlvector` (doubles) and `SharedFxvector` (signed 64-bit integers) are vectors of a fixed
length that pickle by name: what one process writes, all that hold the vector see. They need no runtime;
nothing here knows of threads, events or places. Read `segment` first: who owns the memory, and for how long.
"""

from .segment import Segment, attach
from .vector import SharedBytes, SharedFlvector, SharedFxvector, SharedVector

__all__ = ["Segment", "SharedBytes", "SharedFlvector", "SharedFxvector", "SharedVector", "attach"]
