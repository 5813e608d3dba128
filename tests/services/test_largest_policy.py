"""The largest policy that is accepted fits everything it is put into: row, document, bundle, decision."""

import json
from dataclasses import replace
from typing import Any

import pytest
from services.conftest import AUTHOR, PROD, WEB, WEB_TLS, Kms

from kms.errors import LimitExceeded
from kms.model.names import KmsPolicyName
from kms.model.policy import PolicyKind
from kms.model.policy_json import MAX_POLICY_BYTES, parse_policy, to_json


def size_of(content: dict[str, Any]) -> int:
    parsed = to_json(parse_policy(content, PolicyKind.SECRET))
    return len(json.dumps(parsed, ensure_ascii=False, separators=(",", ":")).encode())


def content_of(size: int) -> dict[str, Any]:
    """A policy of exactly that many bytes, which allows app=web by its last rule."""
    web = {"name": "web", "action": "ALLOW", "client_selector": {"expressions": ["app=web"]}}
    rules: list[dict[str, Any]] = []
    while size - size_of({"rules": [*rules, web]}) > 20_000:
        number = len(rules)
        names = [f"{number:03d}-{index:02d}-" + "x" * 240 for index in range(64)]
        rules.append({"name": f"r{number}", "action": "DENY", "client_name_matcher": {"exact_values": names}})
    rest = size - size_of({"rules": [*rules, web]})
    for number in range(rest // 2000):
        rules.append({"name": f"d{number}", "action": "DENY", "client_name": "n", "description": "x" * 1900})
    rest = size - size_of({"rules": [*rules, web], "description": "x"}) + 1
    return {"rules": [*rules, web], "description": "x" * rest}


def test_the_largest_policy_is_created_read_listed_signed_sealed_to_and_opened(kms: Kms) -> None:
    content = content_of(MAX_POLICY_BYTES)
    kms.add_key()
    made = kms.add_policy(content)
    policies = kms.parts.secret_policies
    read = kms.run(policies.get(kms.call(AUTHOR), WEB_TLS))
    listed = kms.run(policies.list(kms.call(AUTHOR), PROD, "", 10, show_deleted=False))
    assert read.current.document == made.current.document == listed.items[0].current.document
    assert kms.open(kms.seal(b"secret"), WEB) == b"secret"


def test_one_byte_more_is_refused(kms: Kms) -> None:
    content = content_of(MAX_POLICY_BYTES)
    content["description"] += "x"
    with pytest.raises(LimitExceeded, match="700001 bytes, at most 700000"):
        kms.add_policy(content)


def test_each_revision_may_be_as_large(kms: Kms) -> None:
    kms.add_policy()
    update = kms.parts.secret_policies.update(kms.call(AUTHOR), WEB_TLS, content_of(MAX_POLICY_BYTES), "")
    assert kms.run(update).head.record.revision == 2


def walk(kms: Kms, lists: Any, parent: Any, **more: Any) -> list[int]:
    """How many are on each page of at most ten."""
    after, sizes = "", []
    while True:
        page = kms.run(lists(kms.call(AUTHOR), parent, after, 10, **more))
        sizes.append(len(page.items))
        after = page.next_after
        if not after:
            return sizes


def test_pages_end_before_they_are_too_large_to_send(kms: Kms) -> None:
    """Or a list of ten of them would be refused by the transport, and of a thousand fill the memory."""
    secret, keys = kms.parts.secret_policies, kms.parts.kms_policies
    for number in range(4):
        content = content_of(MAX_POLICY_BYTES - number)
        kms.add_policy(content, replace(WEB_TLS, policy=f"p{number}"))
        kms.run(keys.create(kms.call(AUTHOR), KmsPolicyName("acme", "prod", f"k{number}"), content, ""))
        first = replace(WEB_TLS, policy="p0")
        kms.run(secret.update(kms.call(AUTHOR), first, content_of(MAX_POLICY_BYTES - 10 - number), ""))
        same = KmsPolicyName("acme", "prod", "k0")
        kms.run(keys.update(kms.call(AUTHOR), same, content_of(MAX_POLICY_BYTES - 10 - number), ""))
    assert walk(kms, secret.list, PROD, show_deleted=False) == [2, 2]
    assert walk(kms, keys.list, PROD, show_deleted=False) == [2, 2]
    assert walk(kms, secret.list_revisions, first) == [2, 2, 1]
    assert walk(kms, keys.list_revisions, same) == [2, 2, 1]
