"""Thread groups: how the processor is shared. Filled in with the control of threads.

Source: Racket Reference 14.11 (Thread Groups).
"""

from __future__ import annotations


class ThreadGroup:
    """A group of threads."""
