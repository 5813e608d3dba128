"""Files of secrets on a real file system."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from kms.errors import ConfigError
from wingman.errors import FileNotWritten
from wingman.files.directory import SecretDirectory, file_system

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root mounts file systems and gives files away"
)


@pytest.fixture
def directory(tmp_path: Path) -> SecretDirectory:
    made = SecretDirectory(tmp_path / "secrets", 0o600)
    made.prepare(require_memory=False)
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_is_whole_private_and_alone(directory: SecretDirectory) -> None:
    before = os.umask(0)
    try:
        assert directory.write("password", b"secret")
    finally:
        os.umask(before)
    path = directory.path / "password"
    assert (path.read_bytes(), mode(path)) == (b"secret", 0o600)
    assert mode(directory.path) == 0o700
    assert [path.name for path in directory.path.iterdir()] == ["password"]


def test_file_that_has_not_changed_is_left_alone(directory: SecretDirectory) -> None:
    directory.write("password", b"secret")
    before = (directory.path / "password").stat()
    assert not directory.write("password", b"secret")
    assert (directory.path / "password").stat() == before


def test_file_is_replaced_and_never_written_over(directory: SecretDirectory) -> None:
    directory.write("password", b"first")
    with (directory.path / "password").open("rb") as reader:
        assert directory.write("password", b"other")
        assert reader.read() == b"first"
    assert (directory.path / "password").read_bytes() == b"other"


def test_file_that_others_were_let_read_is_made_anew(directory: SecretDirectory) -> None:
    directory.write("password", b"secret")
    (directory.path / "password").chmod(0o644)
    assert directory.write("password", b"secret")
    assert mode(directory.path / "password") == 0o600


def test_link_in_a_files_place_is_replaced_and_not_followed(
    directory: SecretDirectory, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (directory.path / "password").symlink_to(victim)
    assert directory.write("password", b"secret")
    assert victim.read_bytes() == b"theirs"
    assert not (directory.path / "password").is_symlink()


def test_named_pipe_in_a_files_place_does_not_block(directory: SecretDirectory) -> None:
    os.mkfifo(directory.path / "password")
    assert directory.write("password", b"secret")
    assert (directory.path / "password").read_bytes() == b"secret"


@needs_root
def test_group_may_read_where_that_is_said(tmp_path: Path) -> None:
    shared = SecretDirectory(tmp_path / "secrets", 0o640, group=4711)
    shared.prepare(require_memory=False)
    shared.write("password", b"secret")
    found = (shared.path / "password").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, 4711)
    assert (mode(shared.path), shared.path.stat().st_gid) == (0o750, 4711)


def test_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "secrets"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(ConfigError, match="writable for no other"):
        SecretDirectory(open_to_all, 0o600).prepare(require_memory=False)


def test_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "secrets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        SecretDirectory(tmp_path / "secrets", 0o600).prepare(require_memory=False)


def test_directory_on_a_disk_is_warned_of_and_refused_where_memory_is_asked_for(tmp_path: Path) -> None:
    if file_system(tmp_path.stat().st_dev) in ("tmpfs", "ramfs"):
        pytest.skip("temporary files lie in memory here")
    directory = SecretDirectory(tmp_path / "secrets", 0o600)
    assert "mount a tmpfs" in directory.prepare(require_memory=False)
    with pytest.raises(ConfigError, match="mount a tmpfs"):
        directory.prepare(require_memory=True)


def test_directory_in_memory_is_known_as_such() -> None:
    assert file_system(Path("/dev/shm").stat().st_dev) == "tmpfs"
    assert file_system(Path("/proc").stat().st_dev) == "proc"


@needs_root
def test_full_file_system_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(small)], check=True)
    try:
        directory = SecretDirectory(small, 0o600)
        assert directory.prepare(require_memory=True) == ""
        directory.write("password", b"first")
        with pytest.raises(FileNotWritten, match="No space left"):
            directory.write("password", b"x" * (128 << 10))
        assert (small / "password").read_bytes() == b"first"
        assert [path.name for path in small.iterdir()] == ["password"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "files"
    place.mkdir(mode=0o700)
    for name in (".password.0123456789abcdef", ".hidden", "password"):
        (place / name).write_bytes(b"secret")
    SecretDirectory(place, 0o600).prepare(require_memory=False)
    assert sorted(path.name for path in place.iterdir()) == [".hidden", "password"]
