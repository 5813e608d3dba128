"""Vectors of the KMS's own formats: self-describing ciphertexts and imported public keys; and all files."""

from dataclasses import replace

from blindfold._encoding import lp, u8, u32
from testvectors.identity_vectors import SEQUENCE, tlv
from testvectors.kms_envelopes import envelopes
from testvectors.kms_material import (
    AAD,
    EC_ALGORITHM,
    EC_POINT,
    HERE,
    NULL,
    PLAINTEXT,
    RSASSA_PSS,
    RsaKey,
    flip,
)
from testvectors.kms_wrapping import recipient, wrapped_keys
from testvectors.material import seeded
from testvectors.vectorfile import VectorFile


def generate() -> dict[str, VectorFile]:
    """Name below `testvectors/kms` -> file."""
    return {
        "ciphertext.json": ciphertexts(),
        "key_wrapping.json": wrapped_keys(),
        "public_key.json": public_keys(),
        "envelope.json": envelopes(),
    }


def ciphertexts() -> VectorFile:
    file = VectorFile(
        "kms/v1 self-describing ciphertext",
        "ciphertext_schema.json",
        {
            "Valid": "Encrypting with the nonce gives the ciphertext, and decrypting it the plaintext.",
            "Format": "The ciphertext breaks its form.",
            "BitFlip": "One bit of the ciphertext is flipped.",
            "Length": "The ciphertext is cut off or extended.",
            "OtherPlace": "Made for another key, version, name, tenant or algorithm.",
            "OtherAad": "The additional authenticated data is another.",
        },
    )
    small = replace(HERE, algorithm="AES_128_GCM", key=seeded("kms key", 16))
    for comment, place, plaintext, aad in (
        ("AES-256", HERE, PLAINTEXT, AAD),
        ("AES-128", small, PLAINTEXT, AAD),
        ("no additional authenticated data", HERE, PLAINTEXT, b""),
        ("an empty plaintext", HERE, b"", AAD),
        ("neither", HERE, b"", b""),
        ("the highest version", replace(HERE, version=2**32 - 1), PLAINTEXT, AAD),
        ("1 KiB", HERE, seeded("kms plaintext", 1024), AAD),
    ):
        fields = place.fields(aad, place.encrypt(plaintext, aad))
        file.valid(comment, "Valid", **fields, nonce=seeded("kms nonce", 12).hex(), plaintext=plaintext.hex())
    _refuse_ciphertexts(file)
    return file


def _refuse_ciphertexts(file: VectorFile) -> None:
    good = HERE.encrypt(PLAINTEXT, AAD)
    for comment, flag, error, data in (
        ("nothing", "Format", "InvalidField", b""),
        ("a byte less than an empty plaintext takes", "Format", "InvalidField", good[:48]),
        ("format 0", "Format", "InvalidField", u8(0) + good[1:]),
        ("format 2", "Format", "InvalidField", u8(2) + good[1:]),
        ("version 0", "Format", "InvalidField", good[:17] + u32(0) + good[21:]),
        ("no header", "Format", "InvalidField", good[21:]),
        ("cut off by a byte", "Length", "DecryptionFailed", good[:-1]),
        ("cut off by the tag", "Length", "DecryptionFailed", good[:-16]),
        ("a byte appended", "Length", "DecryptionFailed", good + b"\x00"),
        *((f"{field}", "BitFlip", "DecryptionFailed", flip(good, at)) for field, at in _FIELDS.items()),
    ):
        file.invalid(comment, flag, error, **HERE.fields(AAD, data))
    _refuse_places(file)
    _refuse_aad(file, good)


def _refuse_places(file: VectorFile) -> None:
    elsewhere = {
        "another tenant": replace(HERE, key_name="tenants/acme2/namespaces/prod/keys/orders"),
        "another namespace": replace(HERE, key_name="tenants/acme/namespaces/test/keys/orders"),
        "another key's name": replace(HERE, key_name="tenants/acme/namespaces/prod/keys/order"),
        "another version": replace(HERE, version=4),
        "another uid": replace(HERE, uid=seeded("other uid", 16)),
        "another algorithm's name": replace(HERE, algorithm="AES_128_GCM"),
        "another key's bytes": replace(HERE, key=seeded("other kms key", 32)),
    }
    for comment, place in elsewhere.items():
        file.invalid(
            comment, "OtherPlace", "DecryptionFailed", **HERE.fields(AAD, place.encrypt(PLAINTEXT, AAD))
        )
    moved = HERE.encrypt(PLAINTEXT, AAD, bound=replace(HERE, version=4).bound(AAD))
    file.invalid(
        "this header, another version bound", "OtherPlace", "DecryptionFailed", **HERE.fields(AAD, moved)
    )


def _refuse_aad(file: VectorFile, good: bytes) -> None:
    for comment, aad in (("none", b""), ("a prefix", AAD[:-1]), ("a longer one", AAD + b"\x00")):
        file.invalid(comment, "OtherAad", "DecryptionFailed", **HERE.fields(aad, good))
    for comment, bound in (
        ("bound without its length", HERE.bound(b"")[:-4] + AAD),
        ("bound alone", AAD),
        ("bound with a 16-bit length", HERE.bound(b"")[:-4] + lp(AAD)),
    ):
        data = HERE.encrypt(PLAINTEXT, AAD, bound=bound)
        file.invalid(comment, "OtherAad", "DecryptionFailed", **HERE.fields(AAD, data))


# Flips of the format byte are the cases of other formats.
_FIELDS = {
    "uid": 1,
    "version": 20,
    "nonce": 21,
    "ciphertext": 33,
    "first byte of the tag": -16,
    "last byte": -1,
}


def public_keys() -> VectorFile:
    file = VectorFile(
        "kms/v1 imported public key",
        "public_key_schema.json",
        {
            "Valid": "An RSA key of the algorithm's size as SubjectPublicKeyInfo in DER.",
            "Size": "The modulus has another size, or the exponent is not 65537.",
            "Encoding": "Not the DER of a SubjectPublicKeyInfo for rsaEncryption.",
            "Purpose": "The algorithm has no public keys.",
        },
    )
    key = RsaKey.fixed("imported")
    for algorithm, data in (
        ("RSA_PSS_2048_SHA256", key.spki()),
        ("RSA_OAEP_2048_SHA256", key.spki()),
        ("RSA_PSS_3072_SHA512", recipient().spki()),
    ):
        file.valid(algorithm, "Valid", algorithm=algorithm, public_key=data.hex())
    for comment, flag, data in (
        ("1024 bits", "Size", RsaKey.fixed("short").spki()),
        ("3072 bits", "Size", recipient().spki()),
        ("exponent 3", "Size", replace(key, e=3).spki()),
        ("exponent 1", "Size", replace(key, e=1).spki()),
        ("exponent 65536", "Size", replace(key, e=65536).spki()),
        ("nothing", "Encoding", b""),
        ("PKCS#1", "Encoding", key.public_pkcs1()),
        ("a private key", "Encoding", key.pkcs8()),
        ("a trailing byte", "Encoding", key.spki() + b"\x00"),
        ("cut off by a byte", "Encoding", key.spki()[:-1]),
        ("the identifier of RSASSA-PSS", "Encoding", key.spki(oid=RSASSA_PSS)),
        ("no parameters", "Encoding", key.spki(parameters=b"")),
        ("two parameters", "Encoding", key.spki(parameters=NULL + NULL)),
        ("an EC key", "Encoding", tlv(SEQUENCE, EC_ALGORITHM + tlv(0x03, b"\x00" + EC_POINT))),
        ("a length in a longer form", "Encoding", b"\x30\x83\x00" + key.spki()[2:]),
    ):
        file.invalid(comment, flag, "InvalidField", algorithm="RSA_PSS_2048_SHA256", public_key=data.hex())
    file.invalid("AES", "Purpose", "InvalidField", algorithm="AES_256_GCM", public_key=key.spki().hex())
    return file
