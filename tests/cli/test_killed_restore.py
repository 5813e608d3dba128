"""A SIGKILL during a restore leaves the whole tenant or nothing of it."""

import pytest
from house import SERVE, House
from killed_house import furnish_with_keys, stored

from cli.exit_codes import ExitCode
from kms.model.audit_event import AuditEvent
from kms.services.backup_kinds import KINDS, LEFT_OUT
from kms.storage.interface import Delete, Row
from kms.storage.sqlite import SqliteStore

OPERATOR = "kms/credentials/operator"
KEYS = 20
# The rows are read once to be counted, four times to be checked, and the sixth time to be written.
READING = """
import os, signal
from kms.services.restores import Restores
rows, passes = Restores._changes, []
def changes(self, *arguments):
    passes.append(1)
    for number, change in enumerate(rows(self, *arguments)):
        if (len(passes), number) == {place}:
            os.kill(os.getpid(), signal.SIGKILL)
        yield change
Restores._changes = changes
"""
COMMITTED = """
import os, signal
from kms.storage.writer import Writer
commit = Writer._commit_bulk
def killed(self, requests):
    commit(self, requests)
    os.kill(os.getpid(), signal.SIGKILL)
Writer._commit_bulk = killed
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """One that nobody serves at the moment, with a backup of acme and a file that a key of it encrypted."""
    house = House(tmp_path_factory.mktemp("house"))
    house.init()
    with house.served():
        furnish_with_keys(house, KEYS)
        house.must("kms", "tenant", "backup", "acme", "--out", house.path / "backup", who=OPERATOR)
    return house


def acme(store: SqliteStore) -> list[Row]:
    rows = [row for kind in (*KINDS, *LEFT_OUT) for row in store.scan(kind, "tenants/acme", limit=10_000)]
    return rows + [row for row in store.scan("due", limit=10_000) if "/tenants/acme/" in row.name]


def lose(house: House) -> None:
    event = AuditEvent("2026-01-02T03:04:05.000000Z", "Test.Lose", "", "", "", "ALLOW")
    with stored(house) as store:
        store.commit([Delete(row.kind, row.name, row.counter) for row in acme(store)], [event]).result(20)
        assert acme(store) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch", "written"),
    [
        (READING.format(place=(1, 5)), False),
        (READING.format(place=(6, 0)), False),
        (READING.format(place=(6, 2 * KEYS)), False),
        (COMMITTED, True),
    ],
    ids=["verified", "begun", "half written", "committed"],
)
def test_tenant_is_whole_or_not_there(house: House, patch: str, written: bool) -> None:
    lose(house)
    restore = ("tenant", "restore", house.path / "backup")
    with house.served(script=patch + SERVE) as process:
        assert house.kms(*restore, who=OPERATOR).code == ExitCode.UNAVAILABLE
        assert process.wait(30) == -9
    with stored(house) as store:
        assert bool(acme(store)) == written
    with house.served():
        ended = house.kms(*restore, who=OPERATOR)
        assert ended.code == (ExitCode.CONFLICT if written else ExitCode.OK)
        assert ("repeat what still holds" in ended.words) is not written
        opened = house.kms("decrypt", "prod/k0", house.path / "sealed", who="prod-worker")
        assert opened.out == b"kept"
        listed = house.must("kms", "key", "list", "prod", who="prod-worker")
        assert len(listed) == KEYS
