"""Revocation and renewal: who is out, until when, and who gets a new certificate."""

from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from forging import URI
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import LimitExceeded, StoreTampered, Unauthenticated
from kms.identity.authority import MAX_LEAF_LIFE, CertificateAuthority
from kms.identity.certificates import Leaf, verify_leaf
from kms.identity.grant import Grant
from kms.identity.renewal import renew
from kms.identity.revocation import DenyList
from kms.identity.spiffe import SpiffeId
from kms.identity.trust import TrustAnchor
from kms.model.names import IdentityName
from kms.model.validity import CLOCK_SKEW

ID = SpiffeId.parse(URI)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def test_an_empty_list_denies_nobody(now: datetime) -> None:
    assert DenyList().check(1, URI, now) is None


def test_a_revoked_serial_is_denied_and_its_neighbours_are_not(now: datetime) -> None:
    denied = DenyList().with_serial(0xABC, now + HOUR)
    with pytest.raises(Unauthenticated, match="revoked"):
        denied.check(0xABC, URI, now)
    denied.check(0xABD, URI, now)


@pytest.mark.parametrize(("issued", "is_denied"), [(-SECOND, True), (0 * SECOND, True), (SECOND, False)])
def test_a_revoked_identity_is_denied_with_what_it_held(
    now: datetime, issued: timedelta, is_denied: bool
) -> None:
    denied = DenyList().with_identity(ID, now + timedelta(microseconds=999_999))
    denied.check(1, URI + "2", now)
    if is_denied:
        with pytest.raises(Unauthenticated, match="revoked"):
            denied.check(1, URI, now + issued)
    else:
        denied.check(1, URI, now + issued)


@pytest.mark.parametrize(
    ("path", "is_denied"),
    [
        ("/tenant/acme/site/lisbon", True),
        ("/tenant/acme/site/lisbon/ns/prod/sa/cam", True),
        ("/tenant/acme/site/lisbon/ns/ns/sa/ns", True),
        ("/tenant/acme/site/lisbon2/ns/prod/sa/cam", False),
        ("/tenant/other/site/lisbon/ns/prod/sa/cam", False),
        ("/tenant/acme/ns/site/sa/lisbon", False),
        ("/operator/lisbon", False),
    ],
)
def test_with_a_site_its_workloads_are_revoked(now: datetime, path: str, is_denied: bool) -> None:
    denied = DenyList().with_identity(SpiffeId.parse("spiffe://kms.example/tenant/acme/site/lisbon"), now)
    name = str(SpiffeId.parse("spiffe://kms.example" + path))
    denied.check(1, name, now + SECOND)
    with pytest.raises(Unauthenticated, match="revoked") if is_denied else nullcontext():
        denied.check(1, name, now)


def test_a_revocation_is_never_moved_back(now: datetime) -> None:
    denied = DenyList().with_identity(ID, now).with_identity(ID, now - HOUR)
    with pytest.raises(Unauthenticated):
        denied.check(1, URI, now)


def test_adding_leaves_the_old_list_alone(now: datetime) -> None:
    first = DenyList()
    first.with_serial(1, now)
    first.with_identity(ID, now)
    assert first == DenyList()


def test_pruning_forgets_only_serials_of_expired_certificates(now: datetime) -> None:
    denied = DenyList().with_serial(1, now).with_serial(2, now + HOUR).with_identity(ID, now - HOUR)
    pruned = denied.pruned(now + SECOND)
    assert list(pruned.serials) == ["2"]
    assert list(pruned.identities) == [URI]


def test_pruning_forgets_an_identity_when_all_it_held_has_expired(
    authority: CertificateAuthority, anchor: TrustAnchor, grant: Grant, key: Any, now: datetime
) -> None:
    denied = DenyList().with_identity(ID, now)
    last = authority.issue(key.public_key(), grant, MAX_LEAF_LIFE, now)
    still = now + MAX_LEAF_LIFE
    assert verify_leaf(last, [anchor], still)
    assert list(denied.pruned(still).identities) == [URI]
    over = now + MAX_LEAF_LIFE + CLOCK_SKEW + SECOND
    with pytest.raises(Unauthenticated, match="expired"):
        verify_leaf(last, [anchor], over)
    assert not denied.pruned(over).identities


def test_list_has_one_form(now: datetime) -> None:
    denied = DenyList().with_serial(0xB, now).with_serial(0xA, now).with_identity(ID, now)
    assert denied.to_bytes() == (
        b'{"identities":{"spiffe://kms.example/tenant/acme/ns/prod/sa/web":1772366400},'
        b'"serials":{"a":1772366400,"b":1772366400}}'
    )


@given(
    st.dictionaries(st.integers(1, 2**159 - 1), st.integers(0, 2**32), max_size=5),
    st.integers(0, 2**32),
)
def test_list_survives_storage(serials: dict[int, int], moment: int) -> None:
    epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    denied = DenyList().with_identity(ID, epoch + moment * SECOND)
    for serial, end in serials.items():
        denied = denied.with_serial(serial, epoch + end * SECOND)
    assert DenyList.from_bytes(denied.to_bytes()) == denied


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"identities":{},"serials":{},"x":1}',
        b'{"serials":{},"identities":{}}',
        b'{"identities":{},"serials":[]}',
        b'{"identities":{},"serials":{"A":1}}',
        b'{"identities":{},"serials":{"0a":1}}',
        b'{"identities":{},"serials":{"-1":1}}',
        b'{"identities":{},"serials":{"a":true}}',
        b'{"identities":{},"serials":{"a":"1"}}',
        b'{"identities":{},"serials":{"a":9007199254740991}}',
        b'{"identities":{"spiffe://kms.example/x":1},"serials":{}}',
    ],
)
def test_a_list_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(StoreTampered):
        DenyList.from_bytes(data)


@pytest.fixture
def leaf(authority: CertificateAuthority, anchor: TrustAnchor, grant: Grant, key: Any, now: datetime) -> Leaf:
    return verify_leaf(authority.issue(key.public_key(), grant, HOUR, now), [anchor], now)


def test_renewal_gives_what_the_record_says_now(
    authority: CertificateAuthority, anchor: TrustAnchor, leaf: Leaf, now: datetime
) -> None:
    record = Grant(IdentityName("acme", "prod", "web"), (), {"app": "web2"}, frozenset({"auditor"}))
    new_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    later = now + timedelta(minutes=40)
    certificate = renew(authority, leaf, record, new_key, HOUR, later, DenyList())
    renewed = verify_leaf(certificate, [anchor], later)
    assert renewed.attributes == record.attributes
    assert renewed.spiffe_id == leaf.spiffe_id
    assert renewed.dns_names == ()
    assert renewed.serial != leaf.serial
    assert renewed.validity.not_before == later
    assert certificate.public_key() == new_key


def test_renewal_is_due_at_two_thirds_of_the_life(leaf: Leaf, now: datetime) -> None:
    due = now + timedelta(minutes=40)
    assert leaf.validity.renewal_time == due
    assert not leaf.validity.renewal_due(due - SECOND)
    assert leaf.validity.renewal_due(due)


def test_a_revoked_certificate_is_not_renewed(
    authority: CertificateAuthority, leaf: Leaf, grant: Grant, key: Any, now: datetime
) -> None:
    for denied in (DenyList().with_serial(leaf.serial, now + HOUR), DenyList().with_identity(ID, now)):
        with pytest.raises(Unauthenticated, match="revoked"):
            renew(authority, leaf, grant, key.public_key(), HOUR, now, denied)


def test_an_expired_certificate_is_not_renewed(
    authority: CertificateAuthority, leaf: Leaf, grant: Grant, key: Any, now: datetime
) -> None:
    with pytest.raises(Unauthenticated, match="expired"):
        renew(authority, leaf, grant, key.public_key(), HOUR, now + 2 * HOUR, DenyList())


def test_nobody_renews_into_another_identity(
    authority: CertificateAuthority, leaf: Leaf, key: Any, now: datetime
) -> None:
    other = Grant(IdentityName("acme", "prod", "database"))
    with pytest.raises(Unauthenticated, match="no other"):
        renew(authority, leaf, other, key.public_key(), HOUR, now, DenyList())


def test_a_list_is_refused_when_written_if_it_could_not_be_read(now: datetime) -> None:
    def listing(count: int) -> DenyList:
        return DenyList(identities={f"{URI}-{number}": now for number in range(count)})

    many = listing(100_000)
    assert DenyList.from_bytes(many.to_bytes()) == many
    with pytest.raises(LimitExceeded):
        listing(150_000).to_bytes()
