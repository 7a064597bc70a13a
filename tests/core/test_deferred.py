"""`scheduler.deferred`: calls made by an OS thread of our own, a moment later."""

import threading

import pytest

from scheduler import defer


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_call_that_fails_does_not_keep_the_others_from_being_made():
    made = threading.Event()
    defer(lambda: 1 / 0)
    defer(made.set)
    assert made.wait(30)
    while defer.busy:  # for ever, if the failure has ended what makes the calls
        pass
