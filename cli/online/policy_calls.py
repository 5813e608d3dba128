"""Calls about policies of either kind."""

from collections.abc import Mapping
from typing import Any

import click

from cli.online.names import resolve
from cli.online.session import Session
from cli.online.view import view
from cli.options import STREAM
from cli.policy_kind import Kind
from kms.model.names import NamespaceName
from kms.model.policy import PolicyContent, PolicyKind
from kms.model.policy_json import parse_policy, to_json

policy_argument = click.argument("name", metavar="POLICY")
content_argument = click.argument("content", metavar="FILE", type=STREAM)
namespace_argument = click.argument("namespace", metavar="NAMESPACE")


def namespace_name(session: Session, namespace: str) -> str:
    return str(resolve(NamespaceName, namespace, session.tenant))


def call(session: Session, kind: Kind, verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """`Create` stands for `CreateKmsPolicy` or `CreateSecretPolicy`. Raises `CallFailed`."""
    return session.call(kind.service, f"{verb}{kind.resource}", request)


def content_of(answer: Mapping[str, Any], kind: Kind) -> PolicyContent:
    """What a policy, or a revision, of the API says."""
    return parse_policy(view(answer)["content"], kind.policy)


def to_api(content: PolicyContent) -> dict[str, Any]:
    """A content as the API takes it."""
    obj: dict[str, Any] = to_json(content)
    prefixed = {name: _PREFIXES[name] + value for name, value in obj.items() if name in _PREFIXES}
    result = obj | prefixed | {"rules": [_rule_to_api(rule) for rule in obj["rules"]]}
    if content.kind is PolicyKind.KMS:
        return result
    seconds = result.pop("decrypt_cache_timeout_seconds", 0)
    return result | {"decrypt_cache_timeout": f"{seconds}s"}


_PREFIXES = {"rule_combining": "RULE_COMBINING_", "binding": "BINDING_"}


def _rule_to_api(rule: dict[str, Any]) -> dict[str, Any]:
    result = rule | {"action": f"ACTION_{rule['action']}"}
    for field in ("client_name_matcher", "key_matcher"):
        matcher = rule.get(field, {})
        if "transformers" in matcher:
            names = [f"TRANSFORMER_{name}" for name in matcher["transformers"]]
            result[field] = matcher | {"transformers": names}
    if "operations" in rule:
        result["operations"] = [f"OPERATION_{name}" for name in rule["operations"]]
    return result
