"""An import key is used up exactly if its version is there, whenever the server was killed."""

import base64
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from house import House
from killed_house import PROD, create_key, open_house, worker

from blindfold.secret import SecretBytes
from kms.client.api import Api
from kms.client.errors import CallNotFound, CallUnavailable
from kms.client.transfers import ImportKey, create_import_key, import_wrapped
from kms.crypto.key_wrapping import Recipient
from kms.model.names import KeyName, KeyVersionName, NamespaceName

WAVE = 12


@dataclass
class Import:
    """Material of a key of its own, wrapped and ready; `version` once that was acknowledged."""

    key: KeyName
    towards: ImportKey
    material: bytes = field(default_factory=lambda: os.urandom(32))
    version: KeyVersionName | None = None

    def __post_init__(self) -> None:
        self.wrapped = Recipient(self.towards.public_key).wrap(SecretBytes(self.material))

    def again(self, api: Api) -> KeyVersionName:
        return import_wrapped(api, self.key, self.towards.name, self.wrapped, make_primary=True)

    def opens(self, api: Api) -> None:
        """The key opens what was encrypted elsewhere."""
        sealed = AESGCM(self.material).encrypt(bytes(12), b"elsewhere", None)
        parts = {"nonce": bytes(12), "ciphertext": sealed[:-16], "tag": sealed[-16:]}
        request = {name: base64.b64encode(part).decode() for name, part in parts.items()}
        opened = api.call("CryptoService", "RawDecrypt", {"name": str(self.key), **request})
        assert base64.b64decode(opened["plaintext"]) == b"elsewhere"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """One that nobody serves at the moment."""
    house = House(tmp_path_factory.mktemp("killed"))
    house.init()
    with house.served():
        open_house(house)
    return house


def prepare(api: Api, name: str, *, waiting: bool) -> list[Import]:
    """Imports into keys that have a version of their own, or wait for their first one."""
    prepared = []
    for number in range(WAVE):
        key = create_key(api, f"{name}-{number}", "RAW_ENCRYPT_DECRYPT", skip_initial_version=waiting)
        prepared.append(Import(KeyName.parse(key), create_import_key(api, NamespaceName.parse(PROD))))
    return prepared


def import_all(api: Api, imports: list[Import], acknowledged: int, kill: Callable[[], None]) -> None:
    """At once, and kill when so many are acknowledged."""
    enough = Event()

    def work(item: Import) -> None:
        with suppress(CallUnavailable):
            item.version = item.again(api)
            if sum(other.version is not None for other in imports) >= acknowledged:
                enough.set()

    with ThreadPoolExecutor(WAVE) as threads:
        working = [threads.submit(work, item) for item in imports]
        assert enough.wait(60)
        kill()
        for done in working:
            done.result(30)


def imported(api: Api, key: KeyName) -> list[str]:
    """The key's versions that hold imported bytes."""
    answer = api.call("KeyService", "ListKeyVersions", {"parent": str(key)})
    wanted = ("KEY_ORIGIN_IMPORTED", "KEY_VERSION_STATE_ENABLED")
    return [item["name"] for item in answer["key_versions"] if (item["origin"], item["state"]) == wanted]


@pytest.mark.slow
@pytest.mark.parametrize(("acknowledged", "waiting"), [(1, False), (1, True), (5, True), (WAVE - 1, False)])
def test_import_key_is_used_up_exactly_if_its_version_survived_sigkill(
    house: House, acknowledged: int, waiting: bool
) -> None:
    with house.served() as process, worker(house) as api:
        imports = prepare(api, f"k{acknowledged}{'w' if waiting else 'n'}", waiting=waiting)
        import_all(api, imports, acknowledged, process.kill)
    with house.served(), worker(house) as api:
        assert sum(item.version is not None for item in imports) >= acknowledged
        for item in imports:
            check(api, item)


def check(api: Api, item: Import) -> None:
    found = imported(api, item.key)
    assert len(found) <= 1
    if item.version is not None:
        assert found == [str(item.version)]
    if found:
        with pytest.raises(CallNotFound):
            item.again(api)
    else:
        assert item.again(api).key_name == item.key
    item.opens(api)
