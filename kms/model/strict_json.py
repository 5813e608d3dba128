"""JSON from others: no name twice in one object, and no NaN or Infinity."""

import json
from typing import Any


def loads(text: str) -> Any:
    """Raises `ValueError`, which is a `json.JSONDecodeError` for what is no JSON, and `RecursionError`."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON value")
