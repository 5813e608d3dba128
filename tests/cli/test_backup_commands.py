"""Backups of tenants by the commands, against a served KMS. (test_killed_restore.py restores for real.)"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House

from cli.exit_codes import ExitCode

OPERATOR = "kms/credentials/operator"


@pytest.fixture(scope="module")
def backup(house: House) -> Iterator[Path]:
    path = house.path / "acme.backup"
    house.must("kms", "tenant", "backup", "acme", "--out", path, who=OPERATOR)
    return path


def test_backup_is_a_private_file_that_tells_of_itself(house: House, backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    inspected = house.process("kms", "backup", "inspect", backup, "--json", who="/nowhere").json
    assert (inspected["scope"], inspected["portable"]) == ("tenants/acme", True)
    again = house.path / "again.backup"
    shown = house.must("kms", "tenant", "backup", "acme", "--out", again, who=OPERATOR)
    assert (shown["size"], shown["out"]) == (again.stat().st_size, str(again))
    assert shown.keys() - inspected.keys() == {"size", "out"}
    assert "wrapped_key" not in shown
    person = house.kms("backup", "inspect", backup)
    assert b"tenants/acme" in person.out


def test_administrator_takes_a_backup_of_his_own_tenant_alone(house: House, tmp_path: Path) -> None:
    shown = house.must("kms", "tenant", "backup", "acme", "--out", tmp_path / "acme.backup")
    assert shown["portable"] is False
    ended = house.kms("tenant", "backup", "globex", "--out", tmp_path / "globex.backup")
    assert ended.code == ExitCode.DENIED
    assert not (tmp_path / "globex.backup").exists()


@pytest.mark.parametrize("as_file", [True, False])
def test_backup_is_verified_while_the_tenant_is_there(house: House, backup: Path, as_file: bool) -> None:
    stdin = None if as_file else backup.read_bytes()
    call = ("tenant", "restore", backup if as_file else "-", "--verify-only")
    ended = house.kms(*call, "--json", who=OPERATOR, stdin=stdin)
    assert (ended.json["name"], ended.json["verify_only"]) == ("tenants/acme", True)
    assert "warning" not in ended.words
    person = house.kms(*call, who=OPERATOR, stdin=stdin)
    assert b"verify only" in person.out


def test_restore_is_refused_with_an_exit_code_that_tells_why(house: House, backup: Path) -> None:
    damaged = house.file("damaged.backup", backup.read_bytes()[:-1])
    for arguments, who, code in (
        ((backup,), OPERATOR, ExitCode.CONFLICT),
        ((backup,), "", ExitCode.DENIED),
        ((damaged, "--verify-only"), OPERATOR, ExitCode.DAMAGED),
        ((house.file("no.backup", b"something else"),), OPERATOR, ExitCode.DAMAGED),
        ((house.path / "absent.backup",), OPERATOR, ExitCode.USAGE),
    ):
        assert house.kms("tenant", "restore", *arguments, who=who).code == code
    assert house.kms("backup", "inspect", house.path / "no.backup").code == ExitCode.DAMAGED
