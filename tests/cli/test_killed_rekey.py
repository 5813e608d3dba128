"""A SIGKILL while the root key, or what protects it, changes: it is taken up, or was not begun."""

from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired

import pytest
from house import SERVE, House
from killed_house import furnish_with_keys, stored
from shared_house import consent, operator, platform_events, unlock

from cli.exit_codes import ExitCode

KEYS = 10
# In steps of a few rows or events: killed inside the transaction of one of them, or when it is committed.
STEPPING = """
import os, signal
from dataclasses import replace
from kms.storage import rekey
from kms.storage.writer import Writer
calls, small = [], dict(step_rows=8, step_events=6)
def killed(act, call):
    def acted(*arguments):
        done = act(*arguments)
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return acted
if {committed}:
    Writer._commit_begin = killed(Writer._commit_begin, {call})
    Writer._commit_step = killed(Writer._commit_step, {call})
else:
    rekey.begin, rekey.step = killed(rekey.begin, {call}), killed(rekey.step, {call})
take = rekey.step
def step(connection, published, store_id, limits, *rest):
    return take(connection, published, store_id, replace(limits, **small), *rest)
rekey.step = step
"""
# The last step is committed, and what it leaves not yet overwritten.
UNERASED = """
import os, signal
from kms.storage.writer import Writer
erase, seen = Writer._erase, []
def erased(self):
    seen.append(self._published.keys.previous)
    if seen[-1] is None and any(seen):
        os.kill(os.getpid(), signal.SIGKILL)
    return erase(self)
step = Writer._commit_step
def commit(self, requests):
    seen.append(self._published.keys.previous)
    return step(self, requests)
Writer._erase, Writer._commit_step = erased, commit
"""
# Around the transaction of the unit that has this action's event.
AROUND = """
import os, signal
from kms.audit.authenticated_store import AuthenticatedStore
from kms.storage.sqlite import SqliteStore
commit = SqliteStore.commit
def committed(self, changes, events):
    if events[0].action != "ChangeRootOfTrust":
        return commit(self, changes, events)
    if {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self, changes, events).result()
    os.kill(os.getpid(), signal.SIGKILL)
SqliteStore.commit = committed
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


def rotations(house: House) -> tuple[int, int]:
    """How many were begun, and how many came to their end."""
    steps = platform_events(house, "Kms.RotateRootKey")
    ended = [step for step in steps if step["details"]["left"] == "nothing"]
    return len(platform_events(house, "RotateRootKey")), len(ended)


KILLS = {
    "beginning": (STEPPING.format(committed=False, call=1), 0),
    "begun": (STEPPING.format(committed=True, call=1), 1),
    "in the first step": (STEPPING.format(committed=False, call=2), 1),
    "after some rows": (STEPPING.format(committed=True, call=3), 1),
    "in the events": (STEPPING.format(committed=False, call=8), 1),
    "after some events": (STEPPING.format(committed=True, call=8), 1),
    "done": (UNERASED, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize(("patch", "begun"), KILLS.values(), ids=KILLS)
def test_a_rotation_that_was_killed_is_done_after_the_next_start(
    house: House, patch: str, begun: int
) -> None:
    with house.served(script=patch + SERVE) as process:
        assert operator(house, "rekey").code == ExitCode.UNAVAILABLE
        assert process.wait(30) == -9
    with house.served():
        assert operator(house, "rotation", "--wait").code == 0
        assert rotations(house) == (begun, begun)
        assert operator(house, "rotation").error["reason"] == "NOT_FOUND"
        assert works(house)
        assert operator(house, "rekey").code == 0
        assert works(house)
    assert house.kms("verify-store", "--data", house.data).code == 0
    with house.served():
        assert works(house)
        assert rotations(house) == (begun + 1, begun + 1)


@pytest.mark.slow
def test_a_rotation_that_is_killed_at_every_other_step_comes_to_its_end(house: House) -> None:
    killed_again = STEPPING.format(committed=True, call=2) + SERVE
    with house.served(script=killed_again) as process:
        operator(house, "rekey")
        assert process.wait(30) == -9
    kills = 1
    while (left := still_under_the_old_root_key(house)) is not None:
        assert house.kms("verify-store", "--data", house.data).code == 0
        with house.served(script=killed_again) as process, suppress(TimeoutExpired):
            if process.wait(5) == -9:
                kills += 1
        now = still_under_the_old_root_key(house)
        assert now is None or now < left
    assert kills > 3
    with house.served():
        assert rotations(house) == (1, 1)
        assert works(house)


def still_under_the_old_root_key(house: House) -> tuple[bool, int, int] | None:
    """Less with each step; None after the last."""
    with stored(house) as store:
        moved = store.rekeying()
    if moved is None:
        return None
    return moved.rows < moved.all_rows, moved.all_rows - moved.rows, moved.event


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
