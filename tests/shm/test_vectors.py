"""SPEC §10, shared vectors in one process: they are sequences of a fixed length."""

import copy
import math
from array import array
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest

from shm import Segment, SharedBytes, SharedFlvector, SharedFxvector

KINDS = [SharedBytes, SharedFlvector, SharedFxvector]
every_kind = pytest.mark.parametrize("kind", KINDS)
ENDS = {  # the least and the greatest, and what is beyond
    SharedBytes: (0, 255, -1, 256),
    SharedFxvector: (-(2**63), 2**63 - 1, -(2**63) - 1, 2**63),
}
NOT_ONE = [None, "1", b"1", [1], 1j]  # not a value of any kind


# -- making ----------------------------------------------------------------------------------------


@every_kind
def test_it_is_zero_filled(kind):
    assert list(kind(3)) == [0, 0, 0]


@every_kind
@pytest.mark.parametrize("length", [1, 7, 65536, 65537, 200_000])
def test_every_element_has_the_fill(kind, length):
    v = kind(length, 3)
    assert len(v) == length
    assert all(x == 3 for x in v)


@every_kind
def test_fill_is_a_keyword(kind):
    assert kind(2, fill=1) == [1, 1]


@every_kind
def test_it_may_be_empty(kind):
    for v in (kind(0), kind(0, 1), kind([])):
        assert len(v) == 0
        assert list(v) == []
        assert v == kind(0)
        assert v.tolist() == list(v[:]) == []
        v[:] = []
        assert memoryview(v).nbytes == 0


@every_kind
@pytest.mark.parametrize(
    "make", [list, tuple, iter, bytes, bytearray, lambda v: array("q", v), lambda v: (x for x in v)]
)
def test_it_takes_its_values_from_any_iterable(kind, make):
    assert list(kind(make([1, 2, 3]))) == [1, 2, 3]


@every_kind
def test_it_takes_its_values_from_another_vector_and_shares_nothing_with_it(kind):
    v = kind([1, 2])
    w = kind(v)
    w[0] = 9
    assert (list(v), list(w)) == ([1, 2], [9, 2])


def test_a_buffer_of_the_same_kind_is_taken_also_when_it_is_not_contiguous():
    assert SharedFxvector(memoryview(array("q", range(6)))[::2]) == [0, 2, 4]
    assert SharedFxvector(memoryview(array("l", range(6)))[::-1]) == [5, 4, 3, 2, 1, 0]
    assert SharedBytes(memoryview(b"abc")[::-1]) == b"cba"


def test_a_length_may_be_whatever_is_an_index():
    class Three:
        def __index__(self):
            return 3

    assert len(SharedBytes(Three())) == 3


def test_negative_zero_is_a_fill_of_its_own():
    assert math.copysign(1, SharedFlvector(1, -0.0)[0]) == -1


@every_kind
@pytest.mark.parametrize("length", [None, 1.5, True, False, object()])
def test_what_is_no_length_is_refused(kind, length):
    with pytest.raises(TypeError, match=f"{kind.__name__}: length must be a non-negative integer, got "):
        kind(length)


@every_kind
def test_a_negative_length_is_refused(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}: length must be a non-negative integer, got -1"):
        kind(-1)


@every_kind
@pytest.mark.parametrize("fill", NOT_ONE[1:])
def test_what_is_no_value_is_refused_as_fill(kind, fill):
    with pytest.raises(TypeError, match=f"{kind.__name__}: fill must be "):
        kind(3, fill)
    with pytest.raises(TypeError):
        kind(0, fill)


@every_kind
@pytest.mark.parametrize("value", NOT_ONE)
def test_what_is_no_value_is_refused_with_its_place(kind, value):
    with pytest.raises(TypeError, match=rf"{kind.__name__}: values\[2\] must be "):
        kind([0, 1, value])


@pytest.mark.parametrize("kind", ENDS)
def test_a_value_out_of_range_is_refused_with_its_place(kind):
    least, greatest, below, above = ENDS[kind]
    assert list(kind([least, greatest])) == [least, greatest]
    for beyond in (below, above):
        with pytest.raises(ValueError, match=rf"{kind.__name__}: values\[1\] must be an integer from "):
            kind([0, beyond])
        with pytest.raises(ValueError, match=rf"{kind.__name__}: fill must be an integer from "):
            kind(2, beyond)


@every_kind
def test_values_and_a_fill_do_not_go_together(kind):
    with pytest.raises(TypeError, match=f"{kind.__name__}: fill must be left out when there are values"):
        kind([1, 2], 0)


def test_an_error_of_the_iterable_comes_out():
    def values():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError):
        SharedFlvector(values())


# -- elements --------------------------------------------------------------------------------------


@every_kind
def test_an_index_counts_from_either_end(kind):
    v = kind([1, 2, 3])
    assert [v[0], v[2], v[-1], v[-3]] == [1, 3, 3, 1]
    v[0], v[-1] = 7, 9
    assert list(v) == [7, 2, 9]


@every_kind
@pytest.mark.parametrize("index", [3, -4, 2**70, -(2**70)])
def test_an_index_out_of_range_is_an_error_that_changes_nothing(kind, index):
    v = kind([1, 2, 3])
    with pytest.raises(IndexError, match=f"{kind.__name__}: index must be from -3 to 2, got {index}"):
        v[index]
    with pytest.raises(IndexError, match=f"{kind.__name__}: index must be from -3 to 2, got {index}"):
        v[index] = 0
    assert list(v) == [1, 2, 3]


@every_kind
def test_an_empty_vector_has_no_index(kind):
    with pytest.raises(IndexError, match="empty"):
        kind(0)[0]


@every_kind
@pytest.mark.parametrize("index", [None, 1.0, "1", ..., (), (1,), [0]])
def test_what_is_no_index_is_refused(kind, index):
    v = kind([1, 2, 3])
    with pytest.raises(TypeError, match=f"{kind.__name__}: index must be an integer or a slice, got "):
        v[index]
    with pytest.raises(TypeError, match=f"{kind.__name__}: index must be an integer or a slice, got "):
        v[index] = 0
    assert list(v) == [1, 2, 3]


@every_kind
@pytest.mark.parametrize("value", NOT_ONE)
def test_what_is_no_value_cannot_be_stored(kind, value):
    v = kind([1, 2, 3])
    with pytest.raises(TypeError, match=f"{kind.__name__}: value must be "):
        v[1] = value
    assert list(v) == [1, 2, 3]


@pytest.mark.parametrize("kind", ENDS)
def test_a_value_out_of_range_cannot_be_stored(kind):
    least, greatest, below, above = ENDS[kind]
    v = kind([1, 2])
    for beyond in (below, above):
        with pytest.raises(ValueError, match=rf"{kind.__name__}: value must be an integer from .*{beyond}"):
            v[1] = beyond
    assert list(v) == [1, 2]
    v[0], v[1] = least, greatest
    assert list(v) == [least, greatest]


@pytest.mark.parametrize("kind", ENDS)
def test_integers_only_where_integers_are_held(kind):
    v = kind(1)
    with pytest.raises(TypeError):
        v[0] = 1.0


def test_a_double_is_held_exactly():
    values = [0.1, -1e308, 5e-324, math.inf, -math.inf]
    assert list(SharedFlvector(values)) == values
    assert math.isnan(SharedFlvector([math.nan])[0])


def test_whatever_is_a_real_number_becomes_a_double():
    v = SharedFlvector([1, Fraction(1, 2), Decimal("0.25"), True])
    assert list(v) == [1.0, 0.5, 0.25, 1.0]
    assert all(type(x) is float for x in v)


def test_an_integer_too_large_for_a_double_is_refused():
    v = SharedFlvector(1)
    with pytest.raises(ValueError, match="SharedFlvector: value must be a number that a double can hold"):
        v[0] = 10**400
    with pytest.raises(ValueError, match=r"SharedFlvector: values\[0\] must be"):
        SharedFlvector([10**400])
    assert v[0] == 0


@every_kind
def test_its_length_is_fixed(kind):
    v = kind(3)
    for operation in ("append", "insert", "pop", "extend", "clear"):
        assert not hasattr(v, operation)
    with pytest.raises(TypeError, match=f"{kind.__name__}: its length is fixed"):
        del v[0]
    assert len(v) == 3


# -- slices ----------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize(
    "where",
    [slice(None), slice(1, 3), slice(-2, None), slice(None, None, 2), slice(None, None, -1), slice(9, 20)],
)
def test_a_slice_is_read_and_written_as_a_lists_is(kind, where):
    model = [10, 11, 12, 13, 14]
    v = kind(model)
    assert list(v[where]) == model[where]
    values = list(range(len(model[where])))
    v[where] = values
    model[where] = values
    assert list(v) == model


def test_a_slice_is_a_copy_as_python_has_it():
    assert SharedBytes(b"abc")[1:] == b"bc"
    assert type(SharedBytes(b"abc")[1:]) is bytes
    assert SharedFlvector([0.5, 1.5])[:1] == [0.5]
    assert SharedFxvector([1, 2])[1:] == [2]


@every_kind
@pytest.mark.parametrize("make", [list, tuple, iter, bytes, lambda v: array("q", v)])
def test_a_slice_is_assigned_from_any_iterable(kind, make):
    v = kind(4)
    v[1:3] = make([1, 2])
    assert list(v) == [0, 1, 2, 0]


@every_kind
def test_a_slice_is_assigned_from_an_overlapping_one_as_if_it_were_copied_first(kind):
    v = kind(range(6))
    v[1:] = memoryview(v)[:-1]
    assert list(v) == [0, 0, 1, 2, 3, 4]
    v[:] = memoryview(v)[::-1]
    assert list(v) == [4, 3, 2, 1, 0, 0]
    v[:] = v
    assert list(v) == [4, 3, 2, 1, 0, 0]


@every_kind
@pytest.mark.parametrize("values", [[], [1], [1, 2, 3]])
def test_another_number_of_values_than_the_slice_has_is_refused_and_changes_nothing(kind, values):
    v = kind([7, 8, 9])
    with pytest.raises(
        ValueError, match=f"the number of values must be as many as the slice has, 2, got {len(values)}"
    ):
        v[1:] = values
    assert list(v) == [7, 8, 9]


@every_kind
@pytest.mark.parametrize("bad", NOT_ONE)
def test_one_bad_value_keeps_all_from_being_written(kind, bad):
    v = kind([7, 8, 9])
    with pytest.raises(TypeError, match=rf"{kind.__name__}: values\[1\] must be "):
        v[:] = [1, bad, 3]
    assert list(v) == [7, 8, 9]


@every_kind
def test_one_value_is_not_many(kind):
    v = kind([7, 8, 9])
    with pytest.raises(TypeError, match=f"{kind.__name__}: values must be an iterable of values, got 5"):
        v[:] = 5
    assert list(v) == [7, 8, 9]


# -- as a whole ------------------------------------------------------------------------------------


@every_kind
def test_it_is_a_sequence(kind):
    v = kind([1, 2, 2])
    assert isinstance(v, Sequence)
    assert list(iter(v)) == [1, 2, 2]
    assert list(reversed(v)) == [2, 2, 1]
    assert 2 in v
    assert 5 not in v
    assert v.index(2) == 1
    assert v.count(2) == 2


@every_kind
def test_it_is_compared_by_its_contents(kind):
    v = kind([1, 2])
    assert v == kind([1, 2])
    assert v != kind([1, 3])
    assert v != kind([1, 2, 3])
    assert v == [1, 2]
    assert v == (1, 2)
    assert v == array("q", [1, 2])
    assert v != 1
    assert v != "ab"


@every_kind
def test_it_is_ordered_as_sequences_are(kind):
    v = kind([1, 2])
    assert kind([1, 1]) < v < kind([1, 2, 0]) <= [1, 2, 0]
    assert v <= kind([1, 2]) <= v
    assert v > [1]
    assert v >= (1, 2)
    with pytest.raises(TypeError, match="not supported"):
        assert v < 5


def test_bytes_compare_with_bytes():
    v = SharedBytes(b"abc")
    assert v == b"abc"
    assert bytearray(b"abc") == v
    assert v < b"abd"


def test_not_a_number_equals_nothing():
    assert SharedFlvector([math.nan]) != SharedFlvector([math.nan])


@every_kind
def test_it_has_no_hash(kind):
    with pytest.raises(TypeError, match="unhashable"):
        hash(kind(1))


@every_kind
def test_a_copy_shares_nothing(kind):
    v = kind([1, 2])
    for w in (copy.copy(v), copy.deepcopy(v), copy.deepcopy({"v": v})["v"]):
        assert type(w) is kind
        w[0] = 9
    assert list(v) == [1, 2]


@every_kind
def test_repr_shows_it_or_its_beginning(kind):
    v = kind([1, 2])
    assert eval(repr(v)) == v
    assert repr(kind(1000, 1)).startswith(f"<{kind.__name__} of 1000: 1")
    assert len(repr(kind(1000, 1))) < 120


# -- the segment under it ---------------------------------------------------------------------------


@every_kind
def test_two_vectors_over_one_segment_share_it(kind):
    v = kind([1, 2])
    w = kind.from_segment(v.segment)
    w[0] = 9
    assert v[0] == 9


def test_a_segment_of_another_size_makes_no_vector():
    with pytest.raises(
        ValueError, match=r"SharedFlvector\.from_segment: segment must be of a size divisible by 8"
    ):
        SharedFlvector.from_segment(Segment(12))
    with pytest.raises(TypeError, match=r"SharedFlvector\.from_segment: segment must be a Segment"):
        SharedFlvector.from_segment(b"12345678")
