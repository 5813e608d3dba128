"""The content of a policy, from the JSON of docs/policies.md to the API's form."""

import json
from typing import Any

from blindfold.envelope import read_exactly
from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.secret_io import input_stream
from kms.model.policy import MAX_POLICY_BYTES, PolicyKind, parse_policy, to_json


def read_policy(name: str, kind: PolicyKind = PolicyKind.SECRET) -> dict[str, Any]:
    """A content from a file, or standard input for `-`, as the API takes it.

    Raises `InvalidField` and `LimitExceeded` with the path of the field at fault, `CliError`, `UsageError`.
    """
    with input_stream(name) as stream:
        # Space between the values is free, so the limit on what they are is the parser's.
        data = read_exactly(stream, 4 * MAX_POLICY_BYTES)
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse)
        problem = "" if isinstance(value, dict) else "not an object"
    except (ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        raise CliError(
            f"the policy is not JSON: {problem}",
            hint="docs/policies.md describes the form of policies.",
            code=ExitCode.USAGE,
        )
    return to_api(to_json(parse_policy(value, kind)), kind)


def to_api(content: dict[str, Any], kind: PolicyKind = PolicyKind.SECRET) -> dict[str, Any]:
    """The API's JSON for a content that `kms.model.policy.to_json` wrote."""
    prefixed = {name: _PREFIXES[name] + value for name, value in content.items() if name in _PREFIXES}
    result = content | prefixed | {"rules": [_rule_to_api(rule) for rule in content["rules"]]}
    if kind is PolicyKind.KMS:
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON value")
