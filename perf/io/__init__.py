"""Benchmarks of servers: rtsync's ports beside asyncio, uvloop, trio, gevent, TonIO and mt_asyncio.

``python -m perf.io`` starts each server in a process of its own and puts load on it from a client in C
(`load.c`, compiled on the fly), so that the server is what is measured: echo of 1 KiB and of 100 KiB
messages over 50 connections, and requests of a small HTTP server (the same conversation by h11 in all of
them, and once more our ``examples/http_server.py``). The servers are in `perf.io.peers`.
"""
