"""The JSON form of a policy's content (docs/policies.md), and the JSON Schema of it."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from blindfold.predicates import DAYS, MAX_RULES, TRANSFORMERS
from kms.errors import LimitExceeded
from kms.model.json_form import (
    BYTES,
    INTEGER,
    MOMENT,
    STRINGS,
    TIME_OF_DAY,
    Form,
    decode_members,
    encode_members,
    list_of,
    member_of,
    object_of,
    object_schema,
    string,
)
from kms.model.policy import (
    KMS_PREDICATES,
    MAX_DESCRIPTION_BYTES,
    MAX_PREFIXES,
    MAX_ROLES,
    MAX_RULE_NAME_BYTES,
    OF_SECRET_POLICIES,
    OPERATIONS,
    AadMatcher,
    Action,
    Binding,
    ClientSelector,
    LabelMatcher,
    NameMatcher,
    PolicyContent,
    PolicyKind,
    Rule,
    RuleCombining,
    TimeWindow,
)
from kms.model.predicate import (
    MAX_AAD_VALUES,
    MAX_EXACT_VALUES,
    MAX_EXPRESSIONS,
    MAX_LABEL_KEYS,
    MAX_NAME_BYTES,
    MAX_REGEX_VALUES,
    MAX_TRANSFORMERS,
)

# So that the signed bundle, which holds the document in base64, is within its 1 MiB too.
MAX_POLICY_BYTES = 700_000

TEXT = string()


def _one_of(names: tuple[str, ...]) -> Form:
    return string(enum=list(names))


_NAME = string(minLength=1, maxLength=MAX_NAME_BYTES)
_DESCRIPTION = string(maxLength=MAX_DESCRIPTION_BYTES)
_PREFIXES = list_of(TEXT, maxItems=MAX_PREFIXES)
_VALUES = list_of(BYTES, maxItems=MAX_AAD_VALUES)
_NAME_MATCHER = object_of(
    NameMatcher,
    {
        "exact_values": list_of(_NAME, maxItems=MAX_EXACT_VALUES),
        "regex_values": list_of(_NAME, maxItems=MAX_REGEX_VALUES),
        "transformers": list_of(_one_of(TRANSFORMERS), maxItems=MAX_TRANSFORMERS),
    },
)
_TIME_WINDOW = object_of(
    TimeWindow,
    {
        "not_before": MOMENT,
        "not_after": MOMENT,
        "days": list_of(_one_of(DAYS), maxItems=len(DAYS)),
        "start_time": TIME_OF_DAY,
        "end_time": TIME_OF_DAY,
        "time_zone": TEXT,
    },
)
_RULE_MEMBERS: Mapping[str, Form] = MappingProxyType(
    {
        "name": string(minLength=1, maxLength=MAX_RULE_NAME_BYTES),
        "action": member_of(Action),
        "description": _DESCRIPTION,
        "client_name": _NAME,
        "client_name_matcher": _NAME_MATCHER,
        "client_selector": object_of(
            ClientSelector, {"expressions": list_of(TEXT, maxItems=MAX_EXPRESSIONS)}
        ),
        "label_matcher": object_of(LabelMatcher, {"keys": list_of(TEXT, maxItems=MAX_LABEL_KEYS)}),
        "roles": list_of(_NAME, maxItems=MAX_ROLES),
        "ip_prefixes": _PREFIXES,
        "ip_prefixes_except": _PREFIXES,
        "operations": list_of(_one_of(OPERATIONS), maxItems=len(OPERATIONS)),
        "key_matcher": _NAME_MATCHER,
        "time_window": _TIME_WINDOW,
        "aad_matcher": object_of(AadMatcher, {"equals": _VALUES, "starts_with": _VALUES, "lacks": _VALUES}),
    }
)
_REQUIRED = ("name", "action")


def _content_members(rule: Form) -> Mapping[str, Form]:
    return {
        "rule_combining": member_of(RuleCombining),
        "rules": list_of(rule, at_least=0, maxItems=MAX_RULES),
        "labels": STRINGS,
        "description": _DESCRIPTION,
        "binding": member_of(Binding),
        "decrypt_cache_timeout_seconds": INTEGER,
    }


_CONTENT = _content_members(object_of(Rule, _RULE_MEMBERS, _REQUIRED))


def parse_policy(obj: Mapping[str, object], kind: PolicyKind) -> PolicyContent:
    """Read a policy's JSON object; `to_json` is the inverse. Raises `InvalidField` and `LimitExceeded`."""
    content = PolicyContent(kind, **decode_members(obj, _CONTENT))
    size = len(json.dumps(to_json(content), ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_POLICY_BYTES:
        raise LimitExceeded("rules", f"the policy has {size} bytes, at most {MAX_POLICY_BYTES} are allowed")
    return content


def to_json(content: PolicyContent) -> dict[str, object]:
    """The JSON object of a policy: equal contents give equal objects, because what is unset is left out."""
    return {"rules": [], **encode_members(content, _CONTENT)}


def content_schema(kind: PolicyKind) -> Mapping[str, object]:
    """The JSON Schema (2020-12) of the object that `parse_policy` reads."""
    if kind is PolicyKind.SECRET:
        of_rules = {name: form for name, form in _RULE_MEMBERS.items() if name not in KMS_PREDICATES}
        return object_schema(_content_members(object_of(Rule, of_rules, _REQUIRED)))
    return object_schema({name: form for name, form in _CONTENT.items() if name not in OF_SECRET_POLICIES})
