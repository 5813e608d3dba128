"""The memory of a backup and of a restore does not grow with what the rows hold."""

import pytest
from server.backup_harness import NAME, lose, peak, rows
from server.kms_harness import ACME, running_kms

from kms.client.backups import backup_tenant, restore_tenant
from kms.model.records import NamespaceRecord
from kms.services.repository import create

ROWS, SIZE = 96, 1 << 20
# One row in all its forms, some chunks, some messages.
MOST = 24 << 20


@pytest.fixture
def kms(tmp_path):
    with running_kms(tmp_path) as started:
        for number in range(ROWS):
            record = NamespaceRecord("x" * SIZE, {}, started.now, "")
            started.commit("Test.Large", create(f"{ACME}/namespaces/n{number}", record))
        yield started


@pytest.mark.slow
def test_memory_is_bounded(kms, tmp_path):
    path = tmp_path / "backup"

    def take():
        with path.open("wb") as file:
            for piece in backup_tenant(kms.as_("operator"), NAME):
                file.write(piece)

    def restore(**how):
        with path.open("rb") as file:
            restore_tenant(kms.as_("operator"), NAME, file, **how)

    assert peak(take) < MOST
    assert path.stat().st_size > ROWS * SIZE
    assert peak(lambda: restore(verify_only=True)) < MOST
    lose(kms)
    assert peak(restore) < MOST
    assert sum(kind == "namespaces" for kind, _ in rows(kms)) > ROWS
