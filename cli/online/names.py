"""Names as people write them: whole, or short where the tenant is known.

| whole | short |
|---|---|
| `tenants/acme/namespaces/prod/secretPolicies/web-tls` | `prod/web-tls` |
| `tenants/acme/blindfoldKeys/3` | `3` |
| `tenants/acme` | `acme` |
"""

from dataclasses import fields
from typing import TypeVar

from cli.errors import UsageError
from kms.errors import InvalidField
from kms.identity.spiffe import SpiffeId, parse_identity_name
from kms.model.names import (
    Identity,
    IdentityName,
    NamespaceName,
    OperatorName,
    ResourceName,
    SiteName,
    SiteWorkloadName,
    TenantName,
)

_Name = TypeVar("_Name", bound=ResourceName)


def resolve(kind: type[_Name], text: str, tenant: str) -> _Name:
    """A name of that kind. Raises `UsageError`, also if it is short and the tenant is not known."""
    try:
        return kind.parse(text)
    except InvalidField:
        pass
    parts = text.split("/")
    if kind is not TenantName:
        parts = [tenant or _unknown_tenant(), *parts]
    variables = [field.name for field in fields(kind)]
    if len(parts) == len(variables):
        try:
            return kind.parse(kind.PATTERN.format(**dict(zip(variables, parts, strict=True))))
        except InvalidField:
            pass
    raise UsageError(f"{text!r} is not a name of the form {kind.PATTERN}, in short {short_form(kind)}")


def short_form(kind: type[ResourceName]) -> str:
    """`{namespace}/{policy}`."""
    variables = [field.name for field in fields(kind)]
    return "/".join(f"{{{name}}}" for name in variables[0 if kind is TenantName else 1 :])


def resolve_identity(text: str, tenant: str) -> Identity:
    """A workload, in short `{namespace}/{identity}`, or `{namespace}/{site}/{identity}` for one of a site.

    A site or an operator by its whole name alone. Raises as `resolve`.
    """
    try:
        return parse_identity_name(text)
    except InvalidField:
        pass
    if text.count("/") == 2:
        return resolve(SiteWorkloadName, text, tenant)
    return resolve(IdentityName, text, tenant)


def identity_parent(name: Identity) -> str:
    """The parent that calls about new or listed identities name: "" for operators."""
    if isinstance(name, IdentityName | SiteWorkloadName):
        return str(NamespaceName(name.tenant, name.namespace))
    return str(TenantName(name.tenant)) if isinstance(name, SiteName) else ""


def resolve_spiffe_id(text: str, tenant: str, trust_domain: str) -> str:
    """A SPIFFE id, written as such or as a name of an identity."""
    if text.startswith("spiffe://"):
        return str(SpiffeId.parse(text))
    return str(SpiffeId(trust_domain, resolve_identity(text, tenant)))


def tenant_of(spiffe_id: str) -> str:
    """The tenant that an identity belongs to; "" for an operator, and where no name of the KMS's tells it."""
    try:
        identity = SpiffeId.parse(spiffe_id).identity
    except InvalidField:
        return ""
    return "" if isinstance(identity, OperatorName) else identity.tenant


def _unknown_tenant() -> str:
    raise UsageError(
        "the tenant is not known",
        hint="Give --tenant ID, or write the whole name, such as tenants/acme/namespaces/prod.",
    )
