"""The body of a row: one canonical JSON object (RFC 8785) within one limit, whatever is kept in it.

The limit holds when writing, so that no row is acknowledged that could not be read again.
"""

from blindfold import _canonical
from blindfold._canonical import JsonObject
from kms.errors import LimitExceeded

MAX_ROW = 8 << 20


def dump_row(value: JsonObject, kind: str) -> bytes:
    """Raises `LimitExceeded` above 8 MiB, `DocumentInvalid` for what has no canonical form."""
    data = _canonical.dump(value)
    if len(data) > MAX_ROW:
        raise LimitExceeded(kind, f"the row would have {len(data)} bytes, at most {MAX_ROW} are allowed")
    return data


def load_row(data: bytes, kind: str) -> JsonObject:
    """The inverse. Raises `DocumentInvalid`."""
    return _canonical.load(data, kind, MAX_ROW)
