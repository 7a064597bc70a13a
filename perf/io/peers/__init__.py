"""The servers: one module for each peer, with ``serve(kind, workers, tell)``. See `perf.io.serve`.

Where a loop waits for the next message, ``del data`` keeps the former one from staying in memory: 50 messages
of 100 KiB fit in no cache. Protocols have no such variable.
"""
