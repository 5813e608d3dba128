"""CRC32C (RFC 3720, appendix B.4) of what goes over the wire. It finds accidents, not attackers."""

import google_crc32c

from kms.errors import ChecksumMismatch


def checksum(data: bytes) -> int:
    """The CRC32C, 0 to 2^32 - 1."""
    value: int = google_crc32c.value(data)
    return value


def verify(data: bytes, expected: int, field: str) -> bytes:
    """The data, if it has the expected CRC32C. Raises `ChecksumMismatch` naming the field."""
    if checksum(data) != expected:
        raise ChecksumMismatch(field)
    return data
