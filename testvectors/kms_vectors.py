"""Vectors of the KMS's own formats: self-describing ciphertexts, wrapped keys, imported public keys."""

from dataclasses import dataclass, replace
from functools import cache

from blindfold._encoding import lp, u8, u32
from blindfold._primitives import AESGCM
from testvectors.identity_vectors import SEQUENCE, tlv
from testvectors.kms_material import (
    NULL,
    RSASSA_PSS,
    RsaKey,
    integer,
    kwp,
    oaep,
    pkcs1_v15,
    wrap_blocks,
)
from testvectors.material import seeded
from testvectors.vectorfile import VectorFile

PLAINTEXT = b"a plaintext of the vectors"
AAD = b"order 1729"
# An EC key of the curve P-256, private and public.
EC_OID = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
EC_POINT = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)


def generate() -> dict[str, VectorFile]:
    """Name below `testvectors/kms` -> file."""
    return {
        "ciphertext.json": ciphertexts(),
        "key_wrapping.json": wrapped_keys(),
        "public_key.json": public_keys(),
    }


@dataclass(frozen=True)
class Place:
    """A key version, and what its ciphertexts bind."""

    algorithm: str = "AES_256_GCM"
    key: bytes = seeded("kms key", 32)
    uid: bytes = seeded("kms uid", 16)
    key_name: str = "tenants/acme/namespaces/prod/keys/orders"
    version: int = 3

    def bound(self, aad: bytes) -> bytes:
        head = u8(1) + lp(self.key_name.encode()) + u32(self.version) + lp(self.algorithm.encode())
        return head + u32(len(aad)) + aad

    def encrypt(self, plaintext: bytes, aad: bytes, *, bound: bytes | None = None) -> bytes:
        """`bound` replaces what is bound."""
        nonce = seeded("kms nonce", 12)
        sealed = AESGCM(self.key).encrypt(nonce, plaintext, self.bound(aad) if bound is None else bound)
        return u8(1) + self.uid + u32(self.version) + nonce + sealed

    def fields(self, aad: bytes, ciphertext: bytes) -> dict[str, str]:
        return {
            "algorithm": self.algorithm,
            "key": self.key.hex(),
            "uid": self.uid.hex(),
            "name": f"{self.key_name}/versions/{self.version}",
            "aad": aad.hex(),
            "ciphertext": ciphertext.hex(),
        }


HERE = Place()


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
        *((f"{field}", "BitFlip", "DecryptionFailed", _flip(good, at)) for field, at in _FIELDS.items()),
    ):
        file.invalid(comment, flag, error, **HERE.fields(AAD, data))
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


def _flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


@cache
def recipient() -> RsaKey:
    return RsaKey.fixed("recipient")


def ephemeral() -> bytes:
    return seeded("ephemeral", 32)


def wrap(material: bytes) -> bytes:
    return oaep(recipient(), ephemeral(), seeded("oaep seed", 32)) + kwp(ephemeral(), material)


def wrapped_keys() -> VectorFile:
    file = VectorFile(
        "kms/v1 wrapped key material",
        "key_wrapping_schema.json",
        {
            "Valid": "The private key unwraps the material, which a key of the algorithm may have.",
            "Form": "The bytes cannot be of that form: a public check of their length.",
            "Oaep": "The first part is not RSAES-OAEP, SHA-256, no label, of 32 bytes, to this key.",
            "Kwp": "The second part is not AES-KWP under the ephemeral key.",
            "Size": "The material unwraps, and has a size that the algorithm does not allow.",
            "Encoding": "The material unwraps, and is not PKCS#8 in DER.",
            "Unsound": "The material unwraps, and is no sound RSA key.",
        },
        common={"private_key": recipient().pkcs8().hex()},
    )
    imported = RsaKey.fixed("imported").pkcs8()
    for algorithm, material in (
        ("AES_256_GCM", seeded("material", 32)),
        ("AES_128_GCM", seeded("material", 16)),
        ("HMAC_SHA256", seeded("material", 16)),
        ("HMAC_SHA256", seeded("material", 33)),
        ("HMAC_SHA256", seeded("material", 128)),
        ("RSA_PSS_2048_SHA256", imported),
        ("RSA_OAEP_2048_SHA512", imported),
    ):
        comment = f"{algorithm}, {len(material)} bytes"
        file.valid(
            comment, "Valid", algorithm=algorithm, wrapped=wrap(material).hex(), material=material.hex()
        )
    _refuse_wrapping(file)
    _refuse_material(file)
    return file


def _refuse_wrapping(file: VectorFile) -> None:
    key, kek, seed = recipient(), ephemeral(), seeded("oaep seed", 32)
    material = seeded("material", 32)
    good, body = wrap(material), kwp(kek, material)
    head = good[: key.size]
    short = seeded("material", 31)
    plain_kw = wrap_blocks(kek, b"\xa6" * 8, material)
    endless = kwp(kek, material, stated=2**32 - 1)
    for comment, flag, error, data in (
        ("nothing", "Form", "InvalidField", b""),
        ("no second part", "Form", "InvalidField", head),
        ("8 bytes of a second part", "Form", "InvalidField", good[: key.size + 8]),
        ("cut off by a byte", "Form", "InvalidField", good[:-1]),
        ("the first part is a byte short", "Form", "InvalidField", good[1:]),
        ("a bit of the first part", "Oaep", "DecryptionFailed", _flip(good, key.size - 1)),
        ("a first part of n", "Oaep", "DecryptionFailed", key.n.to_bytes(key.size, "big") + body),
        ("a first part of 0", "Oaep", "DecryptionFailed", bytes(key.size) + body),
        ("a label", "Oaep", "DecryptionFailed", oaep(key, kek, seed, label=b"x") + body),
        ("SHA-1", "Oaep", "DecryptionFailed", oaep(key, kek, seed, hash_name="sha1", mgf="sha1") + body),
        ("MGF1 with SHA-1", "Oaep", "DecryptionFailed", oaep(key, kek, seed, mgf="sha1") + body),
        ("SHA-512", "Oaep", "DecryptionFailed",
         oaep(key, kek, seeded("oaep seed", 64), hash_name="sha512", mgf="sha512") + body),
        ("PKCS#1 v1.5", "Oaep", "DecryptionFailed", pkcs1_v15(key, kek, b"\x7f") + body),
        ("an ephemeral key of 16 bytes", "Oaep", "DecryptionFailed",
         oaep(key, kek[:16], seed) + kwp(kek[:16], material)),
        ("an ephemeral key of 24 bytes", "Oaep", "DecryptionFailed",
         oaep(key, kek[:24], seed) + kwp(kek[:24], material)),
        ("an empty ephemeral key", "Oaep", "DecryptionFailed", oaep(key, b"", seed) + body),
        ("another ephemeral key", "Kwp", "DecryptionFailed", head + kwp(seeded("other", 32), material)),
        ("a bit of the second part", "Kwp", "DecryptionFailed", _flip(good, key.size)),
        ("the last bit", "Kwp", "DecryptionFailed", _flip(good, -1)),
        ("cut off by 8 bytes", "Kwp", "DecryptionFailed", good[:-8]),
        ("8 bytes appended", "Kwp", "DecryptionFailed", good + bytes(8)),
        ("AES-KW instead of AES-KWP", "Kwp", "DecryptionFailed", head + plain_kw),
        ("padding that is not zero", "Kwp", "DecryptionFailed", head + kwp(kek, short, fill=b"\x01")),
        ("a stated length of 33", "Kwp", "DecryptionFailed", head + kwp(kek, material, stated=33)),
        ("a stated length of 24", "Kwp", "DecryptionFailed", head + kwp(kek, material, stated=24)),
        ("a stated length of 0", "Kwp", "DecryptionFailed", head + kwp(kek, material, stated=0)),
        ("a stated length of 2^32 - 1", "Kwp", "DecryptionFailed", head + endless),
    ):  # fmt: skip
        file.invalid(comment, flag, error, algorithm="AES_256_GCM", wrapped=data.hex())


def _refuse_material(file: VectorFile) -> None:
    for algorithm, size in (("AES_256_GCM", 31), ("AES_256_GCM", 16), ("AES_256_GCM", 33),
                            ("AES_128_GCM", 32), ("AES_128_GCM", 24),
                            ("HMAC_SHA256", 15), ("HMAC_SHA256", 129)):  # fmt: skip
        wrapped = wrap(seeded("material", size)).hex()
        file.invalid(
            f"{algorithm}, {size} bytes", "Size", "InvalidField", algorithm=algorithm, wrapped=wrapped
        )
    key = RsaKey.fixed("imported")
    numbers = key.numbers
    other_e = next(e for e in (3, 5, 17, 257) if (key.p - 1) % e and (key.q - 1) % e)
    cases = {
        "Size": {
            "a modulus of 1024 bits": RsaKey.fixed("short").pkcs8(),
            "a modulus of 3072 bits": recipient().pkcs8(),
        },
        "Encoding": {
            "raw bytes": seeded("material", 32),
            "PKCS#1": key.pkcs1(),
            "a public key": key.spki(),
            "a trailing byte": key.pkcs8() + b"\x00",
            "cut off by a byte": key.pkcs8()[:-1],
            "an attribute": key.pkcs8(more=bytes.fromhex("a000")),
            "the identifier of RSASSA-PSS": key.pkcs8(oid=RSASSA_PSS),
            "an EC key": _ec_private(),
            "three primes": key.pkcs8(inner=key.pkcs1(1, _third_prime())),
        },
        "Unsound": {
            f"public exponent {other_e}": replace(key, e=other_e).pkcs8(),
            "another n": key.but(n=numbers["n"] + 2).pkcs8(),
            "another d": key.but(d=numbers["d"] + 2).pkcs8(),
            "another d mod p-1": key.but(dp=numbers["dp"] + 2).pkcs8(),
            "another d mod q-1": key.but(dq=numbers["dq"] + 2).pkcs8(),
            "another 1/q mod p": key.but(qinv=numbers["qinv"] + 1).pkcs8(),
            "p and q exchanged alone": key.but(p=key.q, q=key.p).pkcs8(),
            "p is n, q is 1": key.but(p=numbers["n"], q=1).pkcs8(),
            "a composite p": _composite().pkcs8(),
            "primes of 1040 and 1008 bits": RsaKey.fixed("uneven").pkcs8(),
            "primes close to each other": RsaKey.fixed("close").pkcs8(),
        },
    }  # fmt: skip
    for flag, materials in cases.items():
        for comment, material in materials.items():
            wrapped = wrap(material).hex()
            file.invalid(comment, flag, "InvalidField", algorithm="RSA_PSS_2048_SHA256", wrapped=wrapped)


def _composite() -> RsaKey:
    """All numbers fit each other, but p has two factors."""
    return RsaKey(RsaKey.fixed("short").n, RsaKey.fixed("imported").q)


def _third_prime() -> bytes:
    return tlv(SEQUENCE, tlv(SEQUENCE, integer(65537) + integer(3) + integer(5)))


def _ec_private() -> bytes:
    inner = tlv(SEQUENCE, integer(1) + tlv(0x04, (1).to_bytes(32, "big")))
    return tlv(SEQUENCE, integer(0) + EC_OID + tlv(0x04, inner))


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
        ("an EC key", "Encoding", tlv(SEQUENCE, EC_OID + tlv(0x03, b"\x00" + EC_POINT))),
        ("a length in a longer form", "Encoding", b"\x30\x83\x00" + key.spki()[2:]),
    ):
        file.invalid(comment, flag, "InvalidField", algorithm="RSA_PSS_2048_SHA256", public_key=data.hex())
    file.invalid("AES", "Purpose", "InvalidField", algorithm="AES_256_GCM", public_key=key.spki().hex())
    return file
