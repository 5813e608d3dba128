"""Duties are apart: each built-in role alone, by every method of a running KMS; and docs/roles.md says so."""

import os
from collections.abc import Iterator

import pytest
from server.role_grid import NAMESPACE, NO_ROLE, OPEN, PAGE, Grid, measure, render, with_table
from server.watched_kms import watched_kms

from kms.authz.roles import ENROLLER, OPERATOR, ROLES

WRITE = "WRITE_ROLES"
OF_ALL = {"EvaluateBlinded", "FetchSecretManagementAccess", "GetKeyDocument"}
POLICY_READING = {
    *("GetSecretPolicy", "ListSecretPolicies", "GetRevision", "ListRevisions", "ExplainSecretPolicy"),
    *("GetKmsPolicy", "ListKmsPolicies", "GetKmsPolicyRevision", "ListKmsPolicyRevisions"),
    *("ExplainKmsPolicy", "ReviewKmsPolicyAccess", "ReviewSecretPolicyAccess"),
    *("SimulateKmsPolicy", "SimulateSecretPolicy", "GetPrefixSet", "ListPrefixSets"),
    *("GetSecretManagementAccess", "ListSecretManagementAccesses"),
}
AUDIT = {"ListAuditEvents", "ExportAuditEvents", "GetCheckpoint"}
KEY_READING = {"GetKey", "ListKeys", "GetKeyVersion", "ListKeyVersions"}
PUBLIC_KEYS = {"GetPublicKey", "BatchGetPublicKey", "Stream get_public_key"}
# All that operators do; of a tenant they learn that it is there.
OF_OPERATORS = {
    *("GetStatus", "CreateTenant", "GetTenant", "ListTenants", "BackupTenant", "RestoreTenant"),
    "BackupStore",
    *("CreateJoinToken", "GetIdentity", "ListIdentities", "RevokeIdentity", "DeleteIdentity"),
    *("EnableTenant", "DisableTenant", "ScheduleDestroyTenant", "CancelDestroyTenant"),
    *("GetIdentityTrust", "PrepareIdentityAuthority", "ActivateIdentityAuthority", "RetireIdentityAuthority"),
    *("PublishIdentityRoot", "RetireIdentityRoot", "GetDestructionReceipt"),
    *("LockServer", "RotateRootKey", "ChangeRootOfTrust", "ApproveRootOfTrustChange"),
    *("GetRootKeyRotation", "GetRootOfTrustChange", "ListShares"),
    *AUDIT,
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with watched_kms(tmp_path_factory.mktemp("grid")) as watched:
        yield measure(watched)


def short(methods: set[str]) -> set[str]:
    return {method.rpartition("/")[2] for method in methods}


def test_page_says_what_was_measured(grid: Grid) -> None:
    page = PAGE.read_text(encoding="utf-8")
    measured = with_table(page, render(grid))
    if WRITE in os.environ:
        PAGE.write_text(measured, encoding="utf-8")
    else:
        assert measured == page, f"run {WRITE}=1 pytest tests/server/test_role_grid.py"


def test_every_method_but_the_open_ones_is_in_the_grid(grid: Grid) -> None:
    assert {method.partition(" ")[0] for method in grid.methods}.isdisjoint(OPEN)
    assert all(any(method in grid.of(role) for role in ROLES) for method in grid.methods)


def test_without_a_role_there_is_what_all_of_a_tenant_may(grid: Grid) -> None:
    assert short(grid.of(NO_ROLE)) == OF_ALL


@pytest.mark.parametrize("role", sorted(set(ROLES) - {OPERATOR}))
def test_role_in_a_namespace_permits_no_more_than_in_the_tenant(grid: Grid, role: str) -> None:
    assert grid.of(role, NAMESPACE) <= grid.of(role)
    of_any_namespace = {"GetBlindfoldPublicKey", "GetPrefixSet", "ListPrefixSets"}
    beyond = of_any_namespace & short(grid.of(role))
    assert short(grid.of(role, "other")) == OF_ALL | beyond


def test_key_admins_use_no_key_and_key_users_manage_none(grid: Grid) -> None:
    shared = short(grid.of("key-admin")) & short(grid.of("key-user"))
    assert shared == OF_ALL | KEY_READING | PUBLIC_KEYS
    use = {method for method in grid.methods if "CryptoService" in method}
    assert short(grid.of("key-admin") & use) == PUBLIC_KEYS
    assert use <= grid.of("key-user")


def test_auditors_read_audit_and_policies_and_nothing_else(grid: Grid) -> None:
    assert short(grid.of("auditor")) == OF_ALL | AUDIT | POLICY_READING


def test_sealers_read_public_keys_and_policy_documents(grid: Grid) -> None:
    assert short(grid.of("secret-sealer")) == OF_ALL | {"GetBlindfoldPublicKey", "GetPolicyDocument"}


def test_authors_of_policies_make_no_identity_and_touch_no_key(grid: Grid) -> None:
    services = {method.split("/")[1] for method in grid.of("policy-author")}
    assert services.isdisjoint(
        {f"kms.v1.{name}" for name in ("KeyService", "CryptoService", "IdentityService")}
    )


def test_administrators_write_no_policy_and_handle_no_key(grid: Grid) -> None:
    mine = short(grid.of("tenant-admin"))
    assert not {name for name in mine if name.startswith(("Create", "Update")) and "Policy" in name}
    assert not mine & (short(grid.of("key-user")) - OF_ALL - KEY_READING)


def test_sites_invite_and_nothing_else(grid: Grid) -> None:
    assert short(grid.of(ENROLLER)) == OF_ALL | {"CreateJoinToken"}


def test_operators_read_nothing_that_is_in_a_tenant(grid: Grid) -> None:
    assert short(grid.of(OPERATOR)) == OF_OPERATORS
    for namespace in (NAMESPACE, "other"):
        assert grid.of(OPERATOR, namespace) == set()
