"""The command line: ``python -m perf.places``, or ``make bench-places ARGS='--quick'``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from perf import measure, report
from perf.__main__ import QUICK
from perf.__main__ import _before as before_peers
from perf.__main__ import _other as other_revision
from perf.__main__ import _say as say
from perf.__main__ import _snapshot as snapshot
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
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rtsync-perf-") as name:
        folder = Path(name)
        now = snapshot(folder)  # whoever edits the tree during the run does not disturb us
        peers = [replace(p, tree=str(now)) if p.module == "rtsync" else p for p in peers]
        with other_revision(options.compare, folder) as before:
            if before is not None:
                peers += before_peers(peers, before)
            reps = options.reps or (1 if options.quick else 5)
            effort = QUICK if options.quick else 1.0
            results = measure.run(rows, peers, "rtsync/2", reps, effort, options.figure, say)
    results.judge = judge
    say("")
    print(report.table(results))
    print()
    print(report.targets(results))
    for path in report.write(results, options.out, options.name):
        print(f"wrote {path}")
    print(f"{time.monotonic() - started:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="python -m perf.places",
        description="Places beside multiprocessing, concurrent.futures and concurrent.interpreters.",
    )
    add = parser.add_argument
    add("--only", nargs="+", metavar="ROW", choices=names, default=[], help=f"of {', '.join(names)}")
    add("--peers", nargs="+", metavar="PEER", default=[], help="only these peers (and rtsync/2)")
    add("--reps", type=int, metavar="N", help="repetitions (default 5)")
    add("--quick", action="store_true", help="one repetition of less work, for a first look")
    add("--compare", metavar="REV", help="measure rtsync of another git revision too, as 'before'")
    add(
        "--least",
        dest="figure",
        action="store_const",
        const=min,
        default=median,
        help="take the least round of a process, not the median: for a machine that others use too",
    )
    add("--out", type=Path, metavar="DIR", default=measure.ROOT / "perf" / "results")
    add("--name", default="places", help="name of the files (default: places)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
