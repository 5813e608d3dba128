"""A SIGKILL while the root key, or what protects it, changes leaves the old or the new, and all keys work."""

from pathlib import Path

import pytest
from house import SERVE, House
from killed_house import furnish_with_keys
from shared_house import consent, operator, platform_events, unlock

from cli.exit_codes import ExitCode

KEYS = 10
# The row, or the page of events, at which it happens.
REWRITING = """
import os, signal
from kms.storage import rekey
begun = rekey.apply
def apply(connection, published, store_id, request, new_id):
    def begin(total):
        seen = []
        def advance(count):
            seen.append(count)
            if len(seen) == {place}:
                os.kill(os.getpid(), signal.SIGKILL)
        return advance
    object.__setattr__(request, "begin", begin)
    return begun(connection, published, store_id, request, new_id)
rekey.apply = apply
from kms.storage import writer
writer.rekey = rekey
"""
# Around the transaction of the unit that has this action's event.
AROUND = """
import os, signal
from kms.audit.authenticated_store import AuthenticatedStore
from kms.storage.sqlite import SqliteStore
commit, rekey = SqliteStore.commit, SqliteStore.rekey
def killed(act):
    def acted(self, *arguments):
        [event, *_] = arguments[2] if act is rekey else arguments[1]
        if event.action not in ("RotateRootKey", "ChangeRootOfTrust"):
            return act(self, *arguments)
        if {before}:
            os.kill(os.getpid(), signal.SIGKILL)
        act(self, *arguments).result()
        os.kill(os.getpid(), signal.SIGKILL)
    return acted
SqliteStore.commit, SqliteStore.rekey = killed(commit), killed(rekey)
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    """One that nobody serves at the moment, with keys, one of which encrypted a file."""
    house = House(tmp_path)
    house.init()
    with house.served():
        furnish_with_keys(house, KEYS)
    return house


def works(house: House) -> bool:
    opened = house.kms("decrypt", "prod/k0", house.path / "sealed", who="prod-worker")
    made = house.must("kms", "key", "list", "prod", who="prod-worker")
    return (opened.out, len(made)) == (b"kept", KEYS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch", "rotated"),
    [
        (REWRITING.format(place=1), False),
        (REWRITING.format(place=KEYS), False),
        (REWRITING.format(place=3 * KEYS), False),
        (AROUND.format(before=True), False),
        (AROUND.format(before=False), True),
    ],
    ids=["first row", "some rows", "most rows", "before", "committed"],
)
def test_root_key_is_the_old_or_the_new_one_for_every_row(house: House, patch: str, rotated: bool) -> None:
    with house.served(script=patch + SERVE) as process:
        assert operator(house, "rekey").code == ExitCode.UNAVAILABLE
        assert process.wait(30) == -9
    with house.served():
        assert len(platform_events(house, "RotateRootKey")) == rotated
        assert works(house)
        assert operator(house, "rekey").code == 0
        assert works(house)
    with house.served():
        assert works(house)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before", "committed"])
def test_root_of_trust_is_the_old_or_the_new_one_and_its_shares_are_there(house: House, before: bool) -> None:
    options: list[object] = []
    for name in ("olga", "peter"):
        made = house.kms("operator", "keygen", "--out", house.path / f"{name}.pem")
        options += ["--share-key", house.file(f"{name}.pub", made.out)]
    sharing = ("--root-of-trust", "shamir", "--threshold", 2, *options)
    consent(house)
    with house.served(script=AROUND.format(before=before) + SERVE) as process:
        assert operator(house, "rekey", *sharing).code == ExitCode.UNAVAILABLE
        assert process.wait(30) == -9
    if before:
        with house.served():
            assert works(house)
            consent(house)
            assert operator(house, "rekey", *sharing).code == 0
        return
    house.must("kms", "operator", "recover-shares", "--data", house.data, "--out", house.path / "shares")
    shares = []
    for number, name in enumerate(("olga", "peter"), start=1):
        wrapped = house.path / "shares" / f"share-{number}.json"
        words = house.kms("operator", "unwrap-share", "--key", house.path / f"{name}.pem", wrapped)
        shares.append(house.file(name, words.out))
    with house.served():
        assert unlock(house, *shares)["locked"] is False
        assert works(house)
