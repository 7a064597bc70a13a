"""What the command lines of the benchmarks share: ``python -m perf``, ``perf.io``, ``perf.places``."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from . import measure, report
from .measure import Results
from .rows import Peer

REPS = 5
QUICK = 0.25
"""The part of the work that ``--quick`` does."""


def parser(prog: str, about: str, rows: Sequence[str], name: str | None) -> argparse.ArgumentParser:
    """The options that all of them have; ``name``: of the files of results."""
    made = argparse.ArgumentParser(prog=prog, description=about, epilog=f"rows: {', '.join(rows)}")
    add = made.add_argument
    add("--only", nargs="+", metavar="ROW", choices=rows, default=[], help="only these rows")
    add("--peers", nargs="+", metavar="PEER", default=[], help="only these peers (and rtsync)")
    add("--reps", type=int, metavar="N", help=f"repetitions (default {REPS})")
    add("--quick", action="store_true", help="one repetition of less work, for a first look")
    add(
        "--compare",
        metavar="REV",
        help="measure rtsync of another git revision (or in a folder) too, as the peer 'before'",
    )
    add("--out", type=Path, metavar="DIR", default=measure.ROOT / "perf" / "results")
    default = "core for a whole run, else latest" if name is None else name
    add("--name", default=name, help=f"name of the files (default: {default})")
    return made


def add_least(made: argparse.ArgumentParser) -> None:
    """The option to be strict about what disturbs."""
    made.add_argument(
        "--least",
        dest="figure",
        action="store_const",
        const=min,
        default=median,
        help="take the least round of a process, not the median: for a machine that others use too",
    )


def reps(options: argparse.Namespace) -> int:
    """How many repetitions are wanted."""
    return options.reps or (1 if options.quick else REPS)


def perform(
    peers: list[Peer],
    options: argparse.Namespace,
    stem: str,
    work: Callable[[list[Peer], Path], Results],
) -> int:
    """Have ``work(peers, folder)`` measure, and print and write what comes out; ``folder`` is there for as
    long. The rtsync among the peers is a copy of this tree as it is now: whoever edits it during the run does
    not disturb us."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rtsync-perf-") as name:
        folder = Path(name)
        now = _snapshot(folder)
        peers = [replace(p, tree=str(now)) if p.module == "rtsync" else p for p in peers]
        with _other(options.compare, folder) as before:
            if before is not None:
                peers += _before(peers, before)
            results = work(peers, folder)
    say("")
    print(report.table(results))
    print()
    print(report.targets(results))
    for path in report.write(results, options.out, stem):
        print(f"wrote {path}")
    print(f"{time.monotonic() - started:.0f} s")
    return 0


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


def say(text: str) -> None:
    """A line of progress that the next one overwrites; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
