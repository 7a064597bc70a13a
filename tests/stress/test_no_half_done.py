"""All combinators with a bystander: see `tests.control.test_no_half_done`."""

import pytest

from rtsync.testing import explore_all
from tests.control.test_no_half_done import COMBINED, REQUESTS, program


@pytest.mark.timeout(900)
@pytest.mark.parametrize("make", COMBINED, ids=lambda kind: kind.__name__)
def test_an_interrupted_sync_is_done_or_was_never_begun(make):
    for request in REQUESTS:
        assert explore_all(program, make, request, False, True) > 4
