"""TLS over TCP and Unix sockets, on both sides."""

import os
import shutil
import socket
import ssl
import struct
import subprocess

import pytest

from rtsync import ContractError, idle, sleep, sync, thread
from rtsync.place import place_channel
from rtsync.ports import (
    EOF,
    InputPort,
    OutputPort,
    socket_ports,
    start_tls,
    tcp_connect,
    tcp_listen,
    tls_object,
    unix_connect,
    unix_listen,
)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """The paths of a certificate for localhost and of its key."""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture
def server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def client(certificate):
    return ssl.create_default_context(cafile=certificate[0])


@pytest.fixture
def secured(server, client):
    """``await secured()``: the four ports of an encrypted connection with itself."""

    async def connect():
        with tcp_listen(0, "127.0.0.1", tls=server) as listener:

            async def accept():
                inp, out = await listener.accept()
                assert await inp.peek(1) == b"!"  # makes the handshake
                await inp.read_bytes(1)
                return inp, out

            accepting = thread(accept)
            inp, out = await tcp_connect("127.0.0.1", listener.port, tls=client, server_hostname="localhost")
            await out.write("!", flush=True)
            return inp, out, *await accepting.join()

    return connect


async def fails(listener):
    """Accept a connection, and read from it: what that raises."""
    inp, out = await listener.accept()
    try:
        await inp.read_line()
    except OSError as error:
        return error
    finally:
        close(inp, out)


def close(*ports):
    for port in ports:
        port.abort()


async def test_lines_go_both_ways_encrypted(secured):
    inp, out, theirs_in, theirs_out = await secured()
    await out.write("hello\n", flush=True)
    assert await theirs_in.read_line() == "hello"
    await theirs_out.write("bye\n", flush=True)
    assert await inp.read_line() == "bye"
    assert tls_object(inp) is tls_object(out)
    assert tls_object(inp).version().startswith("TLSv1")
    assert tls_object(inp).getpeercert()["subject"] == ((("commonName", "localhost"),),)
    close(inp, out, theirs_in, theirs_out)


async def test_much_data_goes_both_ways_at_once(secured):
    inp, out, theirs_in, theirs_out = await secured()
    data = os.urandom(1 << 16) * 16

    async def send(port):
        await port.write(data)
        await port.close()

    readers = [thread(port.read_all) for port in (inp, theirs_in)]
    for t in [thread(send, port) for port in (out, theirs_out)]:
        await t.join()
    for t in readers:
        assert await t.join() == data
    close(inp, theirs_in)


async def test_closing_the_output_says_farewell_and_the_other_direction_works_on(secured):
    inp, out, theirs_in, theirs_out = await secured()
    await theirs_out.write("on its way\n", flush=True)
    await out.write("last words")
    await out.close()
    assert await theirs_in.read_all() == b"last words"
    await theirs_out.write("still here\n", flush=True)
    assert [await inp.read_line(), await inp.read_line()] == ["on its way", "still here"]
    await theirs_out.close()
    assert await inp.read_line() is EOF
    close(inp, theirs_in)


async def test_an_end_without_a_farewell_is_an_error(secured):
    inp, out, theirs_in, theirs_out = await secured()
    await theirs_out.write("half a mess", flush=True)
    theirs_out.abort()
    theirs_in.abort()
    assert await inp.read_bytes(11) == b"half a mess"
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        await inp.read_line()
    close(inp, out)


async def test_a_certificate_that_nobody_vouches_for_is_refused_on_both_sides(server):
    with tcp_listen(0, "127.0.0.1", tls=server) as listener:
        serving = thread(fails, listener)
        with pytest.raises(ssl.SSLCertVerificationError):
            await tcp_connect("127.0.0.1", listener.port, tls=ssl.create_default_context())
        assert isinstance(await serving.join(), OSError)


async def test_the_name_in_the_certificate_has_to_be_right(server, client):
    with tcp_listen(0, "127.0.0.1", tls=server) as listener:
        serving = thread(fails, listener)
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await tcp_connect("127.0.0.1", listener.port, tls=client, server_hostname="elsewhere.example")
        assert isinstance(await serving.join(), OSError)


async def test_who_does_not_speak_tls_is_an_error_for_its_own_connection_only(server, client):
    with tcp_listen(0, "127.0.0.1", tls=server) as listener:
        plain_in, plain_out = await tcp_connect("127.0.0.1", listener.port)
        inp, out = await listener.accept()
        await plain_out.write("GET / HTTP/1.0\r\n\r\n", flush=True)
        with pytest.raises(ssl.SSLError):
            await inp.read_line()
        close(inp, out, plain_in, plain_out)


async def test_who_never_makes_the_handshake_holds_nobody_up(server, client):
    with tcp_listen(0, "127.0.0.1", tls=server) as listener:
        silent = await tcp_connect("127.0.0.1", listener.port)
        held = await listener.accept()
        reader = thread(held[0].read_line)
        await sync(idle())

        async def serve():
            theirs_in, theirs_out = await listener.accept()
            await theirs_out.write(await theirs_in.read_line(), flush=True)
            await theirs_out.close()
            theirs_in.close()

        serving = thread(serve)
        inp, out = await tcp_connect("127.0.0.1", listener.port, tls=client, server_hostname="localhost")
        await out.write("hi\n", flush=True)
        assert await inp.read_all() == b"hi"
        await serving.join()
        reader.kill()
        close(*silent, *held, inp, out)


async def test_who_never_makes_the_handshake_is_dropped_after_the_timeout(server):
    with tcp_listen(0, "127.0.0.1", tls=server) as listener:
        silent = await tcp_connect("127.0.0.1", listener.port)
        inp, out = await listener.accept()
        inp.timeout = 0.01
        with pytest.raises(TimeoutError):
            await inp.read_line()
        with pytest.raises(TimeoutError):
            await inp.read_bytes_avail()
        close(*silent, inp, out)


async def test_a_reset_reaches_readers_and_writers(secured):
    inp, out, theirs_in, theirs_out = await secured()
    reader = thread(inp.read_line)
    await sync(idle())
    borrowed = socket.socket(fileno=os.dup(theirs_in._end.descriptor.fd))
    borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    close(theirs_in, theirs_out)
    borrowed.close()
    with pytest.raises(OSError):
        await reader.join()
    with pytest.raises(OSError):
        await write_for_ever(out)
    close(inp, out)


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.rtsync(workers=2)
async def test_closing_what_was_reset_closes_it_and_raises_nothing_at_the_call(server, client, flush):
    """The socket stayed open for ever: the farewell, which could not be sent, ended the closing."""
    with tcp_listen(0, "127.0.0.1", tls=server) as listener:

        def connect_and_reset():
            with socket.create_connection(("127.0.0.1", listener.port)) as plain:
                sock = client.wrap_socket(plain, server_hostname="localhost")
                assert sock.recv(1) == b"!"
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

        connecting = thread(connect_and_reset)
        inp, out = await listener.accept()
        await out.write("!", flush=True)
        await connecting.join()
        with pytest.raises(OSError):
            await inp.read_all()
        end = out._end.descriptor
        inp.close()
        if flush:
            with pytest.raises(OSError):
                await out.write("nobody reads this", flush=True)
        out.close()
        assert await sync(thread(until, lambda: out.closed), timeout=30)
        assert end.fd < 0


async def test_an_encrypted_port_is_no_message_for_a_place(secured):
    ports = await secured()
    for port in ports:
        with pytest.raises(ContractError, match="over an encrypted connection cannot be sent"):
            place_channel()[0].put(port)
    close(*ports)


async def until(condition):
    while not condition():
        await sleep(0.001)


@pytest.mark.parametrize("make", [socket_ports, InputPort, OutputPort])
def test_a_socket_that_the_standard_library_encrypts_is_refused(client, make):
    here, there = socket.socketpair()
    with here, there:
        sock = client.wrap_socket(here, server_hostname="localhost", do_handshake_on_connect=False)
        with sock, pytest.raises(TypeError, match="must be a socket that is not encrypted"):
            make(sock)


async def test_a_connection_can_be_encrypted_in_the_middle(server, client, connected):
    inp, out, theirs_in, theirs_out = await connected()
    await out.write("STARTTLS\n", flush=True)
    assert await theirs_in.read_line() == "STARTTLS"

    async def serve():
        await start_tls(theirs_in, theirs_out, server, server_side=True)
        await theirs_out.write(await theirs_in.read_line() + "\n", flush=True)

    serving = thread(serve)
    assert await start_tls(inp, out, client, server_hostname="localhost") == (inp, out)
    await out.write("secret\n", flush=True)
    assert await inp.read_line() == "secret"
    await serving.join()
    with pytest.raises(ContractError, match="not encrypted yet"):
        await start_tls(inp, out, client, server_hostname="localhost")
    close(inp, out, theirs_in, theirs_out)


async def test_tls_over_a_unix_socket(server, client, tmp_path):
    with unix_listen(tmp_path / "s") as listener:
        inp, out = await unix_connect(tmp_path / "s")
        theirs_in, theirs_out = await listener.accept()
        serving = thread(start_tls_server, theirs_in, theirs_out, server)
        await start_tls(inp, out, client, server_hostname="localhost")
        await serving.join()
        await theirs_out.write("a\n", flush=True)
        assert await inp.read_line() == "a"
        close(inp, out, theirs_in, theirs_out)


async def write_for_ever(out):
    while True:
        await out.write(b"x" * 100_000, flush=True)


async def start_tls_server(inp, out, context):
    await start_tls(inp, out, context, server_side=True)


async def test_a_killed_reader_has_taken_a_line_or_nothing(secured):
    inp, out, theirs_in, theirs_out = await secured()
    await out.write("ab", flush=True)
    reader = thread(theirs_in.read_line)
    await sync(idle())
    reader.kill()
    await out.write("c\n", flush=True)
    assert await theirs_in.read_line() == "abc"
    close(inp, out, theirs_in, theirs_out)


@pytest.mark.rtsync(workers=2)
async def test_a_peer_that_is_the_standard_library(server, client):
    """So that we do not only understand ourselves."""
    ours, theirs = socket.socketpair()

    def talk():
        with client.wrap_socket(theirs, server_hostname="localhost") as peer:
            peer.sendall(b"question\n")
            answer = peer.makefile("rb").readline()
            peer.unwrap().close()
            return answer

    talking = thread(talk)
    inp, out = await start_tls(*socket_ports(ours), server, server_side=True)
    assert await inp.read_line() == "question"
    await out.write("answer\n", flush=True)
    assert await inp.read_line() is EOF
    await out.close()
    inp.close()
    assert await talking.join() == b"answer\n"


def test_what_is_no_context_is_refused():
    with pytest.raises(TypeError, match=r"tcp_listen: tls must be an ssl.SSLContext or None, got 5"):
        tcp_listen(0, tls=5)
    with pytest.raises(TypeError, match="tcp_connect: tls must be an"):
        tcp_connect("localhost", 1, tls=True)


@pytest.mark.rtsync(workers=2)
async def test_each_look_sees_what_has_come(server, client):
    one, two = socket.socketpair()
    inp, out = socket_ports(one)
    theirs = socket_ports(two)
    handshake = thread(lambda: start_tls(inp, out, server, server_side=True))
    await start_tls(*theirs, client, server_hostname="localhost")
    await handshake.join()
    for _ in range(3):
        assert await sync(inp.read_line_evt(), timeout=0) is None
        await theirs[1].write("line\n", flush=True)
        assert await sync(inp.read_line_evt(), timeout=0) == "line"
    for port in (inp, out, *theirs):
        port.abort()
