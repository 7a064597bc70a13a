"""A server to be measured: ``python -m perf.io.serve MODULE echo|http|example WORKERS [TREE]``.

Prints the port, and ends when its standard input does. The module has ``serve(kind, workers, tell)``, which
listens on 127.0.0.1, calls ``tell`` with the port, and serves for ever. TREE is put before the other folders
with modules: the rtsync to measure.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading


def main(module: str, kind: str, workers: str, tree: str = "") -> None:
    if tree:  # before the first import of rtsync
        sys.path.insert(0, tree)
    peer = importlib.import_module(f"perf.io.peers.{module}")

    def watch() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    peer.serve(kind, int(workers), lambda port: print(port, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
