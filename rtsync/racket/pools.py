"""Parallel thread pools, under their Racket names. (`processor_count` and `thread` are in `core`.)

Source: Racket Reference 11.1.5 (Parallel Thread Pools).
"""

from __future__ import annotations

from typing import Any

from rtsync.errors import refuse
from rtsync.pool import ParallelThreadPool

__all__ = ["is_parallel_thread_pool", "make_parallel_thread_pool", "parallel_thread_pool_close"]


def make_parallel_thread_pool(n: int | None = None) -> ParallelThreadPool:
    """A pool in which at most ``n`` threads run at once, by default as many as there are processors.

    Raises ``TypeError`` or ``ValueError`` unless ``n`` is a positive integer, `ContractError` if the current
    custodian has been shut down.
    Source: Racket Reference 11.1.5, ``make-parallel-thread-pool``."""
    return ParallelThreadPool(n)


def is_parallel_thread_pool(v: object) -> bool:
    """Whether ``v`` is a parallel thread pool. Source: Racket Reference 11.1.5, ``parallel-thread-pool?``."""
    return isinstance(v, ParallelThreadPool)


def parallel_thread_pool_close(pool: Any) -> None:
    """Let ``pool`` take no more threads. Those that it has go on; its processors are free when they have
    ended.

    Source: Racket Reference 11.1.5, ``parallel-thread-pool-close``."""
    if not isinstance(pool, ParallelThreadPool):
        raise refuse("parallel_thread_pool_close", "pool", "a parallel thread pool", pool, TypeError)
    pool.close()
