"""What a caller may do with a key is found out once, and anew when anything has changed that it hangs on."""

import gc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ACME, AUTHOR, KEY_ADMIN, OPERATOR, PROD, Kms
from services.test_cryptography import NAME, POLICY, USER, add_key, change, one, rotate

from kms.authz.compile import CompiledPolicy
from kms.errors import Denied, KmsError, WrongState
from kms.model.lifecycle import Verb
from kms.model.names import KmsPolicyName, PrefixSetName
from kms.model.tenant_lifecycle import TenantVerb
from kms.services import key_access
from kms.services.cryptography import Plain, Sealed
from kms.services.guard import Guard
from kms.services.key_access import KeyAccess, KeyAccesses
from kms.services.prefix_sets import PrefixSetSettings

ITEM = Plain(b"secret")
OFFICE = PrefixSetName("acme", "office")
BY_DAY = {"start_time": "06:00", "end_time": "18:00"}


def rule(**predicates: Any) -> dict[str, Any]:
    return {"rules": [{"name": "rule", "action": "ALLOW", **predicates}]}


def set_policy(kms: Kms, content: dict[str, Any]) -> None:
    kms.run(kms.parts.kms_policies.update(kms.call(AUTHOR), POLICY, content, ""))


@pytest.fixture
def used(kms: Kms) -> Kms:
    """With a key that USER has encrypted under, from an address in a prefix set that the policy names.

    The first use writes a row: it sets uses aside.
    """
    settings = PrefixSetSettings(("192.0.2.0/24",))
    kms.run(kms.parts.prefix_sets.create(kms.call(AUTHOR), OFFICE, settings, ""))
    content = rule(ip_prefixes=["prefixSets/office"])
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, content, ""))
    add_key(kms)
    for _ in range(2):
        one(kms, "encrypt", ITEM)
    return kms


def test_a_second_use_asks_nothing_again(used: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    check = Guard.check
    monkeypatch.setattr(Guard, "check", lambda *args: asked.append(args) or check(*args))
    one(used, "encrypt", ITEM)
    assert asked == []
    assert used.last_event()["reason"] == "rule"
    change(used, Verb.DISABLE)
    asked.clear()
    with pytest.raises(WrongState):
        one(used, "encrypt", ITEM)
    assert len(asked) == 1


def close_office(kms: Kms) -> None:
    kms.run(
        kms.parts.prefix_sets.update(
            kms.call(AUTHOR), OFFICE, lambda settings: replace(settings, prefixes=("203.0.113.0/24",)), ""
        )
    )


def choose_another_policy(kms: Kms) -> None:
    other = KmsPolicyName("acme", "prod", "other")
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), other, rule(client_name="nobody"), ""))
    kms.run(kms.parts.kms_policies.set_namespace_policies(kms.call(AUTHOR), PROD, [other], ""))


def delete_policy(kms: Kms) -> None:
    kms.run(kms.parts.kms_policies.delete(kms.call(AUTHOR), POLICY, ""))


def disable_tenant(kms: Kms) -> None:
    kms.run(kms.parts.tenant_life.change(kms.call(OPERATOR), ACME, TenantVerb.DISABLE, ""))


def raise_minimum(kms: Kms) -> None:
    kms.run(kms.parts.keys.rotate(kms.call(KEY_ADMIN), NAME))
    change(kms, Verb.DISABLE, 2)


@pytest.mark.parametrize(
    "alter",
    [
        lambda kms: set_policy(kms, rule(operations=["MAC"])),
        close_office,
        choose_another_policy,
        delete_policy,
        disable_tenant,
        raise_minimum,
        lambda kms: change(kms, Verb.MARK_COMPROMISED),
    ],
)
def test_a_change_of_any_row_it_hangs_on_is_seen_by_the_next_use(
    used: Kms, alter: Callable[[Kms], None]
) -> None:
    one(used, "encrypt", ITEM)
    alter(used)
    with pytest.raises(KmsError):
        one(used, "encrypt", ITEM)


@pytest.mark.parametrize(
    "who",
    [
        replace(USER, address="198.51.100.7"),
        replace(USER, roles=frozenset({"auditor"})),
        replace(USER, address=""),
    ],
)
def test_the_same_identity_in_other_respects_is_another_caller(used: Kms, who: Any) -> None:
    with pytest.raises(Denied):
        one(used, "encrypt", ITEM, who)
    one(used, "encrypt", ITEM)


def test_another_operation_of_the_same_caller_is_asked_for_itself(used: Kms) -> None:
    set_policy(used, rule(operations=["ENCRYPT"]))
    sealed = one(used, "encrypt", ITEM)
    with pytest.raises(Denied):
        one(used, "decrypt", Sealed(sealed.data))


def test_a_policy_that_reads_the_clock_is_asked_at_every_use(used: Kms) -> None:
    set_policy(used, rule(time_window=BY_DAY))
    one(used, "encrypt", ITEM)
    used.pass_time(timedelta(hours=8))
    with pytest.raises(Denied):
        one(used, "encrypt", ITEM)
    used.pass_time(timedelta(hours=12))
    one(used, "encrypt", ITEM)


def test_a_policy_that_reads_the_item_is_asked_for_every_item(used: Kms) -> None:
    set_policy(used, rule(aad_matcher={"equals": ["Z29vZA=="]}))
    items = [Plain(b"s", b"good"), Plain(b"s", b"bad"), Plain(b"s", b"good")]
    for _ in range(2):
        results = used.run(used.parts.cryptography.encrypt(used.call(USER), NAME, items))
        assert [isinstance(result, Denied) for result in results] == [False, True, False]


def test_a_stopped_version_is_not_kept(used: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    forget = KeyAccesses.forget

    def forget_and_look(accesses: KeyAccesses) -> None:
        forget(accesses)
        kept.append(len(accesses._kept._kept))

    monkeypatch.setattr(KeyAccesses, "forget", forget_and_look)
    change(used, Verb.DISABLE)
    assert kept == [0, 0]


def living(kind: type[Any]) -> list[Any]:
    gc.collect()
    return [item for item in gc.get_objects() if type(item) is kind]


def test_what_is_kept_holds_no_policy(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy takes megabytes, and a caller has any number of addresses: its own limit must hold for it."""
    before = len(living(CompiledPolicy))
    kms.parts.cryptography._operations._policies._contents._policies._limit = 0
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, rule(), ""))
    add_key(kms)
    for number in range(5):
        one(kms, "encrypt", ITEM, replace(USER, address=f"192.0.2.{number}"))
    assert len(living(KeyAccess)) >= 3
    assert len(living(CompiledPolicy)) <= before


def test_of_many_versions_of_a_key_few_are_kept(used: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_access, "MAX_SERVED", 2)
    set_policy(used, rule())
    sealed = []
    for _ in range(3):
        sealed.append(Sealed(one(used, "encrypt", ITEM).data))
        rotate(used)
    for _ in range(2):
        results = used.run(used.parts.cryptography.decrypt(used.call(USER), NAME, sealed))
        assert [result.data for result in results] == [b"secret"] * 3
    assert max(len(access.served) for access in living(KeyAccess)) == 2
