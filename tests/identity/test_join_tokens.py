"""Join tokens: one use, a short life, and exactly the grant that was bound to them."""

import base64
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.errors import InvalidField, StoreTampered, Unauthenticated
from kms.identity.authority import CertificateAuthority
from kms.identity.grant import Grant
from kms.identity.join_tokens import JoinTokenRecord, _create_with, create_join_token, redeem
from kms.identity.trust import fingerprint
from kms.model.join_token import JoinToken

FINGERPRINT = bytes(range(32))
FLAT = "the join token is unknown, used or expired; ask for a new one"
MINUTE = timedelta(minutes=1)


def test_a_token_gives_the_grant_it_was_made_for(grant: Grant, now: datetime) -> None:
    token, record = create_join_token(grant, FINGERPRINT, now)
    assert redeem(record, JoinToken.parse(token.reveal()), now) == grant


def test_a_token_lives_ten_minutes_unless_told(grant: Grant, now: datetime) -> None:
    token, record = create_join_token(grant, FINGERPRINT, now)
    assert redeem(record, token, now + 10 * MINUTE - timedelta(microseconds=1)) == grant
    with pytest.raises(Unauthenticated):
        redeem(record, token, now + 10 * MINUTE)


@pytest.mark.parametrize("life", [timedelta(0), -MINUTE, timedelta(hours=24, seconds=1)])
def test_lives_outside_a_second_and_a_day_are_refused(grant: Grant, now: datetime, life: timedelta) -> None:
    with pytest.raises(InvalidField, match="life"):
        create_join_token(grant, FINGERPRINT, now, life)


def test_every_refusal_has_one_text(grant: Grant, now: datetime) -> None:
    token, record = create_join_token(grant, FINGERPRINT, now)
    other, other_record = create_join_token(grant, FINGERPRINT, now)
    guessed = JoinToken(token.token_id, SecretBytes(bytes(32)), FINGERPRINT)
    swapped = JoinToken(other.token_id, token.secret, FINGERPRINT)
    refused: dict[str, tuple[JoinTokenRecord | None, JoinToken, datetime]] = {
        "unknown": (None, token, now),
        "wrong secret": (record, guessed, now),
        "another record": (other_record, token, now),
        "another id": (record, swapped, now),
        "used": (record.spent(now), token, now),
        "expired": (record, token, now + timedelta(hours=1)),
        "used and expired": (record.spent(now), token, now + timedelta(hours=1)),
    }
    for case in refused.values():
        with pytest.raises(Unauthenticated) as refusal:
            redeem(*case)
        assert refusal.value.message == FLAT
        assert refusal.value.metadata == {}


def test_an_unknown_token_is_not_redeemed_by_the_hash_that_stands_in(now: datetime) -> None:
    token = JoinToken(bytes(16), SecretBytes(bytes(32)), FINGERPRINT)
    with pytest.raises(Unauthenticated):
        redeem(None, token, now)


def test_the_record_holds_no_secret(grant: Grant, now: datetime) -> None:
    token, record = create_join_token(grant, FINGERPRINT, now)
    secret = token.secret.reveal()
    for text in (record.to_bytes().decode(), repr(record), repr(token)):
        assert secret.hex() not in text
        assert base64.urlsafe_b64encode(secret).decode().rstrip("=") not in text
        assert repr(secret)[2:-1] not in text


def test_tokens_and_ids_are_fresh(grant: Grant, now: datetime) -> None:
    tokens = [create_join_token(grant, FINGERPRINT, now)[0] for _ in range(20)]
    assert len({token.token_id for token in tokens}) == 20
    assert len({token.secret.reveal() for token in tokens}) == 20


def test_record_survives_storage_unused_and_used(grant: Grant, now: datetime) -> None:
    _, record = create_join_token(grant, FINGERPRINT, now)
    for stored in (record, record.spent(now + MINUTE)):
        assert JoinTokenRecord.from_bytes(stored.to_bytes()) == stored


def test_record_has_one_form(grant: Grant, now: datetime) -> None:
    token = JoinToken(b"\x01" * 16, SecretBytes(b"\x02" * 32), FINGERPRINT)
    _, record = _create_with(grant, token, now + timedelta(milliseconds=300), MINUTE)
    assert record.to_bytes() == (
        b'{"created_at":1772366400,"dns_names":["web.acme.example"],"expires_at":1772366460,'
        b'"identity":"tenants/acme/namespaces/prod/identities/web","labels":{"app":"web","tier":"front"},'
        b'"roles":["key-user@prod","secret-sealer"],'
        b'"secret_hash":"75877bb41d393b5fb8455ce60ecd8dda001d06316496b14dfa7f895656eeca4a",'
        b'"token_id":"01010101010101010101010101010101","used_at":null}'
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"used_at":null', b'"used_at":true'),
        (b'"used_at":null', b'"used_at":"x"'),
        (b'"created_at":1772366400', b'"created_at":9007199254740991'),
        (b'"token_id":"01', b'"token_id":"G1'),
        (b'"token_id":"01', b'"token_id":" 01'),
        (b'"dns_names":["web.acme.example"]', b'"dns_names":"web.acme.example"'),
        (b'"dns_names":["web.acme.example"]', b'"dns_names":["WEB"]'),
        (b'"labels":{"app":"web","tier":"front"}', b'"labels":{"app":1}'),
        (b'"identity":"tenants/', b'"identity":"tenant/'),
        (b'"roles":["key-user@prod","secret-sealer"]', b'"roles":["secret-sealer","key-user@prod"]'),
        (b"}", b',"zone":1}'),
        (
            b"{",
            b"[",
        ),
    ],
)
def test_a_changed_record_is_refused(grant: Grant, now: datetime, old: bytes, new: bytes) -> None:
    token = JoinToken(b"\x01" * 16, SecretBytes(b"\x02" * 32), FINGERPRINT)
    good = _create_with(grant, token, now, MINUTE)[1].to_bytes()
    assert old in good
    with pytest.raises(StoreTampered):
        JoinTokenRecord.from_bytes(good.replace(old, new))


def test_token_pins_the_root(root: CertificateAuthority, grant: Grant, now: datetime) -> None:
    token, _ = create_join_token(grant, fingerprint(root.certificate), now)
    assert JoinToken.parse(token.reveal()).ca_fingerprint == fingerprint(root.certificate)


def test_token_text_is_prefix_and_base64url_of_80_bytes() -> None:
    token = JoinToken(bytes(16), SecretBytes(b"\xff" * 32), FINGERPRINT)
    text = token.reveal()
    assert text.startswith("kjt1_")
    assert len(text) == 112
    assert JoinToken.parse(text).reveal() == text


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[5:],
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text + "=",
        lambda text: " " + text,
        lambda text: text.replace("kjt1_", "kjt2_"),
        lambda text: "kjt1_" + text,
        lambda text: text[:-1] + "9",
        lambda text: text[:10] + "+" + text[11:],
        lambda text: text[:10] + "\u00e9" + text[11:],
    ],
)
def test_a_changed_text_is_refused_and_not_quoted(change: object) -> None:
    text = JoinToken(bytes(16), SecretBytes(b"\xff" * 32), FINGERPRINT).reveal()
    with pytest.raises(InvalidField, match="join_token") as refusal:
        JoinToken.parse(change(text))  # type: ignore[operator]
    assert "AAAA" not in str(refusal.value)


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)
def test_what_is_printed_parses_to_the_same(token_id: bytes, secret: bytes, pinned: bytes) -> None:
    token = JoinToken.parse(JoinToken(token_id, SecretBytes(secret), pinned).reveal())
    assert (token.token_id, token.secret.reveal(), token.ca_fingerprint) == (token_id, secret, pinned)


@given(st.text(max_size=120))
def test_random_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidField):
        JoinToken.parse(text)


def test_a_token_of_wrong_sizes_cannot_be_built() -> None:
    with pytest.raises(InvalidField, match="wrong size"):
        JoinToken(bytes(15), SecretBytes(bytes(32)), bytes(32))
