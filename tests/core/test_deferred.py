"""`scheduler.deferred`: calls made by an OS thread of our own, a moment later."""

import sys
import threading

from scheduler import defer


def test_a_call_that_fails_is_reported_and_does_not_keep_the_others_from_being_made(monkeypatch):
    reported, made = threading.Event(), threading.Event()
    errors = []

    def report(unraisable):
        errors.append(unraisable.exc_type)
        reported.set()

    monkeypatch.setattr(sys, "unraisablehook", report)
    defer(lambda: 1 / 0)
    defer(made.set)
    assert made.wait(30)
    assert reported.wait(30)
    assert errors == [ZeroDivisionError]
    while defer.busy:  # for ever, if the failure has ended what makes the calls
        pass
