"""Racket Reference 4.3 and 4.4: shared vectors under Racket's names."""

import pytest

import rtsync
from rtsync.racket import (
    make_shared_bytes,
    make_shared_flvector,
    make_shared_fxvector,
    shared_bytes,
    shared_flvector,
    shared_fxvector,
)

MAKERS = [
    (make_shared_bytes, shared_bytes, rtsync.SharedBytes),
    (make_shared_flvector, shared_flvector, rtsync.SharedFlvector),
    (make_shared_fxvector, shared_fxvector, rtsync.SharedFxvector),
]


@pytest.mark.parametrize(("make", "of", "kind"), MAKERS)
def test_they_make_shared_vectors(make, of, kind):
    assert type(make(2)) is type(of(1, 2)) is kind


@pytest.mark.parametrize(("make", "of", "kind"), MAKERS)
def test_a_vector_is_zero_filled_unless_a_fill_is_given(make, of, kind):
    assert make(3) == [0, 0, 0]
    assert make(3, 7) == [7, 7, 7]
    assert make(0) == []


@pytest.mark.parametrize(("make", "of", "kind"), MAKERS)
def test_a_vector_of_values_has_them_in_order(make, of, kind):
    assert of(1, 2, 3) == [1, 2, 3]
    assert of() == []
