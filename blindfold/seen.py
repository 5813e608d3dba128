"""What a sealer remembers, so that nobody can serve it yesterday's documents.

Per tenant the highest key version with its fingerprint, per policy uid the highest revision with its
digest, per policy name its uid. The same number with other content is refused too: that is a fork, not an
update. All of it is kept apart by documents root: what one KMS says is nothing to the sealers of another.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from blindfold import _canonical
from blindfold._whole_file import whole_file
from blindfold.documents import KeyDocument, PolicyDocument
from blindfold.errors import DocumentInvalid, DocumentStale, PolicyReplaced


@dataclass(frozen=True, slots=True)
class Seen:
    """An immutable memory; `accept` returns the next one."""

    keys: dict[str, tuple[int, str]] = field(default_factory=dict)
    policies: dict[str, tuple[int, str]] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)

    def accept(self, root: str, key: KeyDocument, policy: PolicyDocument) -> Self:
        """The memory with both documents in it. Raises `DocumentStale`, `PolicyReplaced`.

        `root` is the fingerprint of the documents root that vouches for both.
        """
        name, uid = policy.resource_name, policy.uid.hex()
        known = self.uids.get(f"{root}/{name}", uid)
        if known != uid:
            raise PolicyReplaced(f"{name}: its uid is {uid}, but it was {known} when it was used here before")
        keys = _accept(
            self.keys,
            f"{root}/{key.tenant}",
            key.key_version,
            key.fingerprint.hex(),
            f"key of tenant {key.tenant}",
        )
        policies = _accept(self.policies, f"{root}/{uid}", policy.revision, policy.digest.hex(), name)
        return type(self)(keys, policies, {**self.uids, f"{root}/{name}": uid})

    def to_bytes(self) -> bytes:
        return _canonical.dump(
            {
                "keys": {name: list(entry) for name, entry in self.keys.items()},
                "policies": {name: list(entry) for name, entry in self.policies.items()},
                "uids": self.uids,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `DocumentInvalid`: a damaged memory is not an empty one."""
        obj = _canonical.load(data, "seen documents")
        _canonical.expect_fields(obj, frozenset({"keys", "policies", "uids"}), "seen documents")
        return cls(_entries(obj["keys"]), _entries(obj["policies"]), _uids(obj["uids"]))


def load(path: Path) -> Seen:
    """The memory in a file, or an empty one where there is no file. Raises `DocumentInvalid`, `OSError`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Seen()
    return Seen.parse(data)


def store(path: Path, seen: Seen) -> None:
    """Write atomically: a reader sees the old or the new memory. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with whole_file(path, 0o600) as file:
        file.write(seen.to_bytes())


def default_path(environment: "os._Environ[str] | dict[str, str]") -> Path:
    """`$XDG_STATE_HOME/blindfold/seen.json`, by default under `~/.local/state`."""
    base = environment.get("XDG_STATE_HOME") or Path(environment.get("HOME", "/")) / ".local" / "state"
    return Path(base) / "blindfold" / "seen.json"


def _accept(
    entries: dict[str, tuple[int, str]], name: str, number: int, digest: str, what: str
) -> dict[str, tuple[int, str]]:
    known, known_digest = entries.get(name, (0, ""))
    if number < known:
        raise DocumentStale(f"{what}: version {number} is offered, but {known} was used here before")
    if number == known and digest != known_digest:
        raise DocumentStale(f"{what}: version {number} differs from the one used here before")
    return {**entries, name: (number, digest)}


def _entries(value: object) -> dict[str, tuple[int, str]]:
    if isinstance(value, dict) and all(
        isinstance(entry, list) and [type(item) for item in entry] == [int, str] for entry in value.values()
    ):
        return {name: (entry[0], entry[1]) for name, entry in value.items()}
    raise DocumentInvalid("seen documents: not a table of versions")


def _uids(value: object) -> dict[str, str]:
    if isinstance(value, dict) and all(isinstance(uid, str) for uid in value.values()):
        return value
    raise DocumentInvalid("seen documents: not a table of uids")
