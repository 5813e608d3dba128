"""Who may grant what to whom (docs/spec/identity.md, "Granting")."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from kms.authz.roles import ENROLLER, OPERATOR, require_permission
from kms.errors import Denied, InvalidField
from kms.identity.grant import Grant
from kms.model.caller import Caller
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
from kms.model.records import IdentityRecord

CREATE_PERMISSION = "identities.createJoinToken"

# Roles that identities of one kind have, and no others.
_ONLY_FOR: Mapping[str, type[Identity]] = MappingProxyType({OPERATOR: OperatorName, ENROLLER: SiteName})


def scope_of(name: Identity) -> ResourceName | None:
    """Where an identity lives, as authorisation asks: its namespace, its tenant, or the platform (None)."""
    if isinstance(name, IdentityName | SiteWorkloadName):
        return NamespaceName(name.tenant, name.namespace)
    return TenantName(name.tenant) if isinstance(name, SiteName) else None


def grant_of(identity: Identity, record: IdentityRecord) -> Grant:
    """What an identity's record grants."""
    return Grant(identity, record.dns_names, record.labels, frozenset(record.roles))


def check_grantable(caller: Caller, grant: Grant) -> None:
    """Nobody grants beyond his own reach.

    A site grants to its own workloads, of what it has itself. Who administers one namespace grants roles of
    that namespace only. Nobody grants through a proxy. Raises `InvalidField` for a role that the identity's
    kind cannot have, `Denied`.
    """
    _check_connected_himself(caller)
    _check_kind(type(grant.identity), grant.roles)
    if isinstance(caller.identity, SiteName):
        _check_within_site(caller, caller.identity, grant)
    elif isinstance(grant.identity, IdentityName | SiteWorkloadName):
        _check_namespace(caller, grant, grant.identity.namespace)


def check_grantable_to_workloads(caller: Caller, roles: Collection[str]) -> None:
    """For who has others admitted in advance, by a rule, which a site may not. As `check_grantable`."""
    _check_connected_himself(caller)
    _check_kind(IdentityName, roles)
    if isinstance(caller.identity, SiteName):
        raise Denied("NOT_OF_THE_SITE")


def _check_connected_himself(caller: Caller) -> None:
    """Else a proxy could get itself identities that outlive its own (docs/adr/0013-behind-a-proxy.md)."""
    if caller.via:
        raise Denied("THROUGH_A_PROXY")


def _check_kind(kind: type[Identity], roles: Collection[str]) -> None:
    for bound in roles:
        role = bound.partition("@")[0]
        if _ONLY_FOR.get(role, kind) is not kind or (role == OPERATOR) is not (kind is OperatorName):
            raise InvalidField("roles", f"{bound} is no role of such an identity")


def _check_within_site(caller: Caller, site: SiteName, grant: Grant) -> None:
    if not isinstance(grant.identity, SiteWorkloadName) or grant.identity.site_name != site:
        raise Denied("NOT_OF_THE_SITE")
    _, *own_hosts = caller.names
    for host in grant.dns_names:
        if not any(host == own or host.endswith(f".{own}") for own in own_hosts):
            raise Denied("BEYOND_THE_SITE")
    if not grant.labels.items() <= caller.labels.items():
        raise Denied("BEYOND_THE_SITE")
    if any(not {role, role.partition("@")[0]} & caller.roles for role in grant.roles):
        raise Denied("BEYOND_THE_SITE")


def _check_namespace(caller: Caller, grant: Grant, namespace: str) -> None:
    try:
        require_permission(caller, CREATE_PERMISSION, None)
    except Denied:
        if any(not role.endswith(f"@{namespace}") for role in grant.roles):
            raise
