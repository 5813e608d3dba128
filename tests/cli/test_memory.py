"""The memory of documents: older ones are refused, two sealers do not lose what either noted."""

import errno
import fcntl
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from desk import KEY, POLICY, Desk

from blindfold import seen
from blindfold._primitives import ed25519_public_key
from blindfold.bundle import root_fingerprint
from blindfold.errors import DocumentStale
from cli.exit_codes import ExitCode
from cli.memory import remember
from testvectors import material

ROOT = material.trust()
NEWER = material.policy(revision=2)
UMBRELLA_KEY = material.key("full", tenant="umbrella")
UMBRELLA_POLICY = replace(material.policy(tenant="umbrella"), uid=bytes(16))


def test_older_revision_is_refused_after_a_newer_one(desk: Desk) -> None:
    desk.bundle("web-tls.policy", NEWER)
    assert desk.seal(stdin=b"x").exit_code == 0
    desk.bundle("web-tls.policy", POLICY)
    result = desk.seal(stdin=b"x")
    assert (result.exit_code, result.stdout) == (ExitCode.STALE, "")
    assert "version 1 is offered, but 2 was used here before" in result.stderr


def test_older_key_version_is_refused_after_a_newer_one(desk: Desk) -> None:
    desk.bundle("tenant.key", material.key("full", version=2))
    assert desk.seal(stdin=b"x").exit_code == 0
    desk.bundle("tenant.key", KEY)
    assert desk.seal(stdin=b"x").exit_code == ExitCode.STALE


def test_another_policy_under_a_known_name_is_refused(desk: Desk) -> None:
    assert desk.seal(stdin=b"x").exit_code == 0
    desk.bundle("web-tls.policy", replace(NEWER, uid=bytes(16)))
    result = desk.seal(stdin=b"x")
    assert (result.exit_code, result.stdout) == (ExitCode.STALE, "")
    assert f"{POLICY.resource_name}: its uid is {'0' * 32}" in result.stderr
    assert "if the policy really was made anew, seal with another memory (--state)" in result.stderr
    assert desk.seal("--state", desk.path / "anew.json", stdin=b"x").exit_code == 0


def test_what_is_noted_is_noted_of_its_root(desk: Desk) -> None:
    assert desk.seal(stdin=b"x").exit_code == 0
    other = material.seeded("another root", 32)
    desk.bundle("tenant.key", KEY, root=other)
    desk.bundle("web-tls.policy", replace(POLICY, uid=bytes(16)), root=other)
    trusted = root_fingerprint(ed25519_public_key(other))
    assert desk.seal("--trust-key", trusted, stdin=b"x").exit_code == 0
    assert seen.load(desk.memory).keys.keys() == {f"{ROOT}/acme", f"{trusted}/acme"}


def test_refused_documents_are_not_noted(desk: Desk) -> None:
    desk.bundle("web-tls.policy", NEWER)
    assert desk.seal("--require-binding", "policy", stdin=b"x").exit_code == ExitCode.MISMATCH
    assert not desk.memory.exists()


def test_named_state_is_used_instead(desk: Desk) -> None:
    assert desk.seal("--state", desk.path / "mine.json", stdin=b"x").exit_code == 0
    assert (desk.path / "mine.json").exists()
    assert not desk.memory.exists()


def test_no_state_neither_reads_nor_writes(desk: Desk) -> None:
    desk.memory.parent.mkdir(parents=True)
    desk.memory.write_bytes(b"damaged")
    assert desk.seal("--no-state", stdin=b"x").exit_code == 0
    assert desk.memory.read_bytes() == b"damaged"


def test_damaged_memory_is_not_an_empty_one(desk: Desk) -> None:
    desk.memory.parent.mkdir(parents=True)
    desk.memory.write_bytes(b"damaged")
    result = desk.seal(stdin=b"x")
    assert (result.exit_code, result.stdout) == (ExitCode.DAMAGED, "")
    assert "seen.json" in result.stderr


def test_directory_that_cannot_be_written_warns_and_goes_on(desk: Desk) -> None:
    result = desk.seal("--state", "/sys/blindfold/seen.json", stdin=b"x")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: /sys/blindfold/seen.json cannot be written")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_memory_that_cannot_be_written_is_still_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "seen.json"
    seen.store(path, seen.Seen().accept(ROOT, KEY, NEWER))

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(seen, "store", refuse)
    remember(path, ROOT, KEY, NEWER)
    assert capsys.readouterr().err == ""
    with pytest.raises(DocumentStale):
        remember(path, ROOT, KEY, POLICY)
    remember(path, ROOT, KEY, material.policy(revision=3))
    assert "cannot be written" in capsys.readouterr().err


def test_full_disk_is_no_reason_to_forget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(seen, "store", refuse)
    with pytest.raises(OSError, match="No space left"):
        remember(tmp_path / "seen.json", ROOT, KEY, POLICY)


def test_sealer_waits_for_another_that_holds_the_memory(tmp_path: Path) -> None:
    """Or it would overwrite what the other is about to note."""
    path = tmp_path / "seen.json"
    with (tmp_path / "seen.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=remember, args=(path, ROOT, KEY, POLICY))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        seen.store(path, seen.Seen().accept(ROOT, UMBRELLA_KEY, UMBRELLA_POLICY))
    waiting.join(10)
    assert seen.load(path).keys.keys() == {f"{ROOT}/acme", f"{ROOT}/umbrella"}
