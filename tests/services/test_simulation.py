"""Simulating drafts: what would change for whom, and UNKNOWN where nothing was recorded."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from authz.policy_strategies import policies as contents
from hypothesis import HealthCheck, given, settings
from services.conftest import ALLOW_WEB, AUDITOR, AUTHOR, BATCH, PROD, WEB, WEB_TLS, Kms, caller
from services.test_access_review import enrol, revoke, rule
from services.test_cryptography import add_key, one

from kms.crypto.aead import RawCiphertext
from kms.errors import Denied, InvalidField, LimitExceeded, NotFound, WrongState
from kms.identity.grant import Grant
from kms.model.algorithms import Purpose
from kms.model.caller import Caller
from kms.model.names import KeyName, KeyVersionName, KmsPolicyName, SecretPolicyName, SecretPolicyRevisionName
from kms.services import recorded_requests
from kms.services.cryptography import Message, Plain, RawSealed, Sealed
from kms.services.simulation import Simulation

ORDERS = KmsPolicyName("acme", "prod", "orders")
KEY = KeyName("acme", "prod", "orders")
MACS = KeyName("acme", "prod", "macs")
ANN, BOB = (caller(name, "key-user", app=name) for name in ("ann", "bob"))
ANN_ONLY = rule("ann", client_selector={"expressions": ["app=ann"]})
ORDERS_ONLY = rule("orders", aad_matcher={"equals": ["YQ=="]})
ALL = rule("all")


def use(kms: Kms, who: Caller = ANN, key: KeyName = KEY, aad: bytes = b"a") -> None:
    """One call that is recorded, whatever becomes of it."""
    item = Message(b"m") if key == MACS else Plain(b"secret", aad)
    with suppress(Denied):
        one(kms, "mac" if key == MACS else "encrypt", item, who, key)


@pytest.fixture
def used(kms: Kms) -> Kms:
    """Key and policy `orders`, which ann and bob have used: everything was allowed."""
    for who in (ANN, BOB):
        enrol(kms, Grant(who.identity, labels=who.labels, roles=who.roles))
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), ORDERS, {"rules": [ALL]}, ""))
    add_key(kms, name=KEY, policy=ORDERS)
    add_key(kms, Purpose.MAC, name=MACS, policy=ORDERS)
    for who in (ANN, ANN, BOB):
        use(kms, who)
    use(kms, BOB, MACS)
    return kms


def simulate(
    kms: Kms, *rules: dict[str, Any], events: int = 1000, name: KmsPolicyName = ORDERS
) -> Simulation:
    content = {"rules": list(rules)}
    return kms.run(kms.parts.simulations.kms(kms.call(AUDITOR), name, content, events))


def told(simulation: Simulation) -> dict[tuple[str, ...], int]:
    """By caller, operation, and the verdicts before and after: how many requests."""
    return {
        (change.caller.rpartition("/")[2], change.operation, change.before, change.after): count
        for change, count in simulation.changes
    }


def test_what_a_draft_would_deny_is_told_for_each_caller(used: Kms) -> None:
    found = simulate(used, ANN_ONLY)
    assert told(found) == {("bob", "ENCRYPT", "ALLOW", "DENY"): 1, ("bob", "MAC", "ALLOW", "DENY"): 1}
    assert (found.requests, found.unchanged, found.unknown_callers) == (4, 2, 0)
    assert used.last_event()["action"] == "SimulateKmsPolicy"


def test_what_a_draft_would_allow_is_told_with_its_rule(used: Kms) -> None:
    used.run(used.parts.kms_policies.update(used.call(AUTHOR), ORDERS, {"rules": [ANN_ONLY]}, ""))
    use(used, BOB)
    [(change, count)] = [item for item in simulate(used, ALL).changes if item[0].operation == "ENCRYPT"]
    assert (change.before, change.after, change.rules, count) == ("DENY", "ALLOW", ("all",), 2)


def test_additional_data_is_not_recorded_so_what_rests_on_it_is_unknown(used: Kms) -> None:
    found = simulate(used, ANN_ONLY, ORDERS_ONLY)
    assert told(found) == {("bob", "ENCRYPT", "ALLOW", "UNKNOWN"): 1, ("bob", "MAC", "ALLOW", "DENY"): 1}
    assert b"YQ==" not in repr(found).encode()


def test_rules_that_rest_on_it_change_nothing_where_they_stay_the_same(used: Kms) -> None:
    old = [rule("no", "DENY", client_name="x"), ORDERS_ONLY]
    used.run(used.parts.kms_policies.update(used.call(AUTHOR), ORDERS, {"rules": old}, ""))
    assert simulate(used, ORDERS_ONLY | {"name": "renamed"}).unchanged == 4
    other = ORDERS_ONLY | {"aad_matcher": {"equals": ["Yg=="]}}
    assert set(told(simulate(used, other))) == {
        (who, "ENCRYPT", "UNKNOWN", "UNKNOWN") for who in ("ann", "bob")
    }


def test_requests_are_decided_at_their_own_time_and_from_their_own_address(used: Kms) -> None:
    for who in (replace(ANN, address="10.0.0.7"), BOB):
        used.pass_time(timedelta(hours=12))
        use(used, who)
    office = rule("office", ip_prefixes=["10.0.0.0/8"])
    night = rule("night", time_window={"start_time": "00:00", "end_time": "06:00"})
    assert told(simulate(used, office))[("ann", "ENCRYPT", "ALLOW", "DENY")] == 2
    assert simulate(used, office).unchanged == 1
    assert simulate(used, night).unchanged == 1


def test_other_policies_of_the_key_count_on_both_sides(used: Kms) -> None:
    baseline = KmsPolicyName("acme", "prod", "baseline")
    used.run(used.parts.kms_policies.create(used.call(AUTHOR), baseline, {"rules": [ANN_ONLY]}, ""))
    used.run(used.parts.kms_policies.set_namespace_policies(used.call(AUTHOR), PROD, [baseline], ""))
    assert simulate(used, ANN_ONLY).unchanged == 4
    assert told(simulate(used, ALL, name=baseline)) == {
        ("bob", "ENCRYPT", "DENY", "ALLOW"): 1,
        ("bob", "MAC", "DENY", "ALLOW"): 1,
    }
    used.run(used.parts.kms_policies.delete(used.call(AUTHOR), baseline, ""))
    assert simulate(used, rule("none", "DENY")).unchanged == 4


def test_names_labels_and_roles_are_those_of_now(used: Kms) -> None:
    labels = {"app": "ann"}
    enrol(used, Grant(BOB.identity, labels=labels, roles=BOB.roles))
    assert simulate(used, ANN_ONLY).unchanged == 4
    enrol(used, Grant(BOB.identity, labels=labels))
    assert told(simulate(used, rule("none", "DENY"))) == {("ann", "ENCRYPT", "ALLOW", "DENY"): 2}
    revoke(used, BOB.identity)
    assert simulate(used, ANN_ONLY).unknown_callers == 2


def test_only_the_last_events_of_the_tenant_are_looked_at(used: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        use(used, BOB)
    found = simulate(used, ANN_ONLY, events=2)
    assert (found.events, told(found)) == (2, {("bob", "ENCRYPT", "ALLOW", "DENY"): 2})
    whole = simulate(used, ANN_ONLY)
    monkeypatch.setattr(recorded_requests, "BATCH", 3)
    assert replace(simulate(used, ANN_ONLY), events=whole.events) == whole
    monkeypatch.setattr(recorded_requests, "MAX_LOOKED_AT", 2)
    assert simulate(used, ANN_ONLY).events == 2


@pytest.mark.parametrize("events", [0, 10_001])
def test_number_of_events_is_limited(used: Kms, events: int) -> None:
    with pytest.raises(LimitExceeded, match="event_count"):
        simulate(used, ALL, events=events)


def test_re_encryption_asks_two_operations_and_each_is_recorded(used: Kms) -> None:
    sealed = one(used, "encrypt", Plain(b"secret", b"a"), ANN, KEY).data
    used.run(used.parts.cryptography.re_encrypt(used.call(ANN), KEY, KEY, [(Sealed(sealed, b"a"), b"a")]))
    found = simulate(used, rule("from", operations=["REENCRYPT_FROM", "ENCRYPT"]))
    assert ("ann", "REENCRYPT_TO", "ALLOW", "DENY") in told(found)
    assert not [change for change, _ in found.changes if change.operation == "REENCRYPT_FROM"]


def test_random_bytes_are_asked_of_the_namespace_alone(used: Kms) -> None:
    used.run(used.parts.kms_policies.set_namespace_policies(used.call(AUTHOR), PROD, [ORDERS], ""))
    used.run(used.parts.randomness.generate(used.call(ANN), PROD, [16]))
    assert ("ann", "GENERATE_RANDOM", "ALLOW", "DENY") in told(simulate(used, rule("none", "DENY")))


def test_what_is_no_key_any_more_or_asks_other_policies_is_left_out(used: Kms) -> None:
    other = KmsPolicyName("acme", "prod", "other")
    used.run(used.parts.kms_policies.create(used.call(AUTHOR), other, {"rules": [ALL]}, ""))
    assert simulate(used, rule("none", "DENY"), name=other).requests == 0
    raw = RawSealed(RawCiphertext(bytes(12), b"", bytes(16)), b"a")
    with pytest.raises(Denied):
        one(used, "raw_decrypt", raw, ANN, replace(KEY, key="gone"))
    assert simulate(used, ALL).requests == 4


def test_policy_must_be_there_and_the_draft_valid(used: Kms) -> None:
    with pytest.raises(NotFound):
        simulate(used, ALL, name=replace(ORDERS, policy="missing"))
    with pytest.raises(InvalidField, match=r"rules\[0\]\.client_selector\.expressions\[0\]: position 1"):
        simulate(used, rule("a", client_selector={"expressions": ["=a"]}))
    used.run(used.parts.kms_policies.delete(used.call(AUTHOR), ORDERS, ""))
    with pytest.raises(WrongState):
        simulate(used, ALL)


@pytest.mark.parametrize("who", [WEB, caller("u", "key-user"), caller("g", "auditor", tenant="globex")])
def test_simulating_needs_a_role_that_reads_policies(used: Kms, who: Any) -> None:
    with pytest.raises(Denied):
        used.run(used.parts.simulations.kms(used.call(who), ORDERS, {"rules": []}, 1))
    with pytest.raises(Denied):
        used.run(used.parts.simulations.secret(used.call(who), WEB_TLS, {"rules": []}, 1))


def of_secret(kms: Kms, *rules: dict[str, Any], **more: Any) -> Simulation:
    content = {"rules": list(rules)} | more
    return kms.run(kms.parts.simulations.secret(kms.call(AUDITOR), WEB_TLS, content, 1000))


@pytest.fixture
def opened(kms: Kms) -> Kms:
    """The policy web-tls, under which web has opened, and batch was denied."""
    for who in (WEB, BATCH):
        enrol(kms, Grant(who.identity, labels=who.labels))
    kms.add_key()
    kms.add_policy()
    kms.add_policy(name=SecretPolicyName("acme", "prod", "other"))
    sealed = kms.seal(b"secret")
    kms.open(sealed, WEB)
    kms.open(kms.seal(b"secret", SecretPolicyName("acme", "prod", "other")), WEB)
    with pytest.raises(Denied):
        kms.open(sealed, BATCH)
    return kms


def test_openings_are_simulated_denied_ones_too(opened: Kms) -> None:
    assert of_secret(opened, *ALLOW_WEB["rules"]).unchanged == 2
    batch = rule("batch", client_selector={"expressions": ["app=batch"]})
    found = of_secret(opened, batch)
    assert told(found) == {("web", "", "ALLOW", "DENY"): 1, ("batch", "", "DENY", "ALLOW"): 1}
    assert {change.resource for change, _ in found.changes} == {str(WEB_TLS)}
    team = rule("team", label_matcher={"keys": ["app"]})
    assert told(of_secret(opened, team, labels={"app": "web"})) == {}


def test_next_revision_has_no_deny_overlay(opened: Kms) -> None:
    first = SecretPolicyRevisionName("acme", "prod", "web-tls", 1)
    service = opened.parts.secret_policies
    opened.run(service.narrow_revision(opened.call(AUTHOR), first, (WEB.spiffe_id,), "", ""))
    assert told(of_secret(opened, *ALLOW_WEB["rules"])) == {("web", "", "DENY", "ALLOW"): 1}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents())
def test_simulating_the_policy_as_it_is_changes_nothing(used: Kms, content: Any) -> None:
    used.run(used.parts.kms_policies.update(used.call(AUTHOR), ORDERS, content, ""))
    found = used.run(used.parts.simulations.kms(used.call(AUDITOR), ORDERS, content, 1000))
    assert (found.changes, found.unchanged) == ((), 4)


def test_a_copy_asks_the_policies_of_both_keys(used: Kms) -> None:
    """Of the key that the copy went to, the import."""
    copies = caller("carl", "key-admin", app="carl")
    enrol(used, Grant(copies.identity, labels=copies.labels, roles=copies.roles))
    target = replace(KEY, key="target")
    add_key(used, name=target, policy=ORDERS)
    source = KeyVersionName("acme", "prod", "orders", 1)
    used.run(used.parts.transfers.copy(used.call(copies), source, target, make_primary=False))
    found = simulate(used, rule("no", "DENY", operations=["IMPORT"]), ALL)
    [(change, count)] = found.changes
    assert (change.caller, change.operation, count) == (copies.spiffe_id, "IMPORT", 1)
    assert change.resource == f"{target}/versions/2"
