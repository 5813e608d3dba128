"""The memory of a backup of the store grows neither with what rows hold nor with how many there are."""

import pytest
from server.backup_harness import peak
from server.kms_harness import ACME, running_kms

from kms.client.backups import backup_store
from kms.model.records import NamespaceRecord
from kms.services.repository import create

# The largest row in all its forms, some chunks, a page of events, some messages.
MOST = 8 << 20
BATCH = 32


@pytest.fixture
def kms(tmp_path):
    with running_kms(tmp_path) as started:
        yield started


def add(kms, count, size):
    record = NamespaceRecord("x" * size, {}, kms.now, "")
    for first in range(0, count, BATCH):
        rows = range(first, min(count, first + BATCH))
        kms.commit("Test.Add", *(create(f"{ACME}/namespaces/n{number}", record) for number in rows))


def take(kms, path):
    with path.open("wb") as file:
        for piece in backup_store(kms.as_("operator")):
            file.write(piece)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "size"), [(96, 1 << 20), (24_000, 100)], ids=["large", "many"])
def test_memory_is_bounded(kms, tmp_path, count, size):
    add(kms, count, size)
    file = tmp_path / "backup"
    assert peak(lambda: take(kms, file)) < MOST
    assert file.stat().st_size > count * size
