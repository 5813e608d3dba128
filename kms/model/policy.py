"""Policies as values: rules, and what a policy has besides them (docs/policies.md).

A `PolicyContent` is valid once built, but for what only the engine can judge: the syntax of selectors and
regular expressions, and whether a time zone exists (`kms.authz.compile`). Errors name the exact path of
the field at fault, such as `rules[3].ip_prefixes[0]`. An unset predicate is None or (), and always holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from types import MappingProxyType

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
    check_prefix_or_set,
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
OF_SECRET_POLICIES = ("labels", "binding", "decrypt_cache_timeout_seconds")

MAX_PATTERNS = 256
MAX_TRANSFORMER_LISTS = 16
MAX_RULE_NAME_BYTES = 128
MAX_DESCRIPTION_BYTES = 2048
MAX_ROLES = 64
MAX_PREFIXES = 256
MAX_DECRYPT_CACHE_TIMEOUT = 30 * 86400


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
        check_each("ip_prefixes", self.ip_prefixes, MAX_PREFIXES, check_prefix_or_set)
        check_each("ip_prefixes_except", self.ip_prefixes_except, MAX_PREFIXES, check_prefix_or_set)
        check_each("operations", self.operations, len(OPERATIONS), known(OPERATIONS))

    def is_set(self, predicate: str) -> bool:
        """Whether the predicate is set. Raises `AttributeError` for a name that is none."""
        value: object = getattr(self, predicate)
        return value is not None and value != ()


@dataclass(frozen=True, slots=True)
class PolicyContent:
    """What an author writes. The fields of `OF_SECRET_POLICIES` are theirs alone."""

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
            return
        for name in OF_SECRET_POLICIES:
            if getattr(self, name):
                raise InvalidField(name, "is a field of secret policies")

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
