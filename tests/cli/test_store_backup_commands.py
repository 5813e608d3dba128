"""Backups of the whole store by the commands, and restoring them into another directory."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House

from cli.exit_codes import ExitCode

OPERATOR = "kms/credentials/operator"


@pytest.fixture(scope="module")
def backups(house: House) -> Iterator[list[Path]]:
    full, following = house.path / "full.backup", house.path / "next.backup"
    house.must("kms", "operator", "backup", "--out", full, who=OPERATOR)
    house.must("kms", "operator", "backup", "--since", full, "--out", following, who=OPERATOR)
    return [full, following]


@pytest.fixture
def elsewhere(house: House, tmp_path: Path) -> Path:
    """Another directory with what is kept apart, whose checkpoint file is its own."""
    data = tmp_path / "elsewhere"
    data.mkdir(mode=0o700)
    shutil.copy(house.data / "root.key", data)
    settings = (house.data / "kms.toml").read_text().splitlines()
    kept = [line for line in settings if not line.startswith("checkpoint_file")]
    (data / "kms.toml").write_text(
        "\n".join([*kept, f'checkpoint_file = "{tmp_path}/outside/checkpoint"', ""])
    )
    return data


def test_backups_are_private_files_that_name_the_one_before(house: House, backups: list[Path]) -> None:
    first, second = (
        house.process("kms", "backup", "inspect", path, "--json", who="/nowhere").json for path in backups
    )
    assert {path.stat().st_mode & 0o777 for path in backups} == {0o600}
    assert (first["follows"], second["follows"]) == ("", first["header"])
    assert first["scope"] == f"stores/{first['store_id']}"
    assert not [name for name in second if name.startswith("wrapped")]


def test_store_is_restored_and_looks_sound(house: House, backups: list[Path], elsewhere: Path) -> None:
    restored = house.must("kms", "restore-store", "--data", elsewhere, *backups)
    assert (restored["backups"], restored["unknown_events"], restored["verify_only"]) == (2, 0, False)
    assert house.must("kms", "verify-store", "--data", elsewhere)["sound"]
    again = house.kms("restore-store", "--data", elsewhere, *backups)
    assert again.code != 0
    assert "over another one" in again.words


def test_person_is_told_what_to_do_after_it(house: House, backups: list[Path], elsewhere: Path) -> None:
    ended = house.kms("restore-store", "--data", elsewhere, *backups)
    assert ended.code == 0, ended.words
    assert "repeat what still holds, revocations first" in ended.words
    assert "generate new Blindfold keys" in ended.words


def test_verifying_says_no_more(house: House, backups: list[Path], elsewhere: Path) -> None:
    ended = house.kms("restore-store", "--data", elsewhere, *backups, "--verify-only")
    assert (ended.code, ended.words) == (0, "")
    assert not (elsewhere / "store.sqlite").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((1,), "begin with a full backup"),
        ((1, 0), "begin with a full backup"),
        ((0, 1, "--at", "2020-01-01T00:00:00Z"), "later"),
        ((0, "--at", "yesterday"), "zone"),
        ((), "FILE"),
    ],
)
def test_what_cannot_be_restored_is_refused(
    house: House,
    backups: list[Path],
    elsewhere: Path,
    arguments: tuple[int | str, ...],
    says: str,
) -> None:
    named = [backups[item] if isinstance(item, int) else item for item in arguments]
    ended = house.kms("restore-store", "--data", elsewhere, *named)
    assert ended.code != 0
    assert says in ended.words


def test_administrator_takes_none_of_the_store(house: House, tmp_path: Path) -> None:
    ended = house.kms("operator", "backup", "--out", tmp_path / "none")
    assert ended.code == ExitCode.DENIED
    assert not (tmp_path / "none").exists()


def test_what_is_no_backup_is_not_followed(house: House, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"no backup")
    ended = house.kms("operator", "backup", "--since", other, "--out", tmp_path / "none", who=OPERATOR)
    assert "does not begin as a backup" in ended.words
    assert not (tmp_path / "none").exists()
