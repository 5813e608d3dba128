"""The two public documents a sealer needs: the tenant's Blindfold public key, and a secret policy.

A document has one canonical byte form; its digest, and the exponent derived from it, depend on those bytes
alone (docs/spec/blindfold.md, "Documents"). A document holds no dates: those travel in the bundle around it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from blindfold import _canonical, _primitives
from blindfold._encoding import b64url, lp, u32, unb64url
from blindfold.errors import Corrupt, DocumentInvalid, DocumentMismatch
from blindfold.exponent import UID_SIZE, Binding, binding_info, derive_exponent, policy_binding_value
from blindfold.modulus import element_size
from blindfold.predicates import RULE_COMBINING, check_rules_known

POLICY_SCHEMA = 1
_ID = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_HEX = re.compile(r"[0-9a-f]*", re.ASCII)


def check_id(value: str, what: str) -> str:
    """Return a tenant, namespace or policy id. Raises `DocumentInvalid`."""
    if not _ID.fullmatch(value):
        raise DocumentInvalid(f"{what}: {value[:64]!r} is not an id")
    return value


def _number(value: int, what: str) -> int:
    if not 1 <= value < 1 << 32:
        raise DocumentInvalid(f"{what}: {value} is not from 1 to 4294967295")
    return value


def _unhex(text: str, size: int, what: str) -> bytes:
    if len(text) != 2 * size or not _HEX.fullmatch(text):
        raise DocumentInvalid(f"{what}: not {size} bytes in lower-case hex")
    return bytes.fromhex(text)


def key_fingerprint(tenant: str, key_version: int, n: int) -> bytes:
    """SHA-256 over tenant, version and modulus: names one key version for good (32 bytes)."""
    modulus = n.to_bytes(element_size(n), "big")
    return _primitives.sha256(
        b"blindfold/v1 key\x00" + lp(tenant.encode("ascii")) + u32(key_version) + lp(modulus)
    )


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """A tenant's Blindfold public key of one version. Its modulus is checked when it is used."""

    TYPE: ClassVar[str] = "blindfold/v1 public-key"
    FIELDS: ClassVar[frozenset[str]] = frozenset({"type", "tenant", "key_version", "n", "fingerprint"})

    tenant: str
    key_version: int
    n: int

    def __post_init__(self) -> None:
        check_id(self.tenant, "tenant")
        _number(self.key_version, "key_version")
        if not 16 <= self.n.bit_length() <= 4096:
            raise DocumentInvalid("n: more than 4096 bits, or next to none")

    @property
    def fingerprint(self) -> bytes:
        return key_fingerprint(self.tenant, self.key_version, self.n)

    @property
    def element_size(self) -> int:
        """k, the bytes of a group element."""
        return element_size(self.n)

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return _canonical.dump(
            {
                "type": self.TYPE,
                "tenant": self.tenant,
                "key_version": self.key_version,
                "n": b64url(self.n.to_bytes(self.element_size, "big")),
                "fingerprint": self.fingerprint.hex(),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `DocumentInvalid`."""
        what = "key document"
        obj = _canonical.load(data, what)
        _canonical.expect_fields(obj, cls.FIELDS, what)
        _expect_type(obj, cls.TYPE, what)
        document = cls(
            tenant=_canonical.field(obj, "tenant", str, what),
            key_version=_canonical.field(obj, "key_version", int, what),
            n=int.from_bytes(document_bytes(obj, "n", what), "big"),
        )
        if document.to_bytes() != data:
            raise DocumentInvalid(f"{what}: the fingerprint is not that of tenant, version and n")
        return document


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """One revision of a secret policy, as sealers and the KMS both see it.

    `uid` and `nonce` (16 bytes each) are drawn by the KMS after the author's content is fixed, so that
    nobody can search for a convenient exponent. `rules` are the JSON objects of docs/policies.md; this
    package checks that it knows every predicate in them, the KMS evaluates them.
    """

    TYPE: ClassVar[str] = "blindfold/v1 secret-policy"
    FIELDS: ClassVar[frozenset[str]] = frozenset(
        {
            "type", "schema", "tenant", "namespace", "name", "uid", "revision", "nonce", "binding",
            "rule_combining", "rules", "labels", "description", "decrypt_cache_timeout_seconds",
        }
    )  # fmt: skip

    tenant: str
    namespace: str
    name: str
    uid: bytes
    revision: int
    nonce: bytes
    binding: Binding
    rule_combining: str
    rules: tuple[Mapping[str, Any], ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    decrypt_cache_timeout_seconds: int = 0

    def __post_init__(self) -> None:
        check_id(self.tenant, "tenant")
        check_id(self.namespace, "namespace")
        check_id(self.name, "name")
        _number(self.revision, "revision")
        if len(self.uid) != UID_SIZE or len(self.nonce) != UID_SIZE:
            raise DocumentInvalid("uid and nonce have 16 bytes each")
        if self.rule_combining not in RULE_COMBINING:
            raise DocumentInvalid("rule_combining: unknown algorithm")
        if any(not isinstance(text, str) for pair in self.labels.items() for text in pair):
            raise DocumentInvalid("labels: names and values are strings")
        if self.decrypt_cache_timeout_seconds < 0:
            raise DocumentInvalid("decrypt_cache_timeout_seconds: negative")
        check_rules_known(list(self.rules))

    @property
    def resource_name(self) -> str:
        return f"tenants/{self.tenant}/namespaces/{self.namespace}/secretPolicies/{self.name}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes (32 bytes)."""
        return _primitives.sha256(self.to_bytes())

    @property
    def binding_value(self) -> bytes:
        """What goes into the exponent: the digest, or the policy's name and uid."""
        if self.binding is Binding.REVISION:
            return self.digest
        return policy_binding_value(self.resource_name, self.uid)

    def check_named(self, expected: str) -> None:
        """Raise `DocumentMismatch` unless this is the policy of that resource name."""
        if self.resource_name != expected:
            raise DocumentMismatch(f"the policy document is of {self.resource_name}, not of {expected}")

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return _canonical.dump(
            {
                "type": self.TYPE,
                "schema": POLICY_SCHEMA,
                "tenant": self.tenant,
                "namespace": self.namespace,
                "name": self.name,
                "uid": self.uid.hex(),
                "revision": self.revision,
                "nonce": self.nonce.hex(),
                "binding": self.binding.name,
                "rule_combining": self.rule_combining,
                "rules": [dict(rule) for rule in self.rules],
                "labels": dict(self.labels),
                "description": self.description,
                "decrypt_cache_timeout_seconds": self.decrypt_cache_timeout_seconds,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `DocumentInvalid`."""
        what = "policy document"
        obj = _canonical.load(data, what)
        _canonical.expect_fields(obj, cls.FIELDS, what)
        _expect_type(obj, cls.TYPE, what)
        if _canonical.field(obj, "schema", int, what) != POLICY_SCHEMA:
            raise DocumentInvalid(f"{what}: schema {obj['schema']} is not known here; upgrade blindfold-kms")
        binding = _canonical.field(obj, "binding", str, what)
        if binding not in Binding.__members__:
            raise DocumentInvalid(f"{what}: unknown binding")
        return cls(
            tenant=_canonical.field(obj, "tenant", str, what),
            namespace=_canonical.field(obj, "namespace", str, what),
            name=_canonical.field(obj, "name", str, what),
            uid=_unhex(_canonical.field(obj, "uid", str, what), UID_SIZE, "uid"),
            revision=_canonical.field(obj, "revision", int, what),
            nonce=_unhex(_canonical.field(obj, "nonce", str, what), UID_SIZE, "nonce"),
            binding=Binding[binding],
            rule_combining=_canonical.field(obj, "rule_combining", str, what),
            rules=tuple(_canonical.field(obj, "rules", list, what)),
            labels=_canonical.field(obj, "labels", dict, what),
            description=_canonical.field(obj, "description", str, what),
            decrypt_cache_timeout_seconds=_canonical.field(obj, "decrypt_cache_timeout_seconds", int, what),
        )


def document_exponent(key: KeyDocument, policy: PolicyDocument) -> int:
    """e' for secrets sealed under this key and policy."""
    return derive_exponent(
        key.n, binding_info(key.tenant, key.key_version, policy.binding, policy.binding_value)
    )


def document_bytes(obj: _canonical.JsonObject, name: str, what: str) -> bytes:
    """The bytes of a base64url member. Raises `DocumentInvalid`."""
    try:
        return unb64url(_canonical.field(obj, name, str, what))
    except Corrupt:
        pass
    raise DocumentInvalid(f"{what}: {name} is not base64url without padding")


def _expect_type(obj: _canonical.JsonObject, expected: str, what: str) -> None:
    if obj["type"] != expected:
        raise DocumentInvalid(f"{what}: its type is not {expected!r}")
