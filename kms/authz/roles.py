"""The built-in roles: who may call which RPC. A role never says which key or secret; policies do.

A caller's certificate holds `role`, which counts in its whole tenant, or `role@namespace`. Life cycle and
use of keys are apart: no single role grants both. The tenant's administrator manages namespaces and
identities, reads the rest, chooses the KMS policy of a namespace, and may take access away at once, but
neither writes policies nor handles keys; whoever should do so as well is given that role too. Operators make
tenants, invite operators and read the platform's own events; of what is in a tenant they read nothing.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from kms.errors import Denied
from kms.model.caller import Caller
from kms.model.names import Identity, OperatorName, SiteName
from kms.model.policy import OPERATIONS

OPERATOR = "operator"
ENROLLER = "enroller"


@cache
def operation_permission(operation: str) -> str:
    """The permission to call a cryptographic operation: `keys.macVerify` for MAC_VERIFY."""
    first, *rest = operation.lower().split("_")
    return "keys." + first + "".join(map(str.capitalize, rest))


def _permissions(service: str, verbs: str) -> frozenset[str]:
    return frozenset(f"{service}.{verb}" for verb in verbs.split())


_OF_KEY_ADMIN = ("IMPORT", "COPY", "GET_PUBLIC_KEY")

_POLICY_READ = (
    _permissions("secretPolicies", "get list explain reviewAccess simulate")
    | _permissions("kmsPolicies", "get list explain reviewAccess simulate")
    | _permissions("prefixSets", "get list")
)
_ACCESS_READ = _permissions("secretManagementAccesses", "get list")
_ACCESS_STOP = frozenset({"secretManagementAccesses.delete"})
_ACCESS_WRITE = _permissions("secretManagementAccesses", "create update")
_POLICY_STOP = _permissions("secretPolicies", "revokeRevision narrowRevision delete") | frozenset(
    {"kmsPolicies.delete"}
)
_POLICY_CHECK = frozenset({"secretPolicies.validate", "kmsPolicies.validate"})
_POLICY_WRITE = (
    _permissions("secretPolicies", "create update undelete")
    | _permissions("kmsPolicies", "create update undelete")
    | _permissions("prefixSets", "create update delete")
)
_POLICY_CHOICE = frozenset({"namespaces.setPolicy"})
_KEY_READ = _permissions("blindfoldKeys", "get list") | _permissions("keys", "get list")
_KEY_LIFE = (
    _permissions("blindfoldKeys", "generate rotate enable disable scheduleDestroy cancelDestroy")
    | _permissions("keys", "create update rotate enable disable scheduleDestroy cancelDestroy")
    | frozenset(map(operation_permission, _OF_KEY_ADMIN))
)
_KEY_USE = frozenset(operation_permission(name) for name in OPERATIONS if name not in ("IMPORT", "COPY"))
_SEALING = _permissions("blindfold", "getPublicKey getPolicyDocument")
_AUDIT = _permissions("audit", "list export getCheckpoint")
_LIMITS = _permissions("rateLimiters", "create get list update delete") | _permissions(
    "userIdentifications", "create get list update delete"
)
_NAMESPACE_READ = _permissions("namespaces", "get list getPolicy")

ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "tenant-admin": _permissions("tenants", "get backup")
        | _permissions("namespaces", "create delete")
        | _NAMESPACE_READ
        | _permissions("identities", "createJoinToken get list revoke delete")
        | _permissions("jwtIssuers", "create get list update delete")
        | _permissions("trustedAuthorities", "create get list update delete revoke")
        | _POLICY_READ
        | _POLICY_STOP
        | _POLICY_CHECK
        | _POLICY_CHOICE
        | _ACCESS_READ
        | _ACCESS_STOP
        | _KEY_READ
        | _SEALING
        | _LIMITS
        | _AUDIT,
        "policy-author": _POLICY_READ
        | _POLICY_STOP
        | _POLICY_CHECK
        | _POLICY_WRITE
        | _POLICY_CHOICE
        | _ACCESS_READ
        | _ACCESS_STOP
        | _ACCESS_WRITE
        | _SEALING
        | _NAMESPACE_READ,
        "key-admin": _KEY_READ | _KEY_LIFE | _permissions("blindfold", "getPublicKey") | _NAMESPACE_READ,
        "key-user": _KEY_USE | _permissions("keys", "get list"),
        "secret-sealer": _SEALING,
        "auditor": _AUDIT | _POLICY_READ | _ACCESS_READ,
        ENROLLER: _permissions("identities", "createJoinToken"),
        OPERATOR: _permissions("tenants", "create get list backup restore")
        | _permissions("tenants", "enable disable scheduleDestroy cancelDestroy getDestructionReceipt")
        | _permissions("identities", "createJoinToken get list revoke delete")
        | _permissions("identityAuthorities", "get prepare activate retire publishRoot retireRoot")
        | _AUDIT
        | _permissions("status", "get")
        | _permissions("server", "lock rotateRootKey changeRootOfTrust listShares backup"),
    }
)

# The namespace that is readable across its tenant: a role in any namespace reads there as it does at home.
SHARED = "shared"
_IN_SHARED = (
    _permissions("secretPolicies", "get list explain")
    | _permissions("kmsPolicies", "get list explain")
    | _permissions("namespaces", "get getPolicy")
    | _permissions("keys", "get list")
    | _permissions("blindfold", "getPolicyDocument")
)

# What a sealer needs of the tenant is public, and policies of every namespace name the tenant's prefix sets:
# a role in any namespace is enough to read them.
_IN_ANY_NAMESPACE = frozenset({"blindfold.getPublicKey", "prefixSets.get", "prefixSets.list"})

_OF_THE_TENANT = (
    *(
        "tenants.",
        "blindfoldKeys.",
        "jwtIssuers.",
        "trustedAuthorities.",
        "rateLimiters.",
        "userIdentifications.",
    ),
    *("status.", "server.", "identityAuthorities."),
)
# What is the tenant's or the platform's is never reached by a role in a namespace, whatever the call names.
_ABOVE_NAMESPACES = frozenset(
    permission
    for permissions in ROLES.values()
    for permission in permissions
    if permission.startswith(_OF_THE_TENANT) or permission in ("namespaces.create", "namespaces.delete")
)


def require_permission(caller: Caller, permission: str, namespace: str | None = None) -> str:
    """The role, as bound, by which the caller may do this, the tenant-wide ones first.

    `namespace` is the one that the resource is in, None for what belongs to the tenant or the platform.
    The caller's tenant is not looked at: whoever loads the resource compares it. `operator` counts for
    platform identities alone, bound to no namespace, and nothing else counts for them, `enroller` for sites
    alone, whatever the certificate says.
    Raises `Denied`, and `ValueError` for a permission that no role grants.
    """
    granting = _granting(permission)
    for bound in sorted(caller.roles, key=lambda text: ("@" in text, text)):
        role, at, where = bound.partition("@")
        in_scope = not at or _is_in_scope(permission, where, namespace)
        if role in granting and in_scope and _counts_for(caller.identity, bound):
            return bound
    raise Denied


def _counts_for(identity: Identity, bound: str) -> bool:
    role = bound.partition("@")[0]
    if role == ENROLLER:
        return isinstance(identity, SiteName)
    if role == OPERATOR or isinstance(identity, OperatorName):
        return bound == OPERATOR and isinstance(identity, OperatorName)
    return True


@cache
def _granting(permission: str) -> frozenset[str]:
    granting = frozenset(role for role, permissions in ROLES.items() if permission in permissions)
    if not granting:
        raise ValueError(f"no role grants {permission!r}")
    return granting


def _is_in_scope(permission: str, where: str, namespace: str | None) -> bool:
    """Whether a role in the namespace `where` reaches this permission on what is in `namespace`."""
    if permission in _ABOVE_NAMESPACES:
        return False
    if namespace == SHARED and permission in _IN_SHARED:
        return True
    return where == namespace or permission in _IN_ANY_NAMESPACE
