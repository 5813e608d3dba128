"""Destructions under way at a SIGKILL: each version lives whole, or is gone from the files too."""

import base64
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import House
from killed_house import create_key, open_house, stored, worker

from blindfold._encoding import b64url
from kms.client.api import Api
from kms.client.errors import CallFailed
from kms.main.configuration import Configuration
from kms.model.records import KeyVersionRecord
from kms.services.repository import Repository

KEYS = 40
PLAINTEXT = base64.b64encode(b"acknowledged").decode()
# A server whose scheduler lives 40 days ahead, and looks often; certificates are of today.
AHEAD = """
from datetime import timedelta
from kms import scheduler
from kms.main import serving
class Ahead(scheduler.Scheduler):
    def __init__(self, *parts):
        *others, now, generate = parts
        super().__init__(*others, lambda: now() + timedelta(days=40), generate)
serving.Scheduler = Ahead
scheduler.LOOK_EVERY = 0.1
from cli.kms import main
main()
"""


@dataclass
class Doomed:
    """A key with a first version that is to be destroyed, and a second that lives."""

    name: str
    old: str
    new: str
    wrapped: bytes = b""

    @property
    def version(self) -> str:
        return f"{self.name}/versions/1"


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.init()
    return house


def doom(api: Api, number: int) -> Doomed:
    name = create_key(api, f"k{number}")
    old = encrypt(api, name)
    api.call("KeyService", "RotateKey", {"name": name})
    doomed = Doomed(name, old, encrypt(api, name))
    api.call("KeyService", "ScheduleDestroyKeyVersion", {"name": doomed.version})
    return doomed


def encrypt(api: Api, name: str) -> str:
    ciphertext: str = api.call("CryptoService", "Encrypt", {"name": name, "plaintext": PLAINTEXT})[
        "ciphertext"
    ]
    return ciphertext


def decrypts(api: Api, name: str, ciphertext: str) -> bool:
    try:
        answer = api.call("CryptoService", "Decrypt", {"name": name, "ciphertext": ciphertext})
    except CallFailed:
        return False
    assert answer["plaintext"] == PLAINTEXT
    return True


def state(api: Api, version: str) -> str:
    found: str = api.call("KeyService", "GetKeyVersion", {"name": version})["state"]
    return found.removeprefix("KEY_VERSION_STATE_")


def read_wrapped(house: House, doomed: list[Doomed]) -> None:
    with stored(house) as store:
        repository = Repository(store)
        for item in doomed:
            item.wrapped = repository.require(
                KeyVersionRecord, f"{item.name}/versions/0000000001"
            ).record.wrapped_key
            assert item.wrapped


def traces(house: House, wrapped: bytes) -> list[str]:
    """The files that hold a part of it, as it is or as it stands in a row."""
    text = b64url(wrapped).encode()
    parts = [whole[at : at + 16] for whole in (wrapped, text) for at in range(0, len(whole) - 15, 8)]
    store = Configuration.load(house.data).store_path
    files = list(store.parent.glob(f"{store.name}*"))
    assert store in files
    return [path.name for path in files if any(part in path.read_bytes() for part in parts)]


@pytest.mark.slow
@pytest.mark.parametrize("destroyed", [1, 9, 30])
def test_destruction_under_way_at_sigkill_is_whole_or_not_begun(house: House, destroyed: int) -> None:
    with house.served():
        open_house(house)
        with worker(house) as api:
            doomed = [doom(api, number) for number in range(KEYS)]
    read_wrapped(house, doomed)
    assert all(traces(house, item.wrapped) for item in doomed)
    with house.served(script=AHEAD) as process, worker(house) as api:
        wait_for(api, doomed[destroyed - 1].version, "DESTROYED")
        process.kill()
    with house.served(), worker(house) as api:
        check(house, api, doomed, destroyed)


def wait_for(api: Api, version: str, wanted: str) -> None:
    deadline = time.monotonic() + 60
    while state(api, version) != wanted:
        assert time.monotonic() < deadline


def check(house: House, api: Api, doomed: list[Doomed], destroyed: int) -> None:
    states = [state(api, item.version) for item in doomed]
    gone = states.count("DESTROYED")
    assert states == ["DESTROYED"] * gone + ["DESTROY_SCHEDULED"] * (KEYS - gone)
    assert gone >= destroyed
    for item in doomed[:gone]:
        assert traces(house, item.wrapped) == []
        assert not decrypts(api, item.name, item.old)
    for item in doomed[gone:]:
        api.call("KeyService", "CancelDestroyKeyVersion", {"name": item.version})
        api.call("KeyService", "EnableKeyVersion", {"name": item.version})
        assert decrypts(api, item.name, item.old)
    assert all(decrypts(api, item.name, item.new) for item in doomed)
