"""Policies as values: rules, what a policy has besides them, and their JSON form (docs/policies.md).

A `PolicyContent` is valid once built, but for what only the engine can judge: the syntax of selectors and
regular expressions, and whether a time zone exists (`kms.authz.compile`). Errors name the exact path of
the field at fault, such as `rules[3].ip_prefixes[0]`. An unset predicate is None or (), and always holds.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from enum import Enum, StrEnum, auto
from types import MappingProxyType
from typing import Any

from blindfold.exponent import Binding
from blindfold.predicates import MAX_RULES
from kms.errors import InvalidField, LimitExceeded
from kms.model.labels import check_labels
from kms.model.predicate import (
    AadMatcher,
    ClientSelector,
    LabelMatcher,
    NameMatcher,
    TimeWindow,
    check_count,
    check_each,
    check_name,
    check_prefix,
    check_text,
    known,
    within,
)

__all__ = [
    "KMS_PREDICATES",
    "OPERATIONS",
    "AadMatcher",
    "Action",
    "Binding",
    "ClientSelector",
    "LabelMatcher",
    "NameMatcher",
    "PolicyContent",
    "PolicyKind",
    "Rule",
    "RuleCombining",
    "TimeWindow",
    "parse_policy",
    "to_json",
]

OPERATIONS = (
    "ENCRYPT",
    "DECRYPT",
    "SIGN",
    "VERIFY",
    "MAC",
    "MAC_VERIFY",
    "GENERATE_DATA_KEY",
    "REENCRYPT_FROM",
    "REENCRYPT_TO",
    "RAW_ENCRYPT",
    "RAW_DECRYPT",
    "GENERATE_RANDOM",
    "GET_PUBLIC_KEY",
    "IMPORT",
    "COPY",
    "EXPORT",
)
KMS_PREDICATES = ("operations", "key_matcher", "aad_matcher")

# So that the signed bundle, which holds the document in base64, is within its 1 MiB too.
MAX_POLICY_BYTES = 700_000
MAX_PATTERNS = 256
MAX_TRANSFORMER_LISTS = 16
MAX_RULE_NAME_BYTES = 128
MAX_DESCRIPTION_BYTES = 2048
MAX_ROLES = 64
MAX_PREFIXES = 256
MAX_DECRYPT_CACHE_TIMEOUT = 30 * 86400

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[0-2]\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)


class PolicyKind(Enum):
    """Who asks: the opening of secrets, or the operations of keys."""

    SECRET = auto()
    KMS = auto()


class Action(StrEnum):
    ALLOW = "ALLOW"
    DENY = "DENY"


class RuleCombining(StrEnum):
    FIRST_MATCH = "FIRST_MATCH"
    DENY_OVERRIDES = "DENY_OVERRIDES"
    ALLOW_OVERRIDES = "ALLOW_OVERRIDES"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: all predicates that are set must hold for it to match."""

    name: str
    action: Action
    description: str = ""
    client_name: str | None = None
    client_name_matcher: NameMatcher | None = None
    client_selector: ClientSelector | None = None
    label_matcher: LabelMatcher | None = None
    roles: tuple[str, ...] = ()
    ip_prefixes: tuple[str, ...] = ()
    ip_prefixes_except: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    key_matcher: NameMatcher | None = None
    time_window: TimeWindow | None = None
    aad_matcher: AadMatcher | None = None

    def __post_init__(self) -> None:
        with within("name"):
            check_text(self.name, MAX_RULE_NAME_BYTES)
            if not self.name or not self.name.isprintable():
                raise InvalidField("", "must be printable, and not empty")
        with within("description"):
            check_text(self.description, MAX_DESCRIPTION_BYTES)
        if self.client_name is not None:
            with within("client_name"):
                check_name(self.client_name)
        check_each("roles", self.roles, MAX_ROLES, check_name)
        check_each("ip_prefixes", self.ip_prefixes, MAX_PREFIXES, check_prefix)
        check_each("ip_prefixes_except", self.ip_prefixes_except, MAX_PREFIXES, check_prefix)
        check_each("operations", self.operations, len(OPERATIONS), known(OPERATIONS))

    def is_set(self, predicate: str) -> bool:
        """Whether the predicate is set. Raises `AttributeError` for a name that is none."""
        value: object = getattr(self, predicate)
        return value is not None and value != ()


@dataclass(frozen=True, slots=True)
class PolicyContent:
    """What an author writes. `binding` and `decrypt_cache_timeout_seconds` are of secret policies alone."""

    kind: PolicyKind
    rules: tuple[Rule, ...] = ()
    rule_combining: RuleCombining = RuleCombining.FIRST_MATCH
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    description: str = ""
    binding: Binding | None = None
    decrypt_cache_timeout_seconds: int = 0

    def __post_init__(self) -> None:
        self._check_rules()
        object.__setattr__(self, "labels", check_labels(self.labels))
        with within("description"):
            check_text(self.description, MAX_DESCRIPTION_BYTES)
        timeout = self.decrypt_cache_timeout_seconds
        if not 0 <= timeout <= MAX_DECRYPT_CACHE_TIMEOUT:
            raise LimitExceeded(
                "decrypt_cache_timeout_seconds", f"must be from 0 to {MAX_DECRYPT_CACHE_TIMEOUT}"
            )
        if self.kind is PolicyKind.SECRET:
            object.__setattr__(self, "binding", self.binding or Binding.REVISION)
        elif self.binding is not None or timeout:
            at_fault = "binding" if self.binding is not None else "decrypt_cache_timeout_seconds"
            raise InvalidField(at_fault, "is a field of secret policies")

    def _check_rules(self) -> None:
        with within("rules"):
            check_count(self.rules, MAX_RULES)
        names = set()
        for index, rule in enumerate(self.rules):
            if rule.name in names:
                raise InvalidField(f"rules[{index}].name", "is the name of an earlier rule")
            names.add(rule.name)
            if self.kind is PolicyKind.SECRET:
                for predicate in filter(rule.is_set, KMS_PREDICATES):
                    raise InvalidField(f"rules[{index}].{predicate}", "is a predicate of KMS policies")
        self._check_matchers()

    def _check_matchers(self) -> None:
        """What a decision costs is bounded by what is compared with all rules together."""
        matchers = [
            matcher
            for rule in self.rules
            for matcher in (rule.client_name_matcher, rule.key_matcher)
            if matcher is not None
        ]
        patterns = {pattern for matcher in matchers for pattern in matcher.regex_values}
        if len(patterns) > MAX_PATTERNS:
            raise LimitExceeded(
                "rules", f"have {len(patterns)} regular expressions, at most {MAX_PATTERNS} are allowed"
            )
        lists = {matcher.transformers for matcher in matchers}
        if len(lists) > MAX_TRANSFORMER_LISTS:
            raise LimitExceeded(
                "rules",
                f"have {len(lists)} lists of transformers, at most {MAX_TRANSFORMER_LISTS} are allowed",
            )


@dataclass(frozen=True, slots=True)
class _Form:
    """How a field is read from JSON and written to it."""

    decode: Callable[[object], Any]
    encode: Callable[[Any], object]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidField("", "must be a string")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidField("", "must be an integer")
    return value


def _list(value: object, decode: Callable[[object], Any], at_least: int = 1) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) < at_least:
        raise InvalidField("", "must be a list" + " of at least one item" * at_least)
    items = []
    for index, item in enumerate(value):
        with within(f"[{index}]"):
            items.append(decode(item))
    return tuple(items)


def _bytes(value: object) -> bytes:
    """Standard base64 with padding (RFC 4648, section 4), in its one canonical form."""
    text = _text(value)
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = None
    if decoded is None or _base64(decoded) != text:
        raise InvalidField("", "is not base64")
    return decoded


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _timestamp(value: object) -> datetime:
    text = _text(value)
    try:
        moment = datetime.fromisoformat(text) if _TIMESTAMP.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None or moment.hour != int(text[11:13]):
        raise InvalidField("", "is not a time such as 2030-01-31T23:59:59Z")
    return moment.astimezone(UTC)


def _timestamp_text(moment: datetime) -> str:
    return moment.isoformat().removesuffix("+00:00") + "Z"


def _clock(value: object) -> time:
    text = _text(value)
    if not _CLOCK.fullmatch(text):
        raise InvalidField("", "is not a time of day such as 08:30")
    return time.fromisoformat(text)


def _member_of(names: type[Enum]) -> _Form:
    def decode(value: object) -> Any:
        if not isinstance(value, str) or value not in names.__members__:
            raise InvalidField("", "must be one of " + ", ".join(names.__members__))
        return names[value]

    return _Form(decode, lambda member: member.name)


def _list_of(form: _Form, at_least: int = 1) -> _Form:
    return _Form(
        lambda value: _list(value, form.decode, at_least), lambda items: [form.encode(item) for item in items]
    )


def _object_of(cls: type, members: Mapping[str, _Form], required: tuple[str, ...] = ()) -> _Form:
    def decode(value: object) -> Any:
        fields = _decode(value, members)
        for name in required:
            if name not in fields:
                raise InvalidField(name, "is missing")
        return cls(**fields)

    return _Form(decode, lambda instance: _encode(instance, members))


def _decode(value: object, members: Mapping[str, _Form]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidField("", "must be an object")
    fields = {}
    for name, item in value.items():
        form = members.get(name)
        if form is None:
            raise InvalidField("", f"unknown field or predicate {json.dumps(str(name)[:64])}")
        with within(name):
            fields[name] = form.decode(item)
    return fields


def _encode(instance: object, members: Mapping[str, _Form]) -> dict[str, object]:
    values = {name: getattr(instance, name) for name in members}
    return {
        name: members[name].encode(value)
        for name, value in values.items()
        if value not in (None, (), "", 0) and value != {}
    }


def _labels(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for pair in value.items() for text in pair
    ):
        raise InvalidField("", "must be an object of strings")
    return value


_TEXT = _Form(_text, str)
_TEXTS = _list_of(_TEXT)
_VALUES = _list_of(_Form(_bytes, _base64))
_MOMENT = _Form(_timestamp, _timestamp_text)
_TIME_OF_DAY = _Form(_clock, lambda value: value.isoformat("minutes"))
_NAME_MATCHER = _object_of(
    NameMatcher, {"exact_values": _TEXTS, "regex_values": _TEXTS, "transformers": _TEXTS}
)
_RULE = _object_of(
    Rule,
    {
        "name": _TEXT,
        "action": _member_of(Action),
        "description": _TEXT,
        "client_name": _TEXT,
        "client_name_matcher": _NAME_MATCHER,
        "client_selector": _object_of(ClientSelector, {"expressions": _TEXTS}),
        "label_matcher": _object_of(LabelMatcher, {"keys": _TEXTS}),
        "roles": _TEXTS,
        "ip_prefixes": _TEXTS,
        "ip_prefixes_except": _TEXTS,
        "operations": _TEXTS,
        "key_matcher": _NAME_MATCHER,
        "time_window": _object_of(
            TimeWindow,
            {
                "not_before": _MOMENT,
                "not_after": _MOMENT,
                "days": _TEXTS,
                "start_time": _TIME_OF_DAY,
                "end_time": _TIME_OF_DAY,
                "time_zone": _TEXT,
            },
        ),
        "aad_matcher": _object_of(AadMatcher, {"equals": _VALUES, "starts_with": _VALUES, "lacks": _VALUES}),
    },
    required=("name", "action"),
)
_CONTENT = {
    "rule_combining": _member_of(RuleCombining),
    "rules": _list_of(_RULE, at_least=0),
    "labels": _Form(_labels, dict),
    "description": _TEXT,
    "binding": _member_of(Binding),
    "decrypt_cache_timeout_seconds": _Form(_integer, int),
}


def parse_policy(obj: Mapping[str, object], kind: PolicyKind) -> PolicyContent:
    """Read a policy's JSON object; `to_json` is the inverse. Raises `InvalidField` and `LimitExceeded`."""
    content = PolicyContent(kind, **_decode(obj, _CONTENT))
    size = len(json.dumps(to_json(content), ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_POLICY_BYTES:
        raise LimitExceeded("rules", f"the policy has {size} bytes, at most {MAX_POLICY_BYTES} are allowed")
    return content


def to_json(content: PolicyContent) -> dict[str, object]:
    """The JSON object of a policy: equal contents give equal objects, because what is unset is left out."""
    return {"rules": [], **_encode(content, _CONTENT)}
