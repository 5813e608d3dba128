"""The life of the KMS's own authorities: one issues, two roots at most, and nothing comes back."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import StoreTampered, WrongState
from kms.model.identity_authorities import AuthoritiesRecord, AuthorityEntry, AuthorityState, RootEntry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def root(name: str) -> RootEntry:
    return RootEntry(name, f"certificate of {name}", "", NOW, None)


def entry(name: str, state: AuthorityState = AuthorityState.PREPARED, under: str = "") -> AuthorityEntry:
    csr = "request" if state == AuthorityState.PREPARED else ""
    certificate = "" if csr else f"certificate of {name}"
    return AuthorityEntry(name, state.value, csr, under, certificate, NOW, None, None)


FIRST = AuthoritiesRecord((root("root-1"),), (entry("ca-1", AuthorityState.ACTIVE, "root-1"),))


def found(record: AuthoritiesRecord, name: str) -> AuthorityEntry:
    authority = record.authority(name)
    assert authority is not None
    return authority


def followed(record: AuthoritiesRecord, name: str, under: str = "root-1") -> AuthoritiesRecord:
    """That authority, prepared and active."""
    prepared = record.with_prepared(entry(name))
    return prepared.with_active(found(prepared, name), under, f"certificate of {name}", LATER)


def states(record: AuthoritiesRecord) -> dict[str, str]:
    return {item.id: item.state for item in record.authorities}


def test_what_is_prepared_is_not_trusted() -> None:
    record = FIRST.with_prepared(entry("ca-2"))
    assert record.prepared == entry("ca-2")
    assert (record.active.id, record.trusts("ca-1"), record.trusts("ca-2")) == ("ca-1", True, False)


def test_one_is_prepared_at_a_time() -> None:
    with pytest.raises(WrongState, match="ca-2 is prepared already"):
        FIRST.with_prepared(entry("ca-2")).with_prepared(entry("ca-3"))


def test_the_one_before_the_active_one_is_trusted_and_issues_nothing() -> None:
    record = followed(FIRST, "ca-2")
    assert states(record) == {"ca-1": "OLD", "ca-2": "ACTIVE"}
    assert [item.id for item in record.trusted_authorities] == ["ca-1", "ca-2"]
    assert (record.active.csr_pem, record.active.activate_time) == ("", LATER)


def test_only_what_is_prepared_is_activated() -> None:
    record = followed(FIRST, "ca-2")
    retired = record.with_retired(found(record, "ca-1"), LATER)
    for name in ("ca-1", "ca-2"):
        with pytest.raises(WrongState, match="possible in PREPARED"):
            retired.with_active(found(retired, name), "root-1", "", LATER)


def test_a_retired_one_is_not_trusted() -> None:
    record = followed(FIRST, "ca-2")
    retired = record.with_retired(found(record, "ca-1"), LATER)
    assert not retired.trusts("ca-1")
    assert found(retired, "ca-1").retire_time == LATER


def test_a_prepared_one_that_is_retired_is_forgotten() -> None:
    record = FIRST.with_prepared(entry("ca-2"))
    assert record.with_retired(entry("ca-2"), LATER) == FIRST


def test_the_active_one_and_its_root_are_not_retired() -> None:
    with pytest.raises(WrongState, match="possible in OLD, PREPARED"):
        FIRST.with_retired(FIRST.active, LATER)
    with pytest.raises(WrongState, match="activate one of another root first"):
        FIRST.with_root_retired(root("root-1"), LATER)


def test_the_root_of_the_active_one_comes_first() -> None:
    record = FIRST.with_root(root("root-2"))
    assert [item.id for item in record.trusted_roots] == ["root-1", "root-2"]
    assert [item.id for item in followed(record, "ca-2", "root-2").trusted_roots] == ["root-2", "root-1"]


def test_a_third_root_waits_until_the_first_is_retired() -> None:
    record = followed(FIRST.with_root(root("root-2")), "ca-2", "root-2")
    with pytest.raises(WrongState, match="retire the older one first"):
        record.with_root(root("root-3"))
    retired = record.with_root_retired(root("root-1"), LATER)
    assert [item.id for item in retired.with_root(root("root-3")).trusted_roots] == ["root-2", "root-3"]


def test_with_a_root_goes_what_it_signed() -> None:
    record = followed(followed(FIRST.with_root(root("root-2")), "ca-2"), "ca-3", "root-2")
    retired = record.with_root_retired(root("root-1"), LATER)
    assert states(retired) == {"ca-1": "RETIRED", "ca-2": "RETIRED", "ca-3": "ACTIVE"}
    assert [item.is_trusted for item in retired.roots] == [False, True]


@pytest.mark.parametrize(
    ("roots", "authorities"),
    [
        ((), FIRST.authorities),
        (FIRST.roots, ()),
        (FIRST.roots, (*FIRST.authorities, entry("ca-2", AuthorityState.ACTIVE, "root-1"))),
        ((replace(FIRST.roots[0], retire_time=NOW),), FIRST.authorities),
    ],
)
def test_other_records_are_none(
    roots: tuple[RootEntry, ...], authorities: tuple[AuthorityEntry, ...]
) -> None:
    with pytest.raises(ValueError, match=r"issues|trusted"):
        AuthoritiesRecord(roots, authorities)


def test_it_survives_storage() -> None:
    record = followed(FIRST.with_root(root("root-2")), "ca-2", "root-2").with_prepared(entry("ca-3"))
    assert AuthoritiesRecord.from_bytes(record.to_bytes()) == record


@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_makes_another_record(position: int, byte: int) -> None:
    data = bytearray(followed(FIRST, "ca-2").to_bytes())
    data[position % len(data)] = byte
    with suppress(StoreTampered):
        assert AuthoritiesRecord.from_bytes(bytes(data)).to_bytes() == data
