"""The payload: STREAM over AES-256-GCM (docs/spec/blindfold.md, "Payload"), and its optional padding.

Every chunk but the last holds exactly 65,536 bytes, the last 1 to 65,536, or none if it is the only one.
The nonce is an 11-byte counter and a byte that is 1 for the last chunk: chunks cannot be dropped, swapped,
repeated or cut off. The payload key serves one payload.
"""

from collections.abc import Iterable, Iterator

from blindfold import _primitives
from blindfold._encoding import u64
from blindfold.envelope import Source, read_exactly, read_some
from blindfold.errors import InputInvalid, OpenFailed

CHUNK = 65_536
TAG = 16
MAX_CHUNKS = 1 << 26
MIN_PADDED = 256
LENGTH_SIZE = 8


def nonce(counter: int, *, last: bool) -> bytes:
    """11 bytes of counter, one that marks the last chunk."""
    return (counter << 8 | last).to_bytes(12, "big")


def chunks(source: Source, first: bytes) -> Iterator[bytes]:
    """`first`, then the rest of source in chunks: at least one, an empty one only if it is alone."""
    current = first
    while True:
        following = read_exactly(source, CHUNK) if len(current) == CHUNK else b""
        yield current
        if not following:
            return
        current = following


class ChunkEncryptor:
    """Encrypts the chunks of one payload, in their order and each as `chunks` yields them."""

    def __init__(self, payload_key: bytes) -> None:
        self._aead = _primitives.AESGCM(payload_key)
        self._counter = 0

    def encrypt(self, chunk: bytes, *, last: bool) -> bytes:
        """Raises `InputInvalid` above 2^26 chunks."""
        if self._counter == MAX_CHUNKS:
            raise InputInvalid("more than 4 TiB in one secret")
        encrypted = self._aead.encrypt(nonce(self._counter, last=last), chunk, None)
        self._counter += 1
        return encrypted


def encrypt(payload_key: bytes, plain: Iterable[bytes]) -> Iterator[bytes]:
    """Sealed chunks for plain ones as `chunks` yields them. Raises `InputInvalid` above 2^26 chunks."""
    encryptor = ChunkEncryptor(payload_key)
    iterator = iter(plain)
    current = next(iterator)
    for following in iterator:
        yield encryptor.encrypt(current, last=False)
        current = following
    yield encryptor.encrypt(current, last=True)


def decrypt(payload_key: bytes, source: Source) -> Iterator[bytes]:
    """Verified chunks. Until the iterator has ended, a later part may still turn out to be cut off.

    Raises `OpenFailed` for every failure alike.
    """
    aead = _primitives.AESGCM(payload_key)
    current = read_exactly(source, CHUNK + TAG)
    for counter in range(MAX_CHUNKS):
        following = read_exactly(source, CHUNK + TAG) if len(current) == CHUNK + TAG else b""
        plain = _decrypt_chunk(aead, nonce(counter, last=not following), current)
        if not plain and (following or counter):
            raise OpenFailed
        yield plain
        if not following:
            return
        current = following
    raise OpenFailed


def _decrypt_chunk(aead: _primitives.AESGCM, chunk_nonce: bytes, chunk: bytes) -> bytes:
    try:
        return aead.decrypt(chunk_nonce, chunk, None)
    except (_primitives.InvalidTag, ValueError):
        pass
    raise OpenFailed


def padded_size(length: int) -> int:
    """max(256, Padme(8 + length)): at most 12 % more, and about log log(length) bits of it left to see.

    Padme is from Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with
    PURBs" (2019).
    """
    total = LENGTH_SIZE + length
    exponent = total.bit_length() - 1
    keep = exponent.bit_length()
    mask = (1 << max(exponent - keep, 0)) - 1
    return max(MIN_PADDED, (total + mask) & ~mask)


class PaddingSource:
    """A source of u64be(length) || the inner source's bytes || zeros, `padded_size(length)` in all.

    Raises `InputInvalid` for a length that is none; `read` does when the inner source holds more or less.
    """

    def __init__(self, source: Source, length: int) -> None:
        if not 0 <= length < CHUNK * MAX_CHUNKS:
            raise InputInvalid(f"{length} is not the length of a secret; at most 4 TiB are allowed")
        self._source = source
        self._prefix = u64(length)
        self._missing = length
        self._zeros = padded_size(length) - LENGTH_SIZE - length

    def read(self, size: int, /) -> bytes:
        piece = self._prefix[:size]
        self._prefix = self._prefix[len(piece) :]
        body = read_exactly(self._source, min(size - len(piece), self._missing))
        self._missing -= len(body)
        piece += body
        if self._missing:
            if len(piece) < size:
                raise InputInvalid("the input is shorter than announced; it changed while it was read")
            return piece
        if len(piece) < size and read_some(self._source, 1):
            raise InputInvalid("the input is longer than announced; it changed while it was read")
        fill = min(size - len(piece), self._zeros)
        self._zeros -= fill
        return piece + bytes(fill)


def unpad(plain: Iterator[bytes]) -> Iterator[bytes]:
    """The inverse of `PaddingSource` over verified chunks. Raises `OpenFailed`."""
    first = next(plain)
    length = int.from_bytes(first[:LENGTH_SIZE], "big")
    total, missing, expected = len(first), length, padded_size(length)
    piece = first[LENGTH_SIZE:]
    while True:
        body, fill = piece[:missing], piece[missing:]
        missing -= len(body)
        if total > expected or fill.count(0) != len(fill):
            raise OpenFailed
        if body:
            yield body
        following = next(plain, None)
        if following is None:
            break
        piece = following
        total += len(piece)
    if total != expected:
        raise OpenFailed
