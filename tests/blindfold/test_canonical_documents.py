"""Canonical JSON, and the documents made of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from blindfold import Binding, KeyDocument, PolicyDocument
from blindfold._canonical import MAX_DOCUMENT, dump, load
from blindfold.documents import document_exponent
from blindfold.errors import DocumentInvalid
from testvectors import material

POLICY = material.policy()


@pytest.mark.parametrize(
    "value", [{}, {"a": (1 << 53) - 1}, {"a": 1 - (1 << 53)}, {"": [True, None, {"é": "\x7f"}]}]
)
def test_canonical_json_is_read_back(value: Any) -> None:
    assert load(dump(value), "value") == value


REFUSED = {
    "nothing": b"",
    "an array": b"[]",
    "a string": b'"a"',
    "a number": b"7",
    "a space": b'{ "a":1}',
    "members out of order": b'{"b":1,"a":2}',
    "a name twice": b'{"a":1,"a":1}',
    "a name twice, within": b'{"a":{"b":1,"b":1}}',
    "2^53": b'{"a":9007199254740992}',
    "-2^53": b'{"a":-9007199254740992}',
    "a number of many digits": b'{"a":' + b"1" * 10_000 + b"}",
    "minus zero": b'{"a":-0}',
    "a fraction": b'{"a":0.5}',
    "a fraction that is whole": b'{"a":1.0}',
    "an exponent": b'{"a":1e3}',
    "not a number": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "an escape that need not be": b'{"a":"\\u0041"}',
    "a lone surrogate in a value": b'{"a":"\\ud800"}',
    "a lone surrogate in a name": b'{"\\ud800":1}',
    "Latin-1": b'{"a":"\xe9"}',
    "overlong UTF-8": b'{"a":"\xc1\x81"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a trailing newline": b"{}\n",
    "two values": b"{}{}",
    "deep nesting": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nesting that only printing minds": b'{"a":' + b"[" * 980 + b"]" * 980 + b"}",
    "more than 1 MiB": b'{"a":"' + b"x" * MAX_DOCUMENT + b'"}',
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_json_that_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        load(data, "value")
    assert caught.value.__context__ is None
    assert len(str(caught.value)) < 200


def test_document_of_exactly_1_mib_is_read() -> None:
    data = b'{"a":"' + b"x" * (MAX_DOCUMENT - 8) + b'"}'
    assert len(data) == MAX_DOCUMENT
    assert len(load(data, "value")["a"]) == MAX_DOCUMENT - 8


@pytest.mark.parametrize("value", [{"a": 1 << 53}, {"a": "\ud800"}, {"\ud800": 1}, {"a": b""}, {1: 2}])
def test_value_without_a_canonical_form_is_not_printed(value: Any) -> None:
    with pytest.raises(DocumentInvalid):
        dump(value)


# Key documents.


def altered_key(**changes: Any) -> bytes:
    return dump(json.loads(material.key().to_bytes()) | changes)


@pytest.mark.parametrize(
    "data",
    [
        altered_key(extra=1),
        altered_key(type=PolicyDocument.TYPE),
        altered_key(tenant="-"),
        altered_key(key_version="1"),
        altered_key(key_version=True),
        altered_key(key_version=1 << 32),
        altered_key(n=1),
        altered_key(n="AQ"),
        altered_key(n="A" * 700),
        altered_key(fingerprint="00"),
        altered_key(fingerprint=material.key(version=2).fingerprint.hex()),
    ],
)
def test_key_document_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        KeyDocument.parse(data)


def test_fingerprint_names_tenant_version_and_modulus() -> None:
    keys = [
        material.key(),
        material.key(tenant="acme2"),
        material.key(version=2),
        material.key("other"),
    ]
    assert len({key.fingerprint for key in keys}) == len(keys)
    assert material.key().fingerprint == KeyDocument.parse(material.key().to_bytes()).fingerprint


# Policy documents.


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "Acme"},
        {"tenant": "a" * 64},
        {"namespace": ""},
        {"name": "a-"},
        {"name": "a\n"},
        {"revision": 0},
        {"revision": 1 << 32},
        {"uid": bytes(15)},
        {"nonce": bytes(17)},
        {"rule_combining": "FIRST"},
        {"labels": {"tier": 1}},
        {"decrypt_cache_timeout_seconds": -1},
        {"rules": ({"name": "r"},)},
    ],
    ids=str,
)
def test_policy_document_is_valid_once_built(changes: dict[str, Any]) -> None:
    with pytest.raises(DocumentInvalid):
        replace(POLICY, **changes)


def test_every_field_of_a_policy_changes_digest_and_exponent() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"namespace": "test"},
        {"name": "web"},
        {"uid": bytes(16)},
        {"revision": 2},
        {"nonce": bytes(16)},
        {"rule_combining": "DENY_OVERRIDES"},
        {"rules": ()},
        {"labels": {}},
        {"description": ""},
        {"decrypt_cache_timeout_seconds": 0},
    ]
    policies = [replace(POLICY, **change) for change in changes]
    assert len({policy.digest for policy in policies}) == len(changes)
    assert len({document_exponent(material.key(), policy) for policy in policies}) == len(changes)


def test_policy_binding_survives_an_edit_and_not_another_policy() -> None:
    named = replace(POLICY, binding=Binding.POLICY)
    edited = replace(named, revision=2, rules=(), nonce=bytes(16))
    assert edited.binding_value == named.binding_value
    assert edited.digest != named.digest
    others = [replace(named, name="other"), replace(named, uid=bytes(16)), replace(named, namespace="test")]
    assert len({named.binding_value, *(other.binding_value for other in others)}) == 4
