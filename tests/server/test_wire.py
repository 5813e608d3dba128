"""Counting a message's fields before it is parsed."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.test_call_path import Blindfold, failure_of

from kms.client.channel import open_channel
from kms.client.errors import CallInvalid
from kms.server.interceptors.call_path import MAX_FIELDS, PARSED_FIRST
from kms.server.wire import count_fields, has_more_fields
from protos.kms.v1.crypto_batch_pb2 import BatchEncryptRequest
from protos.kms.v1.crypto_pb2 import EncryptRequest

# A varint, eight bytes, a length, a group that begins and ends, four bytes.
UNKNOWN = [
    b"\xf8\x01\x96\x01",
    b"\xf9\x01" + bytes(8),
    b"\xfa\x01\x03abc",
    b"\xfb\x01\xfc\x01",
    b"\xfd\x01abcd",
]


@given(st.lists(st.binary(max_size=300), max_size=20), st.booleans())
def test_items_and_fields_are_counted_exactly(plaintexts: list[bytes], named: bool) -> None:
    items = [EncryptRequest(plaintext=plaintext) for plaintext in plaintexts]
    raw = BatchEncryptRequest(name="tenants/acme" if named else "", requests=items).SerializeToString()
    count = len(items) + named
    assert not has_more_fields(raw, count)
    assert count == 0 or has_more_fields(raw, count - 1)
    assert count_fields(BatchEncryptRequest.FromString(raw)) == count


@pytest.mark.parametrize("field", UNKNOWN)
def test_unknown_fields_of_every_kind_are_counted(field: bytes) -> None:
    assert not has_more_fields(field * 7, 7)
    assert has_more_fields(field * 7, 6)


@given(st.binary(max_size=400))
def test_anything_is_counted_to_its_end(raw: bytes) -> None:
    assert not has_more_fields(raw, len(raw))


def test_megabytes_of_next_to_nothing_are_not_parsed(serve: Any, credentials: Path) -> None:
    """Two million empty elements would hold the event loop, and with it all other callers."""
    server = serve(servicers=[Blindfold()])
    empty_element = b"\x22\x00"
    with open_channel(server.target, credentials) as channel:
        evaluate = channel.unary_unary("/kms.v1.BlindfoldService/EvaluateBlinded")
        assert evaluate(empty_element * MAX_FIELDS, timeout=10) == b""
        for count in (MAX_FIELDS + 1, PARSED_FIRST, 1 << 20):
            failure = failure_of(evaluate, empty_element * count)
            assert isinstance(failure, CallInvalid)
            assert "fields or items" in str(failure)


def test_compressed_messages_are_refused_before_they_are_megabytes(serve: Any, credentials: Path) -> None:
    server = serve(servicers=[Blindfold()])
    with open_channel(server.target, credentials) as channel:
        evaluate = channel.unary_unary("/kms.v1.BlindfoldService/EvaluateBlinded")
        with pytest.raises(grpc.RpcError) as caught:
            evaluate(bytes(100_000), timeout=10, compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
