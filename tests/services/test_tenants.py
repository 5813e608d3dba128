"""Tenants and namespaces: who makes them, and that nobody reaches into another's."""

from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ACME, ADMIN, ALLOW_WEB, KEY_ADMIN, OPERATOR, PROD, WEB, Kms, caller

from kms.client.credentials import generate_key_pair
from kms.errors import (
    AlreadyExists,
    Denied,
    EtagMismatch,
    InvalidField,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    WrongState,
)
from kms.identity.grant import Grant
from kms.model.names import IdentityName, NamespaceName, TenantName
from kms.model.records import IdentityRecord, ImportKeyRecord, KeyRecord
from kms.services.repository import Repository
from kms.services.tenants import ADMIN_ROLES, Description, require_namespace
from kms.storage.interface import MISSING, Put

GLOBEX = TenantName("globex")
DEV = NamespaceName("acme", "dev")


def create_tenant(kms: Kms, who: Any = OPERATOR, request_id: str = "") -> Any:
    return kms.run(kms.parts.tenants.create(kms.call(who), GLOBEX, Description("Globex"), request_id))


def create_namespace(kms: Kms, who: Any = ADMIN, name: NamespaceName = DEV, request_id: str = "") -> Any:
    return kms.run(kms.parts.namespaces.create(kms.call(who), name, Description(), request_id))


def test_operator_makes_a_tenant_and_sees_nothing_in_it(kms: Kms) -> None:
    assert create_tenant(kms).tenant.record.description == "Globex"
    for refused in (
        kms.parts.namespaces.list(kms.call(OPERATOR), GLOBEX, "", 10),
        kms.parts.blindfold_keys.list(kms.call(OPERATOR), GLOBEX, "", 10),
        kms.parts.audit_log.export(kms.call(OPERATOR), GLOBEX, 0),
    ):
        with pytest.raises(Denied):
            kms.run(refused)


def test_tenants_are_made_by_operators_only(kms: Kms) -> None:
    for who in (ADMIN, WEB, caller("operator", "operator")):
        with pytest.raises(Denied):
            create_tenant(kms, who)


def test_tenant_is_made_once_but_the_same_request_may_repeat(kms: Kms) -> None:
    first = create_tenant(kms, request_id="r")
    again = create_tenant(kms, request_id="r")
    assert (again.tenant.record, again.admin_token) == (first.tenant.record, None)
    with pytest.raises(AlreadyExists):
        create_tenant(kms, request_id="s")


def test_new_tenant_s_first_administrator_enrols_by_its_token(kms: Kms) -> None:
    token = create_tenant(kms).admin_token
    csr = generate_key_pair().csr
    enrolling = kms.parts.identities.enrol(token, csr, address="", request_id="", now=kms.now)
    identity = kms.run(enrolling).identity
    assert str(identity) == "tenants/globex/namespaces/system/identities/admin"
    record = kms.parts.repository.require(IdentityRecord, str(identity)).record
    assert set(record.roles) == ADMIN_ROLES
    assert "key-user" not in record.roles


def test_administrator_reads_his_own_tenant(kms: Kms) -> None:
    create_tenant(kms)
    assert kms.run(kms.parts.tenants.get(kms.call(ADMIN), ACME)).name == "tenants/acme"
    with pytest.raises(Denied):
        kms.run(kms.parts.tenants.get(kms.call(ADMIN), GLOBEX))
    with pytest.raises(Denied):
        kms.run(kms.parts.tenants.list(kms.call(ADMIN), "", 10))
    listed = kms.run(kms.parts.tenants.list(kms.call(OPERATOR), "", 1))
    assert [item.name for item in listed.items] == ["tenants/acme"]
    assert listed.next_after == "tenants/acme"


def test_namespace_is_made_read_and_deleted(kms: Kms) -> None:
    made = create_namespace(kms)
    assert kms.run(kms.parts.namespaces.get(kms.call(ADMIN), DEV)).record == made.record
    with pytest.raises(EtagMismatch):
        kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), DEV, "7"))
    kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), DEV, made.etag))
    with pytest.raises(NotFound):
        kms.run(kms.parts.namespaces.get(kms.call(ADMIN), DEV))


def test_namespace_with_anything_in_it_stays(kms: Kms) -> None:
    kms.add_policy(ALLOW_WEB)
    with pytest.raises(WrongState, match="still holds secretPolicies"):
        kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), PROD, ""))


def test_what_is_made_in_a_namespace_while_it_is_deleted_keeps_it(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_empty, keys = Repository.is_empty, []

    def then_made(self: Repository, cls: Any, prefix: str) -> bool:
        answer = is_empty(self, cls, prefix)
        if cls is IdentityRecord and not keys:
            keys.append(make_key_row(kms, f"{DEV}/keys/late"))
        return answer

    create_namespace(kms)
    monkeypatch.setattr(Repository, "is_empty", then_made)
    with pytest.raises(WrongState, match="still holds keys"):
        kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), DEV, ""))
    assert kms.run(kms.parts.namespaces.get(kms.call(ADMIN), DEV)).name == str(DEV)


def make_key_row(kms: Kms, name: str) -> Any:
    """What another writer commits meanwhile: a row that its maker requires the namespace for."""
    changes = [require_namespace(kms.parts.repository, DEV), Put(KeyRecord.KIND, name, b"{}", MISSING)]
    return kms.vault.store.commit(changes, [kms.call(ADMIN).event("CreateKey", name, "ALLOW")]).result()


def test_import_keys_go_with_their_namespace(kms: Kms) -> None:
    create_namespace(kms)
    kms.run(kms.parts.transfers.create_import_key(kms.call(KEY_ADMIN), DEV))
    assert not kms.parts.repository.is_empty(ImportKeyRecord, f"{DEV}/")
    kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), DEV, ""))
    assert kms.parts.repository.is_empty(ImportKeyRecord, f"{DEV}/")


def test_nobody_enrols_into_a_namespace_that_was_deleted(kms: Kms) -> None:
    create_namespace(kms)
    grant = Grant(IdentityName("acme", "dev", "late"))
    token, _ = kms.run(kms.parts.identities.create_join_token(kms.call(ADMIN), grant, timedelta(minutes=5)))
    kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), DEV, ""))
    csr = generate_key_pair().csr
    with pytest.raises(Unauthenticated, match="unknown, used or expired"):
        kms.run(kms.parts.identities.enrol(token, csr, address="", request_id="", now=kms.now))
    assert kms.parts.repository.load(IdentityRecord, str(grant.identity)) is None


@pytest.mark.parametrize(
    "who",
    [WEB, OPERATOR, caller("bound", "tenant-admin@dev"), caller("admin", "tenant-admin", tenant="globex")],
)
def test_namespaces_are_made_by_the_tenant_s_administrator(kms: Kms, who: Any) -> None:
    with pytest.raises(Denied):
        create_namespace(kms, who)


@pytest.mark.parametrize("name", ["", "Dev", "1dev", "dev-", "d" * 64, "dev/x", "dév"])
def test_ids_are_checked(name: str) -> None:
    with pytest.raises(InvalidField):
        NamespaceName("acme", name)


def test_description_has_limits() -> None:
    assert Description("d" * 2048).description
    with pytest.raises(LimitExceeded):
        Description("d" * 2049)
    with pytest.raises(InvalidField):
        Description(labels={"not a label": ""})
