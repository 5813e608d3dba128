"""Roles: the whole grid of who may call what, and that no role reaches beyond its scope."""

import pytest

from kms.authz.roles import ROLES, operation_permission, require_permission
from kms.errors import Denied
from kms.model.caller import Caller
from kms.model.names import IdentityName, OperatorName, SiteName
from kms.model.policy import OPERATIONS


def person(*roles, identity=None):
    who = identity or IdentityName("acme", "prod", "ann")
    return Caller(who, "spiffe://x/ann", ("spiffe://x/ann",), roles=frozenset(roles))


def operator(*roles):
    return person(*roles, identity=OperatorName("olga"))


# Roles that count for one kind of identity, and for no other.
KINDS = {"operator": OperatorName("olga"), "enroller": SiteName("acme", "north")}
PERMISSIONS = sorted(frozenset().union(*ROLES.values()))
TENANT_ROLES = sorted(set(ROLES) - {"operator"})

# Every permission of the services, and the roles that grant it.
GRID = {
    "secretPolicies.get secretPolicies.list secretPolicies.explain": "tenant-admin policy-author auditor",
    "secretPolicies.reviewAccess kmsPolicies.reviewAccess": "tenant-admin policy-author auditor",
    "secretPolicies.simulate kmsPolicies.simulate": "tenant-admin policy-author auditor",
    "secretPolicies.create secretPolicies.update secretPolicies.undelete": "policy-author",
    "prefixSets.create prefixSets.update prefixSets.delete": "policy-author",
    "prefixSets.get prefixSets.list": "tenant-admin policy-author auditor",
    "secretManagementAccesses.get secretManagementAccesses.list": "tenant-admin policy-author auditor",
    "secretManagementAccesses.create secretManagementAccesses.update": "policy-author",
    "secretManagementAccesses.delete": "tenant-admin policy-author",
    "secretPolicies.delete kmsPolicies.delete": "tenant-admin policy-author",
    "secretPolicies.revokeRevision secretPolicies.narrowRevision": "tenant-admin policy-author",
    "secretPolicies.validate": "tenant-admin policy-author",
    "kmsPolicies.get kmsPolicies.list kmsPolicies.explain": "tenant-admin policy-author auditor",
    "kmsPolicies.create kmsPolicies.update kmsPolicies.undelete": "policy-author",
    "kmsPolicies.validate namespaces.setPolicy": "tenant-admin policy-author",
    "blindfoldKeys.generate blindfoldKeys.rotate blindfoldKeys.enable blindfoldKeys.disable": "key-admin",
    "blindfoldKeys.scheduleDestroy blindfoldKeys.cancelDestroy": "key-admin",
    "blindfoldKeys.get blindfoldKeys.list": "tenant-admin key-admin",
    "blindfold.getPublicKey": "tenant-admin policy-author key-admin secret-sealer",
    "blindfold.getPolicyDocument": "tenant-admin policy-author secret-sealer",
    "keys.create keys.update keys.rotate keys.enable keys.disable keys.scheduleDestroy": "key-admin",
    "keys.cancelDestroy keys.import keys.copy": "key-admin",
    "keys.get keys.list": "tenant-admin key-admin key-user",
    "keys.getPublicKey": "key-admin key-user",
    "keys.encrypt keys.decrypt keys.sign keys.verify keys.mac keys.macVerify": "key-user",
    "keys.generateDataKey keys.reencryptFrom keys.reencryptTo keys.rawEncrypt": "key-user",
    "keys.rawDecrypt keys.generateRandom keys.export": "key-user",
    "tenants.create tenants.list tenants.restore": "operator",
    "tenants.enable tenants.disable tenants.scheduleDestroy tenants.cancelDestroy": "operator",
    "tenants.getDestructionReceipt": "operator",
    "identityAuthorities.get identityAuthorities.prepare identityAuthorities.activate": "operator",
    "identityAuthorities.retire identityAuthorities.publishRoot identityAuthorities.retireRoot": "operator",
    "tenants.get tenants.backup": "operator tenant-admin",
    "namespaces.create namespaces.delete": "tenant-admin",
    "namespaces.get namespaces.list namespaces.getPolicy": "tenant-admin policy-author key-admin",
    "identities.createJoinToken": "operator tenant-admin enroller",
    "identities.get identities.list identities.revoke identities.delete": "operator tenant-admin",
    "jwtIssuers.create jwtIssuers.get jwtIssuers.list jwtIssuers.update jwtIssuers.delete": "tenant-admin",
    "trustedAuthorities.create trustedAuthorities.get trustedAuthorities.list": "tenant-admin",
    "trustedAuthorities.update trustedAuthorities.delete trustedAuthorities.revoke": "tenant-admin",
    "audit.list audit.export audit.getCheckpoint": "operator tenant-admin auditor",
    "rateLimiters.create rateLimiters.get rateLimiters.list rateLimiters.update": "tenant-admin",
    "rateLimiters.delete userIdentifications.create userIdentifications.get": "tenant-admin",
    "userIdentifications.list userIdentifications.update userIdentifications.delete": "tenant-admin",
    "status.get server.lock server.rotateRootKey server.changeRootOfTrust server.listShares": "operator",
    "server.backup": "operator",
}
GRANTED = {
    permission: set(roles.split()) for several, roles in GRID.items() for permission in several.split()
}


def test_the_grid_covers_every_permission():
    assert sorted(GRANTED) == PERMISSIONS


@pytest.mark.parametrize("permission", PERMISSIONS)
@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_grants_what_the_grid_says_and_nothing_else(role, permission):
    who = person(role, identity=KINDS.get(role))
    if role in GRANTED[permission]:
        assert require_permission(who, permission) == role
        assert require_permission(who, permission, "prod") == role
    else:
        with pytest.raises(Denied):
            require_permission(who, permission, "prod")


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_without_a_role_nothing_is_permitted(permission):
    for who in (
        person(),
        operator(),
        person("nobody"),
        person("Tenant-Admin", "tenant-admin ", "@prod", "@"),
    ):
        with pytest.raises(Denied):
            require_permission(who, permission, "prod")


def test_life_cycle_and_use_of_keys_are_apart():
    shared = ROLES["key-admin"] & ROLES["key-user"]
    assert shared == {"keys.get", "keys.list", "keys.getPublicKey"}
    both = person("key-admin", "key-user")
    assert require_permission(both, "keys.decrypt") == "key-user"
    assert require_permission(both, "keys.rotate") == "key-admin"


def test_every_operation_has_a_permission_that_some_role_grants():
    assert operation_permission("MAC_VERIFY") == "keys.macVerify"
    assert {operation_permission(name) for name in OPERATIONS} <= set(PERMISSIONS)


def test_a_role_bound_to_a_namespace_counts_there_alone():
    author = person("policy-author@prod")
    assert require_permission(author, "secretPolicies.update", "prod") == "policy-author@prod"
    for namespace in ("test", "", None):
        with pytest.raises(Denied):
            require_permission(author, "secretPolicies.update", namespace)


SHARED_READING = {
    *("secretPolicies.get", "secretPolicies.list", "secretPolicies.explain", "namespaces.get"),
    *("kmsPolicies.get", "kmsPolicies.list", "kmsPolicies.explain", "namespaces.getPolicy"),
    *("keys.get", "keys.list", "blindfold.getPolicyDocument"),
}


@pytest.mark.parametrize("role", TENANT_ROLES)
def test_a_role_in_any_namespace_reads_the_shared_one_as_it_reads_its_own_and_does_no_more(role):
    bound = person(f"{role}@prod", identity=KINDS.get(role))

    def permits(permission, namespace):
        try:
            require_permission(bound, permission, namespace)
        except Denied:
            return False
        return True

    reached = {permission for permission in PERMISSIONS if permits(permission, "shared")}
    own = {permission for permission in PERMISSIONS if permits(permission, "prod")}
    anywhere = {permission for permission in PERMISSIONS if permits(permission, "dev")}
    assert reached - anywhere == own & SHARED_READING


ABOVE = ["tenants.get", "namespaces.create", "namespaces.delete", "blindfoldKeys.generate"]


@pytest.mark.parametrize("permission", ABOVE)
def test_a_role_in_a_namespace_never_reaches_what_is_the_tenants(permission):
    bound = person("tenant-admin@prod", "key-admin@prod")
    for namespace in ("prod", None):
        with pytest.raises(Denied):
            require_permission(bound, permission, namespace)


def test_the_tenant_wide_binding_is_named_first():
    author = person("auditor@prod", "policy-author@prod", "policy-author")
    assert require_permission(author, "secretPolicies.get", "prod") == "policy-author"


def test_a_sealer_of_any_namespace_may_read_the_public_key_of_the_tenant():
    sealer = person("secret-sealer@prod")
    assert require_permission(sealer, "blindfold.getPublicKey") == "secret-sealer@prod"
    with pytest.raises(Denied):
        require_permission(sealer, "blindfold.getPolicyDocument", "test")


@pytest.mark.parametrize("role", TENANT_ROLES)
@pytest.mark.parametrize("permission", PERMISSIONS)
def test_an_operator_reaches_no_tenant_data_whatever_the_certificate_says(role, permission):
    with pytest.raises(Denied):
        require_permission(operator(role, f"{role}@prod", "operator@prod"), permission, "prod")


@pytest.mark.parametrize(
    "identity", [IdentityName("acme", "prod", "ann"), SiteName("acme", "north")], ids=str
)
@pytest.mark.parametrize("permission", sorted(ROLES["operator"]))
def test_an_identity_of_a_tenant_is_no_operator_whatever_the_certificate_says(identity, permission):
    with pytest.raises(Denied):
        require_permission(person("operator", "operator@prod", identity=identity), permission, "prod")


@pytest.mark.parametrize("identity", [IdentityName("acme", "prod", "ann"), OperatorName("olga")], ids=str)
def test_who_is_no_site_is_no_enroller_whatever_the_certificate_says(identity):
    with pytest.raises(Denied):
        require_permission(person("enroller", identity=identity), "identities.createJoinToken", "prod")


def test_an_unknown_permission_is_a_mistake_of_the_program():
    with pytest.raises(ValueError, match=r"secretPolicy\.get"):
        require_permission(person("tenant-admin"), "secretPolicy.get")
