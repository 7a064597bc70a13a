"""Racket Reference 11.5.2 (Places Logging)."""

import logging
import os

import pytest

from rtsync.place import PlaceEvent, dynamic_place

from .conftest import WORKERS


def events(caplog):
    return [record.place_event for record in caplog.records if record.name == "place"]


@pytest.mark.rtsync(workers=2)
async def test_what_happens_to_places_is_logged_also_what_happens_in_them(caplog):
    with caplog.at_level(logging.DEBUG, logger="place"):
        p = dynamic_place(WORKERS, "echo")
        p.put("x" * 1000)
        await p.get()
        p.put(None)
        await p.wait()
    found = events(caplog)
    here = [(e.action, e.value) for e in found if e.place_id == 0]
    there = [e.action for e in found if e.place_id == p.id]
    assert found[-1].action == "reap"  # the last, and before it counts as ended
    assert [action for action, _ in here] == ["create", "put", "get", "put", "reap"]
    assert here[0] == ("create", p.id)
    assert here[-1] == ("reap", p.id)
    assert here[1][1] >= 1000
    assert here[2][1] >= 1000
    assert there == ["enter", "get", "put", "get", "exit"]
    assert all(isinstance(e, PlaceEvent) and e.time > 1e12 for e in found)
    record = next(r for r in caplog.records if r.name == "place")
    assert record.args == (record.place_event,)
    assert record.getMessage() == f"place 0: create {p.id}"


@pytest.mark.rtsync(workers=2)
async def test_nothing_is_logged_unless_somebody_takes_it(caplog):
    with caplog.at_level(logging.INFO, logger="place"):
        p = dynamic_place(WORKERS, "returns")
        assert await p.wait() == 0
    assert events(caplog) == []
    assert os.getpid()
