"""What passes between the server and its helper processes: read strictly, or refused."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.errors import Corrupt
from kms.crypto.device.messages import (
    MAX_BODY,
    MAX_ITEMS,
    Answer,
    Item,
    Operation,
    Request,
    Status,
    dump_answers,
    parse_answers,
    receive,
    send,
)
from kms.model.algorithms import ALGORITHMS

KEY = bytes(range(16))
REQUEST = Request(Operation.SEAL, "AES_256_GCM", KEY, [Item(b"data", b"aad", b"n" * 12), Item(b"")])
ITEMS = st.builds(Item, st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))


@given(
    st.sampled_from(Operation),
    st.sampled_from(["", *ALGORITHMS]),
    st.binary(min_size=16, max_size=16),
    st.lists(ITEMS, min_size=1, max_size=5),
)
def test_a_request_reads_back_the_same(
    operation: Operation, algorithm: str, key: bytes, items: list[Item]
) -> None:
    request = Request(operation, algorithm, key, items)
    assert Request.parse(request.to_bytes()) == request


@given(st.lists(st.builds(Answer, st.sampled_from(Status), st.binary(max_size=40)), max_size=5))
def test_answers_read_back_the_same(answers: list[Answer]) -> None:
    assert parse_answers(dump_answers(answers)) == answers


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_print_the_same(data: bytes) -> None:
    for parse in (lambda: Request.parse(data).to_bytes(), lambda: dump_answers(parse_answers(data))):
        try:
            printed = parse()
        except Corrupt:
            continue
        assert printed == data


BODY = REQUEST.to_bytes()
BAD_REQUESTS = {
    "nothing": b"",
    "an unknown operation": b"\x63" + BODY[1:],
    "an unknown algorithm": BODY.replace(b"AES_256_GCM", b"AES_512_GCM"),
    "an algorithm that is no text": BODY.replace(b"AES_256_GCM", b"\xff" * 11),
    "no items": BODY[:30] + bytes(4),
    "fewer items than it says": BODY[:30] + b"\x00\x00\x00\x03" + BODY[34:],
    "more items than are allowed": BODY[:30] + (MAX_ITEMS + 1).to_bytes(4, "big") + BODY[34:],
    "a length beyond its end": BODY[:34] + b"\xff" * 4 + BODY[38:],
    "bytes behind its end": BODY + b"\x00",
    "half of it": BODY[:-1],
}


@pytest.mark.parametrize("body", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_refused(body: bytes) -> None:
    with pytest.raises(Corrupt):
        Request.parse(body)


@pytest.mark.parametrize(
    "body", [b"", b"\x00\x00\x00\x01", b"\x00\x00\x00\x01\x63\x00\x00\x00\x00", bytes(5)]
)
def test_bad_answers_are_refused(body: bytes) -> None:
    with pytest.raises(Corrupt):
        parse_answers(body)


@pytest.mark.parametrize("size", [0, 1, 70_000, MAX_BODY])
def test_frames_of_any_allowed_size_pass(size: int) -> None:
    here, there = socket.socketpair()
    with here, there:
        sender = threading.Thread(target=send, args=(there, b"x" * size))
        sender.start()
        assert receive(here) == b"x" * size
        sender.join()
        there.close()
        assert receive(here) is None


def test_a_larger_frame_is_neither_sent_nor_read() -> None:
    here, there = socket.socketpair()
    with here, there:
        with pytest.raises(ValueError, match="more than a frame"):
            send(there, bytes(MAX_BODY + 1))
        there.sendall((MAX_BODY + 1).to_bytes(4, "big"))
        with pytest.raises(Corrupt):
            receive(here)


@pytest.mark.parametrize("sent", [b"\x00\x00", b"\x00\x00\x00\x05abc"])
def test_a_frame_that_is_cut_off_is_refused(sent: bytes) -> None:
    here, there = socket.socketpair()
    with here:
        with there:
            there.sendall(sent)
        with pytest.raises(Corrupt):
            receive(here)
