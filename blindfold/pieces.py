"""From pieces, as they come, to a source that is read from."""

from collections.abc import Iterator


class PieceSource:
    """A source of pieces. `taken` is what was read; once `ended`, all of them were there and verified."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self.taken = 0
        self.ended = False

    def read(self, size: int, /) -> bytes:
        while not self._piece and not self.ended:
            following = next(self._pieces, None)
            self.ended = following is None
            self._piece = memoryview(following or b"")
        data = bytes(self._piece[:size])
        self._piece = self._piece[size:]
        self.taken += len(data)
        return data
