"""SPEC §1 (ports) and Racket Reference 13.1.7: pipes, and what all input ports can do."""

import pytest

from rtsync import Deadlock, idle, receive_evt, sync, thread
from rtsync.ports import EOF, LineTooLong, PortClosed, pipe
from rtsync.testing import run_deterministic


async def test_what_is_written_is_read():
    inp, out = pipe()
    assert await out.write(b"abc") == 3
    assert await out.write("dé") == 3
    assert await inp.read_bytes(6) == b"abcd\xc3\xa9"


async def test_read_bytes_waits_for_as_many_as_asked_for():
    inp, out = pipe()
    reader = thread(inp.read_bytes, 4)
    await out.write(b"123")
    await sync(idle())
    assert not reader.dead
    await out.write(b"45")
    assert await reader.join() == b"1234"
    assert inp.buffered() == 1


async def test_read_bytes_gives_what_is_left_and_then_the_end():
    inp, out = pipe()
    await out.write(b"123")
    await out.close()
    assert await inp.read_bytes(10) == b"123"
    assert await inp.read_bytes(10) is EOF
    assert await inp.read_bytes_avail() is EOF
    assert await inp.read_line() is EOF


async def test_no_bytes_are_there_at_once():
    inp, _ = pipe()
    assert await inp.read_bytes(0) == b""


async def test_read_bytes_avail_gives_what_there_is():
    inp, out = pipe()
    reader = thread(inp.read_bytes_avail)
    await sync(idle())
    await out.write(b"12345")
    assert await reader.join() == b"12345"
    await out.write(b"12345")
    assert await inp.read_bytes_avail(2) == b"12"
    assert await inp.read_bytes_avail(100) == b"345"


async def test_read_all_waits_for_the_end():
    inp, out = pipe()
    reader = thread(inp.read_all)
    for part in (b"a" * 1000, b"b" * 1000):
        await out.write(part)
    await sync(idle())
    assert not reader.dead
    await out.close()
    assert await reader.join() == b"a" * 1000 + b"b" * 1000
    assert await inp.read_all() == b""


async def test_peeking_takes_nothing():
    inp, out = pipe()
    await out.write(b"abcdef")
    assert await inp.peek(2) == b"ab"
    assert await inp.peek(2, 3) == b"de"
    await out.close()
    assert await inp.peek(9, 3) == b"def"
    assert await inp.peek(1, 6) is EOF
    assert await inp.read_all() == b"abcdef"


@pytest.mark.parametrize(
    ("mode", "lines"),
    [
        ("linefeed", ["a\rb\r", "c", "", "d\r"]),
        ("return", ["a", "b", "\nc\n\nd"]),
        ("return-linefeed", ["a\rb", "c\n\nd\r"]),
        ("any", ["a", "b", "c", "", "d"]),
        ("any-one", ["a", "b", "", "c", "", "d"]),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 100])
async def test_lines_end_where_the_mode_says(mode, lines, step):
    inp, out = pipe()
    text = b"a\rb\r\nc\n\nd\r"

    async def write():
        for start in range(0, len(text), step):
            await out.write(text[start : start + step])
        await out.close()

    thread(write)
    found = []
    while (line := await inp.read_line(mode)) is not EOF:
        found.append(line)
    assert found == lines


async def test_a_return_may_be_half_of_what_ends_a_line():
    inp, out = pipe()
    await out.write("a\r")
    reader = thread(inp.read_line, "any")
    await sync(idle())
    assert not reader.dead
    await out.write("\nb\r")
    assert await reader.join() == "a"
    reader = thread(inp.read_line, "any")
    await sync(idle())
    await out.write("c")
    assert await reader.join() == "b"


async def test_a_line_that_is_too_long_is_refused_and_stays():
    inp, out = pipe()
    await out.write("123456\n")
    with pytest.raises(LineTooLong, match="a line of more than 5 bytes"):
        await inp.read_line(limit=5)
    assert await inp.read_line(limit=6) == "123456"


async def test_the_limit_of_a_line_counts_neither_kind_of_end():
    inp, out = pipe()
    await out.write("12345\r\n")
    assert await inp.read_line("return-linefeed", limit=5) == "12345"
    await out.write("1234567")
    with pytest.raises(LineTooLong):
        await inp.read_line("return-linefeed", limit=5)


async def test_text_is_decoded_and_bytes_are_not():
    inp, out = pipe(encoding="latin-1")
    await out.write("é\né\n")
    assert await inp.read_line() == "é"
    assert await inp.read_bytes_line() == b"\xe9"


async def test_what_is_not_text_is_replaced():
    inp, out = pipe()
    await out.write(b"a\xffb\n")
    assert await inp.read_line() == "a\N{REPLACEMENT CHARACTER}b"


async def test_iterating_gives_lines():
    inp, out = pipe()
    await out.write("a\nb\n\nc")
    await out.close()
    assert [line async for line in inp] == ["a", "b", "", "c"]


async def test_the_end_is_false_and_an_empty_line_is_not_the_end():
    inp, out = pipe()
    await out.write("\n")
    await out.close()
    assert await inp.read_line() == ""
    end = await inp.read_line()
    assert end is EOF
    assert not end


async def test_a_write_waits_until_all_of_it_is_in_the_pipe():
    inp, out = pipe(4)
    writer = thread(out.write, b"0123456789")
    await sync(idle())
    assert (inp.buffered(), writer.dead) == (4, False)
    assert await inp.read_bytes(5) == b"01234"
    await sync(idle())
    assert (inp.buffered(), writer.dead) == (4, False)
    assert await inp.read_bytes(2) == b"56"
    assert await writer.join() == 10
    assert await inp.read_bytes(3) == b"789"


async def test_a_reader_may_want_more_than_the_pipe_holds():
    inp, out = pipe(3)
    reader = thread(inp.read_line)
    await sync(idle())
    for part in ("abcd", "efgh", "ijkl\n"):
        await out.write(part)
    assert await reader.join() == "abcdefghijkl"
    writer = thread(out.write, b"0123456789")
    await sync(idle())
    assert await inp.read_bytes(10) == b"0123456789"
    await writer.join()


async def test_writers_come_one_after_the_other():
    inp, out = pipe(3)
    for number in range(4):
        thread(out.write, b"%d" % number * 5)
        await sync(idle())
    assert await inp.read_bytes(20) == b"00000111112222233333"


async def test_several_readers_get_whole_lines_in_the_order_in_which_they_came():
    inp, out = pipe()
    readers = []
    for _ in range(3):
        readers.append(thread(inp.read_line))
        await sync(idle())
    await out.write("a\nb\nc\n")
    assert [await reader.join() for reader in readers] == ["a", "b", "c"]


async def test_one_who_wants_less_need_not_wait_for_one_who_wants_more():
    inp, out = pipe()
    line = thread(inp.read_line)
    await sync(idle())
    some = thread(inp.read_bytes, 2)
    await sync(idle())
    await out.write("abc")
    assert await some.join() == b"ab"
    await out.write("\n")
    assert await line.join() == "c"


async def test_eof_evt_waits_for_the_end_and_looks_no_further_than_the_next_byte():
    inp, out = pipe(2)
    end = thread(sync, inp.eof_evt())
    writer = thread(out.write, b"abcd")
    await sync(idle())
    assert not writer.dead
    assert inp.buffered() == 2
    assert await inp.read_bytes(4) == b"abcd"
    assert not end.dead
    await out.close()
    assert await end.join() is EOF


async def test_a_port_is_an_event():
    inp, out = pipe(2)
    assert await sync(inp, timeout=0) is None
    assert await sync(out, timeout=0) is out
    await out.write(b"ab")
    assert await sync(inp, timeout=0) is inp
    assert await sync(inp) is inp
    writer = thread(out.write, b"c")
    await sync(idle())
    assert await sync(out, timeout=0) is None
    waiting = thread(sync, out)
    await sync(idle())
    await inp.read_bytes(3)
    await writer.join()
    assert await waiting.join() is out
    waiting = thread(sync, inp)
    await sync(idle())
    await out.close()
    assert await waiting.join() is inp


async def test_a_full_pipe_is_not_ready_to_be_written_to():
    for written in (b"abcd", b"abc"):  # with a write that filled it, and with one that only nearly did
        inp, out = pipe(4)
        await out.write(written)
        if written == b"abc":
            assert await sync(out, timeout=0) is out
            assert await out.write_bytes_avail(b"defg") == 1
        assert await sync(out, timeout=0) is None
        waiting = thread(sync, out)
        await sync(idle())
        assert not waiting.dead
        assert await inp.read_bytes(1) == b"a"
        assert await waiting.join() is out
        assert await sync(out.write_bytes_avail_evt(b"xy")) == 1


async def test_a_full_pipe_is_ready_for_a_reader_that_wants_more_than_it_holds():
    inp, out = pipe(2)
    await out.write(b"ab")
    waiting = thread(sync, out)
    await sync(idle())
    assert not waiting.dead
    reader = thread(inp.read_bytes, 3)
    assert await waiting.join() is out
    await out.write(b"c")
    assert await reader.join() == b"abc"


async def test_reading_events_give_what_was_read():
    inp, out = pipe()
    await out.write(b"abcdefghi\njkl")
    assert await sync(inp.read_bytes_evt(2)) == b"ab"
    assert await sync(inp.peek_evt(2)) == b"cd"
    assert await sync(inp.read_bytes_avail_evt(3)) == b"cde"
    assert await sync(inp.read_line_evt()) == "fghi"
    await out.close()
    assert await sync(inp.read_all_evt()) == b"jkl"
    assert await sync(inp.read_bytes_line_evt("any")) is EOF


async def test_an_event_that_is_not_chosen_takes_nothing():
    inp, out = pipe()
    await out.write(b"abc")
    assert await sync(inp.read_line_evt(), inp.read_bytes_evt(9), timeout=0) is None
    both = thread(sync, inp.read_line_evt(), inp.read_bytes_evt(9))
    await sync(idle())
    await out.write(b"\n")
    assert await both.join() == "abc"
    assert inp.buffered() == 0


async def test_an_event_is_used_again_and_again():
    inp, out = pipe()
    await out.write("a\nb\nc\n")
    evt = inp.read_line_evt()
    assert [await sync(evt) for _ in range(3)] == ["a", "b", "c"]


async def test_a_timeout_takes_nothing():
    inp, out = pipe()
    await out.write("ab")
    assert await sync(inp.read_line_evt(), receive_evt(), timeout=0.001) is None
    await out.write("c\n")
    assert await inp.read_line() == "abc"


async def test_write_bytes_avail_writes_what_fits():
    inp, out = pipe(3)
    assert await out.write_bytes_avail(b"abcdef") == 3
    assert await sync(out.write_bytes_avail_evt(b"x"), timeout=0) is None
    waiting = thread(sync, out.write_bytes_avail_evt(b"def"))
    await sync(idle())
    assert await inp.read_bytes(1) == b"a"
    assert await waiting.join() >= 1
    assert await out.write_bytes_avail(b"") == 0


async def test_writing_as_an_event_is_all_or_nothing():
    inp, out = pipe(2)
    assert await sync(out.write_evt(b"abcd")) == 4
    assert await sync(out.write_evt(b"efgh"), timeout=0) is None
    assert await inp.read_bytes(4) == b"abcd"
    assert await sync(out.write_evt(b"efgh")) == 4
    assert await inp.read_bytes(4) == b"efgh"


async def test_closing_wakes_who_reads():
    inp, _ = pipe()
    reader = thread(inp.read_line)
    chosen = thread(sync, inp.read_bytes_evt(3), receive_evt())
    ready = thread(sync, inp)
    await sync(idle())
    inp.close()
    for waiting in (reader, chosen):
        with pytest.raises(PortClosed, match="pipe: the input port is closed"):
            await waiting.join()
    assert await ready.join() is inp
    with pytest.raises(PortClosed):
        await inp.read_bytes(1)
    assert await sync(inp) is inp
    assert inp.closed


async def test_closing_refuses_who_waits_to_write_and_keeps_what_was_written():
    inp, out = pipe(2)
    first = thread(out.write, b"abc")
    await sync(idle())
    second = thread(out.write, b"d")
    await sync(idle())
    closing = out.close()
    with pytest.raises(PortClosed, match="pipe: the output port is closed"):
        await second.join()
    with pytest.raises(PortClosed):
        await out.write("e")
    assert await inp.read_all() == b"abc"
    await closing
    await first.join()
    assert out.closed


async def test_writing_to_a_pipe_that_nobody_can_read_fails():
    inp, out = pipe(2)
    writer = thread(out.write, b"abc")
    await sync(idle())
    inp.close()
    with pytest.raises(BrokenPipeError):
        await writer.join()
    with pytest.raises(BrokenPipeError):
        await out.write("a")


async def test_closing_twice_does_nothing():
    inp, out = pipe()
    await inp.close()
    await inp.close()
    await out.close()
    await out.close()


async def test_ports_are_context_managers():
    inp, out = pipe()
    async with out:
        await out.write("abc")
    with inp:
        assert await inp.read_all() == b"abc"
    assert inp.closed
    assert out.closed


@pytest.mark.rtsync(seeds=60)
async def test_a_killed_reader_has_taken_a_line_or_nothing():
    inp, out = pipe()
    got = []

    async def read():
        while True:
            line = await inp.read_line()
            if line is EOF:
                return
            got.append(line)

    readers = [thread(read) for _ in range(3)]

    async def write():
        for number in range(10):
            await out.write(f"{number}-")
            await out.write(f"{number}\n")
        await out.close()

    writer = thread(write)

    async def kill():
        readers[0].kill()

    await thread(kill).join()
    for t in (*readers, writer):
        await t.wait()
    lines = sorted(got)
    whole = [f"{n}-{n}" for n in range(10)]
    assert set(lines) <= set(whole)
    assert len(set(whole) - set(lines)) <= 1  # one may have been given to the thread that died


@pytest.mark.rtsync(seeds=60)
async def test_a_killed_writer_has_written_all_or_nothing():
    inp, out = pipe(3)
    writers = [thread(out.write, letter * 7) for letter in (b"a", b"b", b"c")]

    async def kill():
        writers[1].kill()

    killer = thread(kill)
    reader = thread(inp.read_all)
    await killer.join()
    for writer in writers:
        await writer.wait()
    await out.close()
    found = await reader.join()
    parts = [found[start : start + 7] for start in range(0, len(found), 7)]
    assert sorted(parts) in ([b"a" * 7, b"c" * 7], [b"a" * 7, b"b" * 7, b"c" * 7])


@pytest.mark.rtsync(seeds=30)
async def test_a_suspended_reader_takes_nothing():
    inp, out = pipe()
    suspended = thread(inp.read_line)
    await sync(idle())
    suspended.suspend()
    other = thread(inp.read_line)
    await sync(idle())
    await out.write("a\n")
    assert await other.join() == "a"
    suspended.resume()
    await out.write("b\n")
    assert await suspended.join() == "b"


def test_a_write_that_waits_for_ever_is_reported_as_one():
    async def main():
        _inp, out = pipe(2)
        await out.write(b"abcd")

    with pytest.raises(Deadlock, match=r"waits in write of <OutputPort pipe>"):
        run_deterministic(main)
