"""A tenant that is stopped, or is to be destroyed: who may do so, and what of it is served still."""

from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ACME, ADMIN, AUDITOR, AUTHOR, KEY_ADMIN, OPERATOR, PROD, WEB, Kms
from services.test_cryptography import NAME, POLICY, USER, add_key

from kms.client.credentials import generate_key_pair
from kms.errors import (
    Denied,
    EtagMismatch,
    InvalidField,
    NotFound,
    TenantNotServed,
    Unauthenticated,
    WrongState,
)
from kms.identity.grant import Grant
from kms.model.names import IdentityName, NamespaceName, TenantName
from kms.model.tenant_lifecycle import TenantState, TenantVerb
from kms.services.audit_log import Filter
from kms.services.cryptography import Plain
from kms.services.tenants import Description
from kms.storage.interface import WriteConflict

INVITED = Grant(IdentityName("acme", PROD.namespace, "late"))
ALLOW_ALL = {"rules": [{"name": "all", "action": "ALLOW"}]}
SCHEDULED, STOPPED = TenantVerb.SCHEDULE_DESTROY, (TenantVerb.DISABLE, TenantVerb.SCHEDULE_DESTROY)


def change(kms: Kms, verb: TenantVerb, who: Any = OPERATOR, name: TenantName = ACME, **more: Any) -> str:
    changing = kms.parts.tenant_life.change(kms.call(who), name, verb, more.pop("etag", ""), **more)
    return kms.run(changing).record.state


@pytest.fixture
def ready(kms: Kms) -> Kms:
    """With something to use."""
    kms.add_key()
    kms.add_policy()
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, ALLOW_ALL, ""))
    add_key(kms)
    return kms


def calls(kms: Kms) -> dict[str, Any]:
    """One call of each sort, as who may make it."""
    parts, call = kms.parts, kms.call
    return {
        "use": parts.cryptography.encrypt(call(USER), NAME, [Plain(b"p")]),
        "rotate": parts.keys.rotate(call(KEY_ADMIN), NAME),
        "read": parts.keys.get(call(KEY_ADMIN), NAME),
        "document": parts.documents.public_key(call(AUTHOR), ACME),
        "create": parts.namespaces.create(call(ADMIN), NamespaceName("acme", "more"), Description(), ""),
        "invite": parts.identities.create_join_token(call(ADMIN), INVITED, timedelta(minutes=5)),
        "backup": parts.backups.backup(call(ADMIN), ACME),
    }


@pytest.mark.parametrize("verb", STOPPED)
def test_nothing_of_a_tenant_that_is_stopped_is_served(ready: Kms, verb: TenantVerb) -> None:
    sealed = ready.seal(b"secret")
    assert ready.open(sealed, WEB) == b"secret"
    state = change(ready, verb)
    for name, refused in calls(ready).items():
        with pytest.raises(TenantNotServed, match=state):
            ready.run(refused)
        event = ready.last_event()
        assert (event["decision"], event["reason"]) == ("FAIL", "TENANT_NOT_SERVED"), name
        assert event["details"]["state"] == state
    with pytest.raises(TenantNotServed):
        ready.open(sealed, WEB)


@pytest.mark.parametrize("verb", STOPPED)
def test_its_auditors_read_its_trail_and_see_that_it_will_go(ready: Kms, verb: TenantVerb) -> None:
    state = change(ready, verb)
    parts, call = ready.parts, ready.call
    assert ready.run(parts.tenants.get(call(ADMIN), ACME)).record.state == state
    assert ready.run(parts.audit_log.list(call(AUDITOR), ACME, Filter(), 0, 10)).events
    assert list(ready.run(parts.audit_log.export(call(AUDITOR), ACME, 0)))
    assert ready.run(parts.audit_log.checkpoint(call(AUDITOR)))


def test_who_has_no_role_is_denied_whatever_the_tenant_s_state(ready: Kms) -> None:
    change(ready, TenantVerb.DISABLE)
    with pytest.raises(Denied):
        ready.run(ready.parts.keys.rotate(ready.call(WEB), NAME))


def test_other_tenants_do_not_notice(ready: Kms) -> None:
    other = TenantName("globex")
    ready.run(ready.parts.tenants.create(ready.call(OPERATOR), other, Description(), ""))
    change(ready, SCHEDULED, name=other)
    assert ready.open(ready.seal(b"secret"), WEB) == b"secret"


def test_cancelled_destruction_leaves_it_disabled_and_enabled_it_is_served_again(ready: Kms) -> None:
    sealed = ready.seal(b"secret")
    change(ready, SCHEDULED)
    assert change(ready, TenantVerb.CANCEL_DESTROY) == TenantState.DISABLED
    with pytest.raises(TenantNotServed):
        ready.open(sealed, WEB)
    assert change(ready, TenantVerb.ENABLE) == TenantState.ENABLED
    assert ready.open(sealed, WEB) == b"secret"
    ready.pass_time(timedelta(days=200))
    assert ready.run(ready.parts.tenant_destruction.destroy_due(ready.now)) == 0


def test_destruction_is_in_the_trail_with_its_time(kms: Kms) -> None:
    change(kms, SCHEDULED, delay=timedelta(days=2))
    event = kms.last_event()
    assert (event["action"], event["tenant"], event["decision"]) == ("ScheduleDestroyTenant", "", "ALLOW")
    assert event["details"]["destroy_time"] == (kms.now + timedelta(days=2)).isoformat()


@pytest.mark.parametrize(
    "delay", [timedelta(hours=23), timedelta(days=121), timedelta(0), -timedelta(days=30)]
)
def test_delay_is_from_a_day_to_120(kms: Kms, delay: timedelta) -> None:
    with pytest.raises(InvalidField, match="24 hours to 120 days"):
        change(kms, SCHEDULED, delay=delay)


@pytest.mark.parametrize("verb", [verb for verb in TenantVerb if verb is not TenantVerb.EXPIRE])
def test_operators_alone_change_a_tenant(kms: Kms, verb: TenantVerb) -> None:
    for who in (ADMIN, AUDITOR, WEB):
        with pytest.raises(Denied):
            change(kms, verb, who)
        with pytest.raises(Denied):
            kms.run(kms.parts.tenant_life.receipt(kms.call(who), ACME))


def test_etag_state_and_name_are_checked(kms: Kms) -> None:
    with pytest.raises(EtagMismatch):
        change(kms, TenantVerb.DISABLE, etag="7")
    with pytest.raises(WrongState, match="possible in DISABLED"):
        change(kms, TenantVerb.ENABLE)
    with pytest.raises(NotFound):
        change(kms, TenantVerb.DISABLE, name=TenantName("nobody"))
    with pytest.raises(WrongState, match="not all of it is gone"):
        kms.run(kms.parts.tenant_life.receipt(kms.call(OPERATOR), ACME))


def test_nobody_enrols_into_a_tenant_that_is_stopped(kms: Kms) -> None:
    making = kms.parts.identities.create_join_token(kms.call(ADMIN), INVITED, timedelta(minutes=5))
    token, _ = kms.run(making)
    csr = generate_key_pair().csr

    def enrol() -> Any:
        return kms.run(kms.parts.identities.enrol(token, csr, address="", request_id="", now=kms.now))

    change(kms, TenantVerb.DISABLE)
    with pytest.raises(Unauthenticated, match="unknown, used or expired"):
        enrol()
    change(kms, TenantVerb.ENABLE)
    assert enrol().identity == str(INVITED.identity)


def test_change_that_is_under_way_while_its_tenant_is_stopped_is_not_written(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tenant is stopped after the namespace's creation was decided, and before it is written."""
    guard, stopped = kms.parts.guard, []
    commit = type(guard).commit

    async def stop_first(self: Any, changes: Any, events: Any) -> Any:
        if not stopped:
            stopped.append(True)
            await kms.parts.tenant_life.change(kms.call(OPERATOR), ACME, TenantVerb.DISABLE, "")
        return await commit(self, changes, events)

    monkeypatch.setattr(type(guard), "commit", stop_first)
    name = NamespaceName("acme", "late")
    with pytest.raises((TenantNotServed, WriteConflict)):
        kms.run(kms.parts.namespaces.create(kms.call(ADMIN), name, Description(), ""))
    monkeypatch.undo()
    change(kms, TenantVerb.ENABLE)
    with pytest.raises(NotFound):
        kms.run(kms.parts.namespaces.get(kms.call(ADMIN), name))
