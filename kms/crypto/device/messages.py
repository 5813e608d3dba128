"""What passes between the server and a helper process, over a socket.

frame = u32 length of the body || body. Of a request: u8 operation || lp(algorithm) || key id (16 bytes) ||
u32 number of items, of each nonce, AAD and data, each after its u32 length. Of answers: u32 number, of each
u8 status || u32 length || value.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Self

from blindfold._encoding import Reader, lp, u8, u32
from blindfold.errors import Corrupt
from kms.model.algorithms import ALGORITHMS
from kms.model.device_handle import ID_SIZE

# Twice the largest call: its items, and what is bound to each.
MAX_BODY = 8 << 20
MAX_ITEMS = 1000
HEAD_SIZE = 4
MAX_READ = 1 << 20


class Operation(IntEnum):
    """What a helper does with a key. Each item gets an answer of its own, but for those said otherwise.

    GENERATE: a key with the label in `data`, kept in the token; of RSA, modulus and exponent are two answers.
    LEND: the key in `data` (raw bytes, or PKCS #1 in DER), forgotten with the helper. SEAL, UNSEAL: AES-GCM,
    as ciphertext || tag. SIGN: the RSA-PSS signature of a digest. DECRYPT: RSA-OAEP with `aad` as label.
    MAC: HMAC. DESTROY: the key, gone already or not. FIND: the ids of all keys with the label
    in `data`, or of all keys if it is empty; joined.
    """

    GENERATE = 1
    LEND = 2
    SEAL = 3
    UNSEAL = 4
    SIGN = 5
    DECRYPT = 6
    MAC = 7
    DESTROY = 8
    FIND = 9


class Status(IntEnum):
    """How it went; `value` is the result, or a text for people without anything of keys or data.

    ABSENT: the token holds no such key. INVALID: not what this key made. LACKING: the token cannot. GONE: the
    token or its session was lost, and this helper is of no more use. PIN_REFUSED: as GONE, and to try again
    might lock the token. FAILED: all else.
    """

    DONE = 0
    ABSENT = 1
    INVALID = 2
    LACKING = 3
    GONE = 4
    PIN_REFUSED = 5
    FAILED = 6


class Item(NamedTuple):
    """One piece of work: of any size that the frame holds."""

    data: bytes
    aad: bytes = b""
    nonce: bytes = b""


class Answer(NamedTuple):
    status: Status
    value: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """`algorithm` is a name in `ALGORITHMS`, or "" where none is needed. Raises `ValueError`."""

    operation: Operation
    algorithm: str
    key: bytes
    items: Sequence[Item]

    def __post_init__(self) -> None:
        if self.algorithm and self.algorithm not in ALGORITHMS:
            raise ValueError("no such algorithm")
        if len(self.key) != ID_SIZE or not 1 <= len(self.items) <= MAX_ITEMS:
            raise ValueError(f"a key id of {ID_SIZE} bytes, and 1 to {MAX_ITEMS} items are expected")

    def to_bytes(self) -> bytes:
        head = u8(self.operation) + lp(self.algorithm.encode()) + self.key + u32(len(self.items))
        fields = (field for item in self.items for field in (item.nonce, item.aad, item.data))
        return head + b"".join(u32(len(field)) + field for field in fields)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """The inverse of `to_bytes`. Raises `Corrupt` for anything it would not have written."""
        reader = Reader(body)
        try:
            operation = Operation(reader.integer(1, "operation"))
            algorithm = reader.lp("algorithm").decode("ascii")
            key = reader.take(ID_SIZE, "key")
            count = _count(reader)
            items = []
            for _ in range(count):
                nonce, aad, data = _sized(reader), _sized(reader), _sized(reader)
                items.append(Item(data, aad, nonce))
            request = cls(operation, algorithm, key, items)
        except ValueError:
            request = None
        reader.finish("request")
        if request is None:
            raise Corrupt("not a request to a device")
        return request


def dump_answers(answers: Sequence[Answer]) -> bytes:
    parts = [u32(len(answers))]
    for answer in answers:
        parts += (u8(answer.status), u32(len(answer.value)), answer.value)
    return b"".join(parts)


def parse_answers(body: bytes) -> list[Answer]:
    """The inverse of `dump_answers`. Raises `Corrupt`."""
    reader = Reader(body)
    answers = []
    for _ in range(_count(reader)):
        status = reader.integer(1, "status")
        if status not in _STATUSES:
            raise Corrupt("status: not one that is known")
        answers.append(Answer(Status(status), _sized(reader)))
    reader.finish("answers")
    return answers


def send(connection: socket.socket, body: bytes) -> None:
    """Raises `ValueError` for a body above 8 MiB, `OSError`."""
    if len(body) > MAX_BODY:
        raise ValueError("more than a frame holds")
    connection.sendall(u32(len(body)) + body)


def receive(connection: socket.socket) -> bytes | None:
    """The next body; None where the other side has ended. Raises `Corrupt`, `OSError`."""
    head = _read(connection, HEAD_SIZE)
    if not head:
        return None
    size = int.from_bytes(head, "big")
    if len(head) < HEAD_SIZE or size > MAX_BODY:
        raise Corrupt("not the head of a frame")
    body = _read(connection, size)
    if len(body) < size:
        raise Corrupt("a frame is cut off")
    return body


def _read(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer where the other side ends before."""
    read = bytearray()
    while len(read) < size and (part := connection.recv(min(size - len(read), MAX_READ))):
        read += part
    return bytes(read)


_STATUSES = frozenset(Status)


def _count(reader: Reader) -> int:
    count = reader.integer(4, "number")
    if count > MAX_ITEMS:
        raise Corrupt(f"{count} items; at most {MAX_ITEMS} are allowed")
    return count


def _sized(reader: Reader) -> bytes:
    return reader.take(reader.integer(4, "length"), "field")
