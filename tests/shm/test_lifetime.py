"""Shared memory lives as long as anybody holds it, whoever made it and however its holders end."""

import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from shm import Segment, SharedBytes, SharedFlvector, SharedFxvector, attach

ROOT = Path(__file__).parents[2]


def is_gone(name):
    try:
        attach(name)
    except FileNotFoundError:
        return True
    return False


def test_the_memory_goes_with_the_last_reference():
    v = SharedBytes(10)
    name = v.segment.name
    w = pickle.loads(pickle.dumps(v))
    del v
    assert not is_gone(name)
    del w
    assert is_gone(name)


def test_a_view_of_a_vector_is_a_reference():
    v = SharedFlvector(10)
    name = v.segment.name
    a = numpy.asarray(v)
    del v
    assert not is_gone(name)
    del a
    assert is_gone(name)


def test_a_pickle_of_what_is_gone_says_so():
    data = pickle.dumps(SharedBytes(10))
    with pytest.raises(FileNotFoundError, match="no process holds any more"):
        pickle.loads(data)


def test_the_creator_may_let_go_first(peer):
    other = peer()
    v = SharedBytes(b"abc")
    name = v.segment.name
    other("pass", v=v)
    del v
    assert not is_gone(name)
    assert other("result = bytes(v)") == b"abc"
    other("del v")
    assert is_gone(name)


def test_the_creator_may_end_first(peer):
    creator, other = peer(), peer()
    v = creator("v = result = shm.SharedFxvector([1, 2, 3])")
    name = v.segment.name
    other("pass", v=v)
    del v
    creator.end()
    assert other("result = list(v)") == [1, 2, 3]
    assert not is_gone(name)
    other.end()
    assert is_gone(name)


@pytest.mark.parametrize("victim", ["creator", "other"])
def test_a_holder_that_is_killed_holds_no_more_and_disturbs_nobody(victim, peer):
    creator, other = peer(), peer()
    v = creator("v = result = shm.SharedFxvector([1, 2, 3])")
    name = v.segment.name
    other("pass", v=v)
    del v
    first, last = (creator, other) if victim == "creator" else (other, creator)
    first.kill()
    assert last("v[0] = 7; result = list(v)") == [7, 2, 3]
    v = last("result = v")  # and it can still be passed on
    assert list(v) == [7, 2, 3]
    del v
    last.end()
    assert is_gone(name)


def test_nothing_is_left_when_all_holders_are_killed(peer):
    creator, other = peer(), peer()
    v = creator("v = result = shm.SharedBytes(1000)")
    name = v.segment.name
    other("pass", v=v)
    del v
    creator.kill()
    other.kill()
    assert is_gone(name)


def test_an_old_name_finds_whoever_holds_the_segment_now(peer):
    creator, other = peer(), peer()
    v = creator("v = result = shm.SharedBytes(b'abc')")
    name = creator("result = v.segment.name")
    other("pass", v=v)
    del v
    creator.kill()
    assert bytes(attach(name)) == b"abc"


def test_a_program_that_just_ends_leaves_nothing_and_says_nothing():
    for ending in ("pass", "sys.exit(3)", "os._exit(3)", "os.kill(os.getpid(), 9)", "keep = view"):
        program = (
            "import os, sys, shm; v = shm.SharedFlvector(1000); view = memoryview(v); "
            f"print(v.segment.name, flush=True); {ending}"
        )
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        assert done.returncode in (0, 3, -signal.SIGKILL)
        assert is_gone(done.stdout.strip())


def test_a_program_that_is_started_inherits_nothing():
    v = SharedBytes(10)
    name = v.segment.name
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    del v
    assert is_gone(name)
    child.communicate(b"\n")


# -- in flight -------------------------------------------------------------------------------------


def test_a_descriptor_in_flight_is_a_reference():
    here, there = socket.socketpair()
    with here, there:
        v = SharedFxvector([1, 2, 3])
        socket.send_fds(here, [b"m"], [v.segment.fileno()])
        del v
        here.close()
        segment = Segment.from_fd(socket.recv_fds(there, 1, 1)[1][0])
        assert SharedFxvector.from_segment(segment) == [1, 2, 3]


def test_a_message_that_nobody_receives_frees_what_was_in_it(private_shm):
    program = """
    import os, socket
    from shm import SharedBytes
    def free():
        disk = os.statvfs("/dev/shm")
        return disk.f_bavail * disk.f_frsize
    before = free()
    here, there = socket.socketpair()
    v = SharedBytes(1 << 20)
    socket.send_fds(here, [b"m"], [v.segment.fileno()])
    del v
    print(before - free())
    here.close()
    print(before - free())
    there.close()
    print(before - free(), os.listdir("/dev/shm"))
    """
    assert private_shm(program).splitlines() == ["1048576", "1048576", "0 []"]


# -- full ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: SharedBytes(2**60),
        lambda: SharedFlvector(2**62),
        lambda: SharedFxvector(2**100),
        lambda: SharedFlvector(2**50, 1.5),
        lambda: Segment(2**62),
    ],
)
def test_more_than_there_can_be_is_an_error_at_once(make):
    if not os.statvfs("/dev/shm").f_blocks:
        pytest.skip("the shared-memory folder has no limit here")
    with pytest.raises(OSError, match=r"shared memory is full: [0-9]+ bytes wanted, ") as caught:
        make()
    assert caught.value.errno == errno.ENOSPC


def test_a_full_folder_is_an_error_that_leaves_the_rest_as_it_was(private_shm):
    program = """
    import errno, os
    from shm import Segment, SharedBytes, SharedFxvector
    MIB = 1 << 20
    held = [SharedBytes(MIB, fill=n) for n in range(12)]
    for make in (
        lambda: SharedBytes(5 * MIB),
        lambda: SharedBytes(5 * MIB, 1),
        lambda: SharedFxvector(MIB),
        lambda: Segment.copy_of(bytes(5 * MIB)),
    ):
        try:
            make()
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError
    held.append(SharedBytes(4 * MIB))  # what is free is still free
    held[-1][-1] = 1
    assert all(v[0] == v[-1] == n for n, v in enumerate(held[:12]))
    del held
    SharedBytes(15 * MIB, 1)
    print(os.listdir("/dev/shm"), len(os.listdir("/proc/self/fd")))
    """
    assert private_shm(program).split()[0] == "[]"


def test_space_that_others_take_meanwhile_is_an_error_too(private_shm):
    # Past the first look at the free space; the write or the reservation itself fails.
    program = """
    import errno, os
    from shm import SharedBytes
    look = os.fstatvfs
    def rich(fd):
        disk = list(look(fd))
        disk[4] = disk[3] = 10**9
        return os.statvfs_result(disk)
    os.fstatvfs = rich
    fds = len(os.listdir("/proc/self/fd"))
    for arguments in ((32 << 20,), (32 << 20, 1), (bytes(32 << 20),)):
        try:
            SharedBytes(*arguments)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            assert "shared memory is full" in str(error), error
        else:
            raise AssertionError
        assert len(os.listdir("/proc/self/fd")) == fds
    os.fstatvfs = look
    SharedBytes(15 << 20, 1)
    """
    private_shm(program)


def test_a_limit_on_the_size_of_files_is_an_error(peer):
    program = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    result = []
    for arguments in ((1 << 20,), (1 << 20, 1)):
        try:
            shm.SharedBytes(*arguments)
        except OSError as error:
            result.append(error.errno)
    """
    assert peer()(program) == [errno.EFBIG] * 2


def test_no_more_descriptors_is_an_error_and_no_descriptor_is_lost(peer):
    program = """
    import os, resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    result = None
    try:
        while True:
            held.append(shm.SharedBytes(1))
    except OSError as error:
        result = error.errno, len(held) > 40
    try:
        held[0].__reduce__()
    finally:
        del held
    [shm.SharedBytes(1) for _ in range(40)]
    """
    assert peer()(program) == (errno.EMFILE, True)
