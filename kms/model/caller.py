"""Who calls, as its authenticated certificate says; nothing of it comes from a request body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from kms.model.names import Identity, OperatorName


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    `identity` is its resource name; `spiffe_id` the URI SAN; `names` every name a policy may match (the
    SPIFFE id first, then DNS SANs); `address` the client's IP address in text, without port; `serial` and
    `issued_at` (UTC) the certificate's, 0 and None for who has none; `via` the SPIFFE id of the proxy that
    ended the caller's TLS, "" for who connected himself; `authority` the id of the KMS's own authority that
    issued the certificate, "" for another's.
    """

    identity: Identity
    spiffe_id: str
    names: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    roles: frozenset[str] = frozenset()
    address: str = ""
    serial: int = 0
    issued_at: datetime | None = None
    via: str = ""
    authority: str = ""

    @property
    def tenant(self) -> str | None:
        """The tenant, or None for a platform operator."""
        return None if isinstance(self.identity, OperatorName) else self.identity.tenant
