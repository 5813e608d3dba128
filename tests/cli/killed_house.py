"""A house whose server is killed: who works in it, and what it keeps on the disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from house import House

from kms.audit.authenticated_store import open_store
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.errors import CallUnavailable
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.main.configuration import Configuration
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings, SqliteStore

PROD = "tenants/acme/namespaces/prod"
POLICY = f"{PROD}/kmsPolicies/everybody"


def open_house(house: House) -> None:
    """A policy that allows all, and a worker who may use keys and change them."""
    house.must("kms", "namespace", "create", "prod")
    rules = house.file("rules.json", {"rules": [{"name": "all", "action": "ALLOW"}]})
    house.must("kms", "policy", "create", "prod/everybody", rules)
    house.enrol("prod/worker", "--role", "key-user", "--role", "key-admin")


def create_key(api: Api, key_id: str, purpose: str = "ENCRYPT_DECRYPT", **request: Any) -> str:
    key = {"purpose": f"KEY_PURPOSE_{purpose}", "kms_policy": POLICY}
    answer = api.call("KeyService", "CreateKey", {"parent": PROD, "key_id": key_id, "key": key, **request})
    name: str = answer["name"]
    return name


def furnish_with_keys(house: House, count: int) -> None:
    """As `open_house`, with keys, the first of which encrypted the file `sealed`."""
    open_house(house)
    with worker(house) as api:
        for number in range(count):
            create_key(api, f"k{number}")
    house.must(
        "kms", "encrypt", "prod/k0", "-", "--out", house.path / "sealed", who="prod-worker", stdin=b"kept"
    )


@contextmanager
def worker(house: House) -> Iterator[Api]:
    target = house.addresses["listen"]
    with open_channel(target, house.path / "prod-worker") as channel:
        yield Api(channel, timeout=5)


def repeat(step: Callable[[Api], None], api: Api) -> None:
    """Until the server is gone."""
    with suppress(CallUnavailable):
        while True:
            step(api)


def version_number(name: str) -> int:
    return int(name.rpartition("/")[2])


@contextmanager
def stored(house: House) -> Iterator[SqliteStore]:
    """The store of a server that does not run."""
    configuration = Configuration.load(house.data)
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, Keyfile(configuration.keyfile_path))
    try:
        yield vault.store
    finally:
        vault.close()
