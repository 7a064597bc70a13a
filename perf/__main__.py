"""The command line: ``python -m perf``, or ``make bench ARGS='--quick'``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import commandline, measure
from .measure import Results
from .rows import PEERS, ROWS, Peer, peers_for


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        peers = peers_for(options.peers, options.workers)
    except ValueError as error:
        parser.error(str(error))
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    base = f"rtsync/{options.workers or 2}"
    if base not in [peer.name for peer in peers]:
        peers = [*[peer for peer in PEERS if peer.name == base], *peers]
    part = (options.only, options.peers, options.workers, options.compare, options.quick, options.effort)
    effort = options.effort or (commandline.QUICK if options.quick else 1.0)

    def work(peers: list[Peer], folder: Path) -> Results:
        return measure.run(
            rows, peers, base, commandline.reps(options), effort, options.figure, commandline.say
        )

    return commandline.perform(peers, options, options.name or ("latest" if any(part) else "core"), work)


def _parser() -> argparse.ArgumentParser:
    parser = commandline.parser(
        "python -m perf",
        "rtsync beside its peers, in interleaved runs on this interpreter.",
        [row.name for row in ROWS],
        None,
    )
    commandline.add_least(parser)
    add = parser.add_argument
    add("--effort", type=float, metavar="X", help="the part of each row's work to do (default 1)")
    add("--workers", type=int, choices=(1, 2), help="only with this many workers, where there is a pool")
    return parser


if __name__ == "__main__":
    sys.exit(main())
