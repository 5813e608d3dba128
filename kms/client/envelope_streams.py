"""Writing and reading one envelope as files, in constant memory (docs/spec/envelope.md).

Neither closes the file beneath it, and neither is safe for threads.
"""

import io
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from blindfold import stream
from blindfold.envelope import Source
from blindfold.errors import OpenFailed
from blindfold.sealing import Sink
from blindfold.stream import CHUNK, ChunkEncryptor
from kms.errors import DecryptionFailed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class EnvelopeWriter(io.RawIOBase):
    """Encrypts what is written. Only `close` makes the envelope whole; without it nothing decrypts.

    Leaving its `with` block by an exception does not close it so, nor does forgetting it. `charge` is told
    how many bytes were encrypted.
    """

    def __init__(self, sink: Sink, head: bytes, message_key: bytes, charge: Callable[[int], None]) -> None:
        self._sink = sink
        self._chunks = ChunkEncryptor(message_key)
        self._charge = charge
        self._waiting = bytearray()
        self._is_broken = False
        write_all(sink, head)

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """All of data, always. Raises what the sink raises, and `ValueError` after that or `close`."""
        self._check_usable()
        view = memoryview(data).cast("B")
        for start in range(0, len(view), CHUNK):
            self._waiting += view[start : start + CHUNK]
            # The last chunk is marked as such, so a full one waits for what follows.
            if len(self._waiting) > CHUNK:
                self._encrypt(bytes(self._waiting[:CHUNK]), last=False)
                del self._waiting[:CHUNK]
        return len(view)

    def close(self) -> None:
        """Writes the end. Raises what the sink raises, and `ValueError` where it has raised before."""
        if self.closed:
            return
        try:
            self._check_usable()
            self._encrypt(bytes(self._waiting), last=True)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes without an end: what was written is no envelope, and is refused."""
        self._is_broken = True
        self._waiting.clear()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abandon()
        self.close()

    def __del__(self) -> None:
        # That of the base would close, and make a whole of what was broken off.
        if not self.closed:
            self.abandon()

    def _check_usable(self) -> None:
        if self.closed or self._is_broken:
            raise ValueError("the envelope is closed, or an error has left it unfinished")

    def _encrypt(self, chunk: bytes, *, last: bool) -> None:
        self._is_broken = True
        write_all(self._sink, self._chunks.encrypt(chunk, last=last))
        self._charge(len(chunk))
        self._is_broken = False


def write_all(sink: Sink, data: bytes) -> None:
    """An unbuffered file may take a part of it."""
    while data:
        taken = sink.write(data)
        data = data[taken:] if isinstance(taken, int) else b""


class EnvelopeReader(io.RawIOBase):
    """Gives decrypted bytes, each only after its chunk was verified.

    Until the end was read, a later part may turn out to be missing or changed: whoever acts on what came
    before must be able to take it back. Every read after a failure fails.
    """

    def __init__(self, message_key: bytes, source: Source) -> None:
        self._chunks: Iterator[bytes] = stream.decrypt(message_key, source)
        self._piece = memoryview(b"")
        self._is_broken = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """0 only at the verified end. Raises `DecryptionFailed`, and what the source raises."""
        self._fill()
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._piece))
        target[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def readall(self) -> bytes:
        """The rest, of which nothing is given unless all of it verifies. Raises as `readinto`."""
        pieces = []
        while self._fill():
            pieces.append(self._piece)
            self._piece = memoryview(b"")
        return b"".join(pieces)

    def close(self) -> None:
        self._piece = memoryview(b"")
        self._chunks = iter(())
        super().close()

    def _fill(self) -> bool:
        """Whether there is anything to give."""
        if self.closed:
            raise ValueError("the envelope is closed")
        if not self._piece:
            self._piece = memoryview(self._next())
        return len(self._piece) > 0

    def _next(self) -> bytes:
        """The next chunk; none at the end. An iterator that has failed would just end the next time."""
        if self._is_broken:
            raise DecryptionFailed
        self._is_broken = True
        try:
            chunk = next(self._chunks, b"")
        except OpenFailed:
            pass
        else:
            self._is_broken = False
            return chunk
        raise DecryptionFailed
