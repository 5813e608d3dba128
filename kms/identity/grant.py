"""What an identity is granted: the content of its certificates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self, TypeGuard

from kms.errors import InvalidField, LimitExceeded
from kms.identity.extension import Attributes, encode_attributes
from kms.identity.spiffe import check_dns_name, parse_identity_name
from kms.model.names import AuthorityWorkloadName, Identity

MAX_DNS_NAMES = 16


@dataclass(frozen=True, slots=True)
class Grant:
    """The identity, its DNS names, labels and roles.

    Raises `InvalidField` or `LimitExceeded` when built. Whether the one who grants may do so is decided
    above: nothing here compares tenants or roles with a caller's.
    """

    identity: Identity
    dns_names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    roles: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if isinstance(self.identity, AuthorityWorkloadName):
            raise InvalidField("identity", "is certified by an authority of the tenant's own alone")
        if len(self.dns_names) > MAX_DNS_NAMES:
            raise LimitExceeded("dns_names", f"at most {MAX_DNS_NAMES} are allowed")
        for name in self.dns_names:
            check_dns_name(name, "dns_names")
        if len(set(self.dns_names)) != len(self.dns_names):
            raise InvalidField("dns_names", "a name occurs twice")
        attributes = Attributes(self.labels, self.roles)
        encode_attributes(attributes)
        object.__setattr__(self, "labels", attributes.labels)
        object.__setattr__(self, "roles", attributes.roles)

    @property
    def attributes(self) -> Attributes:
        return Attributes(self.labels, self.roles)

    def to_json(self) -> dict[str, Any]:
        """An object for canonical JSON."""
        return {
            "identity": str(self.identity),
            "dns_names": list(self.dns_names),
            "labels": dict(self.labels),
            "roles": sorted(self.roles),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From the members that `to_json` writes. Raises `InvalidField`."""
        dns_names, labels, roles = value.get("dns_names"), value.get("labels"), value.get("roles")
        if not (_is_texts(dns_names) and isinstance(labels, dict) and _is_texts(list(labels.values()))):
            raise InvalidField("grant", "dns_names must be texts, labels must map text to text")
        if not (_is_texts(roles) and isinstance(value.get("identity"), str)):
            raise InvalidField("grant", "identity must be a text, roles must be texts")
        return cls(parse_identity_name(value["identity"]), tuple(dns_names), labels, frozenset(roles))


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
