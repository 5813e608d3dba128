"""Vectors of sealing with a fixed seed, blind evaluation, and opening."""

from dataclasses import replace
from typing import Any, NamedTuple

from blindfold import Binding, KeyDocument
from blindfold.documents import PolicyDocument
from blindfold.envelope import Metadata
from blindfold.modulus import element_size
from blindfold.opening import _begin_open_with
from testvectors import material
from testvectors.vectorfile import VectorFile


class _Input(NamedTuple):
    """What is sealed, with what."""

    key: KeyDocument
    policy: PolicyDocument
    secret: bytes = material.SECRET
    metadata: Metadata = material.METADATA
    pad: bool = False

    def fields(self) -> dict[str, Any]:
        return {
            "seed": material.seeded("seed", 64).hex(),
            "key": self.key.to_bytes().decode(),
            "policy": self.policy.to_bytes().decode(),
            "name": self.metadata.name,
            "content_type": self.metadata.content_type,
            "created": self.metadata.created,
            "pad": self.pad,
            "secret": self.secret.hex(),
        }

    def sealed(self) -> str:
        return material.sealed(
            self.secret,
            key_document=self.key,
            policy_document=self.policy,
            metadata=self.metadata,
            pad=self.pad,
        ).hex()


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
    bare = Metadata()
    base = _Input(material.key(), material.policy())
    by_name = material.policy(binding=Binding.POLICY)
    for comment, given in {
        "a short secret": base,
        "bound to the policy's name": base._replace(policy=by_name, metadata=bare),
        "an empty secret": base._replace(secret=b"", metadata=bare),
        "padded": base._replace(metadata=bare, pad=True),
        "a key of 3072 bits": base._replace(key=material.key("full")),
    }.items():
        file.valid(comment, "Valid", **given.fields(), sealed=given.sealed())
    for comment, other in {
        "another secret": base._replace(secret=b"another"),
        "another policy revision": base._replace(policy=material.policy(revision=2)),
        "another binding": base._replace(policy=by_name),
        "another key version": base._replace(key=material.key(version=2)),
        "another name": base._replace(metadata=replace(material.METADATA, name="other")),
        "another key": base._replace(key=material.key("other")),
    }.items():
        file.invalid(f"bytes of {comment}", "OtherSeal", "Mismatch", **base.fields(), sealed=other.sealed())
    stranger = base._replace(policy=material.policy(tenant="acme2"), metadata=bare)
    file.invalid("a policy of another tenant", "Mismatch", "DocumentMismatch", **stranger.fields(), sealed="")
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
