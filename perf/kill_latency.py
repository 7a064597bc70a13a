"""How long it takes to stop a thread that computes: ``python -m perf.kill_latency``.

A coroutine thread computes on another worker and never awaits; the main thread stops it and measures until
the request has returned: then the thread is dead (or stands still), clean-up included. The same for an
OS-backed thread. Prints a table in milliseconds and, with ``--json``, writes the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

import rtsync as rt


def compute(started: list[int]) -> None:
    """Work of the plainest kind, with calls in it."""
    started.append(1)
    total = 0
    while True:
        for n in range(100):
            total += abs(n)


async def compute_in_coroutine(started: list[int]) -> None:
    compute(started)


async def measure(hog: Callable[..., object], request: str, rounds: int) -> list[float]:
    """Seconds that ``request`` took, for each of ``rounds`` threads."""
    taken = []
    for _ in range(rounds):
        started: list[int] = []
        t = rt.thread(hog, started)
        while not started:
            await rt.sleep(0)
        await rt.sleep(0.002)  # so that it is well on its way
        begin = time.perf_counter()
        getattr(t, request)()
        taken.append(time.perf_counter() - begin)
        if t.running:
            raise AssertionError(f"{request} has returned and the thread runs")
        t.kill()
    return taken


def summary(taken: list[float]) -> dict[str, float]:
    """Milliseconds."""
    cuts = quantiles(taken, n=100, method="inclusive")
    points = {"median": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(taken)}
    return {name: round(seconds * 1000, 3) for name, seconds in points.items()}


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m perf.kill_latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="threads to stop for each row")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(arguments)
    results = {}
    print(f"{'ms':30}{'median':>10}{'p90':>10}{'p99':>10}{'max':>10}")
    for kind, hog in (("coroutine thread", compute_in_coroutine), ("OS-backed thread", compute)):
        for request in ("kill", "suspend"):
            name = f"{request} a {kind}"
            row = summary(rt.run(measure, hog, request, options.rounds, workers=options.workers))
            results[name] = row
            print(f"{name:30}" + "".join(f"{row[key]:10.3f}" for key in ("median", "p90", "p99", "max")))
            sys.stdout.flush()
    if options.json is not None:
        options.json.write_text(json.dumps({"python": sys.version, "ms": results}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
