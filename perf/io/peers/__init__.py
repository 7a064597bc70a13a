"""The servers: one module for each peer, with ``serve(kind, workers, tell)``. See `perf.io.serve`."""
