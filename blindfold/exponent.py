"""From a modulus and a policy binding to the public exponent (docs/spec/blindfold.md, "Exponent")."""

from enum import IntEnum

from blindfold import _primitives
from blindfold._encoding import lp, u8, u32
from blindfold.errors import InputInvalid

UID_SIZE = 16
DIGEST_SIZE = 32


class Binding(IntEnum):
    """What of a policy goes into the exponent: one revision's content, or the policy's name and uid."""

    REVISION = 1
    POLICY = 2


def derive_exponent(modulus: int, info: bytes) -> int:
    """The public exponent e' for info: half the modulus length, odd, its two top bits clear.

    It is `DerivePublicKey` of draft-irtf-cfrg-partially-blind-rsa with SHA-384. The draft wants a modulus of
    a power of two bytes; 3072 bits departs from it harmlessly: e' stays below both halves of any factor pair.
    Raises `InputInvalid` for a modulus that is not a whole number of 16-bit units.
    """
    modulus_len = (modulus.bit_length() + 7) // 8
    if modulus <= 0 or modulus.bit_length() % 16:
        raise InputInvalid("the modulus length must be a multiple of 16 bits")
    half = modulus_len // 2
    expanded = bytearray(
        _primitives.hkdf(
            "sha384",
            secret=b"key" + info + b"\x00",
            salt=modulus.to_bytes(modulus_len, "big"),
            info=b"PBRSA",
            length=half + 16,
        )
    )
    expanded[0] &= 0x3F
    expanded[half - 1] |= 0x01
    return int.from_bytes(expanded[:half], "big")


def binding_info(tenant: str, key_version: int, binding: Binding, binding_value: bytes) -> bytes:
    """The info bytes that bind an exponent to a tenant, a key version and a policy."""
    return (
        b"blindfold/v1\x00" + lp(tenant.encode("ascii")) + u32(key_version) + u8(binding) + lp(binding_value)
    )


def policy_binding_value(policy_name: str, uid: bytes) -> bytes:
    """The binding value of `Binding.POLICY`: lp(resource name) || uid (16 bytes)."""
    if len(uid) != UID_SIZE:
        raise InputInvalid(f"a policy uid has {UID_SIZE} bytes")
    return lp(policy_name.encode("ascii")) + uid
