"""What a caller has going on at once."""

import pytest

from kms.errors import RateLimited
from kms.server.open_calls import OpenCalls


def test_open_calls_are_counted_for_each_caller():
    calls = OpenCalls(2)
    with calls.one_of("a"), calls.one_of("b"):
        with calls.one_of("a"), pytest.raises(RateLimited), calls.one_of("a"):
            raise AssertionError("a third call was opened")
        with calls.one_of("a"):
            assert True


def test_call_that_fails_is_open_no_more():
    calls = OpenCalls(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="failed"), calls.one_of("a"):
            raise ValueError("failed")
    assert not calls._open
