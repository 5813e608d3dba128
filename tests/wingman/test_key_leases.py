"""Keys that a Wingman uses itself: what it makes and reads is the KMS's, within the lease."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from relay import relay
from server.kms_harness import RunningKms
from sidecar import Answer, Sidecar, ready_sidecar, wait_until

from blindfold.secret import SecretBytes
from kms.client.client import KmsClient
from kms.client.operations import Encrypt, Encrypted
from kms.crypto.aead import AeadKey
from kms.crypto.ciphertext import VersionCipher
from kms.model.algorithms import ALGORITHMS, USES_ELSEWHERE
from kms.model.names import KeyVersionName
from wingman import key_leases

PLAIN = b"not UTF-8: \xff"
AAD = b"order 17"
AES = ALGORITHMS["AES_256_GCM"]
VERSION = KeyVersionName("acme", "prod", "k", 1)


def printed(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module", autouse=True)
def policy(kms: RunningKms) -> str:
    return kms.allow_keys()


@pytest.fixture
def key(kms: RunningKms, request: pytest.FixtureRequest) -> str:
    """A LOW key of the test's own."""
    number = abs(hash(request.node.nodeid)) % 10**12
    return kms.make_key(f"k{number}", sensitivity="SENSITIVITY_LOW")


@pytest.fixture(scope="module")
def direct(kms: RunningKms) -> Iterator[KmsClient]:
    with KmsClient(kms.target, kms.credentials("key-user")) as client:
        yield client


def encrypt(sidecar: Sidecar, key: str) -> Answer:
    return sidecar.post("/crypto/encrypt", {"key": key, "plaintext": printed(PLAIN), "aad": printed(AAD)})


def decrypt(sidecar: Sidecar, key: str, ciphertext: bytes, aad: bytes = AAD) -> Answer:
    asked = {"key": key, "ciphertext": printed(ciphertext), "aad": printed(aad)}
    return sidecar.post("/crypto/decrypt?raw", asked)


def count(kms: RunningKms, action: str, key: str) -> int:
    return sum(event["action"] == action and event["resource"].startswith(key) for event in kms.events())


def leased(kms: RunningKms, directory: Path, key: str, **members: Any) -> Any:
    return ready_sidecar(kms, directory, "key-user", local_keys=[key], **members)


def is_used_here(kms: RunningKms, sidecar: Sidecar, key: str) -> bool:
    """Whether an encryption makes no event of the KMS."""
    before = count(kms, "Encrypt", key)
    assert encrypt(sidecar, key).status == 200
    return count(kms, "Encrypt", key) == before


def test_leased_key_makes_and_reads_the_ciphertexts_of_the_kms(
    kms: RunningKms, tmp_path: Path, key: str, direct: KmsClient
) -> None:
    with leased(kms, tmp_path, key) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        before = count(kms, "Decrypt", key)
        assert decrypt(sidecar, key, direct.encrypt(key, PLAIN, AAD).ciphertext).body == PLAIN
        assert count(kms, "Decrypt", key) == before
        here = base64.b64decode(encrypt(sidecar, key).text)
        assert direct.decrypt(key, here, AAD).plaintext.reveal() == PLAIN
        told = sidecar.post("/crypto/encrypt", {"key": key, "plaintext": ""}, accept="application/json").json
        assert told["name"] == f"{key}/versions/1"
    assert count(kms, "ExportKeyVersion", key) == 1


def test_decryption_begins_a_lease_too(kms: RunningKms, tmp_path: Path, key: str, direct: KmsClient) -> None:
    ciphertext = direct.encrypt(key, PLAIN, AAD).ciphertext
    with leased(kms, tmp_path, key) as sidecar:

        def is_read_here() -> bool:
            before = count(kms, "Decrypt", key)
            assert decrypt(sidecar, key, ciphertext).body == PLAIN
            return count(kms, "Decrypt", key) == before

        wait_until(is_read_here)


def test_wrong_data_fails_here_as_in_the_kms(kms: RunningKms, tmp_path: Path, key: str) -> None:
    with leased(kms, tmp_path, key) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        ciphertext = base64.b64decode(encrypt(sidecar, key).text)
        changed = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
        answers = [decrypt(sidecar, key, ciphertext, b"other"), decrypt(sidecar, key, changed)]
        assert {(answer.status, answer.text) for answer in answers} == {(400, "decryption failed\n")}
        other_uid = ciphertext[:1] + bytes([ciphertext[1] ^ 1]) + ciphertext[2:]
        before = count(kms, "Decrypt", key)
        assert decrypt(sidecar, key, other_uid).status == 400
        assert count(kms, "Decrypt", key) == before + 1
        assert decrypt(sidecar, key, b"\x01short").status == 400


def test_lease_goes_on_while_the_kms_is_away(kms: RunningKms, tmp_path: Path, key: str) -> None:
    with relay(kms.target) as way, leased(kms, tmp_path, key, server=way.address) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        way.cut()
        ciphertext = base64.b64decode(encrypt(sidecar, key).text)
        assert decrypt(sidecar, key, ciphertext).body == PLAIN


def test_each_lease_is_charged_and_encrypts_no_more_than_that(
    kms: RunningKms, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_leases, "USES_ELSEWHERE", 3)
    with leased(kms, tmp_path, key) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        assert [is_used_here(kms, sidecar, key) for _ in range(3)] == [True, True, False]
        wait_until(lambda: count(kms, "ExportKeyVersion", key) == 2)
    version = kms.as_("key-admin").call("KeyService", "GetKeyVersion", {"name": f"{key}/versions/1"})
    assert int(version["nonce_budget"]["invocations"]) >= 2 * USES_ELSEWHERE


def test_key_that_is_not_named_stays_in_the_kms(kms: RunningKms, tmp_path: Path, key: str) -> None:
    other = f"{key}x"
    with leased(kms, tmp_path, other) as sidecar:
        assert [is_used_here(kms, sidecar, key) for _ in range(3)] == [False] * 3
    assert count(kms, "BeginExport", key) == 0


def test_key_that_may_not_leave_is_used_by_the_kms_and_not_asked_for_again(
    kms: RunningKms, tmp_path: Path, key: str
) -> None:
    medium = kms.make_key(key.rpartition("/")[2] + "m")
    with leased(kms, tmp_path, medium) as sidecar:
        encrypt(sidecar, medium)
        wait_until(lambda: count(kms, "BeginExport", medium) == 1)
        assert [is_used_here(kms, sidecar, medium) for _ in range(3)] == [False] * 3
    assert count(kms, "BeginExport", medium) == 1


def test_lease_ends_with_the_identity(kms: RunningKms, tmp_path: Path, key: str) -> None:
    with leased(kms, tmp_path, key) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        name = "tenants/acme/namespaces/prod/identities/key-user"
        kms.as_("admin").call("IdentityService", "RevokeIdentity", {"name": name})
        wait_until(lambda: encrypt(sidecar, key).status == 403)
        assert sidecar.get("/status").text == "HALTED"


def test_key_that_was_on_its_way_when_the_identity_was_lost_does_not_arrive() -> None:
    async def act() -> None:
        answered = asyncio.Event()

        class Slow:
            async def ask(self, act: object) -> VersionCipher:
                await answered.wait()
                return VersionCipher(AeadKey(AES, SecretBytes(bytes(32))), VERSION, bytes(16))

        leases = key_leases.KeyLeases(Slow(), [VERSION.key_name], 60, lambda: 0.0, lambda: 0.5)  # type: ignore[arg-type]
        made = VersionCipher(AeadKey(AES, SecretBytes(bytes(32))), VERSION, bytes(16)).encrypt(PLAIN)
        leases.encrypted(VERSION.key_name, Encrypted(str(VERSION), made))
        await asyncio.sleep(0)
        leases.clear()
        answered.set()
        for _ in range(9):
            await asyncio.sleep(0)
        assert leases.encrypt(VERSION.key_name, Encrypt(PLAIN)) is None

    asyncio.run(act())
