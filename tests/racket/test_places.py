"""Racket Reference 11.5 under Racket's names: the example of the page, and what each function says of itself.

More is tested in ``tests/place``, in the Pythonic naming.
"""

from pathlib import Path

import pytest

from rtsync.place import PlaceLocation
from rtsync.racket import (
    dynamic_place,
    dynamic_place_star,
    is_evt,
    is_place,
    is_place_channel,
    is_place_enabled,
    is_place_location,
    is_place_message_allowed,
    place_break,
    place_channel,
    place_channel_get,
    place_channel_put,
    place_channel_put_get,
    place_context,
    place_dead_evt,
    place_kill,
    place_wait,
    sync,
    sync_timeout,
)

WORKERS = str(Path(__file__).parents[1] / "place" / "workers.py")


@pytest.mark.rtsync(workers=2)
async def test_the_example_of_the_page():
    places = [dynamic_place(WORKERS, "echo") for _ in range(2)]
    for i, p in enumerate(places):
        place_channel_put(p, i)
        assert await place_channel_get(p) == i
        place_channel_put(p, None)
    assert [await place_wait(p) for p in places] == [0, 0]


@pytest.mark.rtsync(workers=2)
async def test_a_place_descriptor_is_a_place_channel_and_an_event():
    p = dynamic_place(WORKERS, "echo", named="mine")
    assert is_place(p)
    assert is_place_channel(p)
    assert is_evt(p)
    assert await place_channel_put_get(p, "x") == "x"
    assert await sync_timeout(0, place_dead_evt(p)) is None
    place_kill(p)
    assert await sync(place_dead_evt(p)) is place_dead_evt(p)
    assert await place_wait(p) == 1


@pytest.mark.rtsync(workers=2)
async def test_breaks_reach_the_place():
    p = dynamic_place(WORKERS, "says_breaks")
    assert await place_channel_get(p) == "ready"
    place_break(p)
    assert await place_channel_get(p) == "Break"
    place_break(p, "terminate")
    assert await place_channel_get(p) == "BreakTerminate"
    assert await place_wait(p) == 0


@pytest.mark.rtsync(workers=2)
async def test_the_two_ends_of_a_place_channel_are_connected():
    one, other = place_channel()
    assert is_place_channel(one)
    assert not is_place(one)
    place_channel_put(one, [1])
    place_channel_put(other, [2])
    assert await place_channel_get(other) == [1]
    assert await sync(one) == [2]


@pytest.mark.rtsync(workers=2)
async def test_a_place_with_ports_of_its_own_gives_four_values():
    p, in_, out, err = dynamic_place_star(WORKERS, "copies_input", in_=None, out=None, err="stdout")
    await in_.write("abc\n")
    in_.close()
    assert await out.read_all() == b"ABC\n"
    assert err is None
    out.close()
    assert await place_wait(p) == 0


@pytest.mark.rtsync(workers=2)
async def test_place_context_closes_over_variables():
    number = 5

    def body(pch):
        place_channel_put(pch, number)

    p = place_context(body)
    assert await place_channel_get(p) == 5
    assert await place_wait(p) == 0


def test_predicates():
    assert is_place_enabled() is True
    assert is_place_location(PlaceLocation())
    assert not is_place_location(None)
    assert is_place_message_allowed([1, "a", None])
    assert not is_place_message_allowed([print])
    assert not is_place(5)
    assert not is_place_channel(5)
