"""Leases of keys on their way to their end: renewed before it, and what the KMS changed meanwhile counts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from relay import relay
from server.kms_harness import RunningKms
from sidecar import Sidecar, wait_until
from test_key_leases import count, decrypt, direct, encrypt, is_used_here, key, leased, printed

from kms.client.client import KmsClient
from wingman import key_leases, serving
from wingman.clock import elapsed
from wingman.configuration import LOCAL_KEY_SECONDS

__all__ = ["direct", "key"]

DUE, END = LOCAL_KEY_SECONDS * 2 / 3, LOCAL_KEY_SECONDS
JSON = {"accept": "application/json"}


@pytest.fixture(scope="module", autouse=True)
def policy(kms: RunningKms) -> str:
    return kms.allow_keys()


@pytest.fixture
def pass_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock that Wingman counts on."""
    ahead = [0.0]

    def move(seconds: float) -> None:
        ahead[0] += seconds

    monkeypatch.setattr(serving, "elapsed", lambda: elapsed() + ahead[0])
    return move


def exports(kms: RunningKms, key: str) -> int:
    return count(kms, "ExportKeyVersion", key)


def version(sidecar: Sidecar, key: str) -> str:
    """That encrypts."""
    told = sidecar.post("/crypto/encrypt", {"key": key, "plaintext": printed(b"x")}, **JSON).json
    return str(told["name"]).rpartition("/")[2]


def rotate(kms: RunningKms, key: str) -> None:
    kms.as_("key-admin").call("KeyService", "RotateKey", {"name": key})


def test_lease_is_renewed_before_its_end_and_serves_meanwhile(
    kms: RunningKms, tmp_path: Path, key: str, pass_by: Callable[[float], None]
) -> None:
    with relay(kms.target) as way, leased(kms, tmp_path, key, server=way.address) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        pass_by(DUE)
        way.freeze()
        assert [encrypt(sidecar, key).status for _ in range(3)] == [200] * 3
        way.mend()
        wait_until(lambda: exports(kms, key) == 2)
        pass_by(END - DUE)
        # What the KMS has given may still be on its way.
        wait_until(lambda: is_used_here(kms, sidecar, key))
        assert exports(kms, key) == 2
        way.cut()
        assert encrypt(sidecar, key).status == 200


def test_lease_that_nobody_uses_is_not_renewed(
    kms: RunningKms, tmp_path: Path, key: str, pass_by: Callable[[float], None]
) -> None:
    with relay(kms.target) as way, leased(kms, tmp_path, key, server=way.address) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        pass_by(END)
        way.cut()
        assert encrypt(sidecar, key).status == 503
    assert exports(kms, key) == 1


def test_lease_is_renewed_before_its_encryptions_are_used_up(
    kms: RunningKms, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_leases, "USES_ELSEWHERE", 32)
    with leased(kms, tmp_path, key) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        for _ in range(29):
            encrypt(sidecar, key)
        assert exports(kms, key) == 1
        encrypt(sidecar, key)
        wait_until(lambda: exports(kms, key) == 2)


def test_new_primary_version_counts_with_the_renewal(
    kms: RunningKms, tmp_path: Path, key: str, pass_by: Callable[[float], None]
) -> None:
    with leased(kms, tmp_path, key) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        rotate(kms, key)
        assert version(sidecar, key) == "1"
        pass_by(DUE)
        wait_until(lambda: version(sidecar, key) == "2")
        wait_until(lambda: is_used_here(kms, sidecar, key))


@pytest.mark.parametrize("passed", [DUE, END], ids=["renewed", "ended"])
def test_program_that_decrypts_first_does_not_keep_the_old_version_in_use(
    kms: RunningKms,
    tmp_path: Path,
    key: str,
    direct: KmsClient,
    pass_by: Callable[[float], None],
    passed: float,
) -> None:
    ciphertext = direct.encrypt(key, b"x", b"order 17").ciphertext
    with leased(kms, tmp_path, key) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        rotate(kms, key)
        pass_by(passed)
        wait_until(lambda: decrypt(sidecar, key, ciphertext).status == 200 and exports(kms, key) == 2)
        wait_until(lambda: version(sidecar, key) == "2")


def test_lease_that_is_not_renewed_serves_to_its_end(
    kms: RunningKms, tmp_path: Path, key: str, pass_by: Callable[[float], None]
) -> None:
    with leased(kms, tmp_path, key) as sidecar:
        wait_until(lambda: is_used_here(kms, sidecar, key))
        kms.as_("key-admin").call("KeyService", "DisableKeyVersion", {"name": f"{key}/versions/1"})
        begun = count(kms, "Encrypt", key)
        pass_by(DUE)
        encrypt(sidecar, key)
        wait_until(lambda: count(kms, "Encrypt", key) > begun)
        assert encrypt(sidecar, key).status == 200
        pass_by(END - DUE)
        assert encrypt(sidecar, key).status == 403
