"""Every algorithm generates, loads and works; kinds do not stand in for each other."""

from collections.abc import Callable

import pytest

from blindfold.secret import SecretBytes
from kms.crypto import key_handle
from kms.crypto.aead import AeadKey
from kms.crypto.key_handle import (
    KeyHandle,
    accept_private,
    accept_public,
    expect,
    generate,
    load,
    load_public,
)
from kms.crypto.mac import MacKey
from kms.crypto.rsa_oaep import OaepKey
from kms.crypto.rsa_pss import PssKey
from kms.errors import InvalidField, WrongState
from kms.model.algorithms import ALGORITHMS, Algorithm, Family
from testvectors.kms_material import RsaKey


def aead_round_trip(handle: KeyHandle) -> bytes:
    key = expect(handle, AeadKey)
    return key.raw_decrypt(*key.raw_encrypt(b"message"))


def oaep_round_trip(handle: KeyHandle) -> bytes:
    key = expect(handle, OaepKey)
    return key.decrypt(key.encrypt(b"message"))


def pss_round_trip(handle: KeyHandle) -> bytes:
    key = expect(handle, PssKey)
    return key.verify(b"message", key.sign(b"message"))


def mac_round_trip(handle: KeyHandle) -> bytes:
    key = expect(handle, MacKey)
    return key.verify(b"message", key.mac(b"message"))


ROUND_TRIPS: dict[Family, tuple[type, Callable[[KeyHandle], bytes]]] = {
    Family.AES_GCM: (AeadKey, aead_round_trip),
    Family.RSA_OAEP: (OaepKey, oaep_round_trip),
    Family.RSA_PSS: (PssKey, pss_round_trip),
    Family.HMAC: (MacKey, mac_round_trip),
}
SMALL = [item for item in ALGORITHMS.values() if item.key_bits <= 2048]
LARGE = [item for item in ALGORITHMS.values() if item.key_bits > 2048]


def check(algorithm: Algorithm) -> None:
    made = generate(algorithm)
    assert accept_private(algorithm, made.material).public_key == made.public_key
    handle = load(algorithm, made.material)
    kind, round_trip = ROUND_TRIPS[algorithm.family]
    assert type(handle) is kind
    assert handle.algorithm is algorithm
    assert round_trip(handle) == b"message"
    assert handle.public_key == made.public_key
    assert bool(made.public_key) == algorithm.is_asymmetric
    if algorithm.is_asymmetric:
        assert accept_public(algorithm, made.public_key) == made.public_key
        assert load_public(algorithm, made.public_key).public_key == made.public_key
    else:
        assert len(made.material) == algorithm.key_bits // 8


@pytest.mark.parametrize("algorithm", SMALL, ids=lambda item: item.name)
def test_an_algorithm_generates_loads_and_works(algorithm: Algorithm) -> None:
    check(algorithm)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", LARGE, ids=lambda item: item.name)
def test_an_algorithm_with_a_long_key_generates_loads_and_works(algorithm: Algorithm) -> None:
    check(algorithm)


def test_the_table_has_every_family() -> None:
    assert key_handle._FAMILIES.keys() == set(Family) == ROUND_TRIPS.keys()


def test_generated_keys_differ() -> None:
    for name in ("AES_256_GCM", "AES_128_GCM", "HMAC_SHA256"):
        assert len({generate(ALGORITHMS[name]).material.reveal() for _ in range(50)}) == 50


def handle_of(family: Family) -> KeyHandle:
    algorithm = next(item for item in SMALL if item.family is family)
    material = RsaKey.fixed("imported").pkcs8() if algorithm.is_asymmetric else bytes(algorithm.key_bits // 8)
    return load(algorithm, SecretBytes(material))


@pytest.mark.parametrize("wanted", Family)
@pytest.mark.parametrize("held", Family)
def test_a_key_is_of_its_kind_alone(held: Family, wanted: Family) -> None:
    handle, kind = handle_of(held), ROUND_TRIPS[wanted][0]
    if held is wanted:
        assert expect(handle, kind) is handle
    else:
        with pytest.raises(WrongState, match="does not do this"):
            expect(handle, kind)


@pytest.mark.parametrize("name", ["AES_256_GCM", "AES_128_GCM", "HMAC_SHA256"])
def test_symmetric_algorithms_have_no_public_keys(name: str) -> None:
    for attempt in (accept_public, load_public):
        with pytest.raises(InvalidField, match="symmetric"):
            attempt(ALGORITHMS[name], RsaKey.fixed("imported").spki())


def test_the_field_at_fault_is_the_one_the_caller_names() -> None:
    with pytest.raises(InvalidField) as caught:
        accept_private(ALGORITHMS["AES_256_GCM"], SecretBytes(b"short"), "items[3].wrapped_key")
    assert caught.value.field == "items[3].wrapped_key"
    with pytest.raises(InvalidField) as caught:
        accept_public(ALGORITHMS["RSA_PSS_2048_SHA256"], b"", "spki")
    assert caught.value.field == "spki"


def test_a_refused_key_is_not_in_the_error() -> None:
    secret = b"\x30\x82 a secret that is no key"
    with pytest.raises(InvalidField) as caught:
        accept_private(ALGORITHMS["RSA_PSS_2048_SHA256"], SecretBytes(secret))
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_handles_do_not_print_what_they_hold() -> None:
    for family in Family:
        handle = handle_of(family)
        assert repr(handle) == f"{type(handle).__name__}({handle.algorithm.name})"
