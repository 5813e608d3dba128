"""RSA keys in the files that people keep them in."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from blindfold.secret import SecretBytes
from kms.crypto import key_files
from kms.crypto.key_wrapping import Recipient, proof_message
from kms.errors import InvalidField


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 3072)


def pkcs8(key, encoding=Encoding.DER, encryption=None):
    return key.private_bytes(encoding, PrivateFormat.PKCS8, encryption or NoEncryption())


def spki(key, encoding=Encoding.DER, form=PublicFormat.SubjectPublicKeyInfo):
    return key.public_key().public_bytes(encoding, form)


FORMS = [
    (Encoding.DER, PrivateFormat.PKCS8),
    (Encoding.PEM, PrivateFormat.PKCS8),
    (Encoding.PEM, PrivateFormat.TraditionalOpenSSL),
    (Encoding.DER, PrivateFormat.TraditionalOpenSSL),
]


@pytest.mark.parametrize(("encoding", "form"), FORMS, ids=str)
def test_private_key_of_every_form_becomes_pkcs8(key, encoding, form):
    data = SecretBytes(key.private_bytes(encoding, form, NoEncryption()))
    assert key_files.private_key(data, "f").reveal() == pkcs8(key)


def test_material_is_left_as_it_is_unless_it_is_pem(key):
    for raw in (bytes(32), b"\r\n", pkcs8(key)):
        assert key_files.key_material(SecretBytes(raw), "f").reveal() == raw
    pem = SecretBytes(pkcs8(key, Encoding.PEM))
    assert key_files.key_material(pem, "f").reveal() == pkcs8(key)


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM], ids=str)
def test_public_key_of_every_form_becomes_der(key, encoding):
    assert key_files.public_key(spki(key, encoding), "f") == spki(key)


def test_what_is_no_rsa_key_is_refused_without_a_word_of_it(key):
    curve = ec.generate_private_key(ec.SECP256R1())
    locked = pkcs8(key, Encoding.PEM, BestAvailableEncryption(b"p"))
    for data in (b"", b"-----BEGIN nothing", pkcs8(curve), pkcs8(curve, Encoding.PEM), locked):
        for read in (key_files.private_key, key_files.recipient):
            with pytest.raises(InvalidField) as caught:
                read(SecretBytes(data), "file")
            assert caught.value.field == "file"
    for data in (b"", b"-----BEGIN nothing", spki(curve), spki(curve, Encoding.PEM), pkcs8(key)):
        with pytest.raises(InvalidField):
            key_files.public_key(data, "file")


def test_unsound_key_is_refused(key):
    numbers = key.private_numbers()
    broken = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d ^ 2, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    with pytest.raises(InvalidField):
        key_files.private_key(SecretBytes(pkcs8(broken)), "file")


def test_recipient_unwraps_and_proves_with_the_key_of_the_file(key):
    recipient = key_files.recipient(SecretBytes(pkcs8(key, Encoding.PEM)), "f")
    assert recipient.public_key == spki(key)
    other = Recipient(recipient.public_key)
    assert recipient.unwrap(other.wrap(SecretBytes(b"material"))).reveal() == b"material"
    message = proof_message(bytes(32), "name", bytes(32))
    assert other.verify_proof(message, recipient.prove(message)) == message


def test_recipient_has_the_size_that_exports_take():
    small = SecretBytes(pkcs8(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(InvalidField, match="3072 or 4096"):
        key_files.recipient(small, "f")
