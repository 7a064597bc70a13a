"""The Guide's chapter on concurrency, as written in ``examples/guide/``: each example and what it prints.

Each function of an example runs on the deterministic scheduler, under several seeds and in virtual time; the
programs that do not sleep are also run as a reader would run them. Where the Guide leaves the order open, the
lines are compared as a set.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rtsync.testing import run_deterministic

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "examples" / "guide"
SLEEPERS = {"18_1_threads", "18_1_threads_pythonic", "18_6_events", "18_6_events_pythonic", "echo_server"}


def load(name):
    """The example as a module of its own, fresh: some make their channels when they are loaded."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", GUIDE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=range(5), ids=lambda seed: f"seed-{seed}")
def lines(request, capsys):
    """``lines(name, function)``: what one function of an example prints, line by line."""

    def lines(name, function):
        run_deterministic(getattr(load(name), function), seed=request.param)
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out.splitlines()

    return lines


def in_both(name):
    """The example in Racket's naming and in the Pythonic one, which print the same."""
    return pytest.mark.parametrize("name", [name, f"{name}_pythonic"])


# -- 18.1 threads ----------------------------------------------------------------------------------


@in_both("18_1_threads")
def test_two_threads_beside_the_original_one(name, lines):
    first, *others = lines(name, "start")
    assert first == "This is the original thread"
    assert sorted(others) == ["This is a new thread.", "This is another new thread."]


def test_a_worker_is_killed(lines):
    assert lines("18_1_threads", "kill") == ["Working..."] * 13  # at 0.0, 0.2, ... 2.4 seconds


def test_a_worker_that_is_killed_cleans_up(lines):
    assert lines("18_1_threads_pythonic", "kill") == ["Working..."] * 13 + ["Stopped."]


def test_the_main_thread_waits_for_a_worker(lines):
    expected = [f"Working hard... {i}" for i in range(100)] + ["Worker finished"]
    assert lines("18_1_threads", "wait") == expected


def test_a_thread_ends_with_a_result(lines):
    assert lines("18_1_threads_pythonic", "wait") == ["Worker finished with 5050"]


# -- 18.2 mailboxes --------------------------------------------------------------------------------


@in_both("18_2_mailboxes")
def test_messages_are_processed_in_their_order(name, lines):
    assert lines(name, "one_worker") == [f"Processing {i}" for i in range(20)] + ["Done"]


SUMS = ["1 + 1 = 2", "2 + 2 = 4"]
DIFFERENCES = ["3 - 2 = 1", "4 - 1 = 3"]


def test_the_answers_of_each_arithmetic_thread_come_in_their_order(lines):
    printed = lines("18_2_mailboxes", "arithmetic")
    assert [line for line in printed if "+" in line] == SUMS
    assert [line for line in printed if "-" in line] == DIFFERENCES
    assert len(printed) == 4


def test_results_are_printed_in_the_order_of_the_questions(lines):
    assert lines("18_2_mailboxes_pythonic", "arithmetic") == SUMS + DIFFERENCES


# -- 18.3 semaphores -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("18_3_semaphores", "wait_and_post"),
        ("18_3_semaphores", "around_a_call"),
        ("18_3_semaphores_pythonic", "around_a_block"),
        ("18_3_semaphores_pythonic", "one_thread_prints"),
    ],
)
def test_no_line_is_torn_and_each_thread_counts_to_ten(name, function, lines):
    printed = lines(name, function)
    for thread in "ABC":
        assert [line for line in printed if thread in line] == [f"thread {thread}: {i}" for i in range(10)]
    assert len(printed) == 30


# -- 18.4 channels ---------------------------------------------------------------------------------


@in_both("18_4_channels")
def test_each_item_is_processed_once_and_each_worker_ends(name, lines):
    printed = lines(name, "main")
    processed = [line for line in printed if "processed" in line]
    assert sorted(line[-1] for line in processed) == list("ABCDEFGH")
    assert all(re.fullmatch(r"Thread [12] processed [A-H]", line) for line in processed)
    assert sorted(set(printed) - set(processed)) == ["Thread 1 done", "Thread 2 done"]
    assert len(printed) == 10


# -- 18.5 asynchronous channels --------------------------------------------------------------------

ITEM = re.compile(r"Thread [123] processing item: ([a-m])")


def test_without_synchronization_lines_may_be_missing_but_none_is_wrong(lines):
    items = [ITEM.fullmatch(line)[1] for line in lines("18_5_async_channels", "main")]
    assert len(items) == len(set(items)) <= 13


def test_with_synchronization_each_item_is_processed_once(lines):
    items = [ITEM.fullmatch(line)[1] for line in lines("18_5_async_channels_pythonic", "main")]
    assert sorted(items) == list("abcdefghijklm")


# -- 18.6 events -----------------------------------------------------------------------------------


@in_both("18_6_events")
def test_two_workers_get_an_item_and_the_third_hears_the_alarm(name, lines):
    *received, last = lines(name, "until_an_alarm")
    assert last == "Done"
    workers, items = zip(
        *(re.fullmatch(r"Thread ([123]) received ([AB])", line).groups() for line in received), strict=True
    )
    assert sorted(items) == ["A", "B"]
    assert len(set(workers)) == 2


def test_a_server_waits_for_lines_and_messages_until_nothing_comes(lines):
    *events, last = lines("18_6_events", "echo")
    assert sorted(events) == ["Echo: first", "Echo: second", "Received a message in mailbox: hello"]
    assert [line for line in events if "Echo" in line] == ["Echo: first", "Echo: second"]
    assert last == "Timed out, exiting"


@in_both("18_6_events")
def test_each_channel_has_its_handler(name, lines):
    assert lines(name, "handlers") == [
        "Sum of [1, 2] is 3",
        "Product of [3, 4] is 12",
        "Product of [5, 6] is 30",
        "Sum of [7, 8] is 15",
        "Concatenation of ['a', 'b'] is 'ab'",
    ]


@in_both("18_6_events")
def test_a_loop_with_state_goes_on_from_its_handlers(name, lines):
    assert lines(name, "state_in_the_loop") == [
        "Current state: 0",
        "Adding: 2",
        "Current state: 2",
        "Subtracting: 3",
        "Current state: -1",
        "Adding: 4",
        "Current state: 3",
        "Adding: 5",
        "Current state: 8",
        "Subtracting: 1",
        "Current state: 7",
        "Done",
    ]


def test_wraps_are_applied_innermost_first(lines):
    assert lines("18_6_events", "wrapped") == ["Wrapped: 42"]


# -- 18.7 patterns ---------------------------------------------------------------------------------


@in_both("18_7_patterns")
def test_what_is_produced_is_consumed(name, lines):
    assert lines(name, "produce_and_consume") in (["[1, 2]"], ["[2, 1]"])


@in_both("18_7_patterns")
def test_nobody_consumes_before_ten_items_were_produced_and_each_gets_one(name, lines):
    printed = lines(name, "wait_for_ten")
    who, what = zip(*(re.fullmatch(r"(\d) -> (\d)", line).groups() for line in printed), strict=True)
    assert sorted(who) == sorted(what) == list("0123456789")


# -- as programs -----------------------------------------------------------------------------------


def test_the_echo_server_serves_until_nothing_has_come_for_two_seconds(lines):
    assert lines("echo_server", "main") == ["first", "second", "third", "Timed out, exiting"]


EXAMPLES = sorted(path.stem for path in GUIDE.glob("*.py"))
COUNTS = {
    "18_2_mailboxes": 25,
    "18_2_mailboxes_pythonic": 25,
    "18_3_semaphores": 60,
    "18_3_semaphores_pythonic": 60,
    "18_4_channels": 10,
    "18_4_channels_pythonic": 10,
    "18_5_async_channels": None,  # see above
    "18_5_async_channels_pythonic": 13,
    "18_7_patterns": 11,
    "18_7_patterns_pythonic": 11,
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_example_runs_as_a_program(name):
    done = subprocess.run(
        [sys.executable, GUIDE / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    if COUNTS[name] is not None:
        assert len(done.stdout.splitlines()) == COUNTS[name]


def test_the_programs_that_sleep_run_to_their_end(lines):
    for name in sorted(SLEEPERS):
        assert lines(name, "main")


def test_no_example_is_left_out():
    assert set(EXAMPLES) == SLEEPERS | set(COUNTS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_it_shows_and_does_nothing_when_it_is_imported(name, capsys):
    module = load(name)
    section = "18.6" if name == "echo_server" else f"{name[0:2]}.{name[3]}"
    assert module.__doc__.startswith(f"Guide {section}, ")
    assert capsys.readouterr().out == ""
