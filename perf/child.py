"""One measurement, in a process of its own: ``python -m perf.child '{"peer": ..., ...}'``.

Runs the row once to warm up, then for the timed rounds, all within one run of the peer's scheduler, and
prints the figures for one operation as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from inspect import iscoroutinefunction
from time import perf_counter, process_time
from typing import Any


async def rounds(work: Callable[[int], Any], sizes: list[int], clock: Callable[[], float]) -> Any:
    """Do the work; for each of ``sizes`` the figure for one operation."""
    figures = []
    for n in sizes:
        start = clock()
        figure = await work(n)
        passed = clock() - start
        figures.append(passed / n if figure is None else figure)
    return figures


def rounds_plain(work: Callable[[int], Any], sizes: list[int], clock: Callable[[], float]) -> Any:
    """The same for a peer without coroutines."""
    figures = []
    for n in sizes:
        start = clock()
        figure = work(n)
        passed = clock() - start
        figures.append(passed / n if figure is None else figure)
    return figures


def main(spec: dict[str, Any]) -> None:
    if spec["tree"]:  # before the first import of rtsync
        sys.path.insert(0, spec["tree"])
    peer = importlib.import_module(spec["module"])
    work = getattr(peer, spec["row"], None)
    if work is None:
        print(json.dumps({"values": None}))
        return
    clock = process_time if spec["metric"] == "cpu" else perf_counter
    n = spec["n"]
    warm = [n] if spec["rounds"] > 1 else []  # rows of one round are long enough
    measure = rounds if iscoroutinefunction(work) else rounds_plain
    figures = peer.run(measure, work, warm + [n] * spec["rounds"], clock, workers=spec["workers"])
    loaded = sys.modules.get("rtsync")
    print(
        json.dumps(
            {
                "warmups": figures[: len(warm)],
                "values": figures[len(warm) :],
                "gil": sys._is_gil_enabled() if hasattr(sys, "_is_gil_enabled") else True,
                "rtsync": getattr(loaded, "__file__", None),
            }
        )
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
