"""Accesses to vaults: who writes them, whom they are handed to, and what is in none of them."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ADMIN, AUDITOR, AUTHOR, BATCH, KEY_ADMIN, PROD, WEB, Kms, caller

import blindfold
from kms.errors import AlreadyExists, Denied, EtagMismatch, InvalidField, NotFound, WrongState
from kms.model.caller import Caller
from kms.model.names import (
    IdentityName,
    NamespaceName,
    SecretManagementAccessName,
    SiteName,
    SiteWorkloadName,
    TenantName,
)
from kms.services.secret_management_accesses import (
    MAX_ACCESSES,
    SecretManagementAccesses,
    Stored,
    content_of,
)
from kms.services.tenants import Description
from kms.storage.interface import MISSING, Put

MAIN = SecretManagementAccessName("acme", "prod", "main")
OTHER = SecretManagementAccessName("acme", "prod", "other")
ENDPOINT = "https://vault.corp.example:8200"
CLEAR = {"type": "clear", "location": "string:///" + base64.b64encode(b"hunter2").decode()}
SHARED = NamespaceName("acme", "shared")


def sealed(kms: Kms, name: str = ENDPOINT) -> dict[str, object]:
    data = blindfold.seal(b"token", kms.key_document(), kms.policy_document(), name=name)
    return {"type": "blindfold", "location": "string:///" + base64.b64encode(data).decode()}


def stored_at(access: SecretManagementAccessName, **more: object) -> dict[str, object]:
    return {"type": "vault", "access": str(access), "path": "secret/token", **more}


def content(token: object, **members: object) -> dict[str, Any]:
    return {
        "provider": "vault",
        "where": {"expressions": ["app=web", "app=site,!old"]},
        "endpoint": ENDPOINT,
        "authentication": {"type": "token", "token": token},
        "mounts": [{"path": "secret", "engine": "KV_V2"}],
        "timeout_seconds": 10,
        "max_secret_bytes": 65536,
    } | members


def create(
    kms: Kms,
    written: dict[str, Any],
    name: SecretManagementAccessName = MAIN,
    who: Caller = AUTHOR,
    request_id: str = "",
    accesses: SecretManagementAccesses | None = None,
) -> Stored:
    service = accesses or kms.parts.secret_management_accesses
    return kms.run(service.create(kms.call(who), name, written, request_id))


def update(kms: Kms, written: dict[str, Any], etag: str = "", **how: Any) -> Stored:
    name = how.pop("name", MAIN)
    service = kms.parts.secret_management_accesses
    return kms.run(service.update(kms.call(AUTHOR), name, written, etag, **how))


def fetch(kms: Kms, who: Caller, name: SecretManagementAccessName = MAIN) -> Stored:
    return kms.run(kms.parts.secret_management_accesses.fetch(kms.call(who), name))


@pytest.fixture
def ready(kms: Kms) -> Kms:
    """With a key and a policy to seal credentials under."""
    kms.add_key()
    kms.add_policy()
    return kms


def test_access_is_made_read_listed_changed_and_removed(ready: Kms) -> None:
    accesses, written = ready.parts.secret_management_accesses, content(sealed(ready))
    made = create(ready, written)
    assert content_of(made.record) == written
    ready.pass_time(timedelta(hours=1))
    changed = update(ready, written | {"timeout_seconds": 20}, made.etag)
    assert content_of(changed.record)["timeout_seconds"] == 20
    assert (changed.record.create_time, changed.record.update_time) == (made.record.create_time, ready.now)
    with pytest.raises(EtagMismatch):
        update(ready, written, made.etag)
    for who in (ADMIN, AUDITOR, AUTHOR):
        assert ready.run(accesses.get(ready.call(who), MAIN)) == changed
        assert ready.run(accesses.list(ready.call(who), PROD, "", 10)).items == (changed,)
    ready.run(accesses.delete(ready.call(ADMIN), MAIN, changed.etag))
    with pytest.raises(NotFound):
        ready.run(accesses.get(ready.call(AUTHOR), MAIN))


def test_fields_that_are_not_named_stay(ready: Kms) -> None:
    written = content(sealed(ready), description="why")
    create(ready, written)
    new = {"provider": "other", "description": ""}
    changed = update(ready, new, fields={"provider", "description", "labels"})
    assert content_of(changed.record) == {
        name: value for name, value in written.items() if name != "description"
    } | {"provider": "other"}


def test_repeat_of_a_request_makes_nothing_new(ready: Kms) -> None:
    made = create(ready, content(sealed(ready)), request_id="one")
    assert create(ready, content(sealed(ready)), request_id="one") == made
    with pytest.raises(AlreadyExists):
        create(ready, content(sealed(ready)), request_id="two")


@pytest.mark.parametrize("who", [ADMIN, AUDITOR, KEY_ADMIN, WEB], ids=lambda who: who.identity.identity)
def test_who_writes_no_policies_writes_no_access(ready: Kms, who: Caller) -> None:
    with pytest.raises(Denied):
        create(ready, content(sealed(ready)), who=who)


def test_access_needs_its_namespace_which_stays_with_it(ready: Kms) -> None:
    elsewhere = SecretManagementAccessName("acme", "test", "main")
    with pytest.raises(NotFound):
        create(ready, content(sealed(ready)), elsewhere)
    test = NamespaceName("acme", "test")
    namespaces = ready.parts.namespaces
    ready.run(namespaces.create(ready.call(ADMIN), test, Description("", {}), ""))
    create(ready, content(sealed(ready)), elsewhere)
    with pytest.raises(WrongState, match="secretManagementAccesses"):
        ready.run(namespaces.delete(ready.call(ADMIN), test, ""))


SITE = Caller(SiteName("acme", "north"), "spiffe://kms.test/tenant/acme/site/north", (), {"app": "site"})
CAMERA = Caller(SiteWorkloadName("acme", "prod", "north", "camera"), "spiffe://camera", (), {"app": "web"})


@pytest.mark.parametrize("who", [WEB, SITE, CAMERA], ids=["identity", "site", "workload of a site"])
def test_whoever_is_selected_fetches_it_without_a_role(ready: Kms, who: Caller) -> None:
    made = create(ready, content(sealed(ready)))
    assert fetch(ready, who) == made
    event = ready.last_event()
    assert (event["action"], event["decision"]) == ("FetchSecretManagementAccess", "ALLOW")
    assert (event["resource"], event["details"]["etag"]) == (str(MAIN), made.etag)


TEST = Caller(IdentityName("acme", "test", "web"), "spiffe://test", (), {"app": "web"})
OLD = Caller(SiteName("acme", "south"), "spiffe://south", (), {"app": "site", "old": "yes"})
ROLES = frozenset({"tenant-admin", "policy-author"})
STRANGER = Caller(IdentityName("globex", "prod", "web"), "spiffe://globex", (), {"app": "web"}, ROLES)


@pytest.mark.parametrize(
    ("who", "name", "because"),
    [
        (BATCH, MAIN, "NOT_SELECTED"),
        (AUTHOR, MAIN, "NOT_SELECTED"),
        (ADMIN, MAIN, "NOT_SELECTED"),
        (OLD, MAIN, "NOT_SELECTED"),
        (TEST, MAIN, "NOT_SELECTED"),
        (WEB, OTHER, "NO_SUCH_ACCESS"),
        (STRANGER, MAIN, "OTHER_TENANT"),
    ],
    ids=["labels", "author", "admin", "negative", "namespace", "missing", "tenant"],
)
def test_everybody_else_gets_the_one_denial(
    ready: Kms, who: Caller, name: SecretManagementAccessName, because: str
) -> None:
    create(ready, content(sealed(ready)))
    with pytest.raises(Denied) as caught:
        fetch(ready, who, name)
    assert caught.value.message == Denied().message
    event = ready.last_event()
    assert (event["decision"], event["reason"]) == ("DENY", because)


def test_access_of_the_namespace_shared_is_for_all_of_the_tenant(ready: Kms) -> None:
    ready.run(ready.parts.namespaces.create(ready.call(ADMIN), SHARED, Description("", {}), ""))
    name = SecretManagementAccessName("acme", "shared", "main")
    made = create(ready, content(sealed(ready)), name)
    assert fetch(ready, TEST, name) == fetch(ready, WEB, name) == made
    with pytest.raises(Denied):
        fetch(ready, BATCH, name)


def test_change_counts_from_the_next_fetch_on(ready: Kms) -> None:
    create(ready, content(sealed(ready)))
    update(ready, {"where": {"expressions": ["app=batch"]}}, fields={"where"})
    assert fetch(ready, BATCH)
    with pytest.raises(Denied):
        fetch(ready, WEB)


@pytest.mark.parametrize("selector", ["app in web", "a=b,", "x>1", "app in (a", "-a", "=b"])
def test_selector_with_a_syntax_error_is_refused_at_its_place(ready: Kms, selector: str) -> None:
    with pytest.raises(InvalidField) as caught:
        create(ready, content(sealed(ready), where={"expressions": ["app", selector]}))
    assert caught.value.field == "where.expressions[1]"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"endpoint": "http://vault.corp.example"}, "endpoint"),
        ({"endpoint": "https://user@vault.corp.example"}, "endpoint"),
        ({"endpoint": "https://vault.corp.example#@evil.example"}, "endpoint"),
        ({"mounts": [{"path": "secret/../sys", "engine": "KV_V1"}]}, "mounts[0].path"),
        ({"credentials": "hvs.1"}, ""),
    ],
)
def test_content_of_nonsense_is_refused_at_its_field(ready: Kms, members: Any, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        create(ready, content(sealed(ready), **members))
    assert caught.value.field == field


def test_a_namespace_has_at_most_so_many(ready: Kms) -> None:
    made = create(ready, content(sealed(ready)))
    folder, row = f"{PROD}/secretManagementAccesses", made.record.to_bytes()
    more = [Put(made.record.KIND, f"{folder}/a{n}", row, MISSING) for n in range(MAX_ACCESSES - 1)]
    ready.vault.store.commit(more, [ready.call(AUTHOR).event("Test", "", "ALLOW")]).result()
    with pytest.raises(WrongState, match="delete one first"):
        create(ready, content(sealed(ready)), OTHER)
    page = ready.run(ready.parts.secret_management_accesses.list(ready.call(AUTHOR), PROD, "", 1000))
    assert len(page.items) == MAX_ACCESSES


@pytest.mark.parametrize("limit", [1, 2, 16, 17, 18, 100])
def test_pages_have_every_access_once(ready: Kms, limit: int) -> None:
    made = create(ready, content(sealed(ready)))
    folder, row = f"{PROD}/secretManagementAccesses", made.record.to_bytes()
    more = [Put(made.record.KIND, f"{folder}/a{n:02}", row, MISSING) for n in range(17)]
    ready.vault.store.commit(more, [ready.call(AUTHOR).event("Test", "", "ALLOW")]).result()
    found: list[str] = []
    after = ""
    while True:
        accesses = ready.parts.secret_management_accesses
        page = ready.run(accesses.list(ready.call(AUTHOR), PROD, after, limit))
        assert 1 <= len(page.items) <= limit
        found += [item.name for item in page.items]
        if not (after := page.next_after):
            break
    assert found == [*(f"{folder}/a{n:02}" for n in range(17)), made.name]


def test_a_page_is_cut_where_it_grows_large(ready: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [SecretManagementAccessName("acme", "prod", f"a{number}") for number in range(3)]
    made = [create(ready, content(sealed(ready)), name) for name in names]
    accesses = ready.parts.secret_management_accesses
    size = len(made[0].record.content)
    monkeypatch.setattr("kms.services.large_pages.MAX_PAGE_BYTES", 2 * size + 16)
    first = ready.run(accesses.list(ready.call(AUTHOR), PROD, "", 10))
    assert [item.name for item in first.items] == [str(name) for name in names[:2]]
    rest = ready.run(accesses.list(ready.call(AUTHOR), PROD, first.next_after, 10))
    assert [item.name for item in rest.items] == [str(names[2])]
    monkeypatch.setattr("kms.services.large_pages.MAX_PAGE_BYTES", 1)
    assert len(ready.run(accesses.list(ready.call(AUTHOR), PROD, "", 10)).items) == 1


def test_another_tenant_reads_and_writes_nothing(ready: Kms) -> None:
    create(ready, content(sealed(ready)))
    mallory = caller("mallory", "policy-author", "tenant-admin", tenant="globex", app="web")
    accesses = ready.parts.secret_management_accesses
    for step in (
        accesses.get(ready.call(mallory), MAIN),
        accesses.list(ready.call(mallory), TenantName("acme"), "", 10),
        accesses.delete(ready.call(mallory), MAIN, ""),
        accesses.fetch(ready.call(mallory), MAIN),
    ):
        with pytest.raises(Denied):
            ready.run(step)
