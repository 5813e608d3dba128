"""The text of receipts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.model.chain import Malformed
from kms.model.receipt import Receipt

ID, HASH = "0123456789abcdef" * 2, "ab" * 32


@given(st.integers(1, 10**16 - 1), st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
def test_receipts_come_back_from_their_text(sequence: int, event_id: bytes, chain_hash: bytes) -> None:
    receipt = Receipt(sequence, event_id.hex(), chain_hash)
    assert Receipt.parse(str(receipt)) == receipt


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"0:{ID}:{HASH}",
        f"01:{ID}:{HASH}",
        f"-1:{ID}:{HASH}",
        f"１:{ID}:{HASH}",
        f"1:{ID.upper()}:{HASH}",
        f"1:{ID}0:{HASH}",
        f"1:{ID}:{HASH[2:]}",
        f"1:{ID}:{HASH}\n",
        f" 1:{ID}:{HASH}",
        f"1:{ID}:{HASH}:",
        f"1{'0' * 16}:{ID}:{HASH}",
    ],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Receipt.parse(text)
