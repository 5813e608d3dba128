"""Public keys as others read them."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from blindfold._encoding import unb64url
from kms.crypto.public_keys import from_numbers, to_jwk, to_pem
from kms.errors import InvalidField, StoreTampered
from kms.model.algorithms import ALGORITHMS

ASYMMETRIC = [algorithm for algorithm in ALGORITHMS.values() if algorithm.is_asymmetric]


def spki(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048).public_key()


def test_pem_is_of_the_same_key(key):
    assert load_pem_public_key(to_pem(spki(key))) == key


@pytest.mark.parametrize("algorithm", ASYMMETRIC, ids=lambda algorithm: algorithm.name)
def test_jwk_names_use_and_algorithm(key, algorithm):
    jwk = json.loads(to_jwk(spki(key), algorithm, "the key"))
    bits = algorithm.hash_name.removeprefix("sha")
    use, name = ("sig", f"PS{bits}") if "PSS" in algorithm.name else ("enc", f"RSA-OAEP-{bits}")
    assert (jwk["kty"], jwk["use"], jwk["alg"], jwk["kid"]) == ("RSA", use, name, "the key")
    assert int.from_bytes(unb64url(jwk["n"]), "big") == key.public_numbers().n
    assert unb64url(jwk["e"]) == b"\x01\x00\x01"


def test_another_kind_of_key_was_never_stored():
    other = spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(StoreTampered):
        to_pem(other)


def test_numbers_become_the_same_key(key):
    numbers = key.public_numbers()
    assert from_numbers(numbers.n, numbers.e) == spki(key)


@pytest.mark.parametrize(("n", "e"), [(0, 65537), (2**2048 + 1, 2), (15, 65537)])
def test_numbers_of_no_rsa_key_are_refused(n, e):
    with pytest.raises(InvalidField):
        from_numbers(n, e)
