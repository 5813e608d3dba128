"""A sealer's memory of the documents it has used."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from blindfold import KeyDocument, PolicyDocument
from blindfold.errors import DocumentInvalid, DocumentStale, PolicyReplaced
from blindfold.seen import Seen, default_path, load, store
from testvectors import material

KEY, POLICY = material.key(), material.policy()
ROOT = material.trust()
OTHER_ROOT = f"sha256:{'0' * 64}"
SEEN = Seen().accept(ROOT, KEY, POLICY)


def test_first_use_is_remembered() -> None:
    assert SEEN.keys == {f"{ROOT}/acme": (1, KEY.fingerprint.hex())}
    assert SEEN.policies == {f"{ROOT}/{POLICY.uid.hex()}": (1, POLICY.digest.hex())}
    assert SEEN.uids == {f"{ROOT}/{POLICY.resource_name}": POLICY.uid.hex()}


def test_same_documents_are_accepted_again_and_change_nothing() -> None:
    assert SEEN.accept(ROOT, KEY, POLICY) == SEEN


def test_newer_documents_are_accepted_and_remembered() -> None:
    newer = SEEN.accept(ROOT, material.key(version=3), material.policy(revision=5))
    assert newer.keys[f"{ROOT}/acme"][0] == 3
    assert newer.policies[f"{ROOT}/{POLICY.uid.hex()}"][0] == 5
    assert SEEN.keys[f"{ROOT}/acme"][0] == 1, "the old memory is unchanged"


def test_tenants_and_policies_are_remembered_apart() -> None:
    other_policy = replace(material.policy(tenant="acme2"), uid=bytes(16))
    seen = Seen().accept(ROOT, material.key(version=9), material.policy(revision=9))
    both = seen.accept(ROOT, material.key(tenant="acme2"), other_policy)
    assert {name: entry[0] for name, entry in both.keys.items()} == {
        f"{ROOT}/acme": 9,
        f"{ROOT}/acme2": 1,
    }
    assert len(both.policies) == 2


def test_one_tenant_under_two_roots_is_two() -> None:
    """Or a KMS could keep the sealers of another from going on."""
    theirs = replace(material.policy(revision=7), uid=bytes(16))
    both = SEEN.accept(OTHER_ROOT, material.key("other", version=9), theirs)
    assert both.accept(ROOT, KEY, POLICY) == both
    with pytest.raises(DocumentStale):
        both.accept(OTHER_ROOT, KEY, theirs)


@pytest.mark.parametrize("revision", [1, 2], ids=["same revision", "newer revision"])
def test_another_policy_under_a_known_name_is_refused(revision: int) -> None:
    replaced = replace(material.policy(revision=revision), uid=bytes(16))
    with pytest.raises(PolicyReplaced, match=f"{POLICY.resource_name}: .*{POLICY.uid.hex()}"):
        SEEN.accept(ROOT, KEY, replaced)


REFUSED: dict[str, tuple[KeyDocument, PolicyDocument, str]] = {
    "an older key version": (material.key(version=1), material.policy(revision=2), "but 2 was used"),
    "an older revision": (material.key(version=2), material.policy(revision=1), "but 2 was used"),
    "another key of the same version": (
        material.key("other", version=2),
        material.policy(revision=2),
        "differs",
    ),
    "another policy of the same revision": (
        material.key(version=2),
        replace(material.policy(revision=2), description="a fork"),
        "differs",
    ),
}


@pytest.mark.parametrize(("key", "policy", "text"), REFUSED.values(), ids=REFUSED)
def test_stale_and_forked_documents_are_refused(key: KeyDocument, policy: PolicyDocument, text: str) -> None:
    seen = Seen().accept(ROOT, material.key(version=2), material.policy(revision=2))
    with pytest.raises(DocumentStale, match=text):
        seen.accept(ROOT, key, policy)


# The file.


def test_memory_is_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "blindfold" / "seen.json"
    assert load(path) == Seen()
    store(path, SEEN)
    assert load(path) == SEEN
    newer = SEEN.accept(ROOT, material.key(version=2), POLICY)
    store(path, newer)
    assert load(path) == newer
    assert [file.name for file in path.parent.iterdir()] == ["seen.json"]


def test_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "blindfold" / "seen.json"
    store(path, SEEN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


DAMAGED = {
    "empty": b"",
    "cut off": SEEN.to_bytes()[:-1],
    "not canonical": SEEN.to_bytes() + b"\n",
    "another member": b'{"keys":{},"others":{},"policies":{},"uids":{}}',
    "uids that are no table": b'{"keys":{},"policies":{},"uids":[]}',
    "a uid that is a number": b'{"keys":{},"policies":{},"uids":{"a":1}}',
    "a missing table": b'{"keys":{},"policies":{}}',
    "no table": b'{"keys":[],"policies":{},"uids":{}}',
    "an entry that is no list": b'{"keys":{"acme":1},"policies":{},"uids":{}}',
    "an entry too short": b'{"keys":{"acme":[1]},"policies":{},"uids":{}}',
    "an entry too long": b'{"keys":{"acme":[1,"a","b"]},"policies":{},"uids":{}}',
    "a version that is text": b'{"keys":{"acme":["1","a"]},"policies":{},"uids":{}}',
    "a version that is a truth value": b'{"keys":{"acme":[true,"a"]},"policies":{},"uids":{}}',
    "a digest that is a number": b'{"keys":{},"policies":{"a":[1,2]},"uids":{}}',
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damaged_memory_is_refused_and_not_taken_for_an_empty_one(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "seen.json"
    path.write_bytes(data)
    with pytest.raises(DocumentInvalid):
        load(path)
    assert path.read_bytes() == data


def test_read_only_file_system_is_an_oserror_and_leaves_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seen.json"
    store(path, SEEN)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(OSError, match="Read-only"):
        store(path, SEEN.accept(ROOT, material.key(version=2), POLICY))
    assert load(path) == SEEN


def test_directory_that_cannot_be_made_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Not a directory"):
        store(tmp_path / "file" / "blindfold" / "seen.json", SEEN)


def test_write_that_fails_half_way_leaves_the_old_memory_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seen.json"
    store(path, SEEN)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        store(path, SEEN.accept(ROOT, material.key(version=2), POLICY))
    assert [file.name for file in tmp_path.iterdir()] == ["seen.json"]
    assert load(path) == SEEN


def test_unreadable_memory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "seen.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        load(tmp_path / "seen.json")


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/blindfold/seen.json"),
        ({"XDG_STATE_HOME": "", "HOME": "/h"}, "/h/.local/state/blindfold/seen.json"),
        ({"HOME": "/h"}, "/h/.local/state/blindfold/seen.json"),
        ({}, "/.local/state/blindfold/seen.json"),
    ],
)
def test_default_path_follows_the_xdg_base_directories(environment: dict[str, str], path: str) -> None:
    assert default_path(environment) == Path(path)
