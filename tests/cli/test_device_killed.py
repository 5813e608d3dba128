"""HIGH keys after SIGKILL: what was acknowledged works, and the device holds nothing that was forgotten."""

import asyncio
import base64
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from device.softhsm import SoftHsm
from device_house import device_house, softhsm
from house import House
from killed_house import PROD, open_house, repeat, version_number, worker

from kms.audit.authenticated_store import open_store
from kms.client.api import Api
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.main.configuration import Configuration
from kms.main.device import device_of
from kms.main.parts import Parts, assemble, device_label
from kms.model.device_handle import DeviceHandle
from kms.model.records import KeyVersionRecord, RemnantRecord
from kms.services.fresh_versions import REMNANT_REST, parse_remnant_row
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

__all__ = ["device_house", "softhsm"]

TURNING = f"{PROD}/keys/turning"
PLAINTEXT = base64.b64encode(b"acknowledged").decode()


@dataclass
class Acknowledged:
    """What the server answered before it was killed."""

    codes: list[tuple[str, str]] = field(default_factory=list)
    ciphertexts: list[str] = field(default_factory=list)
    primary: int = 1
    made: int = 0

    def create(self, api: Api) -> None:
        self.made += 1
        name = create_high(api, f"fresh-{self.made}", "MAC")
        answer = api.call("CryptoService", "Mac", {"name": name, "message": PLAINTEXT})
        self.codes.append((name, answer["mac"]))

    def rotate(self, api: Api) -> None:
        self.primary = version_number(
            api.call("KeyService", "RotateKey", {"name": TURNING})["primary_version"]
        )

    def encrypt(self, api: Api) -> None:
        answer = api.call("CryptoService", "Encrypt", {"name": TURNING, "plaintext": PLAINTEXT})
        self.ciphertexts.append(answer["ciphertext"])


def create_high(api: Api, key_id: str, purpose: str) -> str:
    key = {"purpose": f"KEY_PURPOSE_{purpose}", "kms_policy": f"{PROD}/kmsPolicies/everybody"}
    key["sensitivity"] = "SENSITIVITY_HIGH"
    name: str = api.call("KeyService", "CreateKey", {"parent": PROD, "key_id": key_id, "key": key})["name"]
    return name


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.7, 1.6, 2.8])
def test_acknowledged_high_keys_survive_sigkill_and_no_others_stay(
    device_house: House, softhsm: SoftHsm, seconds: float
) -> None:
    house, known = device_house, Acknowledged()
    with house.served() as process:
        open_house(house)
        with worker(house) as api, ThreadPoolExecutor() as threads:
            create_high(api, "turning", "ENCRYPT_DECRYPT")
            steps = (known.create, known.rotate, known.encrypt)
            working = [threads.submit(repeat, step, api) for step in steps]
            time.sleep(seconds)
            process.kill()
            for work in working:
                work.result(30)
    with house.served(), worker(house) as api:
        check(api, known)
    check_device(house)


def check(api: Api, known: Acknowledged) -> None:
    assert known.codes
    for name, code in known.codes:
        answer = api.call("CryptoService", "Mac", {"name": name, "message": PLAINTEXT})
        assert answer["mac"] == code
    for ciphertext in known.ciphertexts:
        answer = api.call("CryptoService", "Decrypt", {"name": TURNING, "ciphertext": ciphertext})
        assert answer["plaintext"] == PLAINTEXT
    primary = version_number(api.call("KeyService", "GetKey", {"name": TURNING})["primary_version"])
    assert primary in (known.primary, known.primary + 1)


def check_device(house: House) -> None:
    """Every object is a version's, or is known as a remnant and then swept."""
    configuration = Configuration.load(house.data)
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, Keyfile(configuration.keyfile_path))
    with ThreadPoolExecutor(1) as workers, device_of(configuration) as device:
        assert device is not None
        parts = assemble(vault, workers, device=device)
        versions, remnants = handles(parts), remnants_of(parts)
        there = device.find(device_label(vault))
        assert versions <= there <= versions | remnants
        sweep(parts)
        assert (device.find(device_label(vault)), remnants_of(parts)) == (versions, set())
    vault.close()


def handles(parts: Parts) -> set[DeviceHandle]:
    rows = parts.repository.all(KeyVersionRecord)
    return {DeviceHandle.parse(loaded.record.handle) for loaded in rows if loaded.record.handle}


def remnants_of(parts: Parts) -> set[DeviceHandle]:
    return {parse_remnant_row(loaded.name) for loaded in parts.repository.all(RemnantRecord)}


def sweep(parts: Parts) -> None:
    asyncio.run(parts.fresh.sweep(datetime.now(UTC) + REMNANT_REST))
