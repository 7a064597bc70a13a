"""SPEC §2: bad input is refused at the call, before anything has changed, in one form.

One row for each bad argument: the operation as it names itself, the argument, the error, and the call. The
last tests see to it that no public function is forgotten.
"""

import inspect
import re
from functools import partial

import pytest

import rtsync
import rtsync.testing
from rtsync import (
    AsyncChannel,
    Channel,
    Custodian,
    CustodianBox,
    Parameter,
    Runtime,
    Scope,
    Semaphore,
    ThreadGroup,
    after,
    always,
    at,
    block_on,
    break_enabled,
    call,
    call_in_nested_thread,
    choice,
    current_custodian,
    current_evt_pseudo_random_generator,
    current_thread,
    current_thread_group,
    guard,
    idle,
    nack_guard,
    parameterize,
    poll_guard,
    register_evt,
    rewind_receive,
    run,
    sleep,
    sync,
    tail,
    thread,
    to_os_thread,
    try_receive,
    uncaught_exception_handler,
)
from rtsync.testing import DeterministicRuntime, explore, explore_all, run_deterministic

NAN = float("nan")
TOO_MUCH = 10**400  # more than a float can say


class Ambiguous:
    """Has no truth value, as some arrays have none."""

    def __bool__(self):
        raise RuntimeError("ambiguous")


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no words")


async def nothing():
    pass


def generator():
    yield


async def async_generator(n):
    yield n


class Generates:
    async def method(self):
        yield


class Text(str):
    pass


TABLE = [
    # operation, argument, error, call
    ("thread", "fn", TypeError, lambda: thread(3)),
    ("thread", "fn", TypeError, lambda: thread(None)),
    ("thread", "fn", TypeError, lambda: thread(generator)),
    ("thread", "fn", TypeError, lambda: thread(partial(async_generator, 1))),
    ("thread", "fn", TypeError, lambda: thread(Generates().method)),
    ("run", "main", TypeError, lambda: rtsync.run(generator)),
    ("run_deterministic", "main", TypeError, lambda: run_deterministic(async_generator, 1)),
    ("thread", "name", TypeError, lambda: thread(nothing, name=3)),
    ("thread", "keep", TypeError, lambda: thread(nothing, keep="results")),
    ("thread", "pool", TypeError, lambda: thread(nothing, pool=3)),
    ("thread", "suspend_to_kill", TypeError, lambda: thread(nothing, suspend_to_kill=1)),
    ("wait", "fail", TypeError, lambda: current_thread().wait(3)),
    ("wait", "fail", TypeError, lambda: current_thread().wait(fail="x")),
    ("send", "fail", TypeError, lambda: current_thread().send(1, 3)),
    ("send", "fail", TypeError, lambda: current_thread().send(1, fail=False)),
    ("resume", "benefactor", TypeError, lambda: current_thread().resume(3)),
    ("break_", "kind", TypeError, lambda: current_thread().break_(3)),
    ("break_", "kind", ValueError, lambda: current_thread().break_("strong")),
    ("break_enabled", "on", TypeError, lambda: rtsync.break_enabled(1)),
    ("break_enabled", "on", TypeError, lambda: rtsync.break_enabled(None)),
    ("breaks", "on", TypeError, lambda: rtsync.breaks(1)),
    (
        "current_evt_pseudo_random_generator",
        "generator",
        TypeError,
        lambda: rtsync.current_evt_pseudo_random_generator(3),
    ),
    ("sleep", "secs", TypeError, lambda: sleep("1")),
    ("sleep", "secs", TypeError, lambda: sleep(None)),
    ("sleep", "secs", TypeError, lambda: sleep(True)),
    ("sleep", "secs", TypeError, lambda: sleep(False)),
    ("sleep", "secs", TypeError, lambda: sleep(1j)),
    ("sleep", "secs", TypeError, lambda: sleep("")),
    ("sleep", "secs", ValueError, lambda: sleep(-1)),
    ("sleep", "secs", ValueError, lambda: sleep(-0.001)),
    ("sleep", "secs", ValueError, lambda: sleep(NAN)),
    ("sleep", "secs", ValueError, lambda: sleep(-float("inf"))),
    ("sleep", "secs", ValueError, lambda: sleep(TOO_MUCH)),
    ("sleep", "secs", TypeError, lambda: sleep(Ambiguous())),
    ("sleep", "secs", TypeError, lambda: sleep(Unspeakable())),
    ("sleep", "secs", TypeError, lambda: sleep("1" * 1_000_000)),
    ("after", "secs", ValueError, lambda: after(TOO_MUCH)),
    ("at", "time", ValueError, lambda: at(TOO_MUCH)),
    ("at", "time", ValueError, lambda: at(-TOO_MUCH)),
    ("sync", "timeout", ValueError, lambda: sync(always, timeout=TOO_MUCH)),
    ("sync", "evts[0]", TypeError, lambda: sync(Unspeakable())),
    ("Parameter", "name", TypeError, lambda: Parameter(3, 4)),
    ("Parameter", "check", TypeError, lambda: Parameter("p", 4, 5)),
    ("after", "secs", TypeError, lambda: after("1")),
    ("after", "secs", TypeError, lambda: after(True)),
    ("after", "secs", ValueError, lambda: after(-1)),
    ("after", "secs", ValueError, lambda: after(NAN)),
    ("at", "time", TypeError, lambda: at("now")),
    ("at", "time", TypeError, lambda: at(None)),
    ("at", "time", TypeError, lambda: at(True)),
    ("at", "time", ValueError, lambda: at(NAN)),
    ("at", "monotonic", TypeError, lambda: at(0, monotonic=3)),
    ("sync", "evts[0]", TypeError, lambda: sync(3)),
    ("sync", "evts[0]", TypeError, lambda: sync(None)),
    ("sync", "evts[1]", TypeError, lambda: sync(always, "x")),
    ("sync", "evts[2]", TypeError, lambda: sync(always, Semaphore(), Channel, timeout=0)),
    ("sync", "evts[0]", TypeError, lambda: sync([always])),
    ("sync", "timeout", TypeError, lambda: sync(always, timeout="1")),
    ("sync", "timeout", TypeError, lambda: sync(always, timeout=True)),
    ("sync", "timeout", TypeError, lambda: sync(always, timeout=False)),
    ("sync", "timeout", ValueError, lambda: sync(always, timeout=-1)),
    ("sync", "timeout", ValueError, lambda: sync(always, timeout=NAN)),
    ("choice", "evts[0]", TypeError, lambda: choice(3)),
    ("choice", "evts[1]", TypeError, lambda: choice(always, None)),
    ("choice", "evts[0]", TypeError, lambda: choice([always])),
    ("wrap", "f", TypeError, lambda: always.wrap(3)),
    ("wrap", "f", TypeError, lambda: Channel().wrap(None)),
    ("handle", "f", TypeError, lambda: always.handle(3)),
    ("replace", "f", TypeError, lambda: always.replace(3)),
    ("replace", "f", TypeError, lambda: always.replace(always)),
    ("guard", "f", TypeError, lambda: guard(3)),
    ("guard", "f", TypeError, lambda: guard(always)),
    ("nack_guard", "f", TypeError, lambda: nack_guard(3)),
    ("poll_guard", "f", TypeError, lambda: poll_guard(3)),
    ("register_evt", "kind", TypeError, lambda: register_evt(3, len)),
    ("register_evt", "kind", TypeError, lambda: register_evt("int", len)),
    ("register_evt", "f", TypeError, lambda: register_evt(Text, 3)),
    ("tail", "fn", TypeError, lambda: tail(3)),
    ("call", "fn", TypeError, lambda: call(3)),
    ("rewind_receive", "items", TypeError, lambda: rewind_receive(3)),
    ("rewind_receive", "items", TypeError, lambda: rewind_receive("abc")),
    ("rewind_receive", "items", TypeError, lambda: rewind_receive(None)),
    ("Semaphore", "init", TypeError, lambda: Semaphore("1")),
    ("Semaphore", "init", TypeError, lambda: Semaphore(None)),
    ("Semaphore", "init", TypeError, lambda: Semaphore(1.0)),
    ("Semaphore", "init", TypeError, lambda: Semaphore(True)),
    ("Semaphore", "init", ValueError, lambda: Semaphore(-1)),
    ("AsyncChannel", "limit", TypeError, lambda: AsyncChannel("1")),
    ("AsyncChannel", "limit", TypeError, lambda: AsyncChannel(1.0)),
    ("AsyncChannel", "limit", TypeError, lambda: AsyncChannel(True)),
    ("AsyncChannel", "limit", ValueError, lambda: AsyncChannel(0)),
    ("AsyncChannel", "limit", ValueError, lambda: AsyncChannel(-1)),
    ("Custodian", "parent", TypeError, lambda: Custodian(3)),
    ("Custodian", "parent", TypeError, lambda: Custodian(Custodian)),
    ("call_in_nested_thread", "fn", TypeError, lambda: call_in_nested_thread(3)),
    ("call_in_nested_thread", "fn", TypeError, lambda: call_in_nested_thread(generator)),
    (
        "call_in_nested_thread",
        "custodian",
        TypeError,
        lambda: call_in_nested_thread(nothing, custodian=3),
    ),
    ("Scope.thread", "fn", TypeError, lambda: Scope().thread(3)),
    ("Scope.thread", "fn", TypeError, lambda: Scope().thread(generator)),
    ("Scope.thread", "keep", TypeError, lambda: Scope().thread(nothing, keep=1)),
    ("Scope.thread", "name", TypeError, lambda: Scope().thread(nothing, name=1)),
    ("ThreadGroup", "parent", TypeError, lambda: ThreadGroup(3)),
    ("ThreadGroup", "parent", TypeError, lambda: ThreadGroup(ThreadGroup)),
    ("current_thread_group", "group", TypeError, lambda: current_thread_group(3)),
    ("current_thread_group", "group", TypeError, lambda: current_thread_group(None)),
    ("CustodianBox", "custodian", TypeError, lambda: CustodianBox(3, 1)),
    ("CustodianBox", "custodian", TypeError, lambda: CustodianBox(None, 1)),
    ("sync", "enable_break", TypeError, lambda: sync(always, enable_break=1)),
    ("sync", "evts[1]", TypeError, lambda: sync(always, 3, enable_break=True)),
    ("sync", "timeout", ValueError, lambda: sync(always, timeout=-1, enable_break=True)),
    ("current_custodian", "custodian", TypeError, lambda: current_custodian(3)),
    ("current_custodian", "custodian", TypeError, lambda: current_custodian(None)),
    (
        "uncaught_exception_handler",
        "handler",
        TypeError,
        lambda: uncaught_exception_handler(3),
    ),
    ("parameterize", "parameter", TypeError, lambda: parameterize(3, 4)),
    ("to_os_thread", "fn", TypeError, lambda: to_os_thread(3)),
    ("to_os_thread", "fn", TypeError, lambda: to_os_thread(None, 1)),
    ("to_os_thread", "fn", TypeError, lambda: to_os_thread(nothing)),
    ("block_on", "op", TypeError, lambda: block_on(3)),
    ("block_on", "op", TypeError, lambda: block_on(None)),
    ("block_on", "op", TypeError, lambda: block_on(nothing)),
    ("run", "main", TypeError, lambda: run(3)),
    ("run", "main", TypeError, lambda: run(None)),
    ("run", "workers", TypeError, lambda: run(nothing, workers="2")),
    ("run", "workers", TypeError, lambda: run(nothing, workers=2.0)),
    ("run", "workers", TypeError, lambda: run(nothing, workers=True)),
    ("run", "workers", ValueError, lambda: run(nothing, workers=0)),
    ("run", "workers", ValueError, lambda: run(nothing, workers=-1)),
    ("Runtime", "workers", TypeError, lambda: Runtime("2")),
    ("Runtime", "workers", TypeError, lambda: Runtime(True)),
    ("Runtime", "workers", ValueError, lambda: Runtime(0)),
    ("Runtime", "name", TypeError, lambda: Runtime(1, name=3)),
    ("Runtime", "seed", TypeError, lambda: Runtime(1, seed="x")),
    ("run", "main", TypeError, lambda: Runtime(1).run(3)),
    ("set_trace", "trace", TypeError, lambda: Runtime(1).set_trace(3)),
    ("DeterministicRuntime", "seed", TypeError, lambda: DeterministicRuntime("x")),
    ("DeterministicRuntime", "seed", TypeError, lambda: DeterministicRuntime(1.0)),
    ("DeterministicRuntime", "seed", TypeError, lambda: DeterministicRuntime(True)),
    ("run_deterministic", "main", TypeError, lambda: run_deterministic(3)),
    ("explore", "main", TypeError, lambda: explore(3)),
    ("explore", "seeds", TypeError, lambda: explore(nothing, seeds="abc")),
    ("explore", "seeds", TypeError, lambda: explore(nothing, seeds=3.5)),
    ("explore", "seeds", TypeError, lambda: explore(nothing, seeds=True)),
    ("explore", "seeds", ValueError, lambda: explore(nothing, seeds=0)),
    ("explore", "seeds", ValueError, lambda: explore(nothing, seeds=-1)),
    *[
        (kind.__name__, argument, error, bad)
        for kind in (rtsync.SharedBytes, rtsync.SharedFlvector, rtsync.SharedFxvector)
        for argument, error, bad in [
            ("length", TypeError, lambda kind=kind: kind(None)),
            ("length", TypeError, lambda kind=kind: kind(1.5)),
            ("length", TypeError, lambda kind=kind: kind(True)),
            ("length", ValueError, lambda kind=kind: kind(-1)),
            ("fill", TypeError, lambda kind=kind: kind(2, "x")),
            ("fill", TypeError, lambda kind=kind: kind([1], 2)),
            ("values[1]", TypeError, lambda kind=kind: kind([1, "x"])),
        ]
    ],
    ("DeterministicRuntime", "schedule", TypeError, lambda: DeterministicRuntime(schedule=3)),
    ("DeterministicRuntime", "schedule", TypeError, lambda: DeterministicRuntime(schedule="012")),
    ("DeterministicRuntime", "schedule", TypeError, lambda: run_deterministic(nothing, schedule=[-1])),
    ("explore_all", "main", TypeError, lambda: explore_all(3)),
    ("explore_all", "most", TypeError, lambda: explore_all(nothing, most=1.5)),
    ("explore_all", "most", ValueError, lambda: explore_all(nothing, most=0)),
]

IDS = [f"{row[0]}-{row[1]}-{number}" for number, row in enumerate(TABLE)]


@pytest.mark.rtsync(seeds=1)
@pytest.mark.parametrize(("operation", "argument", "error", "bad"), TABLE, ids=IDS)
async def test_it_is_refused_at_the_call(operation, argument, error, bad, recwarn):
    runtime = current_thread().runtime
    before = len(runtime.root.everything())
    with pytest.raises(error) as caught:
        bad()
    assert type(caught.value) is error
    assert re.match(rf"{re.escape(operation)}: {re.escape(argument)} must be .+, got .+", str(caught.value))
    assert len(runtime.root.everything()) == before  # no thread, custodian or timer has come to be
    assert runtime.stats()["timers"] == 0
    assert not [str(w.message) for w in recwarn]


@pytest.mark.rtsync(seeds=1)
def test_who_passes_a_coroutine_is_told_what_to_pass():
    async def main():
        pass

    coro, op = main(), sleep(1)
    with pytest.raises(TypeError) as caught:
        rtsync.run(coro)
    assert caught.value.__notes__ == [
        f"Pass the function and its arguments: {main.__name__}, not {main.__name__}(...)."
    ]
    with pytest.raises(TypeError) as caught:
        sync(op)
    assert "not an operation on it" in caught.value.__notes__[0]
    coro.close()
    op.close()


async def test_a_message_does_not_repeat_an_endless_argument():
    with pytest.raises(TypeError) as caught:
        sleep(list(range(1_000_000)))
    assert len(str(caught.value)) < 1000


@pytest.mark.rtsync(seeds=1)
@pytest.mark.parametrize(
    "parameter",
    [
        break_enabled,
        current_custodian,
        current_thread_group,
        uncaught_exception_handler,
        current_evt_pseudo_random_generator,
    ],
)
async def test_a_second_argument_of_a_parameter_is_refused(parameter):
    before = parameter()
    with pytest.raises(TypeError, match="takes at most one argument, got 2"):
        parameter(before, before)
    assert parameter() is before


@pytest.mark.rtsync(seeds=1)
async def test_a_refused_send_has_sent_nothing():
    with pytest.raises(TypeError):
        current_thread().send("message", 3)
    assert try_receive("nothing") == "nothing"


@pytest.mark.rtsync(seeds=1)
async def test_a_refused_break_breaks_nothing():
    t = thread(Channel().get)
    await sync(idle())
    with pytest.raises(ValueError):
        t.break_("strong")
    await sync(idle())
    assert not t.dead


@pytest.mark.rtsync(seeds=1)
async def test_a_refused_resume_resumes_nothing():
    t = thread(Channel().get)
    await sync(idle())
    t.suspend()
    with pytest.raises(TypeError):
        t.resume(3)
    assert not t.running


@pytest.mark.rtsync(seeds=1)
async def test_a_refused_rewind_leaves_the_mailbox_as_it_was():
    current_thread().send(1)
    with pytest.raises(TypeError):
        rewind_receive({2, 3})
    assert try_receive() == 1
    assert try_receive("empty") == "empty"


@pytest.mark.rtsync(seeds=1)
async def test_a_refused_parameter_keeps_its_value():
    old_handler, old_custodian = uncaught_exception_handler(), current_custodian()
    with pytest.raises(TypeError):
        uncaught_exception_handler(3)
    with pytest.raises(TypeError):
        current_custodian(3)
    assert uncaught_exception_handler() is old_handler
    assert current_custodian() is old_custodian


@pytest.mark.rtsync(seeds=1)
async def test_a_refused_registration_registers_nothing():
    class Foreign:
        pass

    with pytest.raises(TypeError):
        register_evt(Foreign, 3)
    assert not rtsync.is_evt(Foreign())


@pytest.mark.rtsync(seeds=1)
async def test_a_refused_sync_has_taken_nothing():
    sem = Semaphore(1)
    with pytest.raises(TypeError):
        sync(sem, 3)
    with pytest.raises(ValueError):
        sync(sem, timeout=-1)
    assert sem.count == 1


# -- outside a runtime -----------------------------------------------------------------------------

NEEDS_A_RUNTIME = {
    "thread": lambda: thread(nothing),
    "current_thread": lambda: current_thread(),
    "current_custodian": lambda: current_custodian(),
    "break_enabled": lambda: rtsync.break_enabled(),
    "breaks": lambda: rtsync.breaks(True).__enter__(),
    "current_break_parameterization": lambda: rtsync.current_break_parameterization(),
    "try_receive": lambda: try_receive(),
    "rewind_receive": lambda: rewind_receive([]),
    "Custodian": lambda: Custodian(),
    "ThreadGroup": lambda: ThreadGroup(),
    "current_thread_group": lambda: current_thread_group(),
}


@pytest.mark.parametrize("operation", NEEDS_A_RUNTIME)
def test_what_needs_a_runtime_says_so_and_how_to_start_one(operation):
    with pytest.raises(rtsync.NoRuntime, match=rf"{operation}: .*rtsync\.run\(main\)"):
        NEEDS_A_RUNTIME[operation]()


NEEDS_A_RUNTIME_WHEN_AWAITED = {
    "sleep": lambda: sleep(1),
    "sync": lambda: sync(always),
    "receive": lambda: rtsync.receive(),
    "to_os_thread": lambda: to_os_thread(print),
}


@pytest.mark.parametrize("operation", NEEDS_A_RUNTIME_WHEN_AWAITED)
def test_what_needs_a_runtime_when_it_is_awaited_says_so_too(operation):
    coro = NEEDS_A_RUNTIME_WHEN_AWAITED[operation]()
    with pytest.raises(rtsync.NoRuntime, match=rf"{operation}: .*rtsync\.run\(main\)"):
        coro.send(None)


# -- nothing is forgotten --------------------------------------------------------------------------

NOTHING_TO_CHECK = {
    "BreakParameterization": "made by `current_break_parameterization`",
    "Scope": "takes nothing",
    "current_break_parameterization": "takes nothing",
    "Channel": "takes nothing",
    "ParallelThreadPool": "see tests/pool",
    "UninterruptibleLock": "takes nothing",
    "call_as_atomic": "see tests/atomic",
    "call_as_nonatomic": "see tests/atomic",
    "call_as_uninterruptible": "see tests/atomic",
    "end_atomic": "takes nothing",
    "end_breakable_atomic": "takes nothing",
    "end_uninterruptible": "takes nothing",
    "is_in_atomic_mode": "takes nothing",
    "start_atomic": "takes nothing",
    "start_breakable_atomic": "takes nothing",
    "start_uninterruptible": "takes nothing",
    "uninterruptible": "takes nothing",
    "atomic": "see tests/atomic",
    "Evt": "a base class",
    "current_thread": "takes nothing",
    "idle": "takes nothing",
    "is_evt": "takes anything",
    "receive": "takes nothing",
    "receive_evt": "takes nothing",
    "thread_dump": "takes nothing",
    "try_receive": "takes anything",
    "Thread": "made by `thread`",
}


def test_every_public_function_is_in_the_table_or_has_nothing_to_check():
    tested = {row[0] for row in TABLE}
    forgotten = []
    for module in (rtsync, rtsync.testing):
        for name in module.__all__:
            thing = getattr(module, name)
            if not callable(thing) or name in NOTHING_TO_CHECK:
                continue
            if isinstance(thing, type) and issubclass(thing, BaseException):
                continue
            if name not in tested:
                forgotten.append(name)
    assert forgotten == []


def test_every_public_name_has_a_docstring():
    bare = []
    for module in (rtsync, rtsync.testing):
        assert module.__doc__
        for name in module.__all__:
            thing = getattr(module, name)
            if not inspect.getdoc(thing):
                bare.append(name)
            if not isinstance(thing, type) or issubclass(thing, BaseException):
                continue
            for part, value in vars(thing).items():
                public = not part.startswith("_") and (
                    callable(value) or isinstance(value, (property, classmethod, staticmethod))
                )
                if public and not inspect.getdoc(getattr(thing, part)):
                    bare.append(f"{name}.{part}")
    assert bare == []


def test_every_public_function_says_where_its_meaning_comes_from():
    # Those of Racket; the rest is this library's addition.
    racket = """thread sync choice guard nack_guard poll_guard idle sleep at receive try_receive receive_evt
        rewind_receive current_thread Semaphore Channel AsyncChannel Custodian Thread""".split()
    docs = {name: inspect.getdoc(getattr(rtsync, name)) or "" for name in racket}
    assert [name for name, doc in docs.items() if "Racket Reference" not in doc] == []


def test_all_is_sorted_and_complete():
    assert rtsync.__all__ == sorted(rtsync.__all__)
    assert all(hasattr(rtsync, name) for name in rtsync.__all__)
