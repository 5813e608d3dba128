"""Documents as their readers want to see them."""

import json
from collections.abc import Mapping
from typing import Any

from blindfold.documents import KeyDocument, PolicyDocument
from cli.documents import TYPE_NAMES

_NOT_PREDICATES = ("name", "action", "description")


def summary(document: KeyDocument | PolicyDocument) -> dict[str, Any]:
    """What names a document and its content."""
    shown: dict[str, Any] = {"type": TYPE_NAMES[document.TYPE], "tenant": document.tenant}
    if isinstance(document, KeyDocument):
        return shown | {
            "key_version": document.key_version,
            "fingerprint": document.fingerprint.hex(),
            "modulus_bits": document.n.bit_length(),
        }
    return shown | {
        "policy": document.resource_name,
        "revision": document.revision,
        "digest": document.digest.hex(),
        "binding": document.binding.name,
    }


def details(document: KeyDocument | PolicyDocument) -> dict[str, Any]:
    """The rest of a document, for a person."""
    if isinstance(document, KeyDocument):
        return {}
    return {
        "uid": document.uid.hex(),
        "description": document.description,
        "labels": [f"{name}={value}" for name, value in document.labels.items()],
        "decrypt_cache_timeout": f"{document.decrypt_cache_timeout_seconds} s",
        "rule_combining": document.rule_combining,
        "rules": [rule_text(rule) for rule in document.rules] or ["none: everybody is denied"],
    }


def rule_text(rule: Mapping[str, Any]) -> str:
    """One line: `ALLOW web servers: client_selector {"expressions":["app=web"]}`."""
    predicates = [
        f"{name} {value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"
        for name, value in rule.items()
        if name not in _NOT_PREDICATES
    ]
    description = f"  ({rule['description']})" if rule.get("description") else ""
    return f"{rule['action']} {rule['name']}: {' and '.join(predicates) or 'always'}{description}"
