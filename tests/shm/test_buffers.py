"""SPEC §10, shared vectors and segments as buffers: views of the same memory, without a copy."""

import io
import pickle
from array import array

import numpy
import pytest

from shm import Segment, SharedBytes, SharedFlvector, SharedFxvector

FORMATS = [(SharedBytes, "B"), (SharedFlvector, "d"), (SharedFxvector, "q")]
every_format = pytest.mark.parametrize(("kind", "format"), FORMATS)


@every_format
def test_a_memoryview_has_the_elements_and_is_the_same_memory(kind, format):
    v = kind([1, 2, 3])
    with memoryview(v) as view:
        assert (view.format, view.shape, view.readonly) == (format, (3,), False)
        view[1] = 7
        v[2] = 8
        assert view.tolist() == list(v) == [1, 7, 8]


@every_format
def test_a_view_may_be_cast(kind, format):
    v = kind([1, 2, 3])
    raw = memoryview(v).cast("B")
    assert bytes(raw) == bytes(v) == array(format, [1, 2, 3]).tobytes()
    assert raw.cast(format).tolist() == [1, 2, 3]


@every_format
def test_a_numpy_array_is_the_same_memory(kind, format):
    v = kind([1, 2, 3])
    a = numpy.asarray(v)
    assert a.dtype == numpy.dtype(format)
    assert not a.flags.owndata
    a[0] = 9
    v[1] = 8
    assert (a.tolist(), list(v)) == ([9, 8, 3], [9, 8, 3])


@every_format
def test_frombuffer_is_the_same_memory(kind, format):
    v = kind(2)
    numpy.frombuffer(v, dtype=format)[:] = [3, 4]
    assert list(v) == [3, 4]


@every_format
def test_a_view_keeps_the_memory_when_the_vector_is_gone(kind, format):
    v = kind([1, 2, 3])
    a, m = numpy.asarray(v), memoryview(v)
    del v
    assert a.tolist() == m.tolist() == [1, 2, 3]
    a[0] = 5
    assert m[0] == 5


@every_format
def test_a_vector_takes_numpy_arrays(kind, format):
    a = numpy.arange(6, dtype=format)
    assert kind(a) == [0, 1, 2, 3, 4, 5]
    assert kind(a[::2]) == [0, 2, 4]
    v = kind(3)
    v[:] = a[3:]
    assert list(v) == [3, 4, 5]


def test_a_vector_takes_numpy_arrays_of_other_types_if_their_values_fit():
    assert SharedFlvector(numpy.arange(3, dtype="i4")) == [0, 1, 2]
    assert SharedFxvector(numpy.arange(3, dtype="u1")) == [0, 1, 2]
    assert SharedBytes(numpy.arange(3)) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"values\[1\] must be an integer from 0 to 255"):
        SharedBytes(numpy.array([1, 256]))
    with pytest.raises(TypeError):
        SharedFxvector(numpy.array([0.5]))
    with pytest.raises(TypeError):
        SharedFlvector(numpy.zeros((2, 2)))


def test_numpy_numbers_are_lengths_indexes_and_values():
    v = SharedFxvector(numpy.int64(3), numpy.int8(1))
    v[numpy.int64(1)] = numpy.int32(7)
    assert list(v) == [1, 7, 1]


@every_format
def test_a_file_reads_into_it_and_writes_it(kind, format):
    v = kind(3)
    data = array(format, [4, 5, 6]).tobytes()
    assert io.BytesIO(data).readinto(v) == len(data)
    assert list(v) == [4, 5, 6]
    file = io.BytesIO()
    file.write(v)
    assert file.getvalue() == data


# -- segments --------------------------------------------------------------------------------------


def test_a_segment_is_zero_and_writable():
    segment = Segment(5)
    assert (segment.nbytes, len(segment)) == (5, 5)
    view = memoryview(segment)
    assert bytes(view) == bytes(5)
    view[:2] = b"ab"
    assert bytes(segment) == b"ab\0\0\0"
    assert segment.view() == view


def test_a_view_of_a_segment_lives_on_without_it():
    view = Segment.copy_of(b"abc").view()
    view[0] = ord("x")
    assert bytes(view) == b"xbc"


@pytest.mark.parametrize("data", [b"", b"a", bytes(range(256)) * 1000, array("d", [1.5, 2.5])])
def test_a_segment_is_a_copy_of_a_buffer(data):
    segment = Segment.copy_of(data)
    assert bytes(segment) == bytes(data)
    assert segment.nbytes == memoryview(data).nbytes


def test_a_segment_copies_arrays_in_either_order():
    a = numpy.arange(12.0).reshape(3, 4)
    assert bytes(Segment.copy_of(a)) == a.tobytes()
    assert bytes(Segment.copy_of(a.T)) == a.tobytes()  # as it lies in memory, as pickle wants it
    with pytest.raises(BufferError):
        Segment.copy_of(a[:, ::2])
    with pytest.raises(TypeError):
        Segment.copy_of(5)


def test_buffers_of_a_pickle_cross_in_segments():
    a = numpy.arange(1000.0)
    buffers = []
    data = pickle.dumps(a, protocol=5, buffer_callback=buffers.append)
    assert len(data) < 500
    segments = [Segment.copy_of(buffer) for buffer in buffers]
    b = pickle.loads(data, buffers=[segment.view() for segment in segments])
    del segments
    assert (a == b).all()
    b[0] = 7  # writable
    assert a[0] == 0


@pytest.mark.parametrize(
    ("nbytes", "error"), [(None, TypeError), (1.5, TypeError), (True, TypeError), (-1, ValueError)]
)
def test_what_is_no_size_is_refused(nbytes, error):
    with pytest.raises(error, match="Segment: nbytes must be a non-negative integer, got "):
        Segment(nbytes)
