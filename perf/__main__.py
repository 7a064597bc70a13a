"""The command line: ``python -m perf``, or ``make bench ARGS='--quick'``."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from . import measure, report
from .rows import PEERS, ROWS, Peer, peers_for

REPS = 5
QUICK = 0.25
"""The part of the work that ``--quick`` does."""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    names = [row.name for row in ROWS]
    if unknown := set(options.only) - set(names):
        _parser().error(f"no such row: {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    try:
        peers = peers_for(options.peers, options.workers)
    except ValueError as error:
        _parser().error(str(error))
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    base = f"rtsync/{options.workers or 2}"
    if base not in [peer.name for peer in peers]:
        peers = [*[peer for peer in PEERS if peer.name == base], *peers]
    part = (options.only, options.peers, options.workers, options.compare, options.quick, options.effort)
    reps = options.reps or (1 if options.quick else REPS)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rtsync-perf-") as folder:
        # Of the tree as it is now: whoever edits it during the run does not disturb us.
        now = _snapshot(Path(folder))
        peers = [replace(p, tree=str(now)) if p.module == "rtsync" else p for p in peers]
        with _other(options.compare, Path(folder)) as before:
            if before is not None:
                peers += _before(peers, before)
            effort = options.effort or (QUICK if options.quick else 1.0)
            results = measure.run(rows, peers, base, reps, effort, options.figure, _say)
    _say("")
    print(report.table(results))
    print()
    print(report.targets(results))
    stem = options.name or ("latest" if any(part) else "core")
    for path in report.write(results, options.out, stem):
        print(f"wrote {path}")
    print(f"{time.monotonic() - started:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m perf",
        description="rtsync beside its peers, in interleaved runs on this interpreter.",
        epilog=f"rows: {', '.join(row.name for row in ROWS)}",
    )
    add = parser.add_argument
    add("--only", nargs="+", metavar="ROW", default=[], help="only these rows")
    add("--peers", nargs="+", metavar="PEER", default=[], help="only these peers (and rtsync)")
    add("--reps", type=int, metavar="N", help=f"repetitions (default {REPS})")
    add("--quick", action="store_true", help="one repetition of less work, for a first look")
    add("--effort", type=float, metavar="X", help="the part of each row's work to do (default 1)")
    add("--workers", type=int, choices=(1, 2), help="only with this many workers, where there is a pool")
    add(
        "--compare",
        metavar="REV",
        help="measure rtsync of another git revision (or in a folder) too, as the peer 'before'",
    )
    add(
        "--least",
        dest="figure",
        action="store_const",
        const=min,
        default=median,
        help="take the least round of a process, not the median: for a machine that others use too",
    )
    add("--out", type=Path, metavar="DIR", default=measure.ROOT / "perf" / "results")
    add("--name", help="name of the files (default: core for a whole run, else latest)")
    return parser


def _snapshot(folder: Path) -> Path:
    """A copy of the packages of this tree."""
    now = folder / "now"
    for package in ("rtsync", "scheduler", "shm"):
        if (measure.ROOT / package).is_dir():
            shutil.copytree(
                measure.ROOT / package, now / package, ignore=shutil.ignore_patterns("__pycache__")
            )
    return now


@contextmanager
def _other(revision: str | None, folder: Path) -> Iterator[Path | None]:
    """The tree of ``revision``: the folder of that name, or a git worktree made for the time of the run."""
    if revision is None:
        yield None
    elif Path(revision).is_dir():
        yield Path(revision).resolve()
    else:
        tree = folder / "before"
        git = ["git", "-C", str(measure.ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def _before(peers: list[Peer], tree: Path) -> list[Peer]:
    """The rtsync peers once more, from ``tree``."""
    return [
        replace(peer, name=peer.name.replace("rtsync", "before"), tree=str(tree))
        for peer in peers
        if peer.module == "rtsync"
    ]


def _say(text: str) -> None:
    """A line of progress that the next one overwrites; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
