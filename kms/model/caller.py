"""Who calls, as its authenticated certificate says; nothing of it comes from a request body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kms.model.names import IdentityName, OperatorName, SiteName


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    `identity` is its resource name; `spiffe_id` the URI SAN; `names` every name a policy may match (the
    SPIFFE id first, then DNS SANs); `address` the client's IP address in text, without port.
    """

    identity: IdentityName | SiteName | OperatorName
    spiffe_id: str
    names: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    roles: frozenset[str] = frozenset()
    address: str = ""

    @property
    def tenant(self) -> str | None:
        """The tenant, or None for a platform operator."""
        return None if isinstance(self.identity, OperatorName) else self.identity.tenant
