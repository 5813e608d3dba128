"""A house whose root key k of n people hold."""

import json
from pathlib import Path
from typing import Any

from house import Ended, House

from kms.services.root_of_trust import CONSENT

OPERATOR = "kms/credentials/operator"


def init_shared(house: House, threshold: int = 2, count: int = 3) -> list[Path]:
    """Make it, and write each share to a file."""
    sharing = ("--root-of-trust", "shamir", "--threshold", threshold, "--shares", count)
    house.init(*sharing)
    shares: Any = house.made["shares"]
    return [house.file(f"share-{number}", text + "\n") for number, text in enumerate(shares, start=1)]


def consent(house: House) -> None:
    """To one change of a root of trust that is the server's own."""
    (house.data / CONSENT).touch()


def operator(house: House, *arguments: object, stdin: bytes | None = None) -> Ended:
    return house.kms("operator", *arguments, "--json", who=OPERATOR, stdin=stdin)


def lock_status(house: House) -> Any:
    ended = operator(house, "status")
    assert ended.code == 0, ended.words
    return json.loads(ended.out)


def unlock(house: House, *shares: Path) -> Any:
    """The state after the last."""
    for share in shares:
        ended = operator(house, "unlock", share)
        assert ended.code == 0, ended.words
    return json.loads(ended.out)


def platform_events(house: House, action: str) -> Any:
    return house.must("kms", "audit", "list", "--platform", "--action", action, who=OPERATOR)
