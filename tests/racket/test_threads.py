"""Racket Reference 11.1 under Racket's names: threads, control, state, mailboxes."""

import pytest

from rtsync import Break, ThreadDead, is_evt
from rtsync.racket import (
    always_evt,
    break_enabled,
    break_thread,
    channel_get,
    channel_put,
    current_custodian,
    current_thread,
    custodian_managed_list,
    custodian_shutdown_all,
    is_custodian,
    is_custodian_shut_down,
    is_thread,
    is_thread_dead,
    is_thread_running,
    kill_thread,
    make_channel,
    make_custodian,
    make_semaphore,
    never_evt,
    parameterize,
    parameterize_break,
    processor_count,
    semaphore_wait,
    sleep,
    sync,
    sync_timeout,
    system_idle_evt,
    thread,
    thread_dead_evt,
    thread_receive,
    thread_receive_evt,
    thread_resume,
    thread_resume_evt,
    thread_rewind_receive,
    thread_send,
    thread_suspend,
    thread_suspend_evt,
    thread_suspend_to_kill,
    thread_try_receive,
    thread_wait,
)


async def nothing():
    pass


async def for_ever():
    await sync(never_evt)


async def all_stand_still():
    """Let every other thread go as far as it can."""
    await sync(system_idle_evt())


# -- 11.1.1 creating threads -----------------------------------------------------------------------


async def test_thread_returns_a_thread_at_once():
    begun = []

    async def thunk():
        begun.append(True)

    thd = thread(thunk)
    assert is_thread(thd)
    assert not begun or is_thread_dead(thd)  # only another core could have begun it
    await thread_wait(thd)
    assert begun


async def test_a_plain_procedure_is_a_thunk_too():
    assert await thread_wait(thread(lambda: 7, keep="results")) == 7


async def test_is_thread_is_false_for_anything_else():
    assert [is_thread(v) for v in (None, 1, thread, make_channel())] == [False] * 4


async def test_current_thread_is_the_thread_that_asks():
    async def thunk():
        return current_thread()

    thd = thread(thunk, keep="results")
    assert await thread_wait(thd) is thd
    assert current_thread() is not thd


async def test_thread_suspend_to_kill_is_suspended_where_it_would_be_killed():
    thd = thread_suspend_to_kill(for_ever)
    kill_thread(thd)
    assert not is_thread_dead(thd)
    assert not is_thread_running(thd)


# -- 11.1.2 suspending, resuming, killing ----------------------------------------------------------


async def test_kill_thread_ends_a_thread():
    thd = thread(for_ever)
    assert kill_thread(thd) is None
    assert is_thread_dead(thd)
    assert kill_thread(thd) is None


async def test_a_suspended_thread_takes_no_value_until_it_is_resumed():
    ch = make_channel()
    taken = []

    async def thunk():
        taken.append(await channel_get(ch))

    async def put():
        await channel_put(ch, "value")

    thd = thread(thunk)
    await all_stand_still()
    assert thread_suspend(thd) is None
    assert not is_thread_running(thd)
    thread(put)
    await all_stand_still()
    assert taken == []
    assert thread_resume(thd) is None
    assert is_thread_running(thd)
    await thread_wait(thd)
    assert taken == ["value"]


async def test_thread_resume_takes_a_benefactor():
    benefactor, thd = thread(for_ever), thread(for_ever)
    thread_resume(thd, benefactor)
    thread_suspend(benefactor)
    thread_suspend(thd)
    thread_resume(benefactor)
    assert is_thread_running(thd)


@pytest.mark.parametrize(
    ("kind", "name"), [(None, "Break"), ("hang-up", "BreakHangUp"), ("terminate", "BreakTerminate")]
)
async def test_break_thread_raises_a_break_where_the_thread_waits(kind, name):
    async def thunk():
        try:
            await for_ever()
        except Break as error:
            return type(error).__name__

    thd = thread(thunk, keep="results")
    await all_stand_still()
    assert break_thread(thd, kind) is None
    assert await thread_wait(thd) == name


async def test_sleep_gives_nothing_and_takes_seconds():
    assert await sleep() is None
    assert await sleep(0.25) is None
    assert await sleep(secs=0) is None


async def test_is_thread_running_and_is_thread_dead():
    thd = thread(for_ever)
    assert (is_thread_running(thd), is_thread_dead(thd)) == (True, False)
    kill_thread(thd)
    assert (is_thread_running(thd), is_thread_dead(thd)) == (False, True)


# -- 11.1.3 synchronizing thread state -------------------------------------------------------------


async def result():
    return "result"


async def test_thread_wait_gives_nothing_unless_results_are_kept():
    assert await thread_wait(thread(result)) is None
    assert await thread_wait(thread(result, keep=None)) is None
    assert await thread_wait(thread(result, keep="results")) == "result"


async def test_thread_wait_does_not_call_fail_k_for_a_thread_that_returned():
    assert await thread_wait(thread(result, keep="results"), lambda: "failed") == "result"


async def test_thread_wait_gives_the_result_of_fail_k_for_a_killed_thread():
    thd = thread(for_ever, keep="results")
    kill_thread(thd)
    assert await thread_wait(thd) is None
    assert await thread_wait(thd, lambda: "failed") == "failed"
    assert await thread_wait(thd, fail_k=lambda: "failed") == "failed"


async def test_a_thread_as_an_event_gives_itself():
    thd = thread(nothing)
    assert await sync(thd) is thd


async def test_thread_dead_evt_is_one_event_and_gives_itself():
    thd = thread(for_ever)
    evt = thread_dead_evt(thd)
    assert thread_dead_evt(thd) is evt
    assert await sync_timeout(0, evt) is None
    kill_thread(thd)
    assert await sync_timeout(0, evt) is evt


async def test_thread_resume_evt_and_thread_suspend_evt_give_the_thread():
    thd = thread(for_ever)
    assert await sync(thread_resume_evt(thd)) is thd
    suspended = thread_suspend_evt(thd)
    assert await sync_timeout(0, suspended) is None
    thread_suspend(thd)
    assert await sync(suspended) is thd
    resumed = thread_resume_evt(thd)
    assert await sync_timeout(0, resumed) is None
    thread_resume(thd)
    assert await sync(resumed) is thd
    assert await sync(suspended) is thd  # what was ready stays ready
    assert thread_suspend_evt(thd) is not suspended


# -- 11.1.4 mailboxes ------------------------------------------------------------------------------


async def test_messages_arrive_in_order():
    me = current_thread()
    assert [thread_send(me, n) for n in range(3)] == [None] * 3
    assert [await thread_receive() for _ in range(3)] == [0, 1, 2]


async def test_thread_receive_waits_for_a_message():
    async def thunk():
        return await thread_receive()

    thd = thread(thunk, keep="results")
    await all_stand_still()
    thread_send(thd, "message")
    assert await thread_wait(thd) == "message"


async def test_thread_try_receive_gives_none_when_there_is_no_message():
    assert thread_try_receive() is None
    thread_send(current_thread(), "message")
    assert thread_try_receive() == "message"


async def test_thread_send_to_a_dead_thread():
    thd = thread(nothing)
    await thread_wait(thd)
    with pytest.raises(ThreadDead):
        thread_send(thd, "message")
    assert thread_send(thd, "message", None) is None
    assert thread_send(thd, "message", lambda: "failed") == "failed"
    assert thread_send(thd, "message", fail_thunk=lambda: "failed") == "failed"


async def test_thread_receive_evt_gives_itself_and_takes_nothing():
    evt = thread_receive_evt()
    assert is_evt(evt)
    assert thread_receive_evt() is evt
    assert await sync_timeout(0, evt) is None
    thread_send(current_thread(), "message")
    assert await sync(evt) is evt
    assert await thread_receive() == "message"


async def test_thread_rewind_receive_makes_the_last_element_the_next_message():
    thread_send(current_thread(), 4)
    assert thread_rewind_receive([1, 2, 3]) is None
    assert [await thread_receive() for _ in range(4)] == [3, 2, 1, 4]


# -- 10.6 breaks -----------------------------------------------------------------------------------


async def test_break_enabled_reads_and_sets():
    assert break_enabled() is True
    assert break_enabled(False) is None
    assert break_enabled() is False
    break_thread(current_thread())  # waits
    with pytest.raises(Break):
        break_enabled(True)


async def test_parameterize_break_is_for_a_block():
    with parameterize_break(False):
        assert break_enabled() is False
        break_thread(current_thread())
        with pytest.raises(Break), parameterize_break(True):
            pass
    assert break_enabled() is True


# -- custodians, parameters, pools -----------------------------------------------------------------


async def test_parameterize_sets_a_parameter_for_the_block():
    outer = current_custodian()
    inner = make_custodian()
    with parameterize(current_custodian, inner):
        assert current_custodian() is inner
        thd = thread(for_ever)
    assert current_custodian() is outer
    assert custodian_managed_list(inner, outer) == [thd]


async def test_custodian_shutdown_all_kills_what_the_custodian_and_its_subordinates_manage():
    cust = make_custodian()
    below = make_custodian(cust)
    with parameterize(current_custodian, below):
        thd = thread(for_ever)
    assert is_custodian(cust)
    assert not is_custodian(thd)
    assert not is_custodian_shut_down(cust)
    assert custodian_managed_list(cust, current_custodian()) == [below]
    assert custodian_shutdown_all(cust) is None
    assert is_custodian_shut_down(cust)
    assert is_custodian_shut_down(below)
    assert is_thread_dead(thd)


async def test_a_parameter_is_set_by_calling_it_with_a_value():
    outer, inner = current_custodian(), make_custodian()
    assert current_custodian(inner) is None
    assert current_custodian() is inner
    current_custodian(outer)


async def test_a_thread_inherits_the_parameters_of_its_creator():
    inner = make_custodian()

    async def thunk():
        return current_custodian()

    with parameterize(current_custodian, inner):
        thd = thread(thunk, keep="results")
    assert await thread_wait(thd) is inner


def test_processor_count_is_a_positive_number():
    assert isinstance(processor_count(), int)
    assert processor_count() >= 1


# -- without a runtime -----------------------------------------------------------------------------


def test_semaphores_and_events_can_be_made_without_a_runtime():
    make_semaphore(1)
    make_channel()
    assert is_evt(always_evt)
    semaphore_wait(make_semaphore()).close()
