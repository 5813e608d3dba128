"""Records: one canonical byte form, and nothing else is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import LimitExceeded, StoreTampered
from kms.model import policy_records, records
from kms.model.record import Record
from kms.model.row import MAX_ROW


@dataclass(frozen=True, slots=True)
class Sample(Record):
    KIND: ClassVar[str] = "samples"
    text: str
    number: int
    flag: bool
    data: bytes
    time: datetime
    maybe: datetime | None
    names: tuple[str, ...]
    labels: Mapping[str, str]


times = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))
texts = st.text(st.characters(codec="utf-8"), max_size=20)
samples = st.builds(
    Sample,
    text=texts,
    number=st.integers(0, 2**53 - 1),
    flag=st.booleans(),
    data=st.binary(max_size=40),
    time=times,
    maybe=st.none() | times,
    names=st.lists(texts, max_size=3).map(tuple),
    labels=st.dictionaries(texts, texts, max_size=3),
)


@given(samples)
def test_printed_record_parses_to_itself(sample: Sample) -> None:
    assert Sample.from_bytes(sample.to_bytes()) == sample


def test_record_of_the_largest_policy_is_read() -> None:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    largest = Sample("", 0, False, bytes(1_000_000), time, None, (), {})
    assert Sample.from_bytes(largest.to_bytes()) == largest


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(StoreTampered, match="kind samples cannot be read"):
        Sample.from_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        {"number": "1"},
        {"number": 1.5},
        {"flag": 1},
        {"text": None},
        {"data": "="},
        {"time": "yesterday"},
        {"time": "2026-01-01T00:00:00Z"},
        {"names": "ab"},
        {"labels": []},
        {"extra": 1},
    ],
)
def test_field_of_another_form_is_refused(change: dict[str, object]) -> None:
    good = Sample("t", 1, True, b"d", datetime(2026, 1, 1, tzinfo=UTC), None, ("a",), {"k": "v"})
    data = rfc8785.dumps(json.loads(good.to_bytes()) | change)
    with pytest.raises(StoreTampered):
        Sample.from_bytes(data)


def test_every_record_names_its_own_kind() -> None:
    classes = [
        value
        for value in (*vars(records).values(), *vars(policy_records).values())
        if isinstance(value, type) and issubclass(value, Record) and value is not Record
    ]
    kinds = [cls.KIND for cls in classes]
    assert len(classes) > 5
    assert all(kinds)
    assert len(set(kinds)) == len(kinds)


def sample_of(size: int) -> Sample:
    return Sample("x" * size, 1, True, b"d", datetime(2026, 1, 1, tzinfo=UTC), None, (), {})


def test_the_largest_row_that_is_written_is_read() -> None:
    largest = sample_of(MAX_ROW - len(sample_of(0).to_bytes()))
    assert len(largest.to_bytes()) == MAX_ROW
    assert Sample.from_bytes(largest.to_bytes()) == largest
    with pytest.raises(LimitExceeded, match="8388609 bytes, at most 8388608"):
        replace(largest, text=largest.text + "x").to_bytes()
