"""Several processes and threads at the same vector: by name, by descriptor, by fork, all at once."""

import os
import pickle
import socket
import threading

import pytest

import shm
from shm import Segment, SharedBytes, SharedFlvector, SharedFxvector, attach

KINDS = [SharedBytes, SharedFlvector, SharedFxvector]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_vector_shares_the_memory(kind, protocol):
    v = kind([1, 2, 3])
    data = pickle.dumps(v, protocol)
    w = pickle.loads(data)
    assert type(w) is kind
    w[0] = 9
    v[1] = 8
    assert list(v) == list(w) == [9, 8, 3]


def test_a_pickle_does_not_grow_with_the_vector():
    assert len(pickle.dumps(SharedFlvector(1_000_000))) < 300


@every_kind
def test_an_empty_vector_pickles_too(kind):
    assert pickle.loads(pickle.dumps(kind(0))) == kind(0)


@every_kind
def test_another_process_sees_what_is_written_here_and_the_other_way_round(kind, peer):
    other = peer()
    v = kind([1, 2, 3])
    assert other("result = list(v)", v=v) == [1, 2, 3]
    v[0] = 7
    assert other("result = v[0]") == 7
    other("v[1] = 8")
    assert v[1] == 8


def test_vectors_inside_other_values_are_shared_too(peer):
    other = peer()
    v, w = SharedBytes(b"ab"), SharedFlvector([0.5])
    other("message['v'][0] = 120; message['more'][1][0] = 2.5", message={"v": v, "more": ("w", w)})
    assert v == b"xb"
    assert w == [2.5]


def test_the_same_memory_under_two_names_is_the_same_memory(peer):
    other = peer()
    v = SharedBytes(2)
    assert other("a[0] = 5; result = b[0]", a=v, b=v) == 5


def test_a_process_passes_on_what_it_was_given(peer):
    first, second = peer(), peer()
    v = SharedFxvector([1, 2])
    w = first("result = v", v=v)
    second("v[0] = 9", v=w)
    assert v[0] == 9


def test_a_vector_goes_through_multiprocessing(peer):
    program = """
    import multiprocessing as mp
    context = mp.get_context("spawn")
    with context.Pool(2) as pool:
        # (a function of an importable module, so that spawned processes find it)
        result = pool.map(list, [v, v]), list(pool.apply(type(v).tolist, [v]))
    """
    v = SharedFxvector([1, 2, 3])
    assert peer()(program, v=v) == ([[1, 2, 3]] * 2, [1, 2, 3])


def test_a_forked_child_shares_and_leaves_the_parents_vector_alone(peer):
    program = """
    import os, pickle
    v = shm.SharedFxvector([1, 2])
    pid = os.fork()
    if not pid:
        v[0] = 9
        w = pickle.loads(pickle.dumps(v))
        w[1] = 8
        del v, w
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    result = status, list(v), list(pickle.loads(pickle.dumps(v)))
    """
    assert peer()(program) == (0, [9, 8], [9, 8])


def test_a_descriptor_takes_a_segment_to_another_process():
    here, there = socket.socketpair()
    with here, there:
        segment = Segment.copy_of(b"abc")
        socket.send_fds(here, [b"m"], [segment.fileno()])
        fd = socket.recv_fds(there, 1, 1)[1][0]
        other = Segment.from_fd(fd)
        assert other.fileno() == fd != segment.fileno()
        other.view()[0] = ord("x")
        assert bytes(segment) == b"xbc"


def test_a_descriptor_that_came_is_not_inherited_by_programs_that_are_started():
    segment = Segment(1)
    fd = os.dup(segment.fileno())
    os.set_inheritable(fd, True)
    segment = Segment.from_fd(fd)
    assert not os.get_inheritable(segment.fileno())


def test_a_descriptor_of_something_else_is_refused_and_stays_the_callers():
    with socket.socket() as other, pytest.raises(ValueError, match=r"Segment\.from_fd: fd must be"):
        Segment.from_fd(other.fileno())
    with pytest.raises(OSError):
        Segment.from_fd(9999)


def test_pickling_with_an_override_for_segments_alone_covers_vectors():
    import io

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if type(obj) is Segment:
                segments.append(obj)
                return len(segments) - 1
            return None

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, number):
            return Segment.from_fd(os.dup(segments[number].fileno()))

    segments = []
    v = SharedFlvector([1.5])
    file = io.BytesIO()
    Pickler(file).dump(["v", v])
    file.seek(0)
    w = Unpickler(file).load()[1]
    w[0] = 2.5
    assert v[0] == 2.5


# -- names -----------------------------------------------------------------------------------------


def test_a_name_is_attached_by_whoever_has_it():
    segment = Segment.copy_of(b"abc")
    other = attach(segment.name)
    other.view()[0] = ord("x")
    assert bytes(segment) == b"xbc"


@pytest.mark.parametrize(
    ("name", "error"), [(None, TypeError), (b"x", TypeError), ("", ValueError), ("a/b/c/d/e", ValueError)]
)
def test_what_is_no_name_is_refused(name, error):
    with pytest.raises(error, match="attach: name must be the name of a segment, got "):
        attach(name)


def test_a_name_from_another_host_is_not_found_here():
    _, rest = Segment(1).name.split("/", 1)
    with pytest.raises(FileNotFoundError, match="another host"):
        attach("01234567-0123-0123-0123-0123456789ab/" + rest)


def test_a_name_does_not_lead_to_another_file_behind_the_same_descriptor():
    segment = Segment(1)
    name = segment.name
    other = Segment.copy_of(b"other")
    os.dup2(other.fileno(), segment.fileno())  # as if it had been closed, and its number used again
    with pytest.raises(FileNotFoundError, match="no process holds"):
        attach(name)


# -- at once ---------------------------------------------------------------------------------------

WRITE = """
import threading
def write(start):
    for i in range(start, len(v), 8):
        v[i] = i + 1
threads = [threading.Thread(target=write, args=(start,)) for start in starts]
for t in threads: t.start()
for t in threads: t.join()
"""


def test_threads_of_several_processes_write_their_shares_at_once(peer):
    v = SharedFxvector(4000)
    others = [peer(), peer()]
    callers = [
        threading.Thread(target=other, args=(WRITE,), kwargs={"v": v, "starts": starts})
        for other, starts in zip(others, ([0, 1, 2], [3, 4, 5]), strict=True)
    ]
    for t in callers:
        t.start()
    exec(WRITE, {"v": v, "starts": [6, 7]})
    for t in callers:
        t.join()
    assert list(v) == list(range(1, 4001))


@pytest.mark.parametrize(("kind", "values"), [(SharedFxvector, (0, -1)), (SharedFlvector, (0.0, -1.1e-300))])
def test_an_element_is_never_seen_half_written(kind, values, peer):
    other = peer()
    v = kind(3)
    toggle = f"""
    while not v[2]:
        v[0], v[0] = {values}
    """
    writer = threading.Thread(target=other, args=(toggle,), kwargs={"v": v})
    writer.start()
    try:
        seen = {v[0] for _ in range(50_000)}
    finally:
        v[2] = 1
        writer.join()
    assert seen <= set(values)


def test_threads_make_pickle_and_drop_vectors_at_once():
    failures = []

    def work():
        try:
            for n in range(60):
                v = SharedFxvector([n, n])
                w = pickle.loads(pickle.dumps(v))
                w[0] = -1
                assert list(v) == [-1, n]
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []


def test_two_threads_may_be_the_first_to_look_at_a_segment():
    for _ in range(20):
        segment = Segment(8)
        barrier = threading.Barrier(2)
        views = []

        def look(segment=segment, barrier=barrier, views=views):
            barrier.wait()
            views.append(segment.view())

        threads = [threading.Thread(target=look) for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        views[0][0] = 5
        assert views[1][0] == memoryview(segment)[0] == 5


def test_all_is_what_there_is():
    assert shm.__all__ == sorted(shm.__all__)
    assert all(getattr(shm, name).__doc__ for name in shm.__all__)
