"""What stands for something in this process cannot be copied: a copy would share half of it."""

import copy
import pickle

import pytest

from rtsync import (
    AsyncChannel,
    Channel,
    ContractError,
    Custodian,
    CustodianBox,
    Scope,
    Semaphore,
    ThreadGroup,
    always,
    current_custodian,
    current_thread,
    idle,
    never,
    receive_evt,
)

MAKE = {
    "channel": Channel,
    "async channel": AsyncChannel,
    "semaphore": Semaphore,
    "thread": current_thread,
    "dead event": lambda: current_thread().dead_evt(),
    "resume event": lambda: current_thread().resume_evt(),
    "custodian": Custodian,
    "custodian box": lambda: CustodianBox(current_custodian(), 1),
    "thread group": ThreadGroup,
    "scope": Scope,
}


@pytest.mark.rtsync(seeds=1)
@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("copy", [copy.copy, copy.deepcopy, pickle.dumps])
async def test_it_is_refused(kind, copy):
    with pytest.raises(ContractError, match="cannot be copied or pickled"):
        copy(MAKE[kind]())


@pytest.mark.parametrize("evt", [always, never, idle(), receive_evt()], ids=repr)
def test_an_event_of_which_there_is_one_stays_the_one(evt):
    assert copy.copy(evt) is evt
    assert copy.deepcopy([evt])[0] is evt
    assert pickle.loads(pickle.dumps(evt)) is evt
