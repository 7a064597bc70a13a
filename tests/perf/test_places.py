"""The benchmark of places: its rows and peers fit together, and a round trip is measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyperf")

from perf.places.__main__ import PEERS, ROWS, TARGETS

ROOT = Path(__file__).resolve().parents[2]


def test_targets_name_rows_and_peers_that_exist():
    rows = {row.name for row in ROWS}
    peers = {peer.name for peer in PEERS}
    for row, peer, least in TARGETS:
        assert row in rows
        assert peer in peers
        assert least >= 1


@pytest.mark.parametrize("module", ["rtsync", "pipe", "queue"])
def test_a_round_trip_is_measured(module):
    spec = {
        "module": f"perf.places.peers.{module}",
        "row": "round_trip",
        "n": 3,
        "rounds": 2,
        "metric": "time",
        "workers": 1,
        "tree": "",
    }
    command = [sys.executable, "-m", "perf.child", json.dumps(spec)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert len(json.loads(done.stdout)["values"]) == 2
