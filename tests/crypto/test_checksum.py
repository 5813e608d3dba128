"""CRC32C: the known answers, and a mismatch that names its field and tells nothing of the data."""

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.crypto.checksum import checksum, verify
from kms.errors import ChecksumMismatch

# RFC 3720, appendix B.4, and the usual check value.
KNOWN = {
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(reversed(range(32))): 0x113FDB5C,
    b"123456789": 0xE3069283,
    b"": 0,
}


@pytest.mark.parametrize("data", KNOWN, ids=bytes.hex)
def test_known_answers(data: bytes) -> None:
    assert checksum(data) == KNOWN[data]
    assert verify(data, KNOWN[data], "plaintext") == data


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_flipped_bit_is_noticed(data: bytes, draw: st.DataObject) -> None:
    position = draw.draw(st.integers(0, len(data) * 8 - 1))
    changed = bytearray(data)
    changed[position // 8] ^= 1 << position % 8
    with pytest.raises(ChecksumMismatch) as caught:
        verify(bytes(changed), checksum(data), "plaintext")
    assert caught.value.field == "plaintext"
    assert caught.value.reason == "CHECKSUM_MISMATCH"
    assert str(checksum(bytes(changed))) not in str(caught.value)


def test_the_fast_implementation_is_in_use() -> None:
    assert google_crc32c.implementation == "c"
