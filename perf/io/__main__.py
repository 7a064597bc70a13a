"""The command line: ``python -m perf.io``, or ``make bench-io ARGS='--quick'``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from perf import commandline, measure
from perf.measure import Figures, Results
from perf.rows import Peer, Row, Verdict

CONNECTIONS = 50
SECONDS = 1.0
"""Of load in one round."""

WORK = {
    "echo_1k": ("echo", 1 << 10, "echo of 1 KiB"),
    "echo_100k": ("echo", 100 << 10, "echo of 100 KiB"),
    "http": ("http", 0, "HTTP request"),
    "example": ("example", 0, "the same, to our example"),
}
"""What the server is, bytes of a message, and a title. The example is ``examples/http_server.py``; no peer
has one that does as much."""

ROWS = [
    row
    for name, (_, _, title) in WORK.items()
    for row in (Row(name, title, 1), Row(f"{name}_cpu", f"{title}, CPU time", 1, metric="cpu"))
]

PEERS = [
    Peer("rtsync/1", "rtsync", 1),
    Peer("rtsync/2", "rtsync", 2),
    Peer("asyncio", "asyncio_streams"),
    Peer("asyncio protocols", "asyncio_protocols"),
    Peer("uvloop", "uvloop_streams"),
    Peer("uvloop protocols", "uvloop_protocols"),
    Peer("trio", "trio"),
    Peer("gevent", "gevent"),
    Peer("tonio/1", "tonio", 1),
    Peer("tonio/2", "tonio", 2),
    Peer("mt_asyncio/1", "mt_asyncio_streams", 1),
    Peer("mt_asyncio/2", "mt_asyncio_streams", 2),
    Peer("mt_asyncio protocols/2", "mt_asyncio_protocols", 2),
]


class Server:
    """A server in a process of its own, for the time of a ``with`` block."""

    def __init__(self, peer: Peer, kind: str) -> None:
        command = [sys.executable, "-m", "perf.io.serve", peer.module, kind, str(peer.workers), peer.tree]
        self._process = subprocess.Popen(
            command,
            cwd=measure.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=measure.environment(),
        )

    def __enter__(self) -> Server:
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        _, self.errors = self._process.communicate()

    def cpu_time(self) -> float:
        """Seconds of processor time that it has used."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def run(
    names: list[str], peers: list[Peer], base: str, reps: int, rounds: int, seconds: float, client: Path
) -> Results:
    """Interleaved runs, as in `perf.measure`: a repetition puts each peer under load once."""
    rows = [row for row in ROWS if row.name.removesuffix("_cpu") in names]
    results = Results(base, rows, list(peers), median, judge=judge)
    for rep in range(reps):
        for name in names:
            turn = rep % max(1, len(peers))
            for peer in peers[turn:] + peers[:turn]:
                if name == "example" and peer.module != "rtsync":
                    continue
                commandline.say(f"{rep + 1}/{reps} {WORK[name][2]}: {peer.name}")
                once(results, name, peer, rounds, seconds, client)
    return results


def once(results: Results, name: str, peer: Peer, rounds: int, seconds: float, client: Path) -> None:
    """Put ``peer`` under load, and enter its figures."""
    if (name, peer.name) in results.failures:
        return
    kind, size, _ = WORK[name]
    passed, used = [], []
    server = Server(peer, kind)
    try:
        with server:
            for length in [seconds / 3] + [seconds] * rounds:  # the first to warm up
                before = server.cpu_time()
                answer = load(client, server.port, kind, size, length)
                passed.append(answer["seconds"] / answer["operations"])
                used.append((server.cpu_time() - before) / answer["operations"])
    except (OSError, ValueError, IndexError, ZeroDivisionError, subprocess.SubprocessError) as error:
        why = server.errors.strip() or getattr(error, "stderr", None) or repr(error)
        results.failures[name, peer.name] = why
        return
    for row, values in ((name, passed), (f"{name}_cpu", used)):
        figures = results.figures.setdefault((row, peer.name), Figures())
        figures.rounds.append(values[1:])
        figures.warmups.append(values[:1])
        figures.loops = 1


def load(client: Path, port: str, kind: str, size: int, seconds: float) -> Any:
    """What the client says."""
    command = [client, port, "http" if kind == "example" else kind, str(size), str(CONNECTIONS), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    return json.loads(done.stdout)


def judge(results: Results) -> Iterator[Verdict]:
    """The targets: one worker ahead of asyncio, trio and gevent, two ahead of everybody."""
    single = ("asyncio", "trio", "gevent")
    for base, modules in (("rtsync/1", single), ("rtsync/2", (*single, "uvloop", "tonio", "mt_asyncio"))):
        for module in modules:
            ratios = {
                f"{row.name} beside {peer.name}": ratio.median
                for row in results.rows
                if row.metric != "cpu"
                for peer in results.peers
                if peer.module.startswith(module)
                and (ratio := results.ratio(row.name, peer.name, base)) is not None
            }
            if ratios:
                lost = ", ".join(f"{what} {ratio:.2f}" for what, ratio in ratios.items() if ratio < 1)
                yield Verdict(f"{base} faster than {module}", not lost, lost or "ahead in all")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("perf.io: the load client needs a C compiler (cc), and there is none", file=sys.stderr)
        return 1
    wanted = set(options.peers)
    peers = [p for p in PEERS if not wanted or wanted & {p.name, p.module, p.name.partition("/")[0]}]
    base = "rtsync/2"
    if base not in [peer.name for peer in peers]:
        peers = [*[peer for peer in PEERS if peer.name == base], *peers]
    rounds, seconds = (1, 0.5) if options.quick else (3, SECONDS)

    def work(peers: list[Peer], folder: Path) -> Results:
        client = folder / "load"
        subprocess.run([compiler, "-O2", "-o", client, Path(__file__).with_name("load.c")], check=True)
        names = options.only or list(WORK)
        return run(names, peers, base, commandline.reps(options), rounds, seconds, client)

    return commandline.perform(peers, options, options.name, work)


def _parser() -> argparse.ArgumentParser:
    about = "Servers on rtsync's ports beside those on its peers, under load from a client in C."
    return commandline.parser("python -m perf.io", about, list(WORK), "io")


if __name__ == "__main__":
    sys.exit(main())
