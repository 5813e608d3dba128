"""The certificate extension that holds labels and roles (docs/spec/identity.md, "The extension")."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from kms.errors import InvalidField, LimitExceeded, Unauthenticated
from kms.model.labels import check_labels, check_roles

# 2.25 is the arc under which anyone may use a UUID as an integer (ITU-T X.667), without registration.
ATTRIBUTES_OID: Final = ObjectIdentifier("2.25.73102073718537347948102012498668913508")
VERSION = 1
MAX_SIZE = 8192


@dataclass(frozen=True, slots=True)
class Attributes:
    """Labels and roles of an identity. Raises `InvalidField` or `LimitExceeded` when built."""

    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    roles: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", check_labels(self.labels))
        object.__setattr__(self, "roles", check_roles(self.roles))


@asn1.sequence
class _Label:
    key: str
    value: str


@asn1.sequence
class _Extension:
    version: int
    labels: list[_Label]
    roles: list[str]


def encode_attributes(attributes: Attributes) -> bytes:
    """The extension's DER, at most 8192 bytes. Raises `LimitExceeded`."""
    der = asn1.encode_der(
        _Extension(
            version=VERSION,
            labels=[_Label(key=key, value=value) for key, value in sorted(attributes.labels.items())],
            roles=sorted(attributes.roles),
        )
    )
    if len(der) > MAX_SIZE:
        raise LimitExceeded(
            "labels", f"labels and roles take {len(der)} bytes, at most {MAX_SIZE} are allowed"
        )
    return der


def decode_attributes(der: bytes) -> Attributes:
    """Strictly: whatever `encode_attributes` would not have written raises `Unauthenticated`."""
    if len(der) > MAX_SIZE:
        raise Unauthenticated(f"labels-and-roles extension: {len(der)} bytes, at most {MAX_SIZE} are allowed")
    try:
        parsed = asn1.decode_der(_Extension, der)
        attributes = Attributes({label.key: label.value for label in parsed.labels}, frozenset(parsed.roles))
        canonical = encode_attributes(attributes)
    except (ValueError, InvalidField) as error:
        reason = error.message if isinstance(error, InvalidField) else "not the DER of its definition"
        raise Unauthenticated(f"labels-and-roles extension: {reason}") from None
    if parsed.version != VERSION:
        raise Unauthenticated(f"labels-and-roles extension: version {parsed.version} is unknown")
    # Order and duplicates: a dict and a set forgot both, so only the sorted, unique form comes back equal.
    if canonical != der:
        raise Unauthenticated("labels-and-roles extension: not in canonical form (sorted, no duplicates)")
    return attributes
