"""Backups of a whole KMS, and the directory of another one that they are restored in."""

import shutil
from pathlib import Path

from server.kms_harness import RunningKms, configuration_in

from kms.client.backups import backup_store
from kms.main.restoring import RestoredStore, restore_store
from kms.main.root_material import Material


def take_store(kms: RunningKms, path: Path, since: Path | None = None) -> Path:
    """A backup in that file, which may follow another."""
    start = b"" if since is None else header_of(since)
    path.write_bytes(b"".join(backup_store(kms.as_("operator"), start)))
    return path


def header_of(path: Path) -> bytes:
    data = path.read_bytes()
    size = 14 + 2 + int.from_bytes(data[14:16], "big")
    return data[:size]


def another_machine(kms: RunningKms, directory: Path) -> Path:
    """A directory with what an operator keeps apart: the keyfile; and with the callers' credentials."""
    (directory / "kms").mkdir(parents=True)
    (directory / "outside").mkdir()
    shutil.copy(kms.directory / "kms" / "root.key", directory / "kms" / "root.key")
    shutil.copytree(kms.directory / "callers", directory / "callers")
    return directory


def restore_in(directory: Path, *files: Path, **how: object) -> RestoredStore:
    return restore_store(configuration_in(directory), files, NOBODY, lambda count: None, **how)  # type: ignore[arg-type]


def _ask() -> None:
    raise AssertionError("a keyfile needs no passphrase")


NOBODY = Material(_ask)  # type: ignore[arg-type]
