"""docs/spec/envelope.md: its example is computed anew, and its numbers are those of the code.

`python -m tests.docs.test_envelope_page` prints the block that the page must hold.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindfold import stream
from blindfold.secret import SecretBytes
from kms.crypto import envelope
from kms.crypto.ciphertext import OVERHEAD
from kms.crypto.envelope import Header, message_key
from kms.model.names import KeyVersionName
from tests.docs.pages import assert_rules_are_numbered, example, limits, render
from testvectors.kms_envelopes import GOOD
from testvectors.kms_material import AAD, PLAINTEXT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/spec/envelope.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
LIMITS = limits(PAGE)
NAME_WIDTH = 19
HEADER = Header(KeyVersionName.parse(GOOD.name), GOOD.wrapped, GOOD.salt)

LONGEST_HEADER = len(HEADER.to_bytes()) - len(GOOD.name) + envelope.MAX_NAME


def fields() -> Iterator[tuple[str, str]]:
    """Names and values in the order of the page."""
    commitment, key = message_key(SecretBytes(GOOD.data_key), HEADER, AAD)
    yield "key version name", GOOD.name
    yield "data key", GOOD.data_key.hex()
    yield "wrapped data key", GOOD.wrapped.hex()
    yield "salt", GOOD.salt.hex()
    yield "AAD", AAD.hex()
    yield "plaintext", PLAINTEXT.hex()
    yield "header", HEADER.to_bytes().hex()
    yield "commitment", commitment.hex()
    yield "message key", key.hex()
    yield "chunk", stream.ChunkEncryptor(key).encrypt(PLAINTEXT, last=True).hex()


def test_page_holds_the_example_that_the_library_computes() -> None:
    assert example(PAGE) == render(fields(), NAME_WIDTH)


def test_the_example_is_of_the_first_vector() -> None:
    values = dict(fields())
    first = json.loads((ROOT / "testvectors/kms/envelope.json").read_text())["tests"][0]
    assert first["envelope"] == values["header"] + values["commitment"] + values["chunk"]


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        (
            "plaintext",
            f"{stream.MAX_CHUNKS * stream.CHUNK >> 40} TiB (2^26 chunks of {stream.CHUNK:,} bytes)",
        ),
        ("key version name", f"{envelope.MAX_NAME} bytes"),
        (
            "header and commitment",
            f"at most {LONGEST_HEADER + envelope.COMMITMENT_SIZE} bytes",
        ),
    ],
)
def test_limit_is_that_of_the_code(what: str, limit: str) -> None:
    assert LIMITS[what] == limit


@pytest.mark.parametrize(
    "stated",
    [
        f"The magic is {envelope.MAGIC.hex(' ')}:",
        f"u8 format = {envelope.FORMAT} ||",
        f"at most {envelope.MAX_NAME} bytes",
        f"is {envelope.DATA_KEY_SIZE} random bytes as `GenerateDataKey`",
        f"{envelope.DATA_KEY_SIZE + OVERHEAD} bytes, with the additional",
        f'"{envelope.WRAPPING_AAD.decode()}"',
        f"The salt is {envelope.SALT_SIZE} random bytes",
        f"the first {envelope.COMMITMENT_SIZE} bytes of okm",
    ],
)
def test_number_in_the_text_is_that_of_the_code(stated: str) -> None:
    assert stated in TEXT


def test_rules_are_numbered_in_their_order() -> None:
    assert_rules_are_numbered(PAGE)


if __name__ == "__main__":
    print(render(fields(), NAME_WIDTH), end="")  # noqa: T201
