"""SPIFFE ids: the URI in a certificate that says whose it is (docs/spec/identity.md, "Names")."""

import re
from dataclasses import dataclass
from typing import Self

from kms.errors import InvalidField
from kms.model.names import (
    AuthorityWorkloadName,
    Identity,
    IdentityName,
    OperatorName,
    SiteName,
    SiteWorkloadName,
)

_FORMS: tuple[tuple[type[Identity], str], ...] = (
    (IdentityName, "/tenant/{tenant}/ns/{namespace}/sa/{identity}"),
    (SiteName, "/tenant/{tenant}/site/{site}"),
    (SiteWorkloadName, "/tenant/{tenant}/site/{site}/ns/{namespace}/sa/{identity}"),
    (AuthorityWorkloadName, "/tenant/{tenant}/authority/{authority}/ns/{namespace}/sa/{identity}"),
    (OperatorName, "/operator/{operator}"),
)
_TEMPLATES = dict(_FORMS)
_VARIABLE = r"(?P<\1>[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)"
_PATTERNS = tuple(
    (name, re.compile(re.sub(r"\{(\w+)\}", _VARIABLE, template), re.ASCII)) for name, template in _FORMS
)
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_DNS_LABEL}(?:\.{_DNS_LABEL})*", re.ASCII)


def check_dns_name(name: str, field: str) -> str:
    """Return name if it is a lower-case DNS name without wildcard (RFC 1123). Raises `InvalidField`."""
    if not _DNS_NAME.fullmatch(name):
        raise InvalidField(field, f"{name[:80]!r} is not a lower-case DNS name")
    return name


def parse_identity_name(text: str, field: str = "identity") -> Identity:
    """The resource name of a workload, a site or an operator. Raises `InvalidField`."""
    for name, _ in _FORMS:
        try:
            return name.parse(text, field)
        except InvalidField:
            continue
    forms = ", ".join(name.PATTERN for name, _ in _FORMS)
    raise InvalidField(field, f"must have one of the forms {forms}")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """`spiffe://{trust domain}` and a path that names a workload, a site or an operator."""

    trust_domain: str
    identity: Identity

    def __post_init__(self) -> None:
        check_dns_name(self.trust_domain, "trust_domain")

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Only what `str` would have written. Raises `InvalidField`."""
        scheme, _, rest = uri.partition("://")
        trust_domain, slash, path = rest.partition("/")
        if scheme == "spiffe":
            for name, pattern in _PATTERNS:
                match = pattern.fullmatch(slash + path)
                if match is not None:
                    return cls(trust_domain, name(**match.groupdict()))
        forms = ", ".join(template for _, template in _FORMS)
        raise InvalidField("spiffe_id", f"must be spiffe://(trust domain) and one of {forms}")

    def __str__(self) -> str:
        fields = {key: getattr(self.identity, key) for key in self.identity.__dataclass_fields__}
        return f"spiffe://{self.trust_domain}{_TEMPLATES[type(self.identity)].format(**fields)}"
