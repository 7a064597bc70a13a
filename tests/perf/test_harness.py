"""The benchmarks run and write their files. What they measure is not looked at here: a test has no clock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from perf.measure import Figures, Results
from perf.rows import PEERS, ROWS, peers_for

ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "perf", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.timeout(180)
def test_a_tiny_run_prints_the_table_and_writes_its_files(tmp_path):
    pytest.importorskip("pyperf")
    out = bench(
        *("--effort", "0.01", "--reps", "1", "--peers", "asyncio", "--name", "tiny", "--out", str(tmp_path)),
        *("--only", "channel", "yield_100"),
    )
    assert "channel round trip" in out
    assert "asyncio" in out
    ratios = json.loads((tmp_path / "tiny-ratios.json").read_text())
    assert ratios["failures"] == {}
    assert set(ratios["rows"]) == {"channel", "yield_100"}
    assert set(ratios["rows"]["channel"]["peers"]) == {"rtsync/2", "asyncio"}
    ElementTree.parse(tmp_path / "tiny.svg")
    assert (tmp_path / "tiny.md").read_text().startswith("| ")

    import pyperf

    suite = pyperf.BenchmarkSuite.load(str(tmp_path / "tiny.json"))
    assert "channel: asyncio" in suite.get_benchmark_names()


def test_every_row_has_a_program_in_rtsync_and_in_asyncio():
    pytest.importorskip("pyperf")
    from perf.peers import asyncio_family, rtsync

    for row in ROWS:
        assert hasattr(rtsync, row.name)
        assert hasattr(asyncio_family, row.name)


def test_ratios_are_taken_within_a_repetition():
    results = Results("rtsync/2", list(ROWS), list(PEERS))
    results.figures["channel", "rtsync/2"] = Figures(rounds=[[1.0], [2.0], [4.0]])
    results.figures["channel", "asyncio"] = Figures(rounds=[[3.0], [6.0], [16.0]])
    ratio = results.ratio("channel", "asyncio")
    assert ratio is not None
    assert (ratio.median, ratio.least, ratio.greatest) == (3.0, 3.0, 4.0)
    assert results.ratio("channel", "trio") is None


def test_a_peer_is_chosen_by_its_name_or_module():
    assert [peer.name for peer in peers_for(["tonio"], None)] == ["tonio/1", "tonio/2"]
    assert [peer.name for peer in peers_for(["tonio"], 2)] == ["tonio/2"]
    assert [peer.name for peer in peers_for(["rtsync/1", "trio"], None)] == ["rtsync/1", "trio"]
    with pytest.raises(ValueError, match="no such peer: twisted"):
        peers_for(["twisted"], None)


@pytest.mark.timeout(180)
def test_the_latency_of_kill_is_measured(tmp_path):
    from perf import kill_latency

    out = tmp_path / "latency.json"
    assert kill_latency.main(["--rounds", "2", "--json", str(out)]) == 0
    figures = json.loads(out.read_text())["ms"]
    assert len(figures) == 4
    assert all(row["median"] <= row["max"] for row in figures.values())
