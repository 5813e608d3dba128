"""`SecretBytes`: secrets with one loud exit and a wipe."""

from typing import Any, NoReturn

from blindfold.locked_memory import LockedMemory

# Memory is the process's own, whoever makes the secrets.
MEMORY = LockedMemory()


class SecretBytes:
    """Bytes that do not print, copy, pickle or compare. `reveal()` is the only way out.

    The bytes lie in a mutable buffer that `wipe()` zeroes: up to 4 KiB in memory that is not swapped out, as
    long as the system lets us lock some. What `reveal()` handed out is beyond its reach: Python cannot wipe
    `bytes`.
    """

    __slots__ = ("_buffer", "_slot")

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        size = memoryview(value).nbytes
        self._slot = MEMORY.take(size)
        self._buffer = bytearray(size) if self._slot is None else self._slot[:size]
        self._buffer[:] = value

    def reveal(self) -> bytes:
        """Return the secret as `bytes`."""
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Overwrite the buffer with zeros, keeping its length."""
        self._buffer[:] = bytes(len(self._buffer))

    def __len__(self) -> int:
        return len(self._buffer)

    def __repr__(self) -> str:
        return f"SecretBytes({len(self._buffer)} bytes)"

    def __enter__(self) -> "SecretBytes":
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __del__(self) -> None:
        if hasattr(self, "_buffer"):
            self.wipe()
            if self._slot is not None:
                MEMORY.give_back(self._slot)

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("a secret is neither copied, pickled, hashed nor compared; call reveal()")

    __eq__ = __ne__ = __hash__ = __copy__ = __deepcopy__ = __reduce__ = __reduce_ex__ = _refuse
