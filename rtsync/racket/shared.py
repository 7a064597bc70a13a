"""Shared vectors, under their Racket names."""

from __future__ import annotations

from rtsync.errors import check_count
from rtsync.shared import SharedBytes, SharedFlvector, SharedFxvector

__all__ = [
    "make_shared_bytes",
    "make_shared_flvector",
    "make_shared_fxvector",
    "shared_bytes",
    "shared_flvector",
    "shared_fxvector",
]


def make_shared_bytes(k: int, b: int = 0) -> SharedBytes:
    """``k`` bytes ``b`` (0 to 255) in memory that places share. Racket Reference, ``make-shared-bytes``."""
    check_count("make_shared_bytes", "k", k)
    return SharedBytes(k, b)


def shared_bytes(*b: int) -> SharedBytes:
    """These bytes in memory that places share. Racket Reference, ``shared-bytes``."""
    return SharedBytes(b)


def make_shared_flvector(size: int, x: float = 0.0) -> SharedFlvector:
    """``size`` doubles ``x`` in memory that places share. Racket Reference, ``make-shared-flvector``."""
    check_count("make_shared_flvector", "size", size)
    return SharedFlvector(size, x)


def shared_flvector(*x: float) -> SharedFlvector:
    """These doubles in memory that places share. Racket Reference, ``shared-flvector``."""
    return SharedFlvector(x)


def make_shared_fxvector(size: int, x: int = 0) -> SharedFxvector:
    """``size`` integers ``x`` in memory that places share. Racket Reference, ``make-shared-fxvector``."""
    check_count("make_shared_fxvector", "size", size)
    return SharedFxvector(size, x)


def shared_fxvector(*x: int) -> SharedFxvector:
    """These integers in memory that places share. Racket Reference, ``shared-fxvector``."""
    return SharedFxvector(x)
