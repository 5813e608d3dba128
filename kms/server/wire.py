"""The outermost fields of a message, counted before it is parsed where that would take long.

A field takes two bytes, and what is parsed of it more than fifty: megabytes of next to nothing would hold the
event loop for hundreds of milliseconds, whoever sends them (https://protobuf.dev/programming-guides/encoding).
"""

from google.protobuf.message import Message

_LENGTH, _GROUP_ENDS = 2, 4
_FIXED = {1: 8, 5: 4}


def has_more_fields(raw: bytes, most: int) -> bool:
    """Whether there are more than `most` fields. What breaks off, or is malformed, is left to the parser."""
    at, size, fields = 0, len(raw), 0
    while at < size:
        tag, at = raw[at], at + 1
        if tag > 0x7F:
            tag, at = _varint(raw, at - 1)
        kind = tag & 7
        if kind == _LENGTH:
            length, at = _varint(raw, at)
            at += length
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind == 0:
            _, at = _varint(raw, at)
        fields += kind != _GROUP_ENDS
        if fields > most:
            return True
    return False


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, of ten bytes at most, and where the next thing begins."""
    number = shift = 0
    for byte in raw[at : at + 10]:
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at + shift // 7 + 1
        shift += 7
    return number, len(raw)


def count_fields(message: Message) -> int:
    """How many a parsed message has, each item of a repeated one for itself; unknown ones left out."""
    return sum(len(value) if field.is_repeated else 1 for field, value in message.ListFields())
