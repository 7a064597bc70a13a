"""SPEC §1: every name of the reference is there, transliterated, with Racket's arguments in their order."""

import inspect

import pytest

import rtsync
from rtsync import racket

EVENTS_THAT_ARE_VALUES = ["always_evt", "never_evt"]

# Each function, area by area, with its arguments as the reference has them.
SIGNATURES = {
    # running (not Racket's: see the head of rtsync.racket)
    "run": "main *args workers=",
    "block_on": "op",
    "call": "fn *args",
    "tail": "fn *args",
    # threads
    "thread": "thunk pool= keep=",
    "is_thread": "v",
    "current_thread": "",
    "thread_suspend_to_kill": "thunk",
    "call_in_nested_thread": "thunk cust?",
    # control
    "thread_suspend": "thd",
    "thread_resume": "thd benefactor?",
    "kill_thread": "thd",
    "break_thread": "thd kind?",
    "sleep": "secs?",
    "is_thread_running": "thd",
    "is_thread_dead": "thd",
    # state
    "thread_wait": "thd fail_k?",
    "thread_dead_evt": "thd",
    "thread_resume_evt": "thd",
    "thread_suspend_evt": "thd",
    # mailboxes
    "thread_send": "thd v fail_thunk?",
    "thread_receive": "",
    "thread_try_receive": "",
    "thread_receive_evt": "",
    "thread_rewind_receive": "lst",
    # semaphores
    "make_semaphore": "init?",
    "is_semaphore": "v",
    "semaphore_post": "sema",
    "semaphore_wait": "sema",
    "semaphore_try_wait": "sema",
    "semaphore_peek_evt": "sema",
    "is_semaphore_peek_evt": "v",
    "call_with_semaphore": "sema proc try_fail_thunk? *args",
    "semaphore_wait_enable_break": "sema",
    "call_with_semaphore_enable_break": "sema proc try_fail_thunk? *args",
    # channels
    "make_channel": "",
    "is_channel": "v",
    "channel_get": "ch",
    "channel_try_get": "ch",
    "channel_put": "ch v",
    "channel_put_evt": "ch v",
    "is_channel_put_evt": "v",
    # asynchronous channels
    "make_async_channel": "limit?",
    "is_async_channel": "v",
    "async_channel_get": "ach",
    "async_channel_try_get": "ach",
    "async_channel_put": "ach v",
    "async_channel_put_evt": "ach v",
    # events
    "is_evt": "value",
    "sync": "*evts",
    "sync_timeout": "timeout *evts",
    "sync_enable_break": "*evts",
    "sync_timeout_enable_break": "timeout *evts",
    "choice_evt": "*evts",
    "wrap_evt": "evt wrap",
    "handle_evt": "evt handle",
    "is_handle_evt": "evt",
    "guard_evt": "maker",
    "nack_guard_evt": "maker",
    "poll_guard_evt": "maker",
    "replace_evt": "evt maker",
    "system_idle_evt": "",
    "alarm_evt": "msecs monotonic?",
    "current_inexact_milliseconds": "",
    "current_inexact_monotonic_milliseconds": "",
    "current_evt_pseudo_random_generator": "*value",
    # breaks
    "break_enabled": "*on",
    "parameterize_break": "on",
    "current_break_parameterization": "",
    "is_break_parameterization": "v",
    "call_with_break_parameterization": "param thunk",
    # custodian boxes
    "make_custodian_box": "cust v",
    "is_custodian_box": "v",
    "custodian_box_value": "cb",
    # thread groups
    "make_thread_group": "group?",
    "is_thread_group": "v",
    "current_thread_group": "*group",
    # custodians, parameters, pools
    "current_custodian": "*custodian",
    "make_custodian": "cust?",
    "is_custodian": "v",
    "custodian_shutdown_all": "cust",
    "is_custodian_shut_down": "cust",
    "custodian_managed_list": "cust supervisor",
    "parameterize": "parameter value",
    "processor_count": "",
    # places
    "is_place_enabled": "",
    "is_place": "v",
    "is_place_channel": "v",
    "dynamic_place": "module_path start_name at= named=",
    "dynamic_place_star": "module_path start_name in_= out= err=",
    "place": "fn",
    "place_star": "fn in_= out= err=",
    "place_context": "fn",
    "place_wait": "p",
    "place_dead_evt": "p",
    "place_kill": "p",
    "place_break": "p kind?",
    "place_channel": "",
    "place_channel_put": "pch v",
    "place_channel_get": "pch",
    "place_channel_put_get": "pch v",
    "is_place_message_allowed": "v",
    "is_place_location": "v",
    # ports
    "is_eof_object": "v",
    "is_input_port": "v",
    "is_output_port": "v",
    "is_port_closed": "port",
    "current_input_port": "*value",
    "current_output_port": "*value",
    "current_error_port": "*value",
    "close_input_port": "in_",
    "close_output_port": "out",
    "read_line": "in_? mode?",
    "read_bytes_line": "in_? mode?",
    "read_bytes": "amt in_?",
    "peek_bytes": "amt skip_bytes_amt in_?",
    "write_bytes": "bstr out? start_pos? end_pos?",
    "write_string": "str out? start_pos? end_pos?",
    "write_bytes_avail": "bstr out? start_pos? end_pos?",
    "flush_output": "out?",
    "make_pipe": "limit? input_name? output_name?",
    "copy_port": "src dst *dsts",
    "read_line_evt": "in_? mode?",
    "read_bytes_line_evt": "in_? mode?",
    "read_bytes_evt": "k in_?",
    "read_bytes_avail_evt": "bstr in_?",
    "eof_evt": "in_?",
    "write_bytes_avail_evt": "bstr out? start_pos? end_pos?",
    "tcp_listen": "port_no max_allow_wait? reuse? hostname?",
    "tcp_accept": "listener",
    "tcp_accept_evt": "listener",
    "tcp_connect": "hostname port_no local_hostname? local_port_no?",
    "tcp_abandon_port": "tcp_port",
    "tcp_addresses": "port port_numbers?",
    "tcp_close": "listener",
    "is_tcp_listener": "v",
    # shared memory
    "make_shared_bytes": "k b?",
    "shared_bytes": "*b",
    "make_shared_flvector": "size x?",
    "shared_flvector": "*x",
    "make_shared_fxvector": "size x?",
    "shared_fxvector": "*x",
    # atomic and uninterruptible modes
    "start_atomic": "",
    "end_atomic": "",
    "start_breakable_atomic": "",
    "end_breakable_atomic": "",
    "call_as_atomic": "thunk",
    "call_as_nonatomic": "thunk",
    "is_in_atomic_mode": "",
    "start_uninterruptible": "",
    "end_uninterruptible": "",
    "call_as_uninterruptible": "thunk",
    "make_uninterruptible_lock": "",
    "uninterruptible_lock_acquire": "lock",
    "uninterruptible_lock_release": "lock",
    # parallel pools
    "make_parallel_thread_pool": "n?",
    "is_parallel_thread_pool": "v",
    "parallel_thread_pool_close": "pool",
}


def signature(function):
    """``name`` for an argument that must be given, ``name?`` for one that may be, ``name=`` for a keyword."""
    parts = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            parts.append(f"*{parameter.name}")
        elif parameter.kind is parameter.KEYWORD_ONLY:
            parts.append(f"{parameter.name}=")
        elif parameter.default is not parameter.empty and parameter.name != "workers":
            parts.append(f"{parameter.name}?")
        elif parameter.default is not parameter.empty:
            parts.append(f"{parameter.name}=")
        else:
            parts.append(parameter.name)
    return " ".join(parts)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_has_rackets_arguments_in_their_order(name):
    assert signature(getattr(racket, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", EVENTS_THAT_ARE_VALUES)
def test_an_event_that_is_a_value_in_racket_is_one_here(name):
    assert racket.is_evt(getattr(racket, name))


def test_what_is_exported_is_what_this_table_lists_or_a_later_area_adds():
    assert {*SIGNATURES, *EVENTS_THAT_ARE_VALUES} <= set(racket.__all__)


@pytest.mark.parametrize("name", sorted(racket.__all__))
def test_every_exported_name_exists_and_a_function_says_what_it_does(name):
    value = getattr(racket, name)
    if callable(value):
        assert inspect.getdoc(value)


@pytest.mark.parametrize("name", sorted(racket.__all__))
def test_no_name_has_a_character_of_rackets(name):
    assert name.isidentifier()
    assert name == name.lower()


def test_what_has_the_same_name_in_both_namings_and_the_same_arguments_is_the_same():
    for name in (
        "run block_on call tail current_thread is_evt current_evt_pseudo_random_generator break_enabled "
        "current_custodian parameterize"
    ).split():
        assert getattr(racket, name) is getattr(rtsync, name)


def test_the_values_of_both_namings_are_the_same():
    assert racket.always_evt is rtsync.always
    assert racket.never_evt is rtsync.never
    assert type(racket.make_channel()) is rtsync.Channel
    assert type(racket.make_semaphore()) is rtsync.Semaphore
    assert type(racket.make_async_channel()) is rtsync.AsyncChannel
