"""Shares: any k of n unlock, fewer do not; wrong, mixed and repeated ones and slips of the pen are told."""

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shamir_mnemonic import Share, combine_mnemonics
from shamir_mnemonic.wordlist import WORDLIST

from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust.interface import RootKeyRecord, WrongRootMaterial
from kms.crypto.root_of_trust.passphrase import Argon2Limits, Passphrase
from kms.crypto.root_of_trust.shamir import MAX_TEXT, Shamir, ShareRepeated, ShareSet, WrongShare
from kms.errors import ConfigError, InvalidField, StoreTampered

ROOT_KEY = SecretBytes(b"the root key, exactly 32 bytes!!")
STORE_ID = b"0123456789abcdef"

PROVIDER, SHARES = Shamir.create(3, 5)
RECORD = PROVIDER.protect(ROOT_KEY, STORE_ID)
SET = ShareSet.of(RECORD)
WORDS = SHARES[0].reveal().decode().split()


def text(words: list[str]) -> SecretBytes:
    return SecretBytes(" ".join(words).encode())


@pytest.mark.parametrize("chosen", list(itertools.permutations(range(5), 3)))
def test_any_three_of_five_in_any_order_unlock(chosen: tuple[int, ...]) -> None:
    unlocked = Shamir.combine(RECORD, [SHARES[number] for number in chosen])
    assert unlocked.unlock(RECORD).reveal() == ROOT_KEY.reveal()


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_another_number_of_shares_does_not(count: int) -> None:
    with pytest.raises(InvalidField, match="must be 3"):
        Shamir.combine(RECORD, SHARES[:count])


def test_what_shares_brought_back_protects_again_under_the_same_shares() -> None:
    again = Shamir.combine(RECORD, SHARES[2:])
    record = RootKeyRecord.parse(again.protect(SecretBytes(b"n" * 32), STORE_ID).to_bytes())
    assert record.parameters == RECORD.parameters
    assert Shamir.combine(record, SHARES[:3]).unlock(record).reveal() == b"n" * 32


def test_shares_are_slip_39() -> None:
    key = combine_mnemonics([share.reveal().decode() for share in SHARES[:3]])
    assert len(key) == 32
    assert [len(share.reveal().split()) for share in SHARES] == [33] * 5
    drawn = os.urandom(32)
    _, shares = Shamir.create(2, 2, lambda size: drawn)
    assert combine_mnemonics([share.reveal().decode() for share in shares]) == drawn


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 16), (16, 16)])
def test_smallest_and_largest_sets(threshold: int, count: int) -> None:
    provider, shares = Shamir.create(threshold, count)
    record = provider.protect(ROOT_KEY, STORE_ID)
    assert [ShareSet.of(record).number_of(share) for share in shares] == list(range(1, count + 1))
    assert Shamir.combine(record, shares[-threshold:]).unlock(record).reveal() == ROOT_KEY.reveal()


@pytest.mark.parametrize(("threshold", "count"), [(0, 3), (1, 1), (1, 3), (4, 3), (2, 17), (2, 0)])
def test_sets_that_protect_nothing_are_refused(threshold: int, count: int) -> None:
    with pytest.raises(InvalidField):
        Shamir.create(threshold, count)


def test_repeated_share_is_said_to_be_one() -> None:
    with pytest.raises(ShareRepeated):
        SET.combine([SHARES[0], SHARES[1], SHARES[0]])


def forged(share: SecretBytes, **change: object) -> SecretBytes:
    """A share that says something else, with a checksum of its own."""
    return SecretBytes(replace(Share.from_mnemonic(share.reveal().decode()), **change).mnemonic().encode())


OTHER, OTHERS = Shamir.create(3, 5)
WRONG: dict[str, SecretBytes] = {
    "of another store": OTHERS[0],
    "another value": forged(SHARES[0], value=b"x" * 32),
    "another one's value": forged(SHARES[0], value=Share.from_mnemonic(SHARES[1].reveal().decode()).value),
    "another set's with our identifier": forged(OTHERS[0], identifier=SET.identifier),
    "another threshold": forged(SHARES[0], member_threshold=2),
    "a number beyond the set": forged(SHARES[0], index=5),
    "of several groups": forged(SHARES[0], group_count=2),
}


@pytest.mark.parametrize("share", WRONG.values(), ids=WRONG)
def test_wrong_share_is_refused_alone_and_in_one_way(share: SecretBytes) -> None:
    with pytest.raises(WrongShare) as caught:
        SET.number_of(share)
    assert str(caught.value) == "this is not a share of the set that protects this store"
    with pytest.raises(WrongShare):
        Shamir.combine(RECORD, [share, SHARES[1], SHARES[2]])


SLIPS: dict[str, SecretBytes] = {
    "empty": SecretBytes(b""),
    "a word too few": text(WORDS[:-1]),
    "a word too many": text([*WORDS, WORDS[0]]),
    "two words exchanged": text([*WORDS[:10], WORDS[11], WORDS[10], *WORDS[12:]]),
    "another word": text([*WORDS[:20], WORDLIST[WORDLIST.index(WORDS[20]) ^ 1], *WORDS[21:]]),
    "no word of the list": text([*WORDS[:-1], "hunter2"]),
    "not ASCII": SecretBytes("é".encode() * 33),
    "very long": SecretBytes(b"academic " * MAX_TEXT),
    "a share of 16 bytes": SecretBytes(
        replace(Share.from_mnemonic(" ".join(WORDS)), value=b"v" * 16).mnemonic().encode()
    ),
}


@pytest.mark.parametrize("share", SLIPS.values(), ids=SLIPS)
def test_slip_of_the_pen_is_told_apart_and_not_repeated(share: SecretBytes) -> None:
    with pytest.raises(InvalidField, match="compare its words") as caught:
        SET.number_of(share)
    assert caught.value.__context__ is None
    assert not any(word in str(caught.value) for word in ("hunter2", *WORDS[4:8]))


def test_spaces_lines_and_capitals_do_not_matter() -> None:
    assert SET.number_of(SecretBytes("\n".join(WORDS).upper().encode() + b" \n")) == 1


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from(WORDLIST), max_size=40).map(" ".join).map(str.encode)
)
def test_whatever_is_given_is_refused_in_a_known_way(data: bytes) -> None:
    with pytest.raises((InvalidField, WrongShare)):
        SET.number_of(SecretBytes(data))


def with_parameters(**change: str) -> RootKeyRecord:
    return replace(RECORD, parameters=MappingProxyType({**RECORD.parameters, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": "0"},
        {"threshold": "1"},
        {"threshold": "6"},
        {"threshold": "03"},
        {"threshold": "three"},
        {"identifier": "-"},
        {"proofs": ""},
        {"proofs": "*"},
        {"proofs": " ".join(["AA"] * 17)},
        {"also": "this"},
    ],
)
def test_damaged_parameters_are_noticed(change: dict[str, str]) -> None:
    with pytest.raises(StoreTampered, match="parameters"):
        ShareSet.of(with_parameters(**change))


def test_missing_parameters_are_noticed() -> None:
    with pytest.raises(StoreTampered, match="parameters"):
        ShareSet.of(replace(RECORD, parameters=MappingProxyType({})))


def test_a_lower_threshold_in_the_record_opens_nothing() -> None:
    record = with_parameters(threshold="2")
    with pytest.raises(WrongRootMaterial):
        Shamir.combine(record, SHARES[:2])


def test_record_of_another_provider_has_no_shares() -> None:
    other = Passphrase(SecretBytes(b"correct horse battery"), limits=Argon2Limits(1, 8192))
    with pytest.raises(ConfigError):
        ShareSet.of(other.protect(ROOT_KEY, STORE_ID))


@pytest.mark.parametrize("show", [repr, str])
def test_nothing_of_the_key_is_shown(show: Callable[[object], str]) -> None:
    assert "SecretBytes" not in show(PROVIDER)
    assert WORDS[6] not in show(SHARES)


def test_the_record_tells_no_share() -> None:
    body = RECORD.to_bytes()
    values = [Share.from_mnemonic(share.reveal().decode()).value for share in SHARES]
    assert not any(value in body or value.hex().encode() in body for value in values)
