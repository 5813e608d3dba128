"""Signing requests: a public key with proof of possession, and nothing else."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from kms.client.credentials import generate_key_pair
from kms.errors import InvalidField, LimitExceeded
from kms.identity.csr import check_public_key, verify_csr

NOBODY = x509.Name([])


def request(key: Any, subject: x509.Name = NOBODY, *, hash_: Any = None, extensions: Any = ()) -> bytes:
    builder = x509.CertificateSigningRequestBuilder(subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hash_
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA-3072": lambda: rsa.generate_private_key(65537, 3072),
}
REFUSED_KEYS = {
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate,
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA-3064": lambda: rsa.generate_private_key(65537, 3064),
    "RSA with exponent 3": lambda: rsa.generate_private_key(3, 3072),
    "DSA": lambda: dsa.generate_private_key(2048),
}


@pytest.mark.parametrize("name", KEYS)
def test_accepted_keys_come_back(name: str) -> None:
    key = KEYS[name]()
    assert verify_csr(request(key, hash_=hashes.SHA256())) == key.public_key()


@pytest.mark.parametrize("name", REFUSED_KEYS)
def test_other_keys_are_refused(name: str) -> None:
    with pytest.raises(InvalidField, match=r"RSA keys have|exponent|none of"):
        verify_csr(request(REFUSED_KEYS[name](), hash_=hashes.SHA256()))


def test_an_rsa_key_above_8192_bits_is_refused() -> None:
    numbers = rsa.RSAPublicNumbers(65537, (1 << 8199) + 1)
    with pytest.raises(InvalidField, match="8192 bits, not 8200"):
        check_public_key(numbers.public_key())


def test_the_clients_own_request_is_accepted_in_both_forms() -> None:
    pair = generate_key_pair()
    csr = x509.load_der_x509_csr(pair.csr)
    assert verify_csr(pair.csr) == csr.public_key()
    assert verify_csr(csr.public_bytes(Encoding.PEM)) == csr.public_key()


def test_the_subject_is_ignored() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    key = KEYS["P-256"]()
    assert verify_csr(request(key, subject, hash_=hashes.SHA256())) == key.public_key()


@pytest.mark.parametrize(
    ("extension", "name"),
    [
        (x509.SubjectAlternativeName([x509.DNSName("a.example")]), "SubjectAlternativeName"),
        (x509.BasicConstraints(ca=True, path_length=None), "BasicConstraints"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), r"1\.2\.3\.4"),
    ],
)
def test_a_requested_extension_is_refused_by_name(extension: Any, name: str) -> None:
    csr = request(KEYS["P-256"](), hash_=hashes.SHA256(), extensions=[extension])
    with pytest.raises(InvalidField, match=f"asks for the extension {name}"):
        verify_csr(csr)


def test_a_challenge_password_is_refused_without_repeating_it() -> None:
    builder = x509.CertificateSigningRequestBuilder(NOBODY)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"hunter2")
    csr = builder.sign(KEYS["P-256"](), hashes.SHA256()).public_bytes(Encoding.DER)
    with pytest.raises(InvalidField, match=r"the attribute 1\.2\.840\.113549\.1\.9\.7") as refusal:
        verify_csr(csr)
    assert "hunter2" not in str(refusal.value)


def test_a_signature_by_another_key_is_no_proof_of_possession() -> None:
    csr = bytearray(request(KEYS["P-256"](), hash_=hashes.SHA256()))
    csr[-1] ^= 1
    with pytest.raises(InvalidField, match=r"signature|not a certificate signing request"):
        verify_csr(bytes(csr))


def test_a_request_for_somebody_elses_key_is_refused() -> None:
    mine, other = KEYS["Ed25519"](), KEYS["Ed25519"]()
    raw = [key.public_key().public_bytes_raw() for key in (mine, other)]
    csr = request(mine).replace(raw[0], raw[1])
    with pytest.raises(InvalidField, match="signature does not verify"):
        verify_csr(csr)


def test_a_weak_hash_is_refused() -> None:
    csr = request(KEYS["P-256"](), hash_=hashes.SHA224())
    assert x509.load_der_x509_csr(csr).is_signature_valid
    with pytest.raises(InvalidField, match="not made with SHA-256"):
        verify_csr(csr)


def test_more_than_16_kib_is_refused_unread() -> None:
    with pytest.raises(LimitExceeded, match="16385 bytes, at most 16384"):
        verify_csr(bytes(16 * 1024 + 1))


@pytest.mark.parametrize("data", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\n", b"\x30\x80"])
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidField, match="not a certificate signing request"):
        verify_csr(data)


@given(st.binary(max_size=300))
def test_random_bytes_raise_the_typed_error(data: bytes) -> None:
    with pytest.raises(InvalidField):
        verify_csr(data)
