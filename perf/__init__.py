"""Benchmarks: rtsync beside asyncio, uvloop, trio, gevent, TonIO, mt_asyncio and OS threads.

``python -m perf`` (or ``make bench``) measures every row of `perf.rows` on every peer in interleaved runs
(`perf.measure`), prints a table of ratios and the project's targets, and writes ``perf/results/core.*``.
``python -m perf --help`` lists what to leave out, and how to compare with another revision of rtsync.
The programs that are measured are in `perf.peers`.
"""
