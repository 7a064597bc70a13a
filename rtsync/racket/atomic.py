"""Atomic and uninterruptible modes, under their Racket names, which are the Pythonic ones too.

Source: Racket Reference of ``ffi/unsafe/atomic``.
"""

from __future__ import annotations

from rtsync.atomic import (
    call_as_atomic,
    call_as_nonatomic,
    call_as_uninterruptible,
    end_atomic,
    end_breakable_atomic,
    end_uninterruptible,
    is_in_atomic_mode,
    make_uninterruptible_lock,
    start_atomic,
    start_breakable_atomic,
    start_uninterruptible,
    uninterruptible_lock_acquire,
    uninterruptible_lock_release,
)

__all__ = [
    "call_as_atomic",
    "call_as_nonatomic",
    "call_as_uninterruptible",
    "end_atomic",
    "end_breakable_atomic",
    "end_uninterruptible",
    "is_in_atomic_mode",
    "make_uninterruptible_lock",
    "start_atomic",
    "start_breakable_atomic",
    "start_uninterruptible",
    "uninterruptible_lock_acquire",
    "uninterruptible_lock_release",
]
