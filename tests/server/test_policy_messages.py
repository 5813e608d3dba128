"""The content of policies as messages says what its JSON object says, and the other way round."""

import pytest
from authz.policy_strategies import policies
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given

from kms.errors import InvalidField
from kms.model.policy import PolicyKind
from kms.model.policy_json import parse_policy, to_json
from kms.server.json_messages import to_fields
from kms.server.policy_content import content_message, kms_content_message, to_content
from protos.kms.v1.kms_policy_pb2 import KmsPolicyContent
from protos.kms.v1.policy_pb2 import Action, Operation, Rule, Transformer
from protos.kms.v1.secret_policy_pb2 import Binding, SecretPolicyContent

WHOLE = {
    "rule_combining": "DENY_OVERRIDES",
    "rules": [
        {
            "name": "everything",
            "action": "ALLOW",
            "description": "all predicates",
            "client_name": "db.example.com",
            "client_name_matcher": {
                "exact_values": ["a"],
                "regex_values": [".*"],
                "transformers": ["LOWER_CASE", "NORMALIZE_PATH"],
            },
            "client_selector": {"expressions": ["app=web"]},
            "label_matcher": {"keys": ["team"]},
            "roles": ["auditor"],
            "ip_prefixes": ["10.0.0.0/8"],
            "ip_prefixes_except": ["10.66.0.0/16"],
            "time_window": {
                "not_before": "2030-01-01T00:00:00Z",
                "not_after": "2031-01-01T00:00:00Z",
                "days": ["FRIDAY"],
                "start_time": "22:00",
                "end_time": "06:00",
                "time_zone": "Europe/Prague",
            },
        },
        {"name": "others", "action": "DENY"},
    ],
    "labels": {"team": "web"},
    "description": "an example",
    "binding": "POLICY",
    "decrypt_cache_timeout_seconds": 300,
}
KMS_WHOLE = {
    "rule_combining": "ALLOW_OVERRIDES",
    "rules": [
        {
            "name": "orders",
            "action": "ALLOW",
            "operations": ["REENCRYPT_TO"],
            "key_matcher": {"regex_values": ["orders-[0-9]+"]},
            "aad_matcher": {"equals": [""], "starts_with": ["b3JkZXJzLw=="], "lacks": ["/w=="]},
        },
    ],
    "description": "an example",
}


def test_every_field_survives_both_ways():
    message = content_message(WHOLE)
    assert message.rules[0].client_name_matcher.transformers[1] == Transformer.TRANSFORMER_NORMALIZE_PATH
    assert (message.binding, message.decrypt_cache_timeout.seconds) == (Binding.BINDING_POLICY, 300)
    assert to_content(message) == WHOLE
    assert set(WHOLE["rules"][0]) | set(KMS_WHOLE["rules"][0]) == set(Rule.DESCRIPTOR.fields_by_name)


def test_every_field_of_a_kms_policy_survives_both_ways():
    message = kms_content_message(KMS_WHOLE)
    assert message.rules[0].operations == [Operation.OPERATION_REENCRYPT_TO]
    assert message.rules[0].aad_matcher.starts_with == [b"orders/"]
    assert to_content(message) == KMS_WHOLE
    assert set(KMS_WHOLE) == set(KmsPolicyContent.DESCRIPTOR.fields_by_name)


def test_what_is_unset_is_left_out():
    assert to_content(SecretPolicyContent()) == {}
    assert content_message({}) == SecretPolicyContent()
    message = SecretPolicyContent()
    message.rules.add(name="r", action=Action.ACTION_DENY)
    assert to_content(message) == {"rules": [{"name": "r", "action": "DENY"}]}


def test_a_predicate_that_is_set_but_empty_is_refused_by_the_language_at_its_place():
    message = SecretPolicyContent()
    message.rules.add(name="r", action=Action.ACTION_DENY).client_selector.SetInParent()
    with pytest.raises(InvalidField) as caught:
        parse_policy(to_content(message), PolicyKind.SECRET)
    assert caught.value.field == "rules[0].client_selector"


@pytest.mark.parametrize("action", [0, 99])
def test_unspecified_and_unknown_values_are_refused_at_their_place(action):
    message = SecretPolicyContent()
    message.rules.add(name="r", action=action)
    with pytest.raises(InvalidField) as caught:
        parse_policy(to_content(message), PolicyKind.SECRET)
    assert caught.value.field == "rules[0].action"


@pytest.mark.parametrize("transformer", [0, 99])
def test_unspecified_and_unknown_items_are_refused_at_their_place(transformer):
    message = SecretPolicyContent()
    matcher = message.rules.add(name="r", action=Action.ACTION_ALLOW).client_name_matcher
    matcher.exact_values.append("a")
    matcher.transformers.append(transformer)
    with pytest.raises(InvalidField) as caught:
        parse_policy(to_content(message), PolicyKind.SECRET)
    assert caught.value.field == "rules[0].client_name_matcher.transformers[0]"


def test_timeout_is_whole_seconds():
    message = SecretPolicyContent()
    message.decrypt_cache_timeout.FromMilliseconds(1500)
    with pytest.raises(InvalidField, match="whole seconds"):
        to_content(message)
    message.decrypt_cache_timeout.FromSeconds(0)
    assert to_content(message) == {"decrypt_cache_timeout_seconds": 0}


@given(policies(kms=False))
def test_any_content_survives_both_ways(policy):
    content = parse_policy(policy, PolicyKind.SECRET)
    assert parse_policy(to_content(content_message(to_json(content))), PolicyKind.SECRET) == content


@given(policies(kms=True))
def test_any_content_of_a_kms_policy_survives_both_ways(policy):
    content = parse_policy(policy, PolicyKind.KMS)
    assert parse_policy(to_content(kms_content_message(to_json(content))), PolicyKind.KMS) == content


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], None),
        (["*"], None),
        (["content"], None),
        (["content.rules", "*"], None),
        (["content.rules"], {"rules"}),
        (["content.labels", "content.decrypt_cache_timeout"], {"labels", "decrypt_cache_timeout_seconds"}),
    ],
)
def test_masks(paths, expected):
    assert to_fields(FieldMask(paths=paths), SecretPolicyContent) == expected


@pytest.mark.parametrize("path", ["rules", "name", "content.", "content.moon", "content.rules.name", ""])
def test_mask_that_names_no_field_of_the_content_is_refused(path):
    with pytest.raises(InvalidField) as caught:
        to_fields(FieldMask(paths=["content.rules", path]), SecretPolicyContent)
    assert caught.value.field == "update_mask"


@pytest.mark.parametrize("path", ["content.labels", "content.binding"])
def test_mask_of_a_kms_policy_names_its_own_fields(path):
    assert to_fields(FieldMask(paths=["content.rules"]), KmsPolicyContent) == {"rules"}
    with pytest.raises(InvalidField):
        to_fields(FieldMask(paths=[path]), KmsPolicyContent)
