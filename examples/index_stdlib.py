"""An index of the Python standard library's own source, on one core and then on all.

    python examples/index_stdlib.py [--workers N] [--limit FILES]

Nearly two thousand files, a million lines: each is read, cut into tokens and parsed; its tokens, definitions,
imports and identifiers are counted, and what was found goes into one index. The program is four kinds of
threads, joined by channels:

    readers ──▶ sources ──▶ analysts ──▶ findings ──▶ the main thread
    (on OS      AsyncChannel (one         Channel      (adds up)
    threads)    with a limit  per file)

* The *readers* are plain functions, so each has an OS thread of its own, and blocks it: reading is what the
  operating system is good at waiting for. They are faster than what follows; ``sources`` holds a few files
  and then makes them wait (back-pressure), so memory holds some sources, not all.
* The *analysts* are coroutine threads. They are cheap, so there is one for each file; they share nothing but
  the channels, and any core may run any of them. The work has no ``await`` in it, and
  ``desks`` lets as many at it as there are workers: more would only hold more syntax trees in memory.
* The *main thread* takes one finding after another. Nobody else touches the index, so it needs no lock.
* In a terminal one more thread shows how far things are, ten times a second. That all cores are busy with
  computations that never give way does not keep it from running.
"""

from __future__ import annotations

import argparse
import ast
import gc
import platform
import re
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import rtsync as rt

READERS = 2
SOURCES = 16  # files read ahead


# -- the threads ---------------------------------------------------------------------------------


async def index(paths: list[Path], workers: int, show: bool) -> Index:
    """The main thread: start the others, then add up what they find."""
    sources = rt.AsyncChannel(SOURCES)
    findings = rt.Channel()
    desks = rt.Semaphore(workers)
    for reader in range(READERS):
        rt.thread(read, paths[reader::READERS], sources)
    for _ in paths:
        rt.thread(analyst, desks, sources, findings)
    total = Index()
    if show:
        rt.thread(show_progress, total, len(paths), workers)
    for _ in paths:
        total.add(await findings.get())
    return total


def read(paths: list[Path], sources: rt.AsyncChannel) -> None:
    """A reader. Not ``async``: it runs on an OS thread of its own and may block."""
    for path in paths:
        rt.block_on(sources.put((path, path.read_bytes())))


async def analyst(desks: rt.Semaphore, sources: rt.AsyncChannel, findings: rt.Channel) -> None:
    """An analyst: one file, whichever comes next."""
    async with desks:
        path, source = await sources.get()
        finding = analyse(path, source)
    await findings.put(finding)


async def show_progress(total: Index, files: int, workers: int) -> None:
    """The display. It ends with the main thread: `run` kills what is left, and ``finally`` runs."""
    try:
        while True:
            print(f"\r{label(workers)}  {total.files:5,} of {files:,} files", end="", flush=True)
            await rt.sleep(0.1)
    finally:
        print("\r\033[K", end="", flush=True)


# -- the work ------------------------------------------------------------------------------------


TOKEN = re.compile(
    rb"""
    \#[^\n]*                                                               # a comment
  | [a-zA-Z]{0,2} (?: \"""(?:[^\\]|\\.)*?\""" | '''(?:[^\\]|\\.)*?'''     # a string
                    | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
  | [\d.]*\d[\w.]*                                                        # a number
  | [\w\x80-\xff]+                                                        # a name
  | ->|:=|\.\.\.|[-+*/%@&|^<>=!]{1,2}=|\*\*|//|<<|>>|[^\s\w]              # an operator
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class Finding:
    """What there is in one file."""

    path: Path
    lines: int
    tokens: int = 0
    comments: int = 0
    parsed: bool = False
    classes: int = 0
    functions: int = 0
    longest: tuple[int, str] = (0, "")  # of the functions: lines, name
    imports: set[str] = field(default_factory=set)
    identifiers: Counter[str] = field(default_factory=Counter)


def analyse(path: Path, source: bytes) -> Finding:
    """Cut one file into tokens, parse it, and count."""
    finding = Finding(path, source.count(b"\n"))
    tokens = TOKEN.findall(source)
    finding.tokens = len(tokens)
    finding.comments = sum([token.startswith(b"#") for token in tokens])
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return finding  # some are there to test that they are refused
    finding.parsed = True
    names: list[str] = []
    for node in nodes(tree):
        match node:
            case ast.Name():
                names.append(node.id)
            case ast.Attribute():
                names.append(node.attr)
            case ast.arg():
                names.append(node.arg)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                names.append(node.name)
                finding.functions += 1
                lines = (node.end_lineno or 0) - node.lineno + 1
                finding.longest = max(finding.longest, (lines, node.name))
            case ast.ClassDef():
                names.append(node.name)
                finding.classes += 1
            case ast.Import():
                finding.imports.update(alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                finding.imports.add(module.partition(".")[0])
    finding.identifiers.update(names)
    return finding


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a syntax tree but the marks for what is loaded and what is stored.

    `ast.walk` and `ast.NodeVisitor` (and for the tokens `tokenize`) would do for one core. But threads that
    share no data may still share objects of the library they use, and then the cores pass the reference
    counts of those to and fro: with `tokenize`, which makes each token through one class method, two threads
    were slower than one. What this loop touches belongs to the tree, except for the marks, of which there is
    one for all trees.
    """
    rest = [tree]
    while rest:
        node = rest.pop()
        yield node
        for value in vars(node).values():
            if isinstance(value, list):
                rest.extend([part for part in value if isinstance(part, ast.AST)])
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                rest.append(value)


# -- the result ----------------------------------------------------------------------------------


@dataclass
class Index:
    """All findings together. Only the main thread adds to it."""

    files: int = 0
    refused: int = 0
    lines: int = 0
    tokens: int = 0
    comments: int = 0
    classes: int = 0
    functions: int = 0
    longest: tuple[int, str, Path] = (0, "", Path())
    imports: Counter[str] = field(default_factory=Counter)
    identifiers: Counter[str] = field(default_factory=Counter)

    def add(self, found: Finding) -> None:
        self.files += 1
        self.refused += not found.parsed
        self.lines += found.lines
        self.tokens += found.tokens
        self.comments += found.comments
        self.classes += found.classes
        self.functions += found.functions
        self.longest = max(self.longest, (*found.longest, found.path))
        self.imports.update(found.imports)
        self.identifiers.update(found.identifiers)

    def __str__(self) -> str:
        def top(counter: Counter[str], many: int) -> str:
            # Equal counts in the order of the alphabet: not in that in which the files were ready.
            ranking = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
            return ", ".join(f"{name} {count:,}" for name, count in ranking[:many])

        lines, function, path = self.longest
        rows = [
            ("files", f"{self.files:,}, of which {self.refused} are refused by the parser"),
            ("lines", f"{self.lines:,}"),
            ("tokens", f"{self.tokens:,}, of which {self.comments:,} are comments"),
            ("definitions", f"{self.functions:,} functions, {self.classes:,} classes"),
            ("longest function", f"{function} in {path.name}, {lines:,} lines"),
            ("most imported", top(self.imports, 6)),
            ("identifiers", f"{len(self.identifiers):,}; {top(self.identifiers, 6)}"),
        ]
        return "\n".join(f"{name:<18}{text}" for name, text in rows)


# -- the comparison ------------------------------------------------------------------------------


def main() -> None:
    processors = rt.Runtime().target
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=processors, help=f"default: {processors}")
    parser.add_argument("--limit", type=int, metavar="FILES", help="default: all there are")
    options = parser.parse_args()
    if options.workers < 1 or (options.limit is not None and options.limit < 1):
        parser.error("--workers and --limit must be positive")

    paths = library_files()[: options.limit]
    print(f"Python {platform.python_version()}: {len(paths):,} files of its standard library")
    warnings.simplefilter("ignore", SyntaxWarning)  # the files have some
    for path in paths:
        path.read_bytes()  # so that the first run does not wait for the disk, and the second not
    show = sys.stdout.isatty()

    seconds, found = timed(paths, 1, show)
    print(f"{label(1)}{seconds:8.2f} s")
    if options.workers > 1:
        in_parallel, again = timed(paths, options.workers, show)
        print(f"{label(options.workers)}{in_parallel:8.2f} s, {seconds / in_parallel:.2f} times as fast")
        if again != found:
            raise SystemExit("the two runs do not agree")
        if getattr(sys, "_is_gil_enabled", lambda: True)():
            print("This interpreter has a global lock: threads take turns. Try a free-threaded one.")
    print(f"\n{found}")


def timed(paths: list[Path], workers: int, show: bool) -> tuple[float, Index]:
    """Make the index with so many workers; the seconds that took, and the index."""
    gc.collect()
    start = perf_counter()
    found = rt.run(index, paths, workers, show, workers=workers)
    return perf_counter() - start, found


def library_files() -> list[Path]:
    """The source files of the standard library, without what was installed beside it."""
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)


def label(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ' '}"


if __name__ == "__main__":
    main()
