"""Canonical JSON (RFC 8785) read and written strictly: received bytes equal their own canonicalisation."""

import json
from typing import Any

import rfc8785

from blindfold.errors import DocumentInvalid

MAX_DOCUMENT = 1 << 20
MAX_INTEGER = (1 << 53) - 1

JsonObject = dict[str, Any]


def dump(value: JsonObject) -> bytes:
    """The canonical bytes. Raises `DocumentInvalid` for what has no canonical form, such as 2^53."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:  # the latter: a surrogate in a name
        text = str(error)
    raise DocumentInvalid(f"not representable as canonical JSON: {text}")


def load(data: bytes, what: str, most: int = MAX_DOCUMENT) -> JsonObject:
    """Parse one JSON object of at most `most` bytes. Raises `DocumentInvalid`.

    Refused: duplicate names, fractions, integers of 2^53 and above, any byte that canonical printing would
    not write.
    """
    if len(data) > most:
        raise DocumentInvalid(f"{what}: {len(data)} bytes, at most {most} are allowed")

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> JsonObject:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise DocumentInvalid(f"{what}: a name occurs twice in one object")
        return dict(pairs)

    def refuse_fraction(text: str) -> None:
        raise DocumentInvalid(f"{what}: {text[:20]} is not an integer")

    def small_integer(text: str) -> int:
        if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
            raise DocumentInvalid(f"{what}: an integer of 2^53 or more")
        return int(text)

    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=refuse_duplicates,
            parse_float=refuse_fraction,
            parse_constant=refuse_fraction,
            parse_int=small_integer,
        )
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DocumentInvalid(f"{what}: not a JSON object in UTF-8")
    if _canonical_or_none(value) != data:
        raise DocumentInvalid(f"{what}: not in canonical form (RFC 8785)")
    return value


def _canonical_or_none(value: JsonObject) -> bytes | None:
    """None for text that has no UTF-8 form, such as a lone surrogate written as an escape."""
    try:
        return dump(value)
    except (DocumentInvalid, RecursionError):
        return None


def field(obj: JsonObject, name: str, kind: type, what: str) -> Any:
    """The member of that exact JSON type. Raises `DocumentInvalid`."""
    value = obj.get(name)
    if type(value) is not kind:
        raise DocumentInvalid(f"{what}: {name} is missing or not a {kind.__name__}")
    return value


def expect_fields(obj: JsonObject, names: frozenset[str], what: str) -> None:
    """Refuse unknown and missing members. Raises `DocumentInvalid`."""
    if obj.keys() != names:
        odd = map(ascii, sorted(obj.keys() ^ names))
        raise DocumentInvalid(f"{what}: unknown or missing fields: {', '.join(odd)}"[:200])
