"""Racket Reference 15.3.1 and Guide 18.6: TCP and Unix sockets."""

import os
import socket
import sys
import threading

import pytest

from rtsync import (
    ContractError,
    Custodian,
    Deadlock,
    Runtime,
    block_on,
    choice,
    current_thread,
    idle,
    never,
    receive_evt,
    run,
    sync,
    thread,
)
from rtsync.atomic import atomic
from rtsync.ports import (
    EOF,
    PortClosed,
    copy_port,
    pipe,
    tcp_abandon_port,
    tcp_accept,
    tcp_accept_evt,
    tcp_addresses,
    tcp_close,
    tcp_connect,
    tcp_listen,
    unix_connect,
    unix_listen,
)
from rtsync.testing import run_deterministic


def close(*ports):
    for port in ports:
        port.abort()


async def test_lines_go_both_ways(connected):
    inp, out, theirs_in, theirs_out = await connected()
    await out.write("hello\n", flush=True)
    assert await theirs_in.read_line() == "hello"
    await theirs_out.write("bye\r\n", flush=True)
    assert await inp.read_line("any") == "bye"
    close(inp, out, theirs_in, theirs_out)


async def test_small_writes_are_collected_until_someone_flushes(connected):
    inp, out, theirs_in, theirs_out = await connected()
    await out.write("a")
    await out.write("b")
    assert out.pending() == 2
    await out.flush()
    assert out.pending() == 0
    assert await theirs_in.read_bytes(2) == b"ab"
    close(inp, out, theirs_in, theirs_out)


async def test_enough_bytes_go_without_a_flush(connected):
    inp, out, theirs_in, theirs_out = await connected()
    await out.write(b"x" * 10000)
    assert await theirs_in.read_bytes(10000) == b"x" * 10000
    close(inp, out, theirs_in, theirs_out)


@pytest.mark.parametrize("mode", ["line", "none"])
async def test_other_ways_of_buffering(connected, mode):
    inp, out, theirs_in, theirs_out = await connected()
    out.buffering(mode)
    assert out.buffering() == mode
    await out.write("a\n")
    assert await theirs_in.read_line() == "a"
    close(inp, out, theirs_in, theirs_out)


async def test_much_data_goes_both_ways_at_once(connected):
    inp, out, theirs_in, theirs_out = await connected()
    data = os.urandom(1 << 16) * 32

    async def send(port):
        await port.write(data)
        await port.close()

    readers = [thread(port.read_all) for port in (inp, theirs_in)]
    senders = [thread(send, port) for port in (out, theirs_out)]
    for t in senders:
        await t.join()
    for t in readers:
        assert await t.join() == data
    close(inp, theirs_in)


async def test_closing_the_output_ends_the_others_input_only(connected):
    inp, out, theirs_in, theirs_out = await connected()
    await out.write("last words")
    await out.close()
    assert await theirs_in.read_all() == b"last words"
    assert await theirs_in.read_line() is EOF
    await theirs_out.write("heard", flush=True)
    await theirs_out.close()
    assert await inp.read_all() == b"heard"
    close(inp, theirs_in)


async def test_an_abandoned_output_is_sent_but_does_not_end_the_others_input(connected):
    inp, out, theirs_in, theirs_out = await connected()
    await out.write("abc")
    await tcp_abandon_port(out)
    assert await theirs_in.read_bytes(3) == b"abc"
    assert await sync(theirs_in.eof_evt(), timeout=0) is None
    tcp_abandon_port(inp)
    assert await theirs_in.read_all() == b""
    close(theirs_in, theirs_out)


async def test_copy_port_ends_with_its_input(connected):
    inp, out, theirs_in, theirs_out = await connected()
    first, second = pipe(), pipe()
    copying = thread(copy_port, theirs_in, first[1], second[1])
    await out.write(b"x" * 100_000, flush=True)
    await out.close()
    await copying.join()
    for port, sink in (first, second):
        await sink.close()
        assert await port.read_all() == b"x" * 100_000
    close(inp, theirs_in, theirs_out)


async def test_addresses_are_those_of_both_ends(connected):
    inp, out, theirs_in, theirs_out = await connected()
    assert tcp_addresses(inp) == ("127.0.0.1", "127.0.0.1")
    here, port, there, other = tcp_addresses(out, True)
    assert (there, other, here, port) == tcp_addresses(theirs_in, True)
    close(inp, out, theirs_in, theirs_out)
    with pytest.raises(PortClosed):
        tcp_addresses(inp)


async def test_a_listener_knows_its_port_and_other_machines_do_not():
    with tcp_listen(0, "127.0.0.1") as listener:
        assert tcp_addresses(listener, True) == ("127.0.0.1", listener.port, "0.0.0.0", 0)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_listener_without_a_host_listens_to_both_families(host):
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 address here")
    with tcp_listen(0) as listener:
        accepting = thread(listener.accept)
        inp, out = await tcp_connect(host, listener.port)
        await out.write("hi\n", flush=True)
        theirs_in, theirs_out = await accepting.join()
        assert await theirs_in.read_line() == "hi"
        close(inp, out, theirs_in, theirs_out)


async def test_a_connection_may_begin_at_a_given_address():
    with tcp_listen(0, "127.0.0.1") as listener, socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        number = trial.getsockname()[1]
        trial.close()
        inp, out = await tcp_connect("127.0.0.1", listener.port, local_host="127.0.0.1", local_port=number)
        assert tcp_addresses(inp, True)[1] == number
        close(inp, out)


async def test_where_nobody_listens_one_cannot_connect():
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError, match=r"connecting to 127\.0\.0\.1"):
            await tcp_connect("127.0.0.1", trial.getsockname()[1])


async def test_a_name_that_nobody_has_is_an_error():
    with pytest.raises(OSError, match=r": no\.such\.name\.invalid$"):
        await tcp_connect("no.such.name.invalid", 80)


async def test_a_port_that_is_taken_cannot_be_listened_at():
    with tcp_listen(0, "127.0.0.1") as listener, pytest.raises(OSError, match=r"in use: listening at 127"):
        tcp_listen(listener.port, "127.0.0.1", reuse=False)


async def test_accepting_as_an_event():
    with tcp_listen(0, "127.0.0.1") as listener:
        assert await sync(tcp_accept_evt(listener), timeout=0) is None
        assert await sync(listener, timeout=0) is None
        ready = thread(sync, listener)
        await sync(idle())
        ours = await tcp_connect("127.0.0.1", listener.port)
        assert await ready.join() is listener
        theirs = await sync(choice(never, tcp_accept_evt(listener)), receive_evt())
        close(*ours, *theirs)


@pytest.mark.rtsync(workers=1)
async def test_listening_at_a_name_that_is_looked_up_slowly_stops_nobody(monkeypatch):
    others_have_run = threading.Event()
    looked_up = []

    def slow(host, port, *args, flags=0, **options):
        if not flags & socket.AI_NUMERICHOST:
            looked_up.append(others_have_run.wait(40))
            host = "127.0.0.1"
        elif host == "slow.invalid":
            raise socket.gaierror
        return resolver(host, port, *args, flags=flags, **options)

    resolver = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def other():
        others_have_run.set()

    thread(other)
    with tcp_listen(0, "slow.invalid") as listener:
        assert looked_up == [True]
        ours = await tcp_connect("127.0.0.1", listener.port)
        close(*ours, *await listener.accept())


async def test_connections_are_accepted_in_a_loop_until_the_listener_is_closed():
    listener = tcp_listen(0, "127.0.0.1")

    async def serve():
        count = 0
        async for inp, out in listener:
            await out.write(await inp.read_line())
            await out.close()
            inp.close()
            count += 1
        return count

    server = thread(serve)

    async def client(number):
        inp, out = await tcp_connect("127.0.0.1", listener.port)
        await out.write(f"{number}\n", flush=True)
        assert await inp.read_all() == str(number).encode()
        close(inp, out)

    for t in [thread(client, number) for number in range(20)]:
        await t.join()
    tcp_close(listener)
    assert await server.join() == 20


async def test_closing_a_listener_wakes_who_accepts():
    listener = tcp_listen(0, "127.0.0.1")
    accepting = thread(tcp_accept, listener)
    ready = thread(sync, listener)
    await sync(idle())
    tcp_close(listener)
    with pytest.raises(PortClosed, match=r"tcp listener 127\.0\.0\.1:\d+: the listener is closed"):
        await accepting.join()
    assert await ready.join() is listener
    with pytest.raises(PortClosed):
        await tcp_accept(listener)
    with pytest.raises(PortClosed):
        _ = listener.port


async def test_a_connection_for_a_thread_that_is_killed_is_not_lost():
    for _ in range(20):
        with tcp_listen(0, "127.0.0.1") as listener:
            taken = []

            async def accept(listener=listener, taken=taken):
                taken.append(await listener.accept())

            accepting = [thread(accept) for _ in range(2)]
            connecting = thread(tcp_connect, "127.0.0.1", listener.port)
            accepting[0].kill()
            ours = await connecting.join()
            await accepting[0].wait()
            if not taken:
                assert await sync(accepting[1], timeout=60) is accepting[1]
            close(*taken.pop())
            accepting[1].kill()
            close(*ours)


async def test_a_connection_on_its_way_to_a_thread_that_is_killed_goes_to_the_next_at_once():
    with tcp_listen(0, "127.0.0.1") as listener:
        t = thread(listener.accept)
        await sync(idle())
        with atomic():  # nobody else takes a step
            ours = socket.create_connection(("127.0.0.1", listener.port))
            listener._ears[0].on_ready(False)
            t.kill()
        assert await t.wait() is None
        next_one = thread(listener.accept)
        assert await sync(next_one, timeout=30) is next_one
        close(*await next_one.join())
        ours.close()


async def test_unix_sockets(tmp_path):
    path = tmp_path / "socket"
    listener = unix_listen(path)
    accepting = thread(listener.accept)
    inp, out = await unix_connect(path)
    theirs_in, theirs_out = await accepting.join()
    await out.write("hi\n", flush=True)
    assert await theirs_in.read_line() == "hi"
    listener.close()
    assert not path.exists()
    with pytest.raises(OSError):
        await unix_connect(path)
    close(inp, out, theirs_in, theirs_out)


async def test_a_unix_listener_removes_only_what_it_has_made(tmp_path):
    path = tmp_path / "socket"
    listener = unix_listen(path)
    path.unlink()
    path.write_text("mine")
    listener.close()
    assert path.read_text() == "mine"
    path.unlink()


async def test_a_unix_listener_removes_its_socket_from_wherever_the_program_has_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listener = unix_listen("socket")
    monkeypatch.chdir("/")
    listener.close()
    assert not (tmp_path / "socket").exists()


async def test_a_path_that_is_too_long_for_a_unix_socket(tmp_path):
    with pytest.raises(OSError, match="too long"):
        unix_listen(tmp_path / ("x" * 200))


@pytest.mark.skipif(sys.platform != "linux", reason="there are no abstract names")
async def test_a_unix_socket_may_have_a_name_without_a_file():
    name = f"\0rtsync {os.getpid()} {id(object())}"
    with unix_listen(name) as listener:
        inp, out = await unix_connect(name)
        close(inp, out, *await listener.accept())


async def test_more_unix_connections_than_the_backlog_holds(tmp_path):
    with unix_listen(tmp_path / "socket", backlog=1) as listener:
        connecting = [thread(unix_connect, tmp_path / "socket") for _ in range(10)]
        await sync(idle())
        for _ in connecting:
            close(*await listener.accept())
        for t in connecting:
            close(*await t.join())


# -- which threads may use them ------------------------------------------------------------------------


def test_ports_work_without_a_runtime():
    with tcp_listen(0, "127.0.0.1") as listener:
        results = []

        def client():
            inp, out = block_on(tcp_connect("localhost", listener.port))
            block_on(out.write("hi\n", flush=True))
            results.append(block_on(inp.read_all()))
            close(inp, out)

        os_thread = threading.Thread(target=client)
        os_thread.start()
        inp, out = block_on(listener.accept())
        assert block_on(sync(inp.read_line_evt(), timeout=60)) == "hi"
        block_on(out.write(b"x" * 1_000_000))
        block_on(sync(out.flush_evt()))
        out.close()
        inp.close()
        os_thread.join(60)
        assert results == [b"x" * 1_000_000]


def test_an_os_thread_and_a_runtime_share_a_connection(connected):
    async def main():
        inp, out, theirs_in, theirs_out = await connected()

        def foreign():
            for _ in range(50):
                block_on(theirs_out.write(block_on(theirs_in.read_bytes(3)), flush=True))
            return block_on(theirs_in.read_line())

        results = []
        os_thread = threading.Thread(target=lambda: results.append(foreign()))
        os_thread.start()
        for number in range(50):
            await out.write(f"{number:3}", flush=True)
            assert await inp.read_bytes(3) == f"{number:3}".encode()
        await out.write("end\n", flush=True)
        while os_thread.is_alive():
            await sync(idle(), timeout=0.01)
        assert results == ["end"]
        close(inp, out, theirs_in, theirs_out)

    run(main, workers=2)


async def test_os_backed_threads_use_ports(connected):
    inp, out, theirs_in, theirs_out = await connected()

    def echo():
        while (line := block_on(theirs_in.read_line())) is not EOF:
            block_on(theirs_out.write(line + "\n", flush=True))
        return "done"

    t = thread(echo)
    for word in ("a", "b", "c"):
        await out.write(word + "\n", flush=True)
        assert await inp.read_line() == word
    await out.close()
    assert await t.join() == "done"
    close(inp, theirs_in, theirs_out)


def test_a_listener_outlives_a_runtime(connected):
    listener = tcp_listen(0, "127.0.0.1")

    async def main():
        ours = await tcp_connect("127.0.0.1", listener.port)
        theirs = await listener.accept()
        close(*ours, *theirs)

    for _ in range(3):
        run(main, workers=1)
    listener.close()


async def test_a_hog_does_not_keep_others_from_their_input(connected):
    inp, out, theirs_in, theirs_out = await connected()
    stop = []

    async def hog():
        while not stop:
            pass

    hogs = [thread(hog) for _ in range(3)]
    await out.write("a\n", flush=True)
    assert await theirs_in.read_line() == "a"
    stop.append(True)
    for t in hogs:
        await t.join()
    close(inp, out, theirs_in, theirs_out)


test_a_hog_does_not_keep_others_from_their_input = pytest.mark.rtsync(workers=2, runs=2)(
    test_a_hog_does_not_keep_others_from_their_input
)


@pytest.mark.rtsync(seeds=1)
async def test_looking_up_a_name_starts_no_worker_beside_the_deterministic_scheduler():
    tcp_listen(0, host="localhost").close()
    name = current_thread().runtime.name
    assert not [t for t in threading.enumerate() if t.name.startswith((f"{name}-worker", f"{name}-extra"))]


# -- what a runtime knows of them ----------------------------------------------------------------------


def test_a_thread_that_waits_for_input_is_not_deadlocked(script):
    done = script(
        """
        import subprocess, sys
        import rtsync as rt
        from rtsync.ports import tcp_listen

        # Another process: an OS thread of our own would do to make it no deadlock.
        CALL = "import socket, sys, time; time.sleep(2.5); socket.create_connection(('127.0.0.1', {}))"

        async def main():
            listener = tcp_listen(0, "127.0.0.1")
            answer = rt.Channel()

            async def wait():
                for port in await listener.accept():
                    port.abort()
                await answer.put("came")

            rt.thread(wait)
            with subprocess.Popen([sys.executable, "-c", CALL.format(listener.port)]):
                return await answer.get()  # longer than between two looks for a deadlock

        print(rt.run(main))
        """
    )
    assert done.stdout.split() == ["came"]


def test_when_nobody_waits_for_an_open_port_a_deadlock_is_found(script):
    done = script(
        """
        import rtsync as rt
        from rtsync.ports import tcp_listen

        async def main():
            listener = tcp_listen(0, "127.0.0.1")
            await rt.sync(listener, timeout=0.01)
            try:
                await rt.Channel().get()
            except rt.Deadlock:
                print("found")

        rt.run(main)
        """
    )
    assert done.stdout.split() == ["found"]


def test_a_report_names_the_operation_of_a_port():
    async def main():
        inp, _ = pipe(name="mine")
        await inp.read_line()

    with pytest.raises(Deadlock, match=r"waits in read_line of <PipeInput mine>"):
        run_deterministic(main)


def test_ports_of_a_program_are_closed_at_its_end():
    made = []

    async def main():
        listener = tcp_listen(0, "127.0.0.1")
        made.extend([listener, *await tcp_connect("127.0.0.1", listener.port)])
        made.append(thread(listener.accept))
        await made[-1].join()

    Runtime(2).run(main)
    assert all(port.closed for port in made[:3])


async def test_a_custodian_closes_what_was_made_under_it():
    custodian = Custodian()
    with custodian:
        listener = tcp_listen(0, "127.0.0.1")
        accepting = thread(listener.accept)
        inp, out = await tcp_connect("127.0.0.1", listener.port)
        theirs = await accepting.join()
        assert {listener, inp, out, *theirs} <= set(custodian.managed_list())
        waited_at = await tcp_connect("127.0.0.1", listener.port)
    outside = await listener.accept()
    reader = thread(waited_at[0].read_line)
    await sync(idle())
    custodian.shutdown_all()
    with pytest.raises(PortClosed):
        await reader.join()
    assert all(port.closed for port in (listener, inp, out, *theirs, *waited_at))
    assert not any(port.closed for port in outside)
    close(*outside)
    with custodian:
        with pytest.raises(ContractError):
            tcp_listen(0)
        with pytest.raises(ContractError):
            await tcp_connect("127.0.0.1", 1)


async def test_who_accepts_owns_the_connection():
    listener = tcp_listen(0, "127.0.0.1")
    inner = Custodian()
    ours = await tcp_connect("127.0.0.1", listener.port)
    with inner:
        theirs = await listener.accept()
    assert set(inner.managed_list()) == set(theirs)
    inner.shutdown_all()
    assert await ours[0].read_all() == b""
    close(*ours, listener)
