"""What is measured (rows), beside what (peers), and what is to be reached (targets)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .load import BATCH


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work."""

    name: str  # of the function in the modules of `perf.peers`
    title: str
    n: int  # how often it is done in one timed round, by a peer of scale 1
    rounds: int = 10  # timed rounds in one process, after one for warming up
    reps: int = 99  # repetitions, if fewer than asked for
    scaled: bool = True  # whether slow peers, and quick runs, do less of it
    whole: int = 100  # what n is a multiple of: the batches or the threads it is split into
    metric: str = "time"  # "time" passed, "cpu" time of the process, or "figure": what the row gives
    unit: str = "second"  # pyperf's name of it


ROWS: Final = (
    Row("spawn", "spawn and join", 6_000),
    Row("yields", "yield, one thread", 40_000),
    Row("yield_100", "yield, 100 threads", 40_000),
    Row("channel", "channel round trip", 8_000),
    Row("select", "the same, 2-way select", 4_000),
    Row("semaphore", "semaphore round trip", 8_000),
    Row("mailbox", "mailbox round trip", 8_000),
    Row("fan", "fan in, fan out 4:4", 24_000),
    Row("timeout", "round trip, timeout each get", 4_000),
    Row("sleepers", "100,000 sleepers (CPU)", 100_000, 1, 2, scaled=False, metric="cpu"),
    Row("million", "1,000,000 short threads", 1_000_000, 1, 2, whole=BATCH),
    Row("memory", "memory of a blocked thread", 50_000, 1, 2, scaled=False, metric="figure", unit="byte"),
    Row("cpu", "CPU-bound, 16 threads", 16, 3, 3, scaled=False, whole=16),
)

ROUND_TRIPS: Final = ("channel", "select", "semaphore", "mailbox", "timeout")


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to run the rows: a module of `perf.peers` with a number of workers."""

    name: str
    module: str
    workers: int = 1
    scale: float = 1.0  # of Row.n: less for slow ones
    only: tuple[str, ...] = ()  # rows for which it is another peer than the one above
    tree: str = ""  # the rtsync to import, if not this one
    options: tuple[str, ...] = ()  # of the interpreter
    package: str = "perf.peers"  # where the module is

    def runs(self, row: Row) -> bool:
        """Whether to measure ``row``; that the module has it is another question."""
        return not self.only or row.name in self.only


PEERS: Final = (
    Peer("rtsync/1", "rtsync", 1),
    Peer("rtsync/2", "rtsync", 2),
    Peer("asyncio", "asyncio", 1),
    Peer("uvloop", "uvloop", 1),
    Peer("trio", "trio", 1, 0.25),
    Peer("gevent", "gevent", 1, 0.25),
    Peer("tonio/1", "tonio", 1),
    Peer("tonio/2", "tonio", 2, 0.5),
    Peer("mt_asyncio/1", "mt_asyncio", 1, 0.25),
    Peer("mt_asyncio/2", "mt_asyncio", 2, 0.25),
    Peer("threads/1", "threads", 1, 0.05, only=("cpu",)),
    Peer("threads", "threads", 2, 0.01),
)


def peers_for(names: list[str], workers: int | None) -> list[Peer]:
    """Those of the peers named ``names`` (``tonio`` stands for ``tonio/1`` and ``tonio/2``; all, if
    none is named), those on the other number of workers left out."""
    known = {peer.module for peer in PEERS} | {peer.name for peer in PEERS}
    if unknown := set(names) - known:
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}; there are {sorted(known)}")
    pooled = {peer.module for peer in PEERS if "/" in peer.name}
    return [
        peer
        for peer in PEERS
        if (not names or peer.name in names or peer.module in names)
        and (workers is None or peer.module not in pooled or peer.workers == workers)
    ]


type Medians = dict[tuple[str, str], float]
"""The ratio (or for "rtsync/1" and the like: the figure) by row and peer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target of the project, and how this run stands to it."""

    target: str
    reached: bool
    detail: str


def verdicts(ratios: Medians, base: str) -> Iterator[Verdict]:
    """``ratios[row, peer]``: how many times as long as ``base`` the peer takes."""
    names = [row.name for row in ROWS]
    peers = sorted({peer for _, peer in ratios})

    def behind(module: str) -> dict[str, float]:
        """The rows in which a peer of ``module`` is ahead of us, by what factor."""
        return {
            row: min(mine)
            for row in names
            if (mine := [ratios[row, p] for p in peers if _of(p, module) and (row, p) in ratios])
            and min(mine) < 1
        }

    for module, most in (
        ("asyncio", 0),
        ("uvloop", 0),
        ("trio", 0),
        ("mt_asyncio", 0),
        ("gevent", 2),
        ("tonio", 2),
    ):
        if any(_of(peer, module) for peer in peers):
            lost = behind(module)
            detail = ", ".join(f"{row} {ratio:.2f}" for row, ratio in lost.items()) or "ahead in all"
            allowed = "every row" if not most else f"all rows but {most}"
            yield Verdict(f"faster than {module} in {allowed}", len(lost) <= most, detail)

    def at_least(target: str, row: str, peer: str, least: float) -> Iterator[Verdict]:
        if (ratio := ratios.get((row, peer))) is not None:
            yield Verdict(f"{target} at least {least}", ratio >= least, f"{ratio:.2f}")

    yield from at_least("yield to asyncio's:", "yields", "asyncio", 4)
    yield from at_least("channel to asyncio's queues:", "channel", "asyncio", 3)
    yield from at_least("memory to an asyncio task's:", "memory", "asyncio", 1)
    if base == "rtsync/2":
        for row in ROUND_TRIPS:
            # 5% is what two columns of the same program differ by on a noisy machine
            yield from at_least(f"{row}: 2 workers to 1:", row, "rtsync/1", 0.95)
        # Not to rtsync/1: its steps of milliseconds, which never give way, bring in a second OS worker.
        yield from at_least("CPU-bound: 2 workers to one OS thread:", "cpu", "threads/1", 1.75)


def _of(peer: str, module: str) -> bool:
    return peer.partition("/")[0] == module
