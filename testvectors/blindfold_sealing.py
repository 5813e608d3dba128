"""Vectors of sealing with a fixed seed, blind evaluation, and opening."""

from dataclasses import replace
from typing import Any

from blindfold import Binding, KeyDocument
from blindfold.documents import PolicyDocument
from blindfold.envelope import Metadata
from blindfold.modulus import element_size
from blindfold.opening import _begin_open_with
from testvectors import material
from testvectors.vectorfile import VectorFile


def seals() -> VectorFile:
    file = VectorFile(
        "blindfold/v1 seal with a fixed seed",
        "seal_schema.json",
        {
            "Valid": "Seed, documents, metadata and secret give exactly these bytes.",
            "OtherSeal": "The bytes are those of other input; who ignores an input makes them.",
            "Mismatch": "The documents do not belong together.",
        },
    )
    small, full = material.key(), material.key("full")
    policy, by_name = material.policy(), material.policy(binding=Binding.POLICY)
    bare = Metadata()

    def case(
        key: KeyDocument, rules: PolicyDocument, secret: bytes, metadata: Metadata, pad: bool
    ) -> dict[str, Any]:
        return {
            "seed": material.seeded("seed", 64).hex(),
            "key": key.to_bytes().decode(),
            "policy": rules.to_bytes().decode(),
            "name": metadata.name,
            "content_type": metadata.content_type,
            "created": metadata.created,
            "pad": pad,
            "secret": secret.hex(),
        }

    def sealed(key: KeyDocument, rules: PolicyDocument, secret: bytes, metadata: Metadata, pad: bool) -> str:
        return material.sealed(
            secret, key_document=key, policy_document=rules, metadata=metadata, pad=pad
        ).hex()

    base = (small, policy, material.SECRET, material.METADATA, False)
    for comment, fields in (
        ("a short secret", base),
        ("bound to the policy's name", (small, by_name, material.SECRET, bare, False)),
        ("an empty secret", (small, policy, b"", bare, False)),
        ("padded", (small, policy, material.SECRET, bare, True)),
        ("a key of 3072 bits", (full, policy, material.SECRET, material.METADATA, False)),
    ):
        file.valid(comment, "Valid", **case(*fields), sealed=sealed(*fields))
    others = {
        "another secret": (small, policy, b"another", material.METADATA, False),
        "another policy revision": (
            small,
            material.policy(revision=2),
            material.SECRET,
            material.METADATA,
            False,
        ),
        "another binding": (small, by_name, material.SECRET, material.METADATA, False),
        "another key version": (material.key(version=2), policy, material.SECRET, material.METADATA, False),
        "another name": (small, policy, material.SECRET, replace(material.METADATA, name="other"), False),
        "another key": (material.key("other"), policy, material.SECRET, material.METADATA, False),
    }
    for comment, fields in others.items():
        file.invalid(f"bytes of {comment}", "OtherSeal", "Mismatch", **case(*base), sealed=sealed(*fields))
    stranger = (small, material.policy(tenant="acme2"), material.SECRET, bare, False)
    file.invalid("a policy of another tenant", "Mismatch", "DocumentMismatch", **case(*stranger), sealed="")
    return file


def evaluations() -> VectorFile:
    file = VectorFile(
        "blindfold/v1 blind evaluation",
        "evaluate_schema.json",
        {
            "Valid": "The answer is the element's root of order exponent modulo n.",
            "Range": "The element is outside [2, n-2] or not coprime to n.",
            "Length": "The element does not have exactly k bytes.",
        },
    )
    for label in ("small", "full"):
        n, e = material.key(label).n, material.exponent(label, material.policy())
        element = begin_element(label)
        file.valid(
            f"the {label} key",
            "Valid",
            **_evaluation(label, e, element),
            answer=material.root_of(element, label, e).hex(),
        )
    p, q = material.primes("small")
    n, e = p * q, material.exponent("small", material.policy())
    size = element_size(n)
    two = (2).to_bytes(size, "big")
    file.valid(
        "the smallest element",
        "Valid",
        **_evaluation("small", e, two),
        answer=material.root_of(two, "small", e).hex(),
    )
    for comment, value in (
        ("0", 0),
        ("1", 1),
        ("n - 1", n - 1),
        ("n", n),
        ("n + 1", n + 1),
        ("p", p),
        ("3q", 3 * q),
        ("all ones", (1 << 8 * size) - 1),
    ):
        file.invalid(
            comment, "Range", "ElementOutOfRange", **_evaluation("small", e, value.to_bytes(size, "big"))
        )
    for comment, data in (("empty", b""), ("one byte short", two[1:]), ("one byte long", b"\x00" + two)):
        file.invalid(comment, "Length", "ElementOutOfRange", **_evaluation("small", e, data))
    return file


def begin_element(label: str) -> bytes:
    """A blinded element for a key, with a fixed blinding factor."""
    sealed = material.sealed(key_document=material.key(label))
    request, _ = _begin_open_with(sealed, material.key(label), test_only=True, blind=blind(label))
    return request.element


def blind(label: str) -> int:
    return int.from_bytes(material.seeded("blind", 512), "big") % material.key(label).n


def _evaluation(label: str, e: int, element: bytes) -> dict[str, Any]:
    p, q = material.primes(label)
    return {"p": f"{p:x}", "q": f"{q:x}", "exponent": f"{e:x}", "element": element.hex()}
