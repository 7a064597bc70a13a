"""Ports under load: as many connections as descriptors allow, kills at random on several workers."""

import random
from itertools import pairwise

import pytest

from rtsync import sleep, thread
from rtsync.ports import EOF, tcp_connect, tcp_listen
from tests.chaos import chaos
from tests.ports.test_faults import close, shut_down


@pytest.mark.timeout(600)
@pytest.mark.rtsync(workers=2)
async def test_a_custodian_closes_as_many_connections_as_there_can_be():
    resource = pytest.importorskip("resource")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    await shut_down(min(limit - 200, 20_000) // 2)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.rtsync(workers=2)
async def test_echo_is_right_while_readers_are_killed_and_every_line_of_ours_may_be_delayed(seed):
    draw = random.Random(seed).random
    with chaos(seed, stalls=5):
        listener = tcp_listen(0, "127.0.0.1")

        async def serve(inp, out):
            while (line := await inp.read_line()) is not EOF:
                await out.write(line + "\n", flush=True)
            await out.close()
            inp.close()

        async def accept():
            while True:
                thread(serve, *await listener.accept())

        async def client(number):
            inp, out = await tcp_connect("127.0.0.1", listener.port)
            sent, got = [], []

            async def read():
                line = await inp.read_line()
                if line is not EOF:
                    got.append(line)
                return line

            async def write():
                for count in range(40):
                    sent.append(f"{number}-{count}-{'x' * int(draw() * 2000)}")
                    await out.write(sent[-1] + "\n", flush=True)
                await out.close()

            writer = thread(write)
            killed = 0
            while True:
                victim, reader = thread(read), thread(read)
                await sleep(0)
                victim.kill()
                killed += 1
                if await reader.join() is EOF:
                    break
            await writer.join()
            assert set(got) <= set(sent)
            assert len(sent) - len(got) <= killed
            close(inp)

        thread(accept)
        for t in [thread(client, number) for number in range(6)]:
            await t.join()
        listener.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.rtsync(workers=2)
async def test_the_short_ways_of_reading_are_right_with_timeouts_kills_and_delays(seed):
    draw = random.Random(seed).random
    with chaos(seed, stalls=5):
        listener = tcp_listen(0, "127.0.0.1")

        async def feed():
            inp, out = await tcp_connect("127.0.0.1", listener.port)
            for number in range(100):
                await out.write(b"%05d " % number, flush=True)
                await sleep(0.001 * draw())
            await out.close()
            close(inp)

        async def take(inp, got, ended):
            while True:
                try:
                    data = await inp.read_bytes_avail()
                except TimeoutError:
                    continue
                if not data:
                    ended.append(True)
                    return
                got.append(data)

        async def serve():
            inp, out = await listener.accept()
            inp.timeout = 0.0005
            got, ended = [], []
            killed = 0
            while not ended:
                reader = thread(take, inp, got, ended)
                await sleep(0.003 * draw())
                reader.kill()
                await reader.wait()
                killed += 1
            numbers = [int(word) for word in b"".join(got).split()]
            assert numbers == sorted(set(numbers))
            lost = sum(after - before > 1 for before, after in pairwise([-1, *numbers, 100]))
            assert lost <= killed
            close(inp, out)

        threads = [thread(f) for f in (serve, feed) for _ in range(6)]
        for t in threads:
            await t.join()
        listener.close()
