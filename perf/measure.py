"""Interleaved runs: what makes a ratio mean something on a noisy machine.

A repetition of a row runs every peer once, each in a fresh process of this interpreter, one right after the
other, and the next repetition begins with another peer. The figure of a process is the median of its timed
rounds (or, if asked, the least: what it can do on a busy machine while undisturbed). Ratios are taken within
a repetition, between figures measured within seconds of each other; the ratio that counts is the median over
the repetitions, and the least and greatest are its spread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .rows import Peer, Row, Verdict

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120
"""Seconds after which a measurement is given up."""


@dataclass(slots=True)
class Figures:
    """What was measured of one peer in one row, for one operation: an entry for each repetition."""

    rounds: list[list[float]] = field(default_factory=list)
    warmups: list[list[float]] = field(default_factory=list)
    loops: int = 0
    gil: bool = False

    def by_repetition(self, figure: Callable[[list[float]], float]) -> list[float]:
        """The figure of each repetition: `median` or `min` of its rounds."""
        return [figure(values) for values in self.rounds]

    @property
    def least(self) -> float:
        """The least of all rounds."""
        return min(self.by_repetition(min))


@dataclass(slots=True)
class Ratio:
    """How many times as long as the base a peer takes: over 1, the base is faster."""

    median: float
    least: float
    greatest: float


@dataclass(slots=True)
class Results:
    """Everything that a run has measured."""

    base: str
    rows: list[Row]
    peers: list[Peer]
    figure: Callable[[list[float]], float] = median  # of the rounds of a process: or min
    figures: dict[tuple[str, str], Figures] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    judge: Callable[[Results], Iterable[Verdict]] | None = None  # the targets, if not those of `perf.rows`

    def typical(self, row: str, peer: str) -> float | None:
        """The median of ``peer`` over the repetitions, for one operation."""
        figures = self.figures.get((row, peer))
        return None if figures is None else median(figures.by_repetition(self.figure))

    def ratio(self, row: str, peer: str, base: str | None = None) -> Ratio | None:
        """Of ``peer`` to ``base``, paired by repetition; ``None`` if one of them has no figures."""
        return self._paired((row, peer), (row, base or self.base))

    def cross(self, row: str, to: str, peer: str) -> Ratio | None:
        """The ratio of two rows of the same peer, paired by repetition."""
        return self._paired((row, peer), (to, peer))

    def _paired(self, above: tuple[str, str], below: tuple[str, str]) -> Ratio | None:
        if above not in self.figures or below not in self.figures:
            return None
        pairs = [
            a / b
            for a, b in zip(
                self.figures[above].by_repetition(self.figure),
                self.figures[below].by_repetition(self.figure),
                strict=False,
            )
        ]
        return Ratio(median(pairs), min(pairs), max(pairs))


def run(
    rows: Iterable[Row],
    peers: Iterable[Peer],
    base: str,
    reps: int,
    effort: float = 1.0,
    figure: Callable[[list[float]], float] = median,
    say: Callable[[str], object] = lambda text: None,
) -> Results:
    """Measure. ``effort`` scales the work of every row; ``say`` is told what runs."""
    results = Results(base, list(rows), list(peers), figure)
    for rep in range(reps):
        for row in results.rows:
            if rep >= row.reps:
                continue
            peers_here = [peer for peer in results.peers if peer.runs(row)]
            turn = rep % max(1, len(peers_here))
            for peer in peers_here[turn:] + peers_here[:turn]:
                key = row.name, peer.name
                if key in results.failures or (rep and key not in results.figures):
                    continue  # it failed, or does not have the row
                say(f"{rep + 1}/{reps} {row.title}: {peer.name}")
                _once(results, row, peer, effort)
    return results


def _once(results: Results, row: Row, peer: Peer, effort: float) -> None:
    """Run ``peer`` once in a process of its own, and enter its figures."""
    key = row.name, peer.name
    n = row.n * (effort * peer.scale if row.scaled else 1)
    n = max(int(n) // row.whole, 1) * row.whole
    spec = {
        "module": f"{peer.package}.{peer.module}",
        "row": row.name,
        "n": n,
        "rounds": row.rounds,
        "metric": row.metric,
        "workers": peer.workers,
        "tree": peer.tree,
    }
    command = [sys.executable, *peer.options, "-m", "perf.child", json.dumps(spec)]
    try:
        child = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, env=environment()
        )
    except subprocess.TimeoutExpired:
        results.failures[key] = f"no end after {PATIENCE} s"
        results.figures.pop(key, None)
        return
    if child.returncode:
        why = child.stderr.strip() or f"exit code {child.returncode}"
        results.failures[key] = why
        results.figures.pop(key, None)
        return
    answer = json.loads(child.stdout.splitlines()[-1])
    if answer["values"] is None:
        return
    if peer.tree and peer.module == "rtsync" and not answer["rtsync"].startswith(peer.tree):
        raise RuntimeError(f"measured {answer['rtsync']}, not the one in {peer.tree}")
    figures = results.figures.setdefault(key, Figures())
    figures.rounds.append(answer["values"])
    figures.warmups.append(answer["warmups"])
    figures.loops = spec["n"]
    figures.gil = answer["gil"]


def environment() -> dict[str, str]:
    """Ours, without what would change how Python runs."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") or name == "PYTHONHOME"
    }
