"""Vectors of keys wrapped for import or export, sound and unsound."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from testvectors.identity_vectors import SEQUENCE, tlv
from testvectors.kms_material import (
    EC_ALGORITHM,
    RSASSA_PSS,
    RsaKey,
    flip,
    integer,
    kwp,
    oaep,
    pkcs1_v15,
    wrap_blocks,
)
from testvectors.material import seeded
from testvectors.vectorfile import VectorFile

MATERIAL = seeded("material", 32)


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
        ("AES_256_GCM", MATERIAL),
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
    _refuse_lengths(file)
    _refuse_oaep(file)
    _refuse_kwp(file)
    _refuse_sizes(file)
    _refuse_rsa(file, "Encoding", _encodings())
    _refuse_rsa(file, "Unsound", _unsound())
    return file


def _refuse(file: VectorFile, flag: str, error: str, cases: Mapping[str, bytes]) -> None:
    for comment, data in cases.items():
        file.invalid(comment, flag, error, algorithm="AES_256_GCM", wrapped=data.hex())


def _refuse_lengths(file: VectorFile) -> None:
    good, size = wrap(MATERIAL), recipient().size
    cases = {
        "nothing": b"",
        "no second part": good[:size],
        "8 bytes of a second part": good[: size + 8],
        "cut off by a byte": good[:-1],
        "the first part is a byte short": good[1:],
    }
    _refuse(file, "Form", "InvalidField", cases)


def _refuse_oaep(file: VectorFile) -> None:
    key, kek, seed = recipient(), ephemeral(), seeded("oaep seed", 64)
    heads = {
        "a bit of the first part": flip(oaep(key, kek, seed), -1),
        "a first part of n": key.n.to_bytes(key.size, "big"),
        "a first part of 0": bytes(key.size),
        "a label": oaep(key, kek, seed, label=b"x"),
        "SHA-1": oaep(key, kek, seed, hash_name="sha1", mgf="sha1"),
        "MGF1 with SHA-1": oaep(key, kek, seed, mgf="sha1"),
        "SHA-512": oaep(key, kek, seed, hash_name="sha512", mgf="sha512"),
        "PKCS#1 v1.5": pkcs1_v15(key, kek, b"\x7f"),
        "an empty ephemeral key": oaep(key, b"", seed),
    }
    body = kwp(kek, MATERIAL)
    _refuse(file, "Oaep", "DecryptionFailed", {comment: head + body for comment, head in heads.items()})
    short = {
        f"an ephemeral key of {size} bytes": oaep(key, kek[:size], seed) + kwp(kek[:size], MATERIAL)
        for size in (16, 24)
    }
    _refuse(file, "Oaep", "DecryptionFailed", short)


def _refuse_kwp(file: VectorFile) -> None:
    kek, good = ephemeral(), kwp(ephemeral(), MATERIAL)
    bodies = {
        "another ephemeral key": kwp(seeded("other", 32), MATERIAL),
        "the first bit of the second part": flip(good, 0),
        "the last bit": flip(good, -1),
        "cut off by 8 bytes": good[:-8],
        "8 bytes appended": good + bytes(8),
        "AES-KW instead of AES-KWP": wrap_blocks(kek, b"\xa6" * 8, MATERIAL),
        "padding that is not zero": kwp(kek, MATERIAL[:31], fill=b"\x01"),
        "a stated length of 33": kwp(kek, MATERIAL, stated=33),
        "a stated length of 24": kwp(kek, MATERIAL, stated=24),
        "a stated length of 0": kwp(kek, MATERIAL, stated=0),
        "a stated length of 2^32 - 1": kwp(kek, MATERIAL, stated=2**32 - 1),
    }
    head = wrap(MATERIAL)[: recipient().size]
    _refuse(file, "Kwp", "DecryptionFailed", {comment: head + body for comment, body in bodies.items()})


def _refuse_sizes(file: VectorFile) -> None:
    sizes = {"AES_256_GCM": (16, 31, 33), "AES_128_GCM": (24, 32), "HMAC_SHA256": (15, 129)}
    for algorithm, refused in sizes.items():
        for size in refused:
            wrapped = wrap(seeded("material", size)).hex()
            comment = f"{algorithm}, {size} bytes"
            file.invalid(comment, "Size", "InvalidField", algorithm=algorithm, wrapped=wrapped)
    other_sizes = {
        "a modulus of 1024 bits": RsaKey.fixed("short").pkcs8(),
        "a modulus of 3072 bits": recipient().pkcs8(),
    }
    _refuse_rsa(file, "Size", other_sizes)


def _refuse_rsa(file: VectorFile, flag: str, materials: Mapping[str, bytes]) -> None:
    for comment, material in materials.items():
        wrapped = wrap(material).hex()
        file.invalid(comment, flag, "InvalidField", algorithm="RSA_PSS_2048_SHA256", wrapped=wrapped)


def _encodings() -> dict[str, bytes]:
    key = RsaKey.fixed("imported")
    return {
        "raw bytes": MATERIAL,
        "PKCS#1": key.pkcs1(),
        "a public key": key.spki(),
        "a trailing byte": key.pkcs8() + b"\x00",
        "cut off by a byte": key.pkcs8()[:-1],
        "an attribute": key.pkcs8(more=bytes.fromhex("a000")),
        "the identifier of RSASSA-PSS": key.pkcs8(oid=RSASSA_PSS),
        "an EC key": _ec_private(),
        "three primes": key.pkcs8(inner=key.pkcs1(1, _third_prime())),
    }


def _unsound() -> dict[str, bytes]:
    key = RsaKey.fixed("imported")
    right = key.numbers
    other_e = next(e for e in (3, 5, 17, 257) if (key.p - 1) % e and (key.q - 1) % e)
    return {
        f"public exponent {other_e}": replace(key, e=other_e).pkcs8(),
        "another n": key.but(n=right["n"] + 2).pkcs8(),
        "another d": key.but(d=right["d"] + 2).pkcs8(),
        "another d mod p-1": key.but(dp=right["dp"] + 2).pkcs8(),
        "another d mod q-1": key.but(dq=right["dq"] + 2).pkcs8(),
        "another 1/q mod p": key.but(qinv=right["qinv"] + 1).pkcs8(),
        "p and q exchanged alone": key.but(p=key.q, q=key.p).pkcs8(),
        "p is n, q is 1": key.but(p=right["n"], q=1).pkcs8(),
        "a composite p": _composite().pkcs8(),
        "primes of 1040 and 1008 bits": RsaKey.fixed("uneven").pkcs8(),
        "primes close to each other": RsaKey.fixed("close").pkcs8(),
    }


def _composite() -> RsaKey:
    """All numbers fit each other, but p has two factors."""
    return RsaKey(RsaKey.fixed("short").n, RsaKey.fixed("imported").q)


def _third_prime() -> bytes:
    return tlv(SEQUENCE, tlv(SEQUENCE, integer(65537) + integer(3) + integer(5)))


def _ec_private() -> bytes:
    inner = tlv(SEQUENCE, integer(1) + tlv(0x04, (1).to_bytes(32, "big")))
    return tlv(SEQUENCE, integer(0) + EC_ALGORITHM + tlv(0x04, inner))
