"""Racket Reference 11.5.1, ``place-message-allowed?``; SPEC §10: what may be sent, and what arrives."""

import asyncio
import decimal
import enum
import fractions
import pathlib
import socket
import threading
from collections import OrderedDict, deque, namedtuple
from dataclasses import InitVar, dataclass
from datetime import date
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

import rtsync as rt
from rtsync import ContractError, block_on
from rtsync.place import PlaceChannel, is_place_message_allowed, place_channel
from shm import SharedBytes, SharedFlvector, SharedFxvector


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


Pair = namedtuple("Pair", "left right")


class Typed(NamedTuple):
    conn: Any


@dataclass(frozen=True)
class Frozen:
    lock: Any


@dataclass(frozen=True, slots=True)
class Slotted:
    lock: Any


@dataclass
class Melted:
    x: int


class Plain:
    pass


def sent(value):
    """What arrives."""
    one, other = place_channel()
    one.put(value)
    return block_on(other.get())


PLAIN = [
    None,
    True,
    0,
    -(10**100),
    1.5,
    float("inf"),
    2 + 3j,
    "text",
    "sürrogate \udcff",
    b"bytes",
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    pathlib.Path("/tmp/x"),
    pathlib.PurePosixPath("a/b"),
    pathlib.PureWindowsPath("a\\b"),
    Colour.RED,
    Level.HIGH,
    (),
    (1, "a", (2.0, None)),
    [],
    [1, [2, [3]]],
    {"a": 1, 2: [3]},
    {1, 2},
    frozenset({(1, 2)}),
    {(1, Colour.RED): {"deep": [{"er": (Pair(1, [2]),)}]}},
    Pair(1, [2]),
    Typed("x"),
    Frozen((1, 2)),
    Slotted([3]),
    np.float64(1.5),
    np.int32(3),
    ["x" * 100_000],
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_a_value_of_an_allowed_kind_arrives_as_an_equal_copy(value):
    assert is_place_message_allowed(value)
    arrived = sent(value)
    assert arrived == value
    assert type(arrived) is type(value)


class Nothing(NamedTuple):
    pass


@dataclass(frozen=True)
class Guarded:
    lock: ClassVar[Any] = threading.Lock()
    start: InitVar[Any] = len
    value: int = 0


@pytest.mark.parametrize("value", [Nothing(), Guarded(value=3)], ids=repr)
def test_what_belongs_to_a_class_does_not_keep_its_values_from_being_sent(value):
    assert is_place_message_allowed(value)
    assert sent(value) == value


def test_the_path_has_long_keys_in_full():
    with pytest.raises(ContractError, match=f"{'k' * 90}'\\]: object cannot be sent"):
        place_channel()[0].put([{"k" * 90: object()}])


REFUSED = [
    (threading.Lock(), "message: threading.Lock cannot be sent between places"),
    (threading.RLock(), "message: threading.RLock cannot be sent between places"),
    (object(), "message: object cannot be sent between places"),
    (Plain(), r"message: .*Plain cannot be sent between places"),
    (len, "message: "),
    (test_a_value_of_an_allowed_kind_arrives_as_an_equal_copy, "message: function cannot be sent"),
    (lambda: 1, "message: function cannot be sent"),
    (iter([]), "message: list_iterator cannot be sent"),
    (memoryview(b""), "message: memoryview cannot be sent"),
    (int, "message: type cannot be sent"),
    (pathlib, "message: module cannot be sent"),
    (ValueError(), "message: ValueError cannot be sent"),
    (date(2000, 1, 1), "message: datetime.date cannot be sent"),
    (OrderedDict(), "message: collections.OrderedDict cannot be sent"),
    (deque(), "message: collections.deque cannot be sent"),
    (Melted(1), r"message: .*Melted cannot be sent between places \(a dataclass that is not frozen\)"),
    (rt.Channel(), r"message: rtsync\.channel\.Channel cannot be sent"),
    (rt.Semaphore(), r"message: rtsync\.semaphore\.Semaphore cannot be sent"),
    ([1, 2, 3, {"conn": Typed(Frozen(threading.Lock()))}], r"message\[3\]\['conn'\]\.conn\.lock: threading"),
    ((1, [object()]), r"message\[1\]\[0\]: object"),
    ({"a": {"b": object()}}, r"message\['a'\]\['b'\]: object"),
    ({object(): 1}, r"message\{.*\}: object"),
    ({Frozen(frozenset({object()}))}, r"message\{.*\}\.lock\{.*\}: object"),
    (Slotted(object()), r"message\.lock: object"),
    (Pair(1, object()), r"message\.right: object"),
    (np.array([1, object()], dtype=object), r"message\.flat\[1\]: object"),
    (np.zeros(1, dtype=[("a", "O")]), "message: an array of objects cannot be sent"),
    (np.ma.masked_array([1]), "message: numpy.* cannot be sent"),
]


@pytest.mark.parametrize(("value", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_anything_else_is_refused_at_the_put_with_the_path_to_the_offending_part(value, text):
    assert not is_place_message_allowed(value)
    one, other = place_channel()
    with pytest.raises(ContractError, match="put: " + text):
        one.put(value)
    assert other.try_get("nothing") == "nothing"


def test_a_class_that_the_other_place_cannot_import_is_refused():
    @dataclass(frozen=True)
    class Local:
        x: int

    with pytest.raises(ContractError, match=r"message\[0\]: .*Local cannot be sent .*cannot import"):
        place_channel()[0].put([Local(1)])


def test_what_is_closed_is_refused(tmp_path):
    sock = socket.socket()
    sock.close()
    file = open(tmp_path / "file", "w")  # noqa: SIM115
    file.close()
    with pytest.raises(ContractError, match=r"message\[0\]: socket.socket is closed"):
        place_channel()[0].put([sock])
    with pytest.raises(ContractError, match=r"message\['f'\]: io.TextIOWrapper is closed"):
        place_channel()[0].put({"f": file})


def test_a_message_that_is_nested_too_deeply_is_refused():
    deep = []
    for _ in range(200_000):
        deep = [deep]
    one, other = place_channel()
    with pytest.raises(ContractError, match="nested too deeply"):
        one.put(deep)
    assert other.try_get() is None
    while deep:  # its destructor would nest as deeply
        deep = deep[0]


def test_a_value_that_contains_itself_arrives_as_one():
    value = [1]
    value.append(value)
    arrived = sent(value)
    assert arrived[1] is arrived


def test_parts_that_are_the_same_object_arrive_as_one():
    part = [1]
    arrived = sent([part, part])
    assert arrived[0] is arrived[1]


def test_a_bytearray_arrives_as_bytes_wherever_it_is():
    assert sent(bytearray(b"abc")) == b"abc"
    arrived = sent({"k": [bytearray(b"x"), Frozen((bytearray(b"y"),))], "a": np.arange(3)})
    assert arrived["k"] == [b"x", Frozen((b"y",))]
    assert type(arrived["k"][0]) is bytes
    assert type(arrived["k"][1].lock[0]) is bytes
    assert type(sent(bytearray(100_000))) is bytes


def test_what_was_put_is_a_copy_as_of_the_put():
    one, other = place_channel()
    value = [1, {"a": [2]}]
    array = np.zeros(100_000)
    one.put(value)
    one.put(array)
    value[1]["a"].append(3)
    array[:] = 1
    assert block_on(other.get()) == [1, {"a": [2]}]
    assert not block_on(other.get()).any()


@pytest.mark.parametrize("size", [0, 1, 10, 1000, 65_000, 66_000, 3_000_000])
def test_bytes_of_any_size_arrive(size):
    value = bytes(range(256)) * (size // 256 + 1)
    assert sent(value[:size]) == value[:size]


@pytest.mark.parametrize("shape", [(0,), (10,), (1000,), (300, 1000), (3, 0)])
@pytest.mark.parametrize("dtype", ["f8", "i2", "?", "U3", "M8[s]", "c16"])
def test_a_numpy_array_arrives_equal_and_writable(shape, dtype):
    array = np.ones(shape, dtype=dtype)
    arrived = sent({"array": array})["array"]
    assert arrived.dtype == array.dtype
    assert arrived.shape == array.shape
    assert (arrived == array).all()
    arrived[...] = 0


def test_arrays_with_odd_layouts_arrive():
    base = np.arange(200_000.0).reshape(400, 500)
    for array in (base.T, base[::3, ::7], np.asfortranarray(base), base[:, 3:40]):
        assert (sent(array) == array).all()


def test_several_large_buffers_in_one_message_do_not_mix():
    arrays = [np.full(n, n, dtype="i4") for n in (1, 5000, 30_001, 70_003)]
    for one, other in zip(arrays, sent(arrays), strict=True):
        assert (one == other).all()


def test_very_many_large_buffers_in_one_message_arrive():
    arrays = list(np.repeat(np.arange(21_000, dtype="i4"), 1024).reshape(-1, 1024))
    one, other = place_channel()
    one.put(arrays)
    one.put("next")
    assert np.array_equal(block_on(other.get()), arrays)
    assert block_on(other.get()) == "next"


def test_a_received_array_lives_on_without_the_channel():
    one, other = place_channel()
    one.put(np.arange(100_000))
    array = block_on(other.get())
    del one, other
    array += 1
    assert array[-1] == 100_000


def test_shared_vectors_arrive_as_the_same_memory():
    vectors = [SharedBytes(3), SharedFlvector(4), SharedFxvector(2, 7)]
    arrived = sent({"vectors": vectors})["vectors"]
    assert [type(v) for v in arrived] == [SharedBytes, SharedFlvector, SharedFxvector]
    arrived[1][2] = 1.5
    vectors[2][0] = 9
    assert vectors[1][2] == 1.5
    assert arrived[2][0] == 9


def test_a_shared_vector_in_flight_keeps_its_memory():
    one, other = place_channel()
    one.put(SharedBytes(3, 65))
    assert bytes(block_on(other.get())) == b"AAA"


def test_sockets_arrive_open_and_the_senders_stay_open():
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(5)
        with sent([left])[0] as arrived:
            assert arrived.gettimeout() == 5
            arrived.sendall(b"a")
            left.sendall(b"b")
            assert right.recv(1) + right.recv(1) == b"ab"


def test_files_arrive_open_where_the_sender_stands(tmp_path):
    path = tmp_path / "file"
    with open(path, "w") as file:
        file.write("one\n")
        with sent(file) as arrived:
            arrived.write("two\n")
    assert path.read_text() == "one\ntwo\n"
    with open(path) as file:
        assert file.readline() == "one\n"
        with sent(file) as arrived:
            assert arrived.read() == "two\n"
    with open(path, "rb") as file:
        assert file.read(2) == b"on"
        with sent(file) as arrived:
            assert arrived.read() == b"e\ntwo\n"
    with open(path, "rb", buffering=0) as file, sent(file) as arrived:
        assert arrived.read(3) == b"one"


def test_channels_arrive_with_what_is_in_them():
    near, far = place_channel()
    far.put("waiting")
    arrived = sent([near])[0]
    assert isinstance(arrived, PlaceChannel)
    assert block_on(arrived.get()) == "waiting"


def test_too_many_attachments_in_one_message_are_refused():
    ends = [end for _ in range(130) for end in place_channel()]
    one, other = place_channel()
    with pytest.raises(ContractError, match=r"holds 260 channels.*at most 250"):
        one.put(ends)
    one.put(ends[:250])
    assert block_on(other.get()) == ends[:250]


def test_what_cannot_be_pickled_although_its_kind_is_allowed_is_a_contract_error():
    class Odd(enum.Enum):
        A = 1

    Odd.__qualname__, Odd.__module__ = "Colour", __name__  # what it says of itself is wrong
    with pytest.raises(ContractError):
        place_channel()[0].put(Odd.A)


@pytest.mark.rtsync(workers=2)
async def test_no_thread_asyncio_or_other_object_of_a_process_is_allowed():
    loop = asyncio.new_event_loop()
    try:
        for value in (
            rt.current_thread(),
            rt.current_custodian(),
            loop,
            rt.AsyncChannel(),
            threading.local(),
        ):
            assert not is_place_message_allowed([value])
    finally:
        loop.close()


@pytest.mark.parametrize("value", [b"x" * 3_000_000, "é" * 2_000_000], ids=["bytes", "str"])
def test_large_plain_values_arrive(value):
    assert sent(value) == value


def test_large_bytes_are_not_copied_before_they_are_written_into_shared_memory():
    from rtsync.place import message

    large = b"x" * 1_000_000
    file = message._Pieces()
    message._Pickler(file, []).dump([large, "and", large[:10]])
    assert any(piece is large for piece in file.pieces)


def test_a_shared_vector_that_comes_again_while_it_is_in_use_is_mapped_once(no_leaks):
    one, other = place_channel()
    v, w = SharedFxvector([1, 2]), SharedFxvector([3])
    for vector in (v, w, v):
        one.put(vector)
    first, second, again = (other.try_get() for _ in range(3))
    assert first is not again
    assert first._segment is again._segment
    assert second._segment is not first._segment
    first[0] = 9
    assert v[0] == again[0] == 9
    del first, again
    one.put(v)
    assert other.try_get() == [9, 2]


def test_shared_vectors_that_come_and_go_in_many_threads_keep_their_contents(no_leaks):
    one, other = place_channel()
    vectors = [SharedFxvector([n]) for n in range(3)]
    wrong = []

    def go(n):
        for _ in range(300):
            one.put((n, vectors[n]))
            number, vector = block_on(other.get())
            if vector != [number]:
                wrong.append((number, vector))

    threads = [threading.Thread(target=go, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
