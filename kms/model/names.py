"""Resource names. Whoever holds one knows that it is well-formed (docs/glossary.md, "Names")."""

import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Self

from kms.errors import InvalidField

_ID = r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"
_ID_PATTERN = re.compile(_ID, re.ASCII)
_NUMBER = r"[1-9][0-9]{0,9}"


def check_id(value: str, field: str) -> str:
    """Return value if it is an id: 1 to 63 of a-z, 0-9 and -, first a letter, last no dash.

    Raises `InvalidField`.
    """
    if not _ID_PATTERN.fullmatch(value):
        raise InvalidField(field, "must match [a-z]([-a-z0-9]{0,61}[a-z0-9])?")
    return value


@dataclass(frozen=True, slots=True, order=True)
class ResourceName:
    """Base of all names. A subclass gives `PATTERN` and a field for each variable in it."""

    PATTERN: ClassVar[str] = ""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, is_number in _variables(kind):
            value = getattr(self, name)
            if is_number:
                if not 1 <= value < 2**32:
                    raise InvalidField(name, "must be a number from 1 to 4294967295")
            else:
                check_id(value, name)

    @classmethod
    def parse(cls, text: str, field: str = "name") -> Self:
        """Parse the whole of text. Raises `InvalidField`."""
        kind: Any = cls
        match = _expression(kind).fullmatch(text)
        if match is None:
            raise InvalidField(field, f"must have the form {cls.PATTERN}")
        parts: dict[str, Any] = match.groupdict()
        return cls(
            **{name: int(parts[name]) if is_number else parts[name] for name, is_number in _variables(kind)}
        )

    def __str__(self) -> str:
        kind: Any = type(self)
        return _template(kind).format(self)


@cache
def _variables(cls: Any) -> tuple[tuple[str, bool], ...]:
    """The variables of names of that class, and whether each is a number."""
    return tuple((item.name, item.type in (int, "int")) for item in fields(cls))


@cache
def _template(cls: Any) -> str:
    """What formats a name of that class, its one argument."""
    return str(cls.PATTERN).replace("{", "{0.")


@cache
def _expression(cls: Any) -> re.Pattern[str]:
    """What matches a name of that class."""
    expression = re.escape(cls.PATTERN).replace(r"\{", "{").replace(r"\}", "}")
    for name, is_number in _variables(cls):
        part = _NUMBER if is_number else _ID
        expression = expression.replace("{" + name + "}", f"(?P<{name}>{part})")
    return re.compile(expression, re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class TenantName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}"
    tenant: str


@dataclass(frozen=True, slots=True, order=True)
class NamespaceName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}"
    tenant: str
    namespace: str


@dataclass(frozen=True, slots=True, order=True)
class SecretPolicyName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}/secretPolicies/{policy}"
    tenant: str
    namespace: str
    policy: str


@dataclass(frozen=True, slots=True, order=True)
class SecretPolicyRevisionName(ResourceName):
    PATTERN: ClassVar[str] = (
        "tenants/{tenant}/namespaces/{namespace}/secretPolicies/{policy}/revisions/{revision}"
    )
    tenant: str
    namespace: str
    policy: str
    revision: int


@dataclass(frozen=True, slots=True, order=True)
class IdentityName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}/identities/{identity}"
    tenant: str
    namespace: str
    identity: str


@dataclass(frozen=True, slots=True, order=True)
class SiteName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/sites/{site}"
    tenant: str
    site: str


@dataclass(frozen=True, slots=True, order=True)
class SiteWorkloadName(ResourceName):
    """A workload that a site enrolled, in one of the namespaces of its tenant."""

    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}/sites/{site}/identities/{identity}"
    tenant: str
    namespace: str
    site: str
    identity: str

    @property
    def site_name(self) -> SiteName:
        return SiteName(self.tenant, self.site)


@dataclass(frozen=True, slots=True, order=True)
class OperatorName(ResourceName):
    PATTERN: ClassVar[str] = "operators/{operator}"
    operator: str


@dataclass(frozen=True, slots=True, order=True)
class IdentityAuthorityName(ResourceName):
    """An intermediate of the KMS's own identity authority."""

    PATTERN: ClassVar[str] = "identityAuthorities/{authority}"
    authority: str


@dataclass(frozen=True, slots=True, order=True)
class IdentityRootName(ResourceName):
    PATTERN: ClassVar[str] = "identityRoots/{root}"
    root: str


@dataclass(frozen=True, slots=True, order=True)
class TrustedAuthorityName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/trustedAuthorities/{authority}"
    tenant: str
    authority: str


@dataclass(frozen=True, slots=True, order=True)
class AuthorityWorkloadName(ResourceName):
    """A workload that an authority of the tenant's own certifies."""

    PATTERN: ClassVar[str] = (
        "tenants/{tenant}/namespaces/{namespace}/trustedAuthorities/{authority}/identities/{identity}"
    )
    tenant: str
    namespace: str
    authority: str
    identity: str


@dataclass(frozen=True, slots=True, order=True)
class JwtIssuerName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/jwtIssuers/{issuer}"
    tenant: str
    issuer: str


@dataclass(frozen=True, slots=True, order=True)
class BlindfoldKeyName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/blindfoldKeys/{version}"
    tenant: str
    version: int


@dataclass(frozen=True, slots=True, order=True)
class KeyName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}/keys/{key}"
    tenant: str
    namespace: str
    key: str


@dataclass(frozen=True, slots=True, order=True)
class KeyVersionName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}/keys/{key}/versions/{version}"
    tenant: str
    namespace: str
    key: str
    version: int

    @property
    def key_name(self) -> KeyName:
        return KeyName(self.tenant, self.namespace, self.key)


@dataclass(frozen=True, slots=True, order=True)
class KmsPolicyName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}/kmsPolicies/{policy}"
    tenant: str
    namespace: str
    policy: str


@dataclass(frozen=True, slots=True, order=True)
class KmsPolicyRevisionName(ResourceName):
    PATTERN: ClassVar[str] = (
        "tenants/{tenant}/namespaces/{namespace}/kmsPolicies/{policy}/revisions/{revision}"
    )
    tenant: str
    namespace: str
    policy: str
    revision: int

    @property
    def policy_name(self) -> KmsPolicyName:
        return KmsPolicyName(self.tenant, self.namespace, self.policy)


@dataclass(frozen=True, slots=True, order=True)
class PrefixSetName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/prefixSets/{prefix_set}"
    tenant: str
    prefix_set: str


@dataclass(frozen=True, slots=True, order=True)
class SecretManagementAccessName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}/secretManagementAccesses/{access}"
    tenant: str
    namespace: str
    access: str


@dataclass(frozen=True, slots=True, order=True)
class ImportKeyName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/namespaces/{namespace}/importKeys/{import_key}"
    tenant: str
    namespace: str
    import_key: str


# Whom a certificate can speak for.
Identity = IdentityName | SiteName | SiteWorkloadName | AuthorityWorkloadName | OperatorName


@dataclass(frozen=True, slots=True, order=True)
class RateLimiterName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/rateLimiters/{rate_limiter}"
    tenant: str
    rate_limiter: str


@dataclass(frozen=True, slots=True, order=True)
class UserIdentificationName(ResourceName):
    PATTERN: ClassVar[str] = "tenants/{tenant}/userIdentifications/{user_identification}"
    tenant: str
    user_identification: str
