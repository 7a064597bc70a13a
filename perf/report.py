"""The table on the terminal, and the files: all figures in pyperf's format, ratios, table, plot."""

from __future__ import annotations

import json
from pathlib import Path
from platform import python_implementation, python_version
from sysconfig import get_config_var
from typing import Any

import pyperf
from pyperf._collect_metadata import collect_metadata

from .measure import Ratio, Results
from .plot import plot
from .rows import Row, Verdict, verdicts


def table(results: Results) -> str:
    """The ratios as a Markdown table: the base in units, the others as multiples of it."""
    peers = [p.name for p in results.peers if any(key[1] == p.name for key in results.figures)]
    others = [peer for peer in peers if peer != results.base]
    lines = [[f"{'':29}", f"{results.base:>9}", *[f"{peer:>12}" for peer in others]]]
    lines.append(["-" * len(cell) for cell in lines[0]])
    for row in results.rows:
        base = results.typical(row.name, results.base)
        cells = [_quantity(row, base) if base is not None else "-"]
        cells += [_ratio(results.ratio(row.name, peer)) for peer in others]
        lines.append([f"{row.title:29}", f"{cells[0]:>9}", *[f"{cell:>12}" for cell in cells[1:]]])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = [
        f"{results.base}: time for one operation. Others: their time / that of {results.base}, median of "
        "the repetitions ±half the spread; over 1, rtsync is faster.",
        f"On {interpreter()}.",
    ]
    for peer in peers:
        share = results.cross("select", "channel", peer)
        if share is not None:
            notes.append(f"{peer}: select / plain channel round trip: {_ratio(share)}")
    for (name, peer), why in results.failures.items():
        notes.append(f"failed: {name} on {peer}: {why.splitlines()[-1]}")
    return text + "\n\n" + "\n".join(f"- {note}" for note in notes)


def interpreter() -> str:
    """Which Python this is. Programs in Python gain some 10 % by profile-guided optimization, compiled peers
    less."""
    kind = "with" if "--enable-optimizations" in (get_config_var("CONFIG_ARGS") or "") else "without"
    return f"{python_implementation()} {python_version()}, built {kind} profile-guided optimization"


def targets(results: Results) -> str:
    """How the run stands to the project's targets."""
    marks = {True: "reached", False: "MISSED "}
    return "\n".join(f"{marks[v.reached]} {v.target} ({v.detail})" for v in judge(results))


def judge(results: Results) -> list[Verdict]:
    if results.judge is not None:
        return list(results.judge(results))
    ratios = {
        (row.name, peer.name): ratio.median
        for row in results.rows
        for peer in results.peers
        if (ratio := results.ratio(row.name, peer.name)) is not None
    }
    found = list(verdicts(ratios, results.base))
    share = results.cross("select", "channel", results.base)
    if share is not None:
        target = "2-way select to the plain round trip: at most 1.3"
        found.append(Verdict(target, share.median <= 1.3, f"{share.median:.2f}"))
    return found


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "-"
    digits = 2 if ratio.median < 10 else 1 if ratio.median < 100 else 0
    return f"{ratio.median:.{digits}f} ±{(ratio.greatest - ratio.least) / 2:.{digits}f}"


def _quantity(row: Row, value: float) -> str:
    if row.unit == "byte":
        return f"{value:,.0f} B"
    if value >= 1e-3:
        return f"{value * 1e3:,.1f} ms"
    return f"{value * 1e9:,.0f} ns"


def suite(results: Results) -> pyperf.BenchmarkSuite:
    """All rounds as a pyperf suite, for ``python -m pyperf show`` and ``compare_to``."""
    machine = collect_metadata()
    machine = {name: value for name, value in machine.items() if name in _KEPT}
    benchmarks = []
    for row in results.rows:
        for peer in results.peers:
            figures = results.figures.get((row.name, peer.name))
            if figures is None:
                continue
            metadata: dict[str, Any] = {
                **machine,
                "name": f"{row.name}: {peer.name}",
                "unit": row.unit,
                "loops": figures.loops,
                "timer": "process time" if row.metric == "cpu" else "passed time",
                "gil": "on" if figures.gil else "off",
            }
            runs = [
                pyperf.Run(
                    values,
                    warmups=[(figures.loops, value) for value in warmups] or None,
                    metadata=metadata,
                    collect_metadata=False,
                )
                for values, warmups in zip(figures.rounds, figures.warmups, strict=True)
            ]
            benchmarks.append(pyperf.Benchmark(runs))
    return pyperf.BenchmarkSuite(benchmarks)


_KEPT = (
    "cpu_count",
    "cpu_model_name",
    "date",
    "load_avg_1min",
    "perf_version",
    "platform",
    "python_compiler",
    "python_version",
)
"""What is kept of pyperf's metadata: nothing that tells whose machine it was."""


def write(results: Results, folder: Path, stem: str) -> list[Path]:
    """Write ``stem``.json (pyperf), -ratios.json, .md and .svg into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = folder / f"{stem}.json"
    suite(results).dump(str(figures), replace=True)
    ratios = folder / f"{stem}-ratios.json"
    ratios.write_text(json.dumps(_ratios(results), indent=1) + "\n")
    text = folder / f"{stem}.md"
    text.write_text(f"{table(results)}\n\n```\n{targets(results)}\n```\n")
    picture = folder / f"{stem}.svg"
    picture.write_text(plot(results))
    return [figures, ratios, text, picture]


def _ratios(results: Results) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for row in results.rows:
        entry: dict[str, Any] = {"title": row.title, "unit": row.unit, "peers": {}}
        for peer in results.peers:
            figures = results.figures.get((row.name, peer.name))
            ratio = results.ratio(row.name, peer.name)
            if figures is None:
                continue
            entry["peers"][peer.name] = {
                "typical": _short(results.typical(row.name, peer.name) or 0),
                "least": _short(figures.least),
                "ratio": None if ratio is None else _short(ratio.median),
                "spread": None if ratio is None else [_short(ratio.least), _short(ratio.greatest)],
            }
        rows[row.name] = entry
    return {
        "base": results.base,
        "rows": rows,
        "failures": {f"{row}: {peer}": why for (row, peer), why in results.failures.items()},
        "targets": [{"target": v.target, "reached": v.reached, "detail": v.detail} for v in judge(results)],
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")
