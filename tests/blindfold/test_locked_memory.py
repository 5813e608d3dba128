"""Secrets lie in pages that the system does not swap out, and where it cannot be, that is said."""

import errno
import mmap
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from blindfold.locked_memory import CHUNK, SLOT_SIZES, LockedMemory, LockReport
from blindfold.secret import MEMORY, SecretBytes


def locked_kib(pid: int | str = "self") -> int:
    found = re.search(r"^VmLck:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return int(found[1])


def test_a_secret_lies_in_locked_pages_of_the_process() -> None:
    secret = SecretBytes(b"k" * 32)
    assert secret._slot is not None
    assert MEMORY.report().locked >= CHUNK
    assert locked_kib() * 1024 >= MEMORY.report().locked


@pytest.mark.parametrize("size", [0, 1, 64, 65, 512, 513, 4096])
def test_slot_is_large_enough(size: int) -> None:
    slot = LockedMemory().take(size)
    assert slot is not None
    assert len(slot) == min(slot_size for slot_size in SLOT_SIZES if slot_size >= size)


def test_what_is_given_back_is_zeroed_and_used_again() -> None:
    memory = LockedMemory()
    slot = memory.take(32)
    assert slot is not None
    slot[:6] = b"secret"
    memory.give_back(slot)
    again = memory.take(20)
    assert again is slot
    assert bytes(slot) == bytes(64)


def test_slots_of_two_secrets_do_not_overlap() -> None:
    secrets = [SecretBytes(bytes([number]) * 60) for number in range(200)]
    assert [secret.reveal() for secret in secrets] == [bytes([number]) * 60 for number in range(200)]


def test_more_pages_are_locked_when_they_are_used_up() -> None:
    asked: list[int] = []
    memory = LockedMemory(lambda address, size: not asked.append(size))  # type: ignore[func-returns-value]
    slots = [memory.take(64) for _ in range(CHUNK // 64 + 1)]
    assert None not in slots
    assert asked == [CHUNK, CHUNK]
    assert memory.report() == LockReport(2 * CHUNK, 0)


def test_what_cannot_be_locked_is_counted_and_the_system_is_not_asked_again() -> None:
    asked: list[int] = []
    memory = LockedMemory(lambda address, size: bool(asked.append(size)))  # type: ignore[func-returns-value]
    assert [memory.take(32), memory.take(2000)] == [None, None]
    assert memory.report() == LockReport(0, 2)
    assert asked == [CHUNK]


def test_large_secrets_are_kept_all_the_same() -> None:
    before = MEMORY.report().unlocked_secrets
    secret = SecretBytes(b"s" * 5000)
    assert secret.reveal() == b"s" * 5000
    assert MEMORY.report().unlocked_secrets == before + 1


WITHOUT = """
import resource
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
from blindfold.secret import MEMORY, SecretBytes
secret = SecretBytes(b"hunter2")
secret.wipe()
print(len(secret), secret.reveal() == bytes(7), MEMORY.report())
"""


def test_secrets_work_where_nothing_may_be_locked() -> None:
    dropped = ("setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock")
    command = [sys.executable, "-c", WITHOUT]
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != 0 and is_root():
        command = [*dropped, *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "7 True LockReport(locked=0, unlocked_secrets=1)\n"


def is_root() -> bool:
    status = Path("/proc/self/status").read_text()
    return "Uid:\t0\t" in status


def test_pages_that_the_system_does_not_give_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> mmap.mmap:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    memory = LockedMemory()
    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", refuse)
        assert memory.take(32) is None
    assert memory.report() == LockReport(0, 1)
    assert memory.take(32) is not None


def test_a_system_that_dumps_all_pages_locks_them_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_DONTDUMP")
    memory = LockedMemory()
    assert memory.take(32) is not None
    assert memory.report() == LockReport(CHUNK, 0)
