"""Where OS threads sleep: a permit is never lost, whether it comes before or after its OS thread parks."""

import signal
import threading

import pytest

from scheduler.parker import Parker
from tests.chaos import chaos

WAYS = [Parker.park, Parker.park_eagerly]


@pytest.mark.parametrize("park", WAYS)
def test_a_permit_that_is_there_already_is_taken_at_once(park):
    parker = Parker()
    parker.unpark()
    assert park(parker, 0) is True
    assert park(parker, 0) is False
    assert park(parker, 0.001) is False
    parker.unpark()
    assert park(parker) is True


@pytest.mark.parametrize("park", WAYS)
def test_a_time_that_no_lock_would_take_is_as_good_as_none(park):
    parker = Parker()
    threading.Timer(0.01, parker.unpark).start()
    assert park(parker, 1e300) is True


@pytest.mark.parametrize("park", WAYS)
@pytest.mark.parametrize("timeout", [None, 30, 0.0001])
def test_two_os_threads_pass_a_permit_to_and_fro(park, timeout):
    here, there, many = Parker(), Parker(), 2000

    def wait(parker):
        while not park(parker, timeout):
            pass

    def other():
        for _ in range(many):
            wait(there)
            here.unpark()

    thread = threading.Thread(target=other)
    thread.start()
    for n in range(many):
        there.unpark()
        if n % 100 == 0:
            with chaos(n, rate=0.1):
                wait(here)
        else:
            wait(here)
    thread.join()
    assert not park(here, 0)
    assert not park(there, 0)


@pytest.mark.parametrize("park", WAYS)
def test_who_is_interrupted_by_a_signal_gets_the_permit_that_comes_after_it(park):
    def interrupt(number, frame):
        raise InterruptedError

    parker, old = Parker(), signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(InterruptedError):
            park(parker, 30)
    finally:
        signal.signal(signal.SIGALRM, old)
    parker.unpark()
    assert park(parker, 0)
