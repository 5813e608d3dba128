"""The names of the secret policy language: what an offline sealer must know of it (docs/policies.md).

A sealer does not evaluate rules; it refuses to seal under a rule that it cannot name, because a KMS that
knows more or less than the author meant would decide otherwise. What is here are JSON shapes and names
alone; sizes, syntax of selectors and regular expressions are checked by the KMS when a policy is written.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType

from blindfold.errors import DocumentInvalid

ACTIONS = ("ALLOW", "DENY")
RULE_COMBINING = ("FIRST_MATCH", "DENY_OVERRIDES", "ALLOW_OVERRIDES")
TRANSFORMERS = (
    "LOWER_CASE",
    "UPPER_CASE",
    "TRIM",
    "TRIM_LEFT",
    "TRIM_RIGHT",
    "REMOVE_WHITESPACE",
    "URL_DECODE",
    "BASE64_DECODE",
    "NORMALIZE_PATH",
)
DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")

MAX_RULES = 256


class Text:
    """A JSON string; of the given names if there are any."""

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)

    def check(self, value: object, path: str) -> None:
        if not isinstance(value, str):
            raise DocumentInvalid(f"{path}: must be a string")
        if self.names and value not in self.names:
            raise DocumentInvalid(f"{path}: unknown name {_quoted(value)}")


class Texts:
    """A JSON array of at least one string; of the given names if there are any."""

    def __init__(self, *names: str) -> None:
        self.item = Text(*names)

    def check(self, value: object, path: str) -> None:
        if not isinstance(value, list | tuple) or not value:
            raise DocumentInvalid(f"{path}: must be a list of at least one string")
        for index, item in enumerate(value):
            self.item.check(item, f"{path}[{index}]")


class Fields:
    """A JSON object with at least one of the given members, with all the required, and with no other."""

    def __init__(
        self, members: "Mapping[str, Shape]", required: tuple[str, ...] = (), called: str = "field"
    ) -> None:
        self.members = MappingProxyType(dict(members))
        self.required = required
        self.called = called

    def check(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping) or not value:
            raise DocumentInvalid(f"{path}: must be an object with at least one {self.called}")
        for name, member in value.items():
            shape = self.members.get(name)
            if shape is None:
                raise DocumentInvalid(f"{path}: unknown {self.called} {_quoted(name)}")
            shape.check(member, f"{path}.{name}")
        for name in self.required:
            if name not in value:
                raise DocumentInvalid(f"{path}: {name} is missing")


Shape = Text | Texts | Fields

SECRET_PREDICATES: Mapping[str, Shape] = MappingProxyType(
    {
        "client_name": Text(),
        "client_name_matcher": Fields(
            {"exact_values": Texts(), "regex_values": Texts(), "transformers": Texts(*TRANSFORMERS)}
        ),
        "client_selector": Fields({"expressions": Texts()}),
        "label_matcher": Fields({"keys": Texts()}),
        "roles": Texts(),
        "ip_prefixes": Texts(),
        "ip_prefixes_except": Texts(),
        "time_window": Fields(
            {
                "not_before": Text(),
                "not_after": Text(),
                "days": Texts(*DAYS),
                "start_time": Text(),
                "end_time": Text(),
                "time_zone": Text(),
            }
        ),
    }
)

RULE = Fields(
    {"name": Text(), "action": Text(*ACTIONS), "description": Text(), **SECRET_PREDICATES},
    required=("name", "action"),
    called="predicate",
)


def check_rules_known(rules: object) -> None:
    """Raise `DocumentInvalid`, naming the path, unless `rules` is an array of rules known in every part."""
    if not isinstance(rules, list | tuple):
        raise DocumentInvalid("rules: must be a list")
    if len(rules) > MAX_RULES:
        raise DocumentInvalid(f"rules: {len(rules)} rules, at most {MAX_RULES} are allowed")
    for index, rule in enumerate(rules):
        RULE.check(rule, f"rules[{index}]")


def _quoted(name: object) -> str:
    """Untrusted text, printable and cut to a readable length."""
    return json.dumps(str(name)[:64])
