"""SPEC §7: custodian boxes."""

import gc
import weakref

import pytest

from rtsync import (
    Channel,
    ContractError,
    Custodian,
    CustodianBox,
    Semaphore,
    block_on,
    choice,
    current_custodian,
    current_thread,
    idle,
    racket,
    sync,
    thread,
)
from tests.collecting import collected


class Thing:
    pass


async def test_a_box_holds_its_value_until_its_custodian_is_shut_down():
    custodian = Custodian()
    box = CustodianBox(custodian, "value")
    assert box.value == "value"
    custodian.shutdown_all()
    assert box.value is None


async def test_a_shutdown_of_a_superior_empties_it():
    above = Custodian()
    box = CustodianBox(Custodian(above), "value")
    above.shutdown_all()
    assert box.value is None


async def test_it_is_ready_when_its_custodian_has_been_shut_down_and_its_result_is_itself():
    custodian = Custodian()
    box = CustodianBox(custodian, 1)
    assert await sync(box, timeout=0, default="not yet") == "not yet"
    waiting = [thread(lambda: block_on(sync(box))), thread(sync, box), thread(sync, box, Channel())]
    await sync(idle())
    custodian.shutdown_all()
    assert [await t.join() for t in waiting] == [box] * 3
    assert await sync(choice(Channel(), box)) is box


async def test_who_was_woken_finds_it_empty():
    custodian = Custodian()
    box = CustodianBox(custodian, "value")

    async def look():
        return (await sync(box)).value

    t = thread(look)
    await sync(idle())
    custodian.shutdown_all()
    assert await t.join() is None


async def test_the_value_is_let_go():
    custodian, thing = Custodian(), Thing()
    gone = weakref.ref(thing)
    box = CustodianBox(custodian, thing)
    del thing
    custodian.shutdown_all()
    assert collected(lambda: gone() is None)
    assert box.value is None


async def test_a_custodian_does_not_keep_its_boxes():
    custodian = Custodian()
    thing = Thing()
    box = CustodianBox(custodian, thing)
    thing_gone, box_gone = weakref.ref(thing), weakref.ref(box)
    del thing, box
    assert collected(lambda: thing_gone() is box_gone() is None)
    custodian.shutdown_all()


async def test_a_thread_that_waits_for_a_box_is_kept_by_the_custodian():
    custodian, done = Custodian(), Semaphore()

    async def child():
        await sync(CustodianBox(custodian, 1))
        done.post()

    thread(child)
    await sync(idle())
    gc.collect()
    custodian.shutdown_all()
    await done.wait()


async def test_a_box_of_a_custodian_that_has_been_shut_down_is_refused():
    custodian = Custodian()
    custodian.shutdown_all()
    with pytest.raises(ContractError, match=r"CustodianBox: .* has been shut down"):
        CustodianBox(custodian, 1)


async def test_boxes_are_not_listed():
    custodian = Custodian()
    box = CustodianBox(custodian, 1)
    below = Custodian(custodian)
    assert custodian.managed_list() == [below]
    assert box.value == 1


async def test_a_custodian_sweeps_out_the_boxes_that_are_gone():
    custodian = Custodian()
    for _ in range(2000):
        CustodianBox(custodian, None)
    gc.collect()
    box = CustodianBox(custodian, 1)
    for _ in range(2000):
        CustodianBox(custodian, None)
    assert len(custodian.members) < 2000
    custodian.shutdown_all()
    assert box.value is None


async def test_boxes_are_emptied_before_the_thread_that_shuts_down_is_killed():
    custodian = Custodian()
    box = CustodianBox(custodian, 1)

    async def child():
        custodian.shutdown_all()

    with custodian:
        t = thread(child)
    await t.wait()
    assert t.dead
    assert box.value is None


async def test_under_their_racket_names():
    custodian = racket.make_custodian()
    box = racket.make_custodian_box(custodian, 5)
    assert racket.is_custodian_box(box)
    assert not racket.is_custodian_box(5)
    assert racket.custodian_box_value(box) == 5
    racket.custodian_shutdown_all(custodian)
    assert racket.custodian_box_value(box) is None
    assert await racket.sync(box) is box


# -- the block of a custodian ------------------------------------------------------------------------


async def test_several_threads_may_be_in_the_block_of_one_custodian():
    custodian, gate = Custodian(), Semaphore()

    async def child(number):
        outer = current_custodian()
        with custodian:
            if number % 2:
                await gate.wait()
            else:
                gate.post()
            assert current_custodian() is custodian
        assert current_custodian() is outer

    for t in [thread(child, number) for number in range(10)]:
        await t.join()


async def test_the_block_of_a_custodian_does_not_keep_a_thread():
    custodian = Custodian()

    async def child():
        with custodian:
            await Channel().get()

    gone = weakref.ref(thread(child))
    await sync(idle())
    for _ in range(10):
        gc.collect()
        if gone() is None:
            break
        await sync(idle())
    assert gone() is None
    assert current_thread().running
