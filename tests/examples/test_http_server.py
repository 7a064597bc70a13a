"""The example of an HTTP server: what it answers, and what it survives."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("h11", reason="h11 is not installed (extra: test)")

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "http_server.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("www")
    (folder / "page.html").write_text("<p>page</p>")
    (folder / "large").write_bytes(bytes(range(256)) * 8000)  # 2 MB: more than any buffer on the way
    (folder / "sub").mkdir()
    (folder / "sub" / "a b.txt").write_text("deeper")
    (folder.parent / "secret").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """The host and port of a server in a process of its own, which must be alive and well at the end."""
    with serving(folder) as address:
        yield address


@pytest.fixture
def impatient(folder):
    """One that drops clients that say nothing for a tenth of a second."""
    with serving(folder, "--patience", "0.1") as address:
        yield address


@contextmanager
def serving(folder, *options):
    command = [sys.executable, PROGRAM, "--root", folder, "--port", "0", "--workers", "2", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        host, _, port = process.stdout.readline().strip().removeprefix("http://").rstrip("/").partition(":")
        yield host, int(port)
        assert any(answers((host, int(port))) for _ in range(50))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=150)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()


def get(server, path, method="GET"):
    connection = http.client.HTTPConnection(*server, timeout=150)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def answers(server):
    """Whether it gave the answer. An impatient one may drop this client, too, when the machine is busy."""
    try:
        return get(server, "/")[0] == 200
    except (http.client.HTTPException, OSError):
        return False


def raw(server):
    return socket.create_connection(server, timeout=150)


# -- what it answers ---------------------------------------------------------------------------------


def test_a_file(server):
    status, body, headers = get(server, "/page.html")
    assert (status, body, headers["content-type"]) == (200, b"<p>page</p>", "text/html")


def test_a_large_file(server):
    status, body, _ = get(server, "/large")
    assert (status, body) == (200, bytes(range(256)) * 8000)


def test_a_file_in_a_folder_with_a_blank_in_its_name(server):
    assert get(server, "/sub/a%20b.txt")[:2] == (200, b"deeper")


@pytest.mark.parametrize(
    "path", ["/nothing", "/sub", "/../secret", "/%2e%2e/secret", "/a%00b", "//etc/passwd"]
)
def test_what_is_no_file_below_the_folder_is_not_found(server, path):
    assert get(server, path)[0] == 404


def test_computed_answers(server):
    assert get(server, "/primes/100")[:2] == (200, b"25\n")
    assert get(server, "/primes/0")[:2] == (200, b"0\n")


@pytest.mark.parametrize("n", ["x", "-1", "1e3", "999999999999", "5000001", ""])
def test_numbers_that_are_none_are_refused(server, n):
    assert get(server, f"/primes/{n}")[0] == 400


def test_the_head_alone(server):
    status, body, headers = get(server, "/large", "HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", str(256 * 8000))


def test_other_methods_are_refused_and_the_connection_goes_on(server):
    connection = http.client.HTTPConnection(*server, timeout=150)
    connection.request("POST", "/", body=b"something")
    response = connection.getresponse()
    assert (response.status, response.read()) == (405, b"only GET and HEAD\n")
    connection.request("GET", "/primes/10")
    assert connection.getresponse().read() == b"4\n"
    connection.close()


def test_requests_that_are_sent_at_once_are_answered_in_order(server):
    with raw(server) as client:
        client.sendall(b"".join(b"GET /primes/%d HTTP/1.1\r\nhost: x\r\n\r\n" % n for n in (10, 100, 1000)))
        client.shutdown(socket.SHUT_WR)
        text = b""
        while data := client.recv(4096):
            text += data
    assert [part.rpartition(b"\n")[2] for part in text.split(b"\nHTTP/1.1")] == [b"4", b"25", b""]


def test_garbage_is_refused(server):
    with raw(server) as client:
        client.sendall(b"this is not HTTP\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


# -- what it survives --------------------------------------------------------------------------------


def test_clients_that_reset_their_connections(server):
    for request in (b"", b"GET /lar", b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n"):
        for _ in range(10):
            client = raw(server)
            client.sendall(request)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
    assert get(server, "/primes/10")[:2] == (200, b"4\n")


def test_clients_that_ask_slowly_and_clients_that_do_not_read_hold_up_nobody(server):
    idle = [raw(server) for _ in range(50)]
    for n, client in enumerate(idle):
        client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n" if n % 2 else b"GET /lar")
    assert get(server, "/page.html")[:2] == (200, b"<p>page</p>")
    idle[0].sendall(b"ge HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    received = 0
    while data := idle[0].recv(1 << 16):
        received += len(data)
    assert received > 256 * 8000
    for client in idle:
        client.close()


def ended(client):
    """Whether the other end closes the connection, waiting for that as long as need be."""
    try:
        return client.recv(4096) == b""
    except ConnectionResetError:  # what had come in vain was lost with the connection
        return True


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_a_client_that_says_no_more_is_dropped(impatient, said):
    with raw(impatient) as client:
        client.sendall(said)
        assert ended(client)


def test_a_client_that_says_no_more_after_an_answer_is_dropped(impatient):
    def ask():
        with raw(impatient) as client:
            text = b""
            try:
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                while data := client.recv(4096):
                    text += data
            except ConnectionError:  # dropped before it had asked
                return b""
            return text

    # All of them end; one at least was quick enough to get its answer.
    assert any(ask().endswith(b"rtsync\n") for _ in range(50))


def test_a_client_that_sends_byte_by_byte_is_dropped_although_it_is_never_silent_for_long(impatient):
    with raw(impatient) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        client.settimeout(0.01)
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            try:
                client.sendall(b"x")
                if client.recv(4096) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:  # reset
                break
        else:
            pytest.fail("it goes on for ever")


def test_long_computations_do_not_hold_up_other_requests(server):
    long = [raw(server) for _ in range(4)]  # more than there are workers
    for client in long:
        client.sendall(b"GET /primes/5000000 HTTP/1.1\r\nhost: x\r\n\r\n" * 3)
    assert get(server, "/page.html")[:2] == (200, b"<p>page</p>")
    for client in long:
        client.close()


def test_a_load_of_many_clients(server):
    wrong = []

    def client(n):
        connection = http.client.HTTPConnection(*server, timeout=50)
        for path, answer in [
            ("/primes/1000", b"168\n"),
            ("/page.html", b"<p>page</p>"),
            ("/", b"rtsync\n"),
        ] * 5:
            connection.request("GET", path)
            body = connection.getresponse().read()
            if body != answer:
                wrong.append((path, body))
        connection.close()

    clients = [threading.Thread(target=client, args=(n,)) for n in range(30)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert wrong == []
