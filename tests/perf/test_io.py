"""`perf.io`: the servers answer the load client, and its results come out in the same form as the others."""

import shutil
import socket
import subprocess

import pytest

pytest.importorskip("h11", reason="h11 is not installed (extra: test)")
pytest.importorskip("pyperf", reason="pyperf is not installed (extra: bench)")

from perf.io import __main__ as io
from perf.io.http import TEXT, Conversation
from perf.measure import Figures, Results
from perf.rows import Peer

COMPILER = shutil.which("cc") or shutil.which("gcc")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("load") / "load"
    source = io.__file__.replace("__main__.py", "load.c")
    subprocess.run([COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-o", path, source], check=True)
    return path


@pytest.mark.parametrize(
    ("name", "work"),
    [("rtsync/2", "echo_1k"), ("rtsync/2", "echo_100k"), ("rtsync/2", "http"), ("asyncio", "http")],
)
def test_a_server_under_load_has_figures(client, name, work):
    (peer,) = [peer for peer in io.PEERS if peer.name == name]
    results = io.run([work], [peer], peer.name, 1, 1, 0.05, client)
    assert results.failures == {}
    assert results.figures[work, name].least > 0


def test_a_server_that_does_not_start_is_a_failure(client):
    results = io.run(["http"], [Peer("nothing", "nothing")], "nothing", 1, 1, 0.05, client)
    assert "No module named 'perf.io.peers.nothing'" in results.failures["http", "nothing"]


def test_the_client_says_what_is_wrong(client):
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [client, str(server.getsockname()[1]), "http", "0", "1", "1"]
        load = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        conn, _ = server.accept()
        with conn:
            conn.sendall(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
            _, errors = load.communicate()
    assert (load.returncode, errors) == (1, "load: response: Protocol error\n")


def test_requests_that_come_in_pieces_or_together_are_answered():
    conversation = Conversation()
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    assert conversation.received(request[:10]) == b""
    answer = conversation.received(request[10:] + request)
    assert answer.count(b"HTTP/1.1 200 OK") == answer.count(TEXT) == 2


def test_the_targets_compare_each_number_of_workers_with_its_peers():
    results = Results("rtsync/2", [io.ROWS[0]], io.PEERS, judge=io.judge)
    for name, seconds in (("rtsync/1", 3.0), ("rtsync/2", 1.0), ("asyncio", 2.0), ("tonio/2", 2.0)):
        results.figures["echo_1k", name] = Figures(rounds=[[seconds]])
    reached = {verdict.target: verdict.reached for verdict in io.judge(results)}
    assert reached == {
        "rtsync/1 faster than asyncio": False,
        "rtsync/2 faster than asyncio": True,
        "rtsync/2 faster than tonio": True,
    }
