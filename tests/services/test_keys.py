"""Keys and their versions: created, changed, rotated, stopped, destroyed."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ADMIN, KEY_ADMIN, PROD, WEB, Kms, caller

from kms.errors import (
    AlreadyExists,
    Denied,
    DeviceAbsent,
    EtagMismatch,
    InvalidField,
    LimitExceeded,
    NotFound,
    StoreTampered,
    WrongState,
)
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.lifecycle import Verb
from kms.model.names import KeyName, KeyVersionName, KmsPolicyName
from kms.model.records import KeyRecord, KeyVersionRecord
from kms.model.sensitivity import Sensitivity
from kms.services.keys import KeyQuery, KeySettings
from kms.services.repository import Loaded
from kms.storage.interface import WriteConflict

NAME = KeyName("acme", "prod", "orders")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def version(number: int) -> KeyVersionName:
    return KeyVersionName("acme", "prod", "orders", number)


def create(
    kms: Kms,
    name: KeyName = NAME,
    purpose: Purpose = Purpose.ENCRYPT_DECRYPT,
    algorithm: str = "",
    settings: KeySettings | None = None,
    request_id: str = "",
    who: Any = KEY_ADMIN,
) -> Loaded[KeyRecord]:
    making = kms.parts.keys.create(
        kms.call(who), name, purpose, algorithm, settings or KeySettings(), request_id
    )
    return kms.run(making)


def update(kms: Kms, etag: str = "", **changes: Any) -> Loaded[KeyRecord]:
    changing = kms.parts.keys.update(kms.call(KEY_ADMIN), NAME, lambda old: replace(old, **changes), etag)
    return kms.run(changing)


def rotate(kms: Kms) -> int:
    return kms.run(kms.parts.keys.rotate(kms.call(KEY_ADMIN), NAME)).record.primary


def change(kms: Kms, verb: Verb, number: int = 1, **more: Any) -> str:
    changing = kms.parts.key_versions.change(kms.call(KEY_ADMIN), version(number), verb, "", **more)
    return kms.run(changing).row.record.state


def stored(kms: Kms, number: int = 1) -> KeyVersionRecord:
    return kms.run(kms.parts.key_versions.get(kms.call(KEY_ADMIN), version(number))).row.record


@pytest.mark.parametrize("algorithm", [item for item in ALGORITHMS.values() if item.key_bits <= 2048])
def test_every_algorithm_makes_a_key_with_a_first_version(kms: Kms, algorithm: Any) -> None:
    for purpose in sorted(algorithm.purposes):
        name = KeyName("acme", "prod", f"k-{purpose.lower().replace('_', '-')}")
        key = create(kms, name, purpose, algorithm.name)
        assert (key.record.primary, key.record.last_version) == (1, 1)
        row = kms.parts.repository.require(KeyVersionRecord, f"{name}/versions/0000000001").record
        assert (row.state, row.algorithm, row.sensitivity) == ("ENABLED", algorithm.name, "MEDIUM")
        assert bool(row.public_key) == algorithm.is_asymmetric


def test_default_algorithm_is_the_first_of_its_purpose(kms: Kms) -> None:
    assert create(kms).record.algorithm == "AES_256_GCM"


def test_algorithm_of_another_purpose_is_refused(kms: Kms) -> None:
    with pytest.raises(InvalidField, match="for MAC it is one of HMAC_SHA256"):
        create(kms, purpose=Purpose.MAC, algorithm="AES_256_GCM")


def test_stored_bytes_are_wrapped_and_bound_to_their_place(kms: Kms) -> None:
    create(kms)
    create(kms, replace(NAME, key="other"))
    record = stored(kms)
    assert len(kms.parts.keyring.unwrap_key_version(version(1), record)) == 32
    with pytest.raises(StoreTampered):
        kms.parts.keyring.unwrap_key_version(replace(version(1), key="other"), record)


def test_name_is_taken_once_but_the_same_request_may_repeat(kms: Kms) -> None:
    first = create(kms, request_id="r")
    assert create(kms, request_id="r").record == first.record
    with pytest.raises(AlreadyExists):
        create(kms, request_id="s")


def test_high_keys_are_refused_without_a_device(kms: Kms) -> None:
    with pytest.raises(DeviceAbsent, match="made inside a device"):
        create(kms, settings=KeySettings(sensitivity=Sensitivity.HIGH))
    create(kms)
    with pytest.raises(DeviceAbsent, match="made inside a device"):
        update(kms, sensitivity=Sensitivity.HIGH)


def test_sensitivity_rises_with_a_new_version_and_never_falls(kms: Kms) -> None:
    create(kms, settings=KeySettings(sensitivity=Sensitivity.LOW))
    raised = update(kms, sensitivity=Sensitivity.MEDIUM)
    assert (raised.record.primary, raised.record.sensitivity) == (2, "MEDIUM")
    assert (stored(kms, 1).sensitivity, stored(kms, 2).sensitivity) == ("LOW", "MEDIUM")
    with pytest.raises(InvalidField, match="only be raised"):
        update(kms, sensitivity=Sensitivity.LOW)


def test_settings_are_changed_under_the_etag(kms: Kms) -> None:
    key = create(kms)
    changed = update(kms, key.etag, description="orders", labels={"team": "sales"})
    assert (changed.record.description, dict(changed.record.labels)) == ("orders", {"team": "sales"})
    with pytest.raises(EtagMismatch):
        update(kms, key.etag, description="lost")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"rotation_period": timedelta(minutes=59)}, InvalidField),
        ({"rotation_period": timedelta(days=3651)}, InvalidField),
        ({"minimum_decrypt_version": 2}, InvalidField),
        ({"minimum_encrypt_version": -1}, InvalidField),
        ({"description": "d" * 2049}, LimitExceeded),
        ({"policy": KmsPolicyName("acme", "prod", "missing")}, NotFound),
        ({"policy": KmsPolicyName("globex", "prod", "p")}, NotFound),
    ],
)
def test_bad_settings_are_refused_and_nothing_changes(
    kms: Kms, changes: dict[str, Any], error: type[Exception]
) -> None:
    before = create(kms).record
    with pytest.raises(error):
        update(kms, **changes)
    assert kms.run(kms.parts.keys.get(kms.call(KEY_ADMIN), NAME)).record == before


def test_rotation_makes_a_new_primary_and_leaves_the_old_version(kms: Kms) -> None:
    create(kms)
    assert rotate(kms) == 2
    assert (stored(kms, 1).state, stored(kms, 2).state) == ("ENABLED", "ENABLED")
    views = kms.run(kms.parts.key_versions.list(kms.call(KEY_ADMIN), NAME, "", 10)).items
    assert [(view.name.version, view.primary) for view in views] == [(1, False), (2, True)]


def test_primary_may_be_set_back_to_an_enabled_version(kms: Kms) -> None:
    create(kms)
    rotate(kms)
    view = kms.run(kms.parts.key_versions.set_primary(kms.call(KEY_ADMIN), version(1), ""))
    assert view.primary
    change(kms, Verb.DISABLE, 2)
    with pytest.raises(WrongState, match="DISABLED"):
        kms.run(kms.parts.key_versions.set_primary(kms.call(KEY_ADMIN), version(2), ""))


def test_versions_are_stopped_and_destroyed_in_their_order(kms: Kms) -> None:
    create(kms)
    assert change(kms, Verb.DISABLE) == "DISABLED"
    assert change(kms, Verb.ENABLE) == "ENABLED"
    assert change(kms, Verb.MARK_COMPROMISED) == "COMPROMISED"
    assert change(kms, Verb.SCHEDULE_DESTROY, delay=DAY) == "DESTROY_SCHEDULED"
    assert change(kms, Verb.CANCEL_DESTROY) == "COMPROMISED"
    change(kms, Verb.SCHEDULE_DESTROY, delay=DAY)
    assert kms.run(kms.parts.upkeep.destroy_due(kms.now + DAY - HOUR)) == 0
    assert kms.run(kms.parts.upkeep.destroy_due(kms.now + DAY)) == 1
    assert (stored(kms).state, stored(kms).wrapped_key) == ("DESTROYED", b"")
    assert kms.run(kms.parts.upkeep.destroy_due(kms.now + DAY)) == 0


def test_cancelled_destruction_does_not_happen(kms: Kms) -> None:
    create(kms)
    change(kms, Verb.SCHEDULE_DESTROY, delay=DAY)
    change(kms, Verb.CANCEL_DESTROY)
    assert kms.run(kms.parts.upkeep.destroy_due(kms.now + 10 * DAY)) == 0
    assert stored(kms).state == "DISABLED"


def test_keys_rotate_on_schedule(kms: Kms) -> None:
    create(kms, settings=KeySettings(rotation_period=DAY))
    upkeep = kms.parts.upkeep
    assert kms.run(upkeep.rotate_due(kms.now + DAY - HOUR)) == 0
    assert kms.run(upkeep.rotate_due(kms.now + DAY)) == 1
    assert kms.last_event()["action"] == "Kms.RotateKey"
    assert kms.run(upkeep.rotate_due(kms.now + DAY)) == 0
    key = kms.run(kms.parts.keys.get(kms.call(KEY_ADMIN), NAME)).record
    assert (key.primary, key.next_rotation_time) == (2, kms.now + 2 * DAY)


def test_missed_rotations_happen_once_and_a_clock_set_back_does_nothing(kms: Kms) -> None:
    create(kms, settings=KeySettings(rotation_period=HOUR))
    upkeep = kms.parts.upkeep
    assert kms.run(upkeep.rotate_due(kms.now + 30 * DAY)) == 1
    assert kms.run(upkeep.rotate_due(kms.now + 30 * DAY)) == 0
    assert kms.run(upkeep.rotate_due(kms.now - 30 * DAY)) == 0


def test_schedule_that_is_taken_away_rotates_no_more(kms: Kms) -> None:
    create(kms, settings=KeySettings(rotation_period=HOUR))
    update(kms, rotation_period=None, next_rotation_time=None)
    assert kms.run(kms.parts.upkeep.rotate_due(kms.now + DAY)) == 0


def test_of_two_rotations_at_once_one_happens(kms: Kms) -> None:
    create(kms)
    keys, guard = kms.parts.keys, kms.parts.guard

    async def both() -> list[Any]:
        record = kms.parts.repository.require(KeyRecord, str(NAME)).record
        async with keys.drawn(NAME, record, kms.now) as one, keys.drawn(NAME, record, kms.now) as other:
            units = [keys.rotation(NAME, item, kms.now)[1] for item in (one, other)]
        event = kms.call(KEY_ADMIN).event("Kms.RotateKey", str(NAME), "ALLOW")
        return await asyncio.gather(*[guard.commit(unit, [event]) for unit in units], return_exceptions=True)

    outcomes = kms.run(both())
    assert [type(outcome) for outcome in outcomes].count(WriteConflict) == 1
    assert kms.run(keys.get(kms.call(KEY_ADMIN), NAME)).record.last_version == 2


def test_keys_are_listed_by_label_and_state(kms: Kms) -> None:
    for name, labels in (("a", {"team": "x"}), ("b", {"team": "y"}), ("c", {})):
        create(kms, replace(NAME, key=name), settings=KeySettings(labels=labels))

    def listed(selector: str = "", state: str = "") -> list[str]:
        asked = kms.parts.keys.list(kms.call(ADMIN), PROD, KeyQuery(selector, state), "", 10)
        return [item.name.rpartition("/")[2] for item in kms.run(asked).items]

    assert listed() == ["a", "b", "c"]
    assert listed("team in (x, y)") == ["a", "b"]
    assert listed("!team", "ENABLED") == ["c"]
    assert listed(state="DISABLED") == []
    for query in (("team in (", ""), ("", "BROKEN")):
        with pytest.raises(InvalidField):
            listed(*query)


def test_key_admin_manages_keys_and_nobody_else_does(kms: Kms) -> None:
    create(kms)
    for who in (ADMIN, WEB, caller("user", "key-user"), caller("x", "key-admin", tenant="globex")):
        with pytest.raises(Denied):
            kms.run(kms.parts.keys.rotate(kms.call(who), NAME))
        with pytest.raises(Denied):
            create(kms, replace(NAME, key="new"), who=who)
    assert kms.run(kms.parts.keys.get(kms.call(KEY_ADMIN), NAME)).record.last_version == 1


def test_missing_keys_are_not_found_for_those_who_may_list(kms: Kms) -> None:
    with pytest.raises(NotFound):
        rotate(kms)
    create(kms)
    with pytest.raises(NotFound):
        change(kms, Verb.DISABLE, 7)


def test_rotation_and_change_of_what_is_not_there_are_in_the_audit_trail(kms: Kms) -> None:
    for call in (
        kms.parts.keys.rotate(kms.call(KEY_ADMIN), NAME),
        kms.parts.keys.update(kms.call(KEY_ADMIN), NAME, lambda settings: settings, ""),
    ):
        with pytest.raises(NotFound):
            kms.run(call)
        event = kms.last_event()
        assert (event["resource"], event["decision"], event["reason"]) == (str(NAME), "FAIL", "NOT_FOUND")


def test_what_was_compromised_stays_so(kms: Kms) -> None:
    create(kms)
    change(kms, Verb.MARK_COMPROMISED)
    change(kms, Verb.SCHEDULE_DESTROY, delay=DAY)
    assert change(kms, Verb.CANCEL_DESTROY) == "COMPROMISED"
    for verb in (Verb.ENABLE, Verb.DISABLE):
        with pytest.raises(WrongState):
            change(kms, verb)


def test_a_cancelled_destruction_of_a_sound_version_leaves_it_disabled(kms: Kms) -> None:
    create(kms)
    change(kms, Verb.SCHEDULE_DESTROY, delay=DAY)
    assert change(kms, Verb.CANCEL_DESTROY) == "DISABLED"


def test_a_selector_has_a_limit_and_is_read_for_those_alone_who_may_list(kms: Kms) -> None:
    query = KeyQuery(selector="a," * 2049)
    for who, error in ((KEY_ADMIN, LimitExceeded), (WEB, Denied)):
        with pytest.raises(error):
            kms.run(kms.parts.keys.list(kms.call(who), PROD, query, "", 10))


def test_the_same_request_id_does_not_give_another_key(kms: Kms) -> None:
    create(kms, request_id="r")
    with pytest.raises(AlreadyExists, match="of another purpose"):
        create(kms, purpose=Purpose.MAC, request_id="r")
    with pytest.raises(AlreadyExists, match="of another purpose"):
        create(kms, settings=KeySettings(sensitivity=Sensitivity.LOW), request_id="r")


def test_a_key_is_not_rotated_for_a_version_that_is_no_longer_primary(kms: Kms) -> None:
    create(kms)
    upkeep = kms.parts.upkeep
    upkeep.want(NAME, 1)
    rotate(kms)
    assert kms.run(upkeep.rotate_wanted(kms.now)) == 0
    upkeep.want(NAME, 2)
    assert kms.run(upkeep.rotate_wanted(kms.now)) == 1
    upkeep.want(NAME)
    assert kms.run(upkeep.rotate_wanted(kms.now)) == 1
    upkeep.want(replace(NAME, key="missing"))
    assert kms.run(upkeep.rotate_wanted(kms.now)) == 0
