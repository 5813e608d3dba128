"""Answers of the KMS as people and programs are shown them.

Binary fields are hexadecimal, numbers are numbers, and words lose the prefix that the API gives them, so that
the content of a policy is in the form of docs/policies.md and can be edited and sent back.
"""

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cli.offline.document_view import rule_text

_BINARY = frozenset({"uid", "digest", "fingerprint"})
_NUMBERS = frozenset({"sequence", "last_event", "candidates_tested", "tenant_count", "invocations", "limit"})
_PREFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "state": ("KEY_VERSION_STATE_", "STATE_"),
        "decision": ("DECISION_",),
        "action": ("ACTION_",),
        "grade": ("GRADE_",),
        "verdict": ("VERDICT_",),
        "before": ("VERDICT_",),
        "after": ("VERDICT_",),
        "operation": ("OPERATION_",),
        "binding": ("BINDING_",),
        "rule_combining": ("RULE_COMBINING_",),
        "transformers": ("TRANSFORMER_",),
        "operations": ("OPERATION_",),
        "purpose": ("KEY_PURPOSE_",),
        "algorithm": ("KEY_ALGORITHM_",),
        "sensitivity": ("SENSITIVITY_",),
        "origin": ("KEY_ORIGIN_",),
        "operation_classes": ("OPERATION_CLASS_",),
        "period": ("RATE_PERIOD_",),
        "kind": ("KIND_",),
    }
)
_TIMEOUT = "decrypt_cache_timeout"
_CONTENT = "content"
# Maps whose keys are somebody's own words.
_FREE = frozenset({"labels", "details", "claims"})


def view(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The whole of an answer, for a program."""
    shown = {name: _value(name, value) for name, value in answer.items()}
    if _CONTENT in shown:
        shown[_CONTENT] = {"rules": []} | shown[_CONTENT]
    if _TIMEOUT in shown:
        shown[f"{_TIMEOUT}_seconds"] = int(shown.pop(_TIMEOUT).removesuffix("s"))
    return shown


def _value(name: str, value: Any) -> Any:
    if name in _FREE:
        return value
    if isinstance(value, Mapping):
        return view(value)
    if isinstance(value, list):
        return [_value(name, item) for item in value]
    if not isinstance(value, str):
        return value
    if name in _BINARY:
        return base64.b64decode(value).hex()
    if name in _NUMBERS:
        return int(value)
    for prefix in _PREFIXES.get(name, ()):
        value = value.removeprefix(prefix)
    return value


def person(shown: Mapping[str, Any]) -> dict[str, Any]:
    """A view as lines for a person: flat, and without what is empty."""
    fields: dict[str, Any] = {}
    for name, value in shown.items():
        if name == "rules":
            fields[name] = [rule_text(rule) for rule in value] or ["none: everybody is denied"]
        elif name in _FREE:
            fields[name] = [f"{key}={item}" for key, item in value.items()]
        elif isinstance(value, Mapping):
            prefix = "" if name == _CONTENT else f"{name}_"
            fields |= {prefix + key: item for key, item in person(value).items()}
        elif isinstance(value, list):
            fields[name] = [_line(item) for item in value]
        else:
            fields[name] = value
    return {name: value for name, value in fields.items() if value not in ("", [], None)}


def _line(item: Any) -> str:
    """An item of a list in one line."""
    if not isinstance(item, Mapping):
        return str(item)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in person(item).items())
