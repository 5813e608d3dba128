"""Keys and their versions over the wire: made, listed, changed, rotated, stopped, destroyed."""

import base64
import uuid

import pytest
from server.kms_harness import PROD

from kms.client.errors import (
    CallAlreadyExists,
    CallConflict,
    CallDenied,
    CallInvalid,
    CallNotFound,
    CallWrongState,
)
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.lifecycle import VersionState
from kms.model.sensitivity import Sensitivity
from kms.server.convert import enum_text
from kms.services.key_material import Origin
from protos.kms.v1 import key_pb2
from protos.kms.v1.key_version_state_pb2 import KeyVersionState

SERVICE = "KeyService"


def call(kms, method, who="key-admin", **request):
    return kms.as_(who).call(SERVICE, method, request)


def update(kms, name, mask, **fields):
    return call(kms, "UpdateKey", key={"name": name} | fields, update_mask=mask)


def new_id():
    return f"k-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def key(kms):
    return kms.make_key(new_id(), description="orders", labels={"team": "shop"})


@pytest.mark.parametrize(
    ("enumeration", "names"),
    [
        (key_pb2.KeyPurpose, Purpose.__members__),
        (key_pb2.KeyAlgorithm, ALGORITHMS),
        (key_pb2.Sensitivity, Sensitivity.__members__),
        (key_pb2.KeyOrigin, Origin.__members__),
        (KeyVersionState, VersionState.__members__),
    ],
)
def test_the_api_has_the_names_of_the_model(enumeration, names):
    descriptor = enumeration.DESCRIPTOR
    assert {enum_text(descriptor, number) for number in descriptor.values_by_number} == {
        "UNSPECIFIED",
        *names,
    }


def test_key_is_made_with_a_primary_version(kms):
    name = kms.make_key("made", labels={"team": "shop"}, description="of the shop")
    made = call(kms, "GetKey", "key-user", name=name)
    assert {field: made[field] for field in made.keys() - {"create_time", "etag"}} == {
        "name": f"{PROD}/keys/made",
        "purpose": "KEY_PURPOSE_ENCRYPT_DECRYPT",
        "algorithm": "KEY_ALGORITHM_AES_256_GCM",
        "sensitivity": "SENSITIVITY_MEDIUM",
        "labels": {"team": "shop"},
        "description": "of the shop",
        "primary_version": f"{PROD}/keys/made/versions/1",
    }
    version = call(kms, "GetKeyVersion", "key-user", name=made["primary_version"])
    assert {field: version[field] for field in version.keys() - {"create_time", "generate_time", "etag"}} == {
        "name": made["primary_version"],
        "state": "KEY_VERSION_STATE_ENABLED",
        "primary": True,
        "algorithm": "KEY_ALGORITHM_AES_256_GCM",
        "sensitivity": "SENSITIVITY_MEDIUM",
        "origin": "KEY_ORIGIN_GENERATED",
        "nonce_budget": {"limit": str(2**32)},
    }


def test_versions_without_nonces_have_no_budget(kms):
    name = kms.make_key("codes", "MAC")
    assert "nonce_budget" not in call(kms, "GetKeyVersion", name=f"{name}/versions/1")


def test_create_is_repeated_by_its_request_id(kms):
    request = {
        "parent": PROD,
        "key_id": "repeated",
        "key": {"purpose": "KEY_PURPOSE_MAC"},
        "request_id": str(uuid.uuid4()),
    }
    first = call(kms, "CreateKey", **request)
    assert call(kms, "CreateKey", **request) == first
    with pytest.raises(CallAlreadyExists):
        call(kms, "CreateKey", **request | {"request_id": str(uuid.uuid4())})


BAD_KEYS = [
    ({}, "purpose"),
    ({"purpose": "KEY_PURPOSE_MAC", "algorithm": "KEY_ALGORITHM_AES_256_GCM"}, "algorithm"),
    ({"purpose": "KEY_PURPOSE_MAC", "sensitivity": 9}, "sensitivity"),
    ({"purpose": "KEY_PURPOSE_MAC", "labels": {"a b": "c"}}, "labels"),
    ({"purpose": "KEY_PURPOSE_MAC", "description": "x" * 2049}, "description"),
    ({"purpose": "KEY_PURPOSE_MAC", "rotation_period": "3599s"}, "rotation_period"),
    ({"purpose": "KEY_PURPOSE_MAC", "rotation_period": "3600.5s"}, "rotation_period"),
    ({"purpose": "KEY_PURPOSE_MAC", "next_rotation_time": "2099-01-01T00:00:00Z"}, "next_rotation_time"),
    ({"purpose": "KEY_PURPOSE_MAC", "kms_policy": "p"}, "kms_policy"),
]


@pytest.mark.parametrize(("key", "field"), BAD_KEYS)
def test_bad_key_is_refused_at_its_field(kms, key, field):
    with pytest.raises(CallInvalid) as caught:
        call(kms, "CreateKey", parent=PROD, key_id="never", key=key)
    assert [name for name, _ in caught.value.violations] == [field]


def test_high_keys_need_a_device(kms):
    with pytest.raises(CallWrongState, match="device"):
        kms.make_key("high", sensitivity="SENSITIVITY_HIGH")


@pytest.mark.parametrize("who", ["admin", "author", "key-user", "auditor", "stranger", "operator"])
def test_making_is_of_key_admins_and_of_their_tenant(kms, who):
    with pytest.raises(CallDenied):
        call(kms, "CreateKey", who, parent=PROD, key_id="mine", key={"purpose": "KEY_PURPOSE_MAC"})


def test_keys_are_listed_by_label_and_state_page_by_page(kms):
    team = new_id()
    names = sorted(kms.make_key(new_id(), labels={"team": team}) for _ in range(3))
    call(kms, "DisableKeyVersion", name=f"{names[0]}/versions/1")

    def listed(**filters):
        found, token = [], ""
        while True:
            page = call(kms, "ListKeys", "key-user", parent=PROD, page_size=2, page_token=token, **filters)
            found += [key["name"] for key in page.get("keys", [])]
            token = page.get("next_page_token", "")
            if not token:
                return found

    assert listed(label_selector=f"team={team}") == names
    assert listed(label_selector=f"team={team}", primary_state="KEY_VERSION_STATE_ENABLED") == names[1:]
    assert listed(label_selector=f"team={team}", primary_state="KEY_VERSION_STATE_DISABLED") == names[:1]
    assert set(names) < set(listed())
    for bad in ({"label_selector": "a<b"}, {"page_token": "Zm9v"}, {"page_size": -1}, {"primary_state": 99}):
        with pytest.raises(CallInvalid):
            call(kms, "ListKeys", parent=PROD, **bad)


def test_update_replaces_what_the_mask_names(kms, key):
    changed = update(kms, key, "labels,minimumEncryptVersion", labels={"a": "b"}, minimum_encrypt_version=1,
                     description="ignored")  # fmt: skip
    assert (changed["labels"], changed["minimum_encrypt_version"]) == ({"a": "b"}, 1)
    assert changed["description"] == "orders"
    assert "labels" not in update(kms, key, "labels")


@pytest.mark.parametrize("mask", ["", "*", "name", "purpose", "primaryVersion", "etag", "labels.team"])
def test_mask_that_names_another_field_is_refused(kms, key, mask):
    with pytest.raises(CallInvalid) as caught:
        update(kms, key, mask)
    assert caught.value.violations[0][0] == "update_mask"


def test_rotation_schedule_is_set_moved_and_taken_off(kms, key):
    scheduled = update(kms, key, "rotationPeriod", rotation_period="86400s")
    assert scheduled["rotation_period"] == "86400s"
    first = scheduled["next_rotation_time"]
    later = update(kms, key, "nextRotationTime", next_rotation_time="2099-01-01T00:00:00Z")
    assert later["next_rotation_time"] == "2099-01-01T00:00:00Z" > first
    assert update(kms, key, "rotationPeriod", rotation_period="3600s")["next_rotation_time"] < first
    assert {"rotation_period", "next_rotation_time"}.isdisjoint(update(kms, key, "rotationPeriod"))


def test_sensitivity_can_only_be_raised(kms):
    name = kms.make_key(new_id(), sensitivity="SENSITIVITY_LOW")
    raised = update(kms, name, "sensitivity", sensitivity="SENSITIVITY_MEDIUM")
    assert raised["primary_version"] == f"{name}/versions/2"
    old = call(kms, "GetKeyVersion", name=f"{name}/versions/1")
    assert (old["sensitivity"], "primary" in old) == ("SENSITIVITY_LOW", False)
    with pytest.raises(CallInvalid, match="raised"):
        update(kms, name, "sensitivity", sensitivity="SENSITIVITY_LOW")


def test_policy_is_attached_by_name(kms, key):
    policy = kms.as_("author").call(
        "KmsPolicyService",
        "CreateKmsPolicy",
        {"parent": PROD, "kms_policy_id": "attached", "kms_policy": {"content": {"rules": []}}},
    )["name"]
    assert update(kms, key, "kmsPolicy", kms_policy=policy)["kms_policy"] == policy
    with pytest.raises(CallNotFound):
        update(kms, key, "kmsPolicy", kms_policy=f"{policy}-none")
    assert "kms_policy" not in update(kms, key, "kmsPolicy")


def test_update_with_an_old_etag_is_a_conflict(kms, key):
    etag = call(kms, "GetKey", name=key)["etag"]
    update(kms, key, "description", description="new", etag=etag)
    with pytest.raises(CallConflict) as caught:
        update(kms, key, "description", description="newer", etag=etag)
    assert caught.value.reason == "ETAG_MISMATCH"


def test_rotation_makes_a_primary_version_and_keeps_the_old(kms, key):
    assert call(kms, "RotateKey", name=key)["primary_version"] == f"{key}/versions/2"
    versions = call(kms, "ListKeyVersions", "key-user", parent=key)["key_versions"]
    assert [(item["name"], item["state"], item.get("primary", False)) for item in versions] == [
        (f"{key}/versions/1", "KEY_VERSION_STATE_ENABLED", False),
        (f"{key}/versions/2", "KEY_VERSION_STATE_ENABLED", True),
    ]
    page = call(kms, "ListKeyVersions", parent=key, page_size=1)
    rest = call(kms, "ListKeyVersions", parent=key, page_token=page["next_page_token"])
    assert page["key_versions"] + rest["key_versions"] == versions


def test_primary_goes_back_to_an_enabled_version(kms, key):
    call(kms, "RotateKey", name=key)
    first = call(kms, "GetKeyVersion", name=f"{key}/versions/1")
    with pytest.raises(CallConflict):
        call(kms, "SetPrimaryKeyVersion", name=first["name"], etag="99")
    assert call(kms, "SetPrimaryKeyVersion", name=first["name"], etag=first["etag"])["primary"]
    assert call(kms, "GetKey", name=key)["primary_version"] == first["name"]
    call(kms, "DisableKeyVersion", name=f"{key}/versions/2")
    with pytest.raises(CallWrongState):
        call(kms, "SetPrimaryKeyVersion", name=f"{key}/versions/2")


def test_life_of_a_version(kms, key):
    name = f"{key}/versions/1"
    assert call(kms, "DisableKeyVersion", name=name)["state"] == "KEY_VERSION_STATE_DISABLED"
    assert call(kms, "EnableKeyVersion", name=name)["state"] == "KEY_VERSION_STATE_ENABLED"
    for delay in ("86399s", f"{120 * 86400 + 1}s"):
        with pytest.raises(CallInvalid, match="24 hours to 120 days"):
            call(kms, "ScheduleDestroyKeyVersion", name=name, delay=delay)
    scheduled = call(kms, "ScheduleDestroyKeyVersion", name=name, delay="86400s")
    assert scheduled["state"] == "KEY_VERSION_STATE_DESTROY_SCHEDULED"
    assert "destroy_time" in scheduled
    with pytest.raises(CallWrongState) as caught:
        call(kms, "EnableKeyVersion", name=name)
    assert caught.value.metadata["state"] == "DESTROY_SCHEDULED"
    cancelled = call(kms, "CancelDestroyKeyVersion", name=name)
    assert (cancelled["state"], "destroy_time" in cancelled) == ("KEY_VERSION_STATE_DISABLED", False)
    marked = call(kms, "MarkKeyVersionCompromised", name=name)
    assert marked["state"] == "KEY_VERSION_STATE_COMPROMISED"
    with pytest.raises(CallWrongState):
        call(kms, "EnableKeyVersion", name=name)


@pytest.mark.parametrize(
    "method",
    [
        "SetPrimaryKeyVersion",
        "EnableKeyVersion",
        "DisableKeyVersion",
        "MarkKeyVersionCompromised",
        "ScheduleDestroyKeyVersion",
        "CancelDestroyKeyVersion",
        "GetKeyVersion",
    ],
)
def test_versions_that_are_not_there_are_not_found_and_others_are_not_told(kms, key, method):
    with pytest.raises(CallNotFound):
        call(kms, method, name=f"{key}/versions/7")
    with pytest.raises(CallInvalid):
        call(kms, method, name=key)
    with pytest.raises(CallDenied):
        call(kms, method, "stranger", name=f"{key}/versions/1")
    with pytest.raises(CallDenied):
        call(kms, method, "web", name=f"{key}/versions/1")


def test_use_is_seen_in_the_version(kms, key):
    kms.allow_keys(policy_id=new_id())
    data = base64.b64encode(b"data").decode()
    kms.as_("key-user").call("CryptoService", "Encrypt", {"name": key, "plaintext": data})
    used = call(kms, "GetKeyVersion", name=f"{key}/versions/1")
    assert 1 <= int(used["nonce_budget"]["invocations"]) <= 1 << 14
    assert "last_used_time" in used
