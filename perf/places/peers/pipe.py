"""The rows in processes with pipes: ``multiprocessing``'s `Process` and `Pipe`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from perf.places.load import KIBIBYTE, PARTS, check, look, part_of, timed

from .plain import memory, ones, run, spawn, view

__all__ = ["array", "reduce", "round_trip", "run", "startup", "throughput"]


def begin(work: Callable[[Any], None]) -> tuple[Any, Any]:
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return ours, process


@cache
def kept(work: Callable[[Any], None], number: int = 0) -> Any:
    """Our end of the pipe to the process that does ``work``."""
    return begin(work)[0]


def hello(conn: Any) -> None:
    conn.send("hello")


def startup(n: int) -> float:
    def start() -> Any:
        conn, process = begin(hello)
        conn.recv()
        return process

    return timed(start, lambda process: process.join(), n)


def echo(conn: Any) -> None:
    while True:
        conn.send(conn.recv())


def round_trip(n: int) -> None:
    conn = kept(echo)
    for i in range(n):
        conn.send(i)
        conn.recv()


def sink(conn: Any) -> None:
    while True:
        for _ in range(conn.recv()):
            conn.recv()
        conn.send(None)


def throughput(n: int) -> None:
    conn = kept(sink)
    conn.send(n)
    for _ in range(n):
        conn.send(KIBIBYTE)
    conn.recv()


def looker(conn: Any) -> None:
    while True:
        conn.send(look(conn.recv()))


def array(n: int) -> None:
    conn = kept(looker)
    for _ in range(n):
        conn.send(ones())
        conn.recv()


first_array = array


def reducer(conn: Any) -> None:
    while True:
        name, start, stop = conn.recv()
        conn.send(part_of(view(name), start, stop))


def reduce(n: int) -> None:
    conns = [kept(reducer, number) for number in range(len(PARTS))]
    for _ in range(n):
        for conn, (start, stop) in zip(conns, PARTS, strict=True):
            conn.send((memory().name, start, stop))
        check(sum(conn.recv() for conn in conns))
