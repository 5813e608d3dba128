"""What was acknowledged of keys holds after SIGKILL in the middle of rotations, changes and encryption."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from house import House
from killed_house import PROD, create_key, open_house, repeat, version_number, worker

from kms.client.api import Api
from kms.client.errors import CallFailed

SOURCE, TARGET = f"{PROD}/keys/source", f"{PROD}/keys/target"
PLAINTEXT = base64.b64encode(b"acknowledged").decode()


@dataclass
class Acknowledged:
    """What the server answered before it was killed."""

    ciphertexts: list[tuple[str, str]] = field(default_factory=list)
    primary: int = 1
    scheduled: list[str] = field(default_factory=list)

    def encrypt(self, api: Api) -> None:
        answer = api.call("CryptoService", "Encrypt", {"name": SOURCE, "plaintext": PLAINTEXT})
        self.ciphertexts.append((SOURCE, answer["ciphertext"]))

    def reencrypt(self, api: Api) -> None:
        made = api.call("CryptoService", "Encrypt", {"name": SOURCE, "plaintext": PLAINTEXT})
        request = {"name": SOURCE, "ciphertext": made["ciphertext"], "destination": TARGET}
        answer = api.call("CryptoService", "ReEncrypt", request)
        self.ciphertexts.append((TARGET, answer["ciphertext"]))

    def rotate(self, api: Api) -> None:
        self.primary = version_number(
            api.call("KeyService", "RotateKey", {"name": SOURCE})["primary_version"]
        )

    def doom(self, api: Api) -> None:
        """A key of its own, its only version scheduled to be destroyed."""
        number = len(self.scheduled)
        name = create_key(api, f"doomed-{number}")
        api.call("KeyService", "ScheduleDestroyKeyVersion", {"name": f"{name}/versions/1"})
        self.scheduled.append(f"{name}/versions/1")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 1.3, 2.9])
def test_acknowledged_keys_and_ciphertexts_survive_sigkill(tmp_path: Path, seconds: float) -> None:
    house, known = House(tmp_path), Acknowledged()
    house.init()
    with house.served() as process:
        open_house(house)
        with worker(house) as api, ThreadPoolExecutor() as threads:
            for key in ("source", "target"):
                create_key(api, key)
            steps = (known.encrypt, known.reencrypt, known.rotate, known.doom)
            working = [threads.submit(repeat, step, api) for step in steps]
            time.sleep(seconds)
            process.kill()
            for work in working:
                work.result(30)
    assert {name for name, _ in known.ciphertexts} == {SOURCE, TARGET}
    assert known.scheduled
    assert known.primary > 1
    with house.served(), worker(house) as api:
        check(api, known)


def check(api: Api, known: Acknowledged) -> None:
    for name, ciphertext in known.ciphertexts:
        answer = api.call("CryptoService", "Decrypt", {"name": name, "ciphertext": ciphertext})
        assert answer["plaintext"] == PLAINTEXT
    source = api.call("KeyService", "GetKey", {"name": SOURCE})
    # One more where the answer to the last rotation did not come through.
    assert version_number(source["primary_version"]) in (known.primary, known.primary + 1)
    for version in known.scheduled:
        state = api.call("KeyService", "GetKeyVersion", {"name": version})["state"]
        assert state == "KEY_VERSION_STATE_DESTROY_SCHEDULED"
        encrypt = {"name": version.partition("/versions/")[0], "plaintext": PLAINTEXT}
        with pytest.raises(CallFailed):
            api.call("CryptoService", "Encrypt", encrypt)
