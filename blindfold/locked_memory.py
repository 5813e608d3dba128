"""Room for secrets that the system does not swap out: pages locked by mlock(2), cut into slots.

The pages are private to the process and left out of core files. Locked memory is scarce (RLIMIT_MEMLOCK), so
they are taken a few at a time, and what does not fit is said to be unlocked, never refused.
"""

import ctypes
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Keys; passphrases, shares and small private keys; RSA private keys and the plaintexts of most secrets.
SLOT_SIZES = (64, 512, 4096)
CHUNK = 64 * 1024

# (address, bytes) -> whether the pages are locked.
Lock = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class LockReport:
    """`locked` bytes are taken from the system and locked; so many secrets had no place there."""

    locked: int
    unlocked_secrets: int


class LockedMemory:
    """Slots of three sizes. Safe for calls from several threads, and from finalizers."""

    def __init__(self, lock: Lock | None = None, sizes: Sequence[int] = SLOT_SIZES) -> None:
        # list.pop and list.append are atomic, so that a finalizer amid a call does no harm; a lock would.
        self._free: dict[int, list[memoryview]] = {size: [] for size in sizes}
        self._lock = _mlock if lock is None else lock
        self._chunks: list[mmap.mmap] = []
        self._unlocked = 0
        self._exhausted = False

    def take(self, size: int) -> memoryview | None:
        """A slot of at least `size` bytes, zero, to be given back; None if there is none that is locked."""
        for slot, free in self._free.items():
            if size <= slot:
                try:
                    return free.pop() if free else self._grow(slot)
                except (IndexError, MemoryError):
                    break
        self._unlocked += 1
        return None

    def give_back(self, slot: memoryview) -> None:
        """Zero a slot that nobody uses any longer, and keep it for others."""
        slot[:] = bytes(len(slot))
        self._free[len(slot)].append(slot)

    def report(self) -> LockReport:
        return LockReport(CHUNK * len(self._chunks), self._unlocked)

    def _grow(self, slot: int) -> memoryview:
        """One slot of new pages; the others are free. Raises `MemoryError` if no more can be locked."""
        if self._exhausted:
            raise MemoryError
        try:
            chunk = mmap.mmap(-1, CHUNK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError from error
        view = memoryview(chunk)
        if not self._lock(ctypes.addressof(ctypes.c_char.from_buffer(view)), CHUNK):
            self._exhausted = True
            raise MemoryError
        if hasattr(mmap, "MADV_DONTDUMP"):
            chunk.madvise(mmap.MADV_DONTDUMP)
        self._chunks.append(chunk)
        first, *others = (view[at : at + slot] for at in range(0, CHUNK, slot))
        self._free[slot].extend(others)
        return first


def _mlock(address: int, size: int) -> bool:
    mlock = getattr(ctypes.CDLL(None), "mlock", None)
    return mlock is not None and mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0
