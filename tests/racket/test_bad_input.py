"""SPEC §2 under Racket's names: refused at the call, with the operation, the argument and what was expected.

Where the facade only passes a value on, the message names the Pythonic operation that refused it.
"""

import warnings
from math import nan

import pytest

from rtsync import ContractError, NoRuntime, racket
from rtsync.testing import run_deterministic

NO_THREAD = [None, 5, "thread", racket.thread]
NO_FUNCTION = [5, "function"]


def each(name, bad, *rest, error=TypeError, expect):
    """A row for each bad first argument of one function."""
    return [(name, (value, *rest), {}, error, expect) for value in bad]


SEMA = racket.make_semaphore()
CHANNEL = racket.make_channel()
ASYNC = racket.make_async_channel()
IN, OUT = racket.make_pipe()
PLACE_CHANNEL, _ = racket.place_channel()

TABLE = [
    # threads
    *each("thread", [None, *NO_FUNCTION], expect="thread: fn must be callable"),
    ("thread", (print,), {"keep": "result"}, ValueError, "thread: keep must be None or 'results'"),
    ("thread", (print,), {"keep": True}, TypeError, "thread: keep must be None or 'results'"),
    ("thread", (print,), {"pool": 5}, TypeError, "thread: pool must be"),
    *each("thread_suspend_to_kill", [None, *NO_FUNCTION], expect="must be callable"),
    *each("call_in_nested_thread", [None, *NO_FUNCTION], expect="call_in_nested_thread: fn must be callable"),
    ("call_in_nested_thread", (print, 5), {}, TypeError, "custodian must be a custodian"),
    # control
    *[
        row
        for name in (
            "thread_suspend thread_resume kill_thread break_thread is_thread_running is_thread_dead "
            "thread_wait thread_dead_evt thread_resume_evt thread_suspend_evt"
        ).split()
        for row in each(name, NO_THREAD, expect=f"{name}: thd must be a thread")
    ],
    *each("sleep", ["1", None, [], True], expect="sleep: secs must be a non-negative number of seconds"),
    *each(
        "sleep",
        [-1, -0.5, nan, 10**400],
        error=ValueError,
        expect="sleep: secs must be a non-negative number",
    ),
    # mailboxes
    *each("thread_send", NO_THREAD, "message", expect="thread_send: thd must be a thread"),
    *each("thread_rewind_receive", [None, 5, "abc", {1}], expect="rewind_receive: items must be a list"),
    # semaphores
    *each("make_semaphore", [None, 1.0, "1", True], expect="Semaphore: init must be a non-negative integer"),
    *each("make_semaphore", [-1], error=ValueError, expect="Semaphore: init must be a non-negative integer"),
    *[
        row
        for name in (
            "semaphore_post semaphore_wait semaphore_try_wait semaphore_peek_evt semaphore_wait_enable_break"
        ).split()
        for row in each(name, [None, 1, CHANNEL], expect=f"{name}: sema must be a semaphore")
    ],
    *[
        row
        for name in "call_with_semaphore call_with_semaphore_enable_break".split()
        for row in (
            *each(name, [None, 1], print, expect=f"{name}: sema must be a semaphore"),
            (name, (SEMA, 5), {}, TypeError, f"{name}: proc must be callable"),
            (name, (SEMA, print, 5), {}, TypeError, "try_fail_thunk must be callable"),
        )
    ],
    # places
    *[
        row
        for name in "place_wait place_dead_evt place_kill place_break".split()
        for row in each(name, [None, 1, CHANNEL, PLACE_CHANNEL], expect=f"{name}: p must be a place")
    ],
    *[
        row
        for name in "place_channel_put place_channel_put_get".split()
        for row in each(name, [None, 1, CHANNEL], "v", expect=f"{name}: pch must be a place channel")
    ],
    *each("place_channel_get", [None, 1, CHANNEL], expect="place_channel_get: pch must be a place channel"),
    *each("dynamic_place", [None, 1], "main", expect="dynamic_place: module must be"),
    *each("dynamic_place", ["", "1x"], "main", error=ValueError, expect="dynamic_place: module must be"),
    ("dynamic_place", ("m", 5), {}, TypeError, "dynamic_place: start must be"),
    ("dynamic_place", ("m", "main"), {"at": 5}, TypeError, "dynamic_place: at must be a place location"),
    ("dynamic_place_star", ("m", "main"), {"out": 5}, TypeError, "dynamic_place_star: out must be"),
    *each("place", [None, 5], expect="place: fn must be a function"),
    *each("place_star", [None, 5], expect="place_star: fn must be a function"),
    *each("place_context", [None, 5], expect="place_context: fn must be a function"),
    ("place_channel_put", (PLACE_CHANNEL, print), {}, ContractError, "put: message: "),
    # channels
    *[
        row
        for name in "channel_get channel_try_get".split()
        for row in each(name, [None, 1, ASYNC, SEMA], expect=f"{name}: ch must be a channel")
    ],
    *each("channel_put", [None, 1, ASYNC], "v", expect="channel_put: ch must be a channel"),
    *each("channel_put_evt", [None, 1, ASYNC], "v", expect="channel_put_evt: ch must be a channel"),
    *each("make_async_channel", [1.5, "3", True], expect="AsyncChannel: limit must be a positive integer"),
    *each("make_async_channel", [0, -1], error=ValueError, expect="limit must be a positive integer"),
    *[
        row
        for name in "async_channel_get async_channel_try_get".split()
        for row in each(name, [None, 1, CHANNEL], expect=f"{name}: ach must be an async channel")
    ],
    *each(
        "async_channel_put", [None, CHANNEL], "v", expect="async_channel_put: ach must be an async channel"
    ),
    *each("async_channel_put_evt", [None, CHANNEL], "v", expect="ach must be an async channel"),
    # events
    *each("sync", [None, 1, print], expect=r"sync: evts\[0\] must be an event"),
    ("sync", (CHANNEL, 1), {}, TypeError, r"sync: evts\[1\] must be an event"),
    *each("sync_timeout", ["1", True, CHANNEL], CHANNEL, expect="sync: timeout must be"),
    *each("sync_timeout", [-1, nan], CHANNEL, error=ValueError, expect="sync: timeout must be"),
    ("sync_timeout", (CHANNEL, 1), {}, TypeError, "must be"),
    ("sync_timeout", (0, 1), {}, TypeError, r"sync: evts\[0\] must be an event"),
    ("sync_enable_break", (CHANNEL, 1), {}, TypeError, r"sync: evts\[1\] must be an event"),
    *each("sync_timeout_enable_break", ["1", True], CHANNEL, expect="sync: timeout must be"),
    *each("sync_timeout_enable_break", [-1, nan], CHANNEL, error=ValueError, expect="sync: timeout must be"),
    ("choice_evt", (CHANNEL, 1), {}, TypeError, r"choice: evts\[1\] must be an event"),
    *[
        row
        for name in "wrap_evt handle_evt replace_evt".split()
        for row in each(name, [None, 1], print, expect=f"{name}: evt must be an event")
    ],
    ("wrap_evt", (CHANNEL, 5), {}, TypeError, "wrap: f must be callable"),
    ("handle_evt", (CHANNEL, None), {}, TypeError, "handle: f must be callable"),
    ("replace_evt", (CHANNEL, CHANNEL), {}, TypeError, "replace: f must be callable"),
    *each("is_handle_evt", [None, 1], expect="is_handle_evt: evt must be an event"),
    *each("guard_evt", [None, *NO_FUNCTION], expect="guard: f must be callable"),
    *each("nack_guard_evt", [None, *NO_FUNCTION], expect="nack_guard: f must be callable"),
    *each("poll_guard_evt", [None, *NO_FUNCTION], expect="poll_guard: f must be callable"),
    *each("alarm_evt", [None, "1", True, 1j], expect="alarm_evt: msecs must be a number of milliseconds"),
    *each(
        "alarm_evt",
        [nan, 10**400],
        error=ValueError,
        expect="alarm_evt: msecs must be a number of milliseconds",
    ),
    ("current_evt_pseudo_random_generator", (5,), {}, TypeError, "generator must be a random.Random or None"),
    # breaks
    *each("break_enabled", [None, 1], expect="break_enabled: on must be a bool"),
    *each("parameterize_break", [None, 1], expect="breaks: on must be a bool"),
    *each("call_with_break_parameterization", [None, True], print, expect="param must be a break param"),
    # thread groups
    *each("make_thread_group", [5, "group"], expect="ThreadGroup: parent must be a thread group"),
    *each("current_thread_group", [None, 5], expect="current_thread_group: group must be a thread group"),
    # custodians
    *each("make_custodian_box", [None, 5], 1, expect="make_custodian_box: cust must be a custodian"),
    *each("custodian_box_value", [None, 5], expect="custodian_box_value: cb must be a custodian box"),
    *each("make_custodian", [5, "custodian"], expect="Custodian: parent must be a custodian"),
    *[
        row
        for name in "custodian_shutdown_all is_custodian_shut_down".split()
        for row in each(name, [None, 5], expect=f"{name}: cust must be a custodian")
    ],
    *each(
        "custodian_managed_list", [None, 5], None, expect="custodian_managed_list: cust must be a custodian"
    ),
    *each("current_custodian", [None, 1], expect="current_custodian: custodian must be a custodian"),
    # shared memory
    *[
        row
        for name, argument in (
            ("make_shared_bytes", "k"),
            ("make_shared_flvector", "size"),
            ("make_shared_fxvector", "size"),
        )
        for row in [
            *each(
                name,
                [None, 1.0, "1", True, [1], b"a"],
                expect=f"{name}: {argument} must be a non-negative integer",
            ),
            *each(name, [-1], error=ValueError, expect=f"{name}: {argument} must be a non-negative integer"),
        ]
    ],
    ("make_shared_bytes", (2, 256), {}, ValueError, "SharedBytes: fill must be an integer from 0 to 255"),
    ("make_shared_bytes", (2, "a"), {}, TypeError, "SharedBytes: fill must be an integer from 0 to 255"),
    ("make_shared_flvector", (2, "a"), {}, TypeError, "SharedFlvector: fill must be a number"),
    ("make_shared_fxvector", (2, 2**63), {}, ValueError, "SharedFxvector: fill must be an integer"),
    ("make_shared_fxvector", (2, 1.5), {}, TypeError, "SharedFxvector: fill must be an integer"),
    ("shared_bytes", (0, 256), {}, ValueError, r"SharedBytes: values\[1\] must be an integer from 0 to 255"),
    ("shared_bytes", (b"ab",), {}, TypeError, r"SharedBytes: values\[0\] must be an integer"),
    ("shared_flvector", (0.5, None), {}, TypeError, r"SharedFlvector: values\[1\] must be a number"),
    ("shared_fxvector", (1, 0.5), {}, TypeError, r"SharedFxvector: values\[1\] must be an integer"),
    # atomic and uninterruptible modes
    *[
        row
        for name in "call_as_atomic call_as_nonatomic call_as_uninterruptible".split()
        for row in each(name, [None, *NO_FUNCTION], expect=f"{name}: thunk must be callable")
    ],
    *[
        row
        for name in "uninterruptible_lock_acquire uninterruptible_lock_release".split()
        for row in each(name, [None, 1, SEMA], expect=f"{name}: lock must be an uninterruptible lock")
    ],
    # parallel pools
    *each("make_parallel_thread_pool", [1.0, "1", True], expect="ParallelThreadPool: n must be a positive"),
    *each("make_parallel_thread_pool", [0, -1], error=ValueError, expect="n must be a positive integer"),
    *each("parallel_thread_pool_close", [None, 1], expect="pool must be a parallel thread pool"),
    ("thread", (print,), {"pool": "mine"}, ValueError, "thread: pool must be a parallel thread pool, 'own'"),
    # ports
    *[
        row
        for name in "read_line read_bytes_line read_line_evt read_bytes_line_evt eof_evt".split()
        for row in each(name, [5, OUT], expect=f"{name}: in_ must be an input port")
    ],
    *[
        ("read_line", (IN, mode), {}, error, "read_line: mode must be one of 'linefeed'")
        for mode, error in [("crlf", ValueError), (None, TypeError)]
    ],
    *each("read_bytes", [-1], IN, error=ValueError, expect="read_bytes: n must be a non-negative integer"),
    *each("read_bytes", ["1", None, True], IN, expect="read_bytes: n must be a non-negative integer"),
    ("read_bytes", (1, OUT), {}, TypeError, "read_bytes: in_ must be an input port"),
    ("read_bytes_evt", (-1, IN), {}, ValueError, "read_bytes_evt: n must be a non-negative integer"),
    ("read_bytes_evt", (1, OUT), {}, TypeError, "read_bytes_evt: in_ must be an input port"),
    ("read_bytes_avail_evt", (bytearray(), IN), {}, ValueError, "bstr must be a bytearray with room"),
    ("read_bytes_avail_evt", (b"x", IN), {}, TypeError, "read_bytes_avail_evt: n must be a positive integer"),
    ("peek_bytes", (1, -1, IN), {}, ValueError, "peek: skip must be a non-negative integer"),
    *[
        row
        for name in "write_bytes write_bytes_avail write_bytes_avail_evt".split()
        for row in [
            (name, ("text", OUT), {}, TypeError, f"{name}: bstr must be bytes"),
            (name, (b"x", IN), {}, TypeError, f"{name}: out must be an output port"),
            (name, (b"x", OUT, 2), {}, ValueError, f"{name}: start_pos, end_pos must be a range"),
            (name, (b"x", OUT, -1), {}, ValueError, f"{name}: start_pos must be a non-negative integer"),
        ]
    ],
    ("write_string", (b"x", OUT), {}, TypeError, "write_string: str must be a string"),
    *each("flush_output", [5, IN], expect="flush_output: out must be an output port"),
    *each("close_input_port", [None, OUT], expect="close_input_port: in_ must be an input port"),
    *each("close_output_port", [None, IN], expect="close_output_port: out must be an output port"),
    *each("is_port_closed", [None, 5], expect="is_port_closed: port must be a port"),
    *each("make_pipe", [0, -1], error=ValueError, expect="pipe: limit must be a positive integer"),
    *each("copy_port", [None, OUT], OUT, expect="copy_port: source must be an input port"),
    ("copy_port", (IN, IN), {}, TypeError, r"copy_port: sinks\[0\] must be an output port"),
    *each("tcp_listen", [-1, 65536], error=ValueError, expect="tcp_listen: port must be"),
    *each("tcp_listen", [None, "80", True], expect="tcp_listen: port must be"),
    ("tcp_listen", (0, 0), {}, ValueError, "tcp_listen: backlog must be a positive integer"),
    ("tcp_listen", (0, 4, 1), {}, TypeError, "tcp_listen: reuse must be a bool"),
    ("tcp_listen", (0, 4, False, 5), {}, TypeError, "tcp_listen: host must be a host name or None"),
    *each("tcp_connect", [None, 5], 80, expect="tcp_connect: host must be a host name"),
    ("tcp_connect", ("localhost", 0), {}, ValueError, "tcp_connect: port must be a positive integer"),
    (
        "tcp_connect",
        ("localhost", 80, 5),
        {},
        TypeError,
        "tcp_connect: local_host must be a host name or None",
    ),
    *[
        row
        for name in "tcp_accept tcp_accept_evt tcp_close".split()
        for row in each(name, [None, IN], expect=f"{name}: listener must be a listener")
    ],
    *each("tcp_abandon_port", [None, 5], expect="tcp_abandon_port: port must be a port of a connection"),
    *each("tcp_addresses", [None, IN], expect="tcp_addresses: port must be a port of a connection"),
]


@pytest.mark.parametrize(
    ("name", "args", "options", "error", "expect"),
    TABLE,
    ids=[f"{name}-{number}" for number, (name, *_) in enumerate(TABLE)],
)
def test_bad_input_is_refused_at_the_call(name, args, options, error, expect):
    async def main():
        with pytest.raises(error, match=expect):
            getattr(racket, name)(*args, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing was made that should have been awaited
        run_deterministic(main)


NEEDS_A_THREAD = [
    ("thread_wait", (5,), "wait: fail must be callable"),
    ("thread_send", ("message", 5), "send: fail must be callable"),
    ("thread_resume", (5,), "resume: benefactor must be a thread or a custodian"),
    ("break_thread", (5,), "break_: kind must be None, 'hang-up' or 'terminate'"),
]


@pytest.mark.parametrize(("name", "args", "expect"), NEEDS_A_THREAD, ids=[n for n, *_ in NEEDS_A_THREAD])
async def test_a_bad_second_argument_is_refused_and_changes_nothing(name, args, expect):
    thd = racket.thread(racket.sync)
    with pytest.raises(TypeError, match=expect):
        getattr(racket, name)(thd, *args)
    assert racket.is_thread_running(thd)


async def test_a_bad_kind_of_break_is_refused_and_changes_nothing():
    thd = racket.thread(racket.sync)
    with pytest.raises(ValueError, match="break_: kind must be None, 'hang-up' or 'terminate', got 'stop'"):
        racket.break_thread(thd, "stop")
    assert racket.is_thread_running(thd)


async def test_a_custodian_is_listed_only_for_one_above_it():
    cust = racket.make_custodian()
    for supervisor in (cust, racket.make_custodian(cust), racket.make_custodian()):
        with pytest.raises(ContractError, match="custodian_managed_list: cust is not subordinate"):
            racket.custodian_managed_list(cust, supervisor)
    with pytest.raises(TypeError, match="supervisor must be a custodian"):
        racket.custodian_managed_list(cust, None)


async def test_nothing_is_made_under_a_custodian_that_has_been_shut_down():
    cust = racket.make_custodian()
    racket.custodian_shutdown_all(cust)
    with pytest.raises(ContractError):
        racket.make_custodian(cust)


async def test_a_refused_put_has_put_nothing():
    ch = racket.make_channel()
    with pytest.raises(TypeError):
        racket.sync(racket.channel_put_evt(ch, 1), "no event")
    assert racket.channel_try_get(ch) is None


NEEDS_A_RUNTIME = [
    ("thread", (print,)),
    ("current_thread", ()),
    ("current_custodian", ()),
    ("thread_try_receive", ()),
    ("thread_rewind_receive", ([],)),
]


@pytest.mark.parametrize(("name", "args"), NEEDS_A_RUNTIME, ids=[name for name, _ in NEEDS_A_RUNTIME])
def test_outside_a_runtime_it_is_said_that_one_is_needed_and_how_to_start_it(name, args):
    with pytest.raises(NoRuntime, match="run"):
        getattr(racket, name)(*args)
