"""Access control lists of the stand-in: policies in their JSON form, deny by default."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from vault.exchange import Refusal

# Of Vault's own policy `default`, what concerns a client such as ours.
DEFAULT = {
    "path": {
        "auth/token/lookup-self": {"capabilities": ["read"]},
        "auth/token/renew-self": {"capabilities": ["update"]},
        "auth/token/revoke-self": {"capabilities": ["update"]},
        "sys/leases/renew": {"capabilities": ["update"]},
        "sys/leases/lookup": {"capabilities": ["update"]},
        "sys/wrapping/wrap": {"capabilities": ["update"]},
        "sys/wrapping/lookup": {"capabilities": ["update"]},
        "sys/wrapping/unwrap": {"capabilities": ["update"]},
    }
}
ROOT = "root"
_CAPABILITIES = frozenset({"create", "read", "update", "patch", "delete", "list", "sudo", "deny"})


def parse(text: str) -> Mapping[str, Any]:
    try:
        policy = json.loads(text)
        rules = {path: frozenset(rule["capabilities"]) for path, rule in policy["path"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refusal(400, "failed to parse policy") from None
    if not all(allowed <= _CAPABILITIES for allowed in rules.values()):
        raise Refusal(400, "failed to parse policy: invalid capability")
    return rules


def allows(policies: Iterable[Mapping[str, Any]], path: str, operation: str) -> bool:
    """By the most specific rule of each policy: an exact path before a longer prefix before a shorter one."""
    granted: set[str] = set()
    best: tuple[bool, int] | None = None
    for rules in policies:
        for pattern, capabilities in rules.items():
            if not _matches(pattern, path):
                continue
            rank = (not pattern.endswith("*"), len(pattern))
            if best is None or rank > best:
                best, granted = rank, set(capabilities)
            elif rank == best:
                granted |= capabilities
    return "deny" not in granted and bool(granted & _NEEDED[operation])


_NEEDED = {
    "read": {"read"},
    "list": {"list"},
    "delete": {"delete"},
    "update": {"update", "create"},
    "none": set(),
}


def _matches(pattern: str, path: str) -> bool:
    expression = re.escape(pattern.rstrip("*")).replace(r"\+", "[^/]+")
    return re.fullmatch(expression + (".*" if pattern.endswith("*") else ""), path) is not None
