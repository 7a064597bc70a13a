"""The command line: ``python -m perf.places``, or ``make bench-places ARGS='--quick'``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from perf import commandline, measure
from perf.measure import Results
from perf.rows import Peer, Row, Verdict

ROWS = [
    Row("startup", "start-up to the first message", 5, 3, scaled=False, whole=1),
    Row("round_trip", "round trip of an integer", 2_000, 7, whole=1),
    Row("throughput", "message of 1 KiB", 5_000, 7, whole=1),
    Row("array", "array of 64 MiB, one way", 4, 5, scaled=False, whole=1),
    Row("first_array", "the same, the first", 3, 1, scaled=False, whole=1),
    Row("reduce", "reduction of a shared vector", 3, 5, scaled=False, whole=1),
]

PEERS = [
    replace(peer, package="perf.places.peers")
    for peer in (
        Peer("rtsync/2", "rtsync", 2),
        Peer("rtsync/1", "rtsync", 1),
        Peer("Pipe", "pipe"),
        Peer("Queue", "queue"),
        Peer("Pool", "pool", scale=0.25),
        Peer("Executor", "executor", scale=0.25),
        Peer("interpreters", "interpreters", scale=0.02),
    )
]

TARGETS = (
    ("startup", "Pipe", 1.0),
    ("round_trip", "Pipe", 1.0),
    ("throughput", "Pipe", 1.0),
    ("round_trip", "Queue", 3.0),
    ("throughput", "Queue", 3.0),
    ("array", "Pipe", 10.0),
    ("first_array", "Pipe", 10.0),
)


def judge(results: Results) -> Iterator[Verdict]:
    """The targets: row, peer, and how many times as long it is to take."""
    titles = {row.name: row.title for row in results.rows}
    for row, peer, least in TARGETS:
        ratio = results.ratio(row, peer)
        if ratio is not None:
            target = f"{titles[row]}: {peer} takes at least {least:g} times as long"
            yield Verdict(target, ratio.median >= least, f"{ratio.median:.2f}")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    wanted = {"rtsync/2", *options.peers}
    peers = [p for p in PEERS if not options.peers or wanted & {p.name, p.module}]
    effort = commandline.QUICK if options.quick else 1.0

    def work(peers: list[Peer], folder: Path) -> Results:
        reps = commandline.reps(options)
        results = measure.run(rows, peers, "rtsync/2", reps, effort, options.figure, commandline.say)
        results.judge = judge
        return results

    return commandline.perform(peers, options, options.name, work)


def _parser() -> argparse.ArgumentParser:
    parser = commandline.parser(
        "python -m perf.places",
        "Places beside multiprocessing, concurrent.futures and concurrent.interpreters.",
        [row.name for row in ROWS],
        "places",
    )
    commandline.add_least(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
