"""A store is restored with what its root of trust needs: shares, or a device, where HIGH keys stay."""

import os
import shutil
from pathlib import Path

import pytest
from device.softhsm import SoftHsm
from device_house import device_options, softhsm
from house import House
from killed_house import open_house
from shared_house import init_shared

OPERATOR = "kms/credentials/operator"

__all__ = ["softhsm"]


def back_up(house: House) -> Path:
    path = house.path / "store.backup"
    house.must("kms", "operator", "backup", "--out", path, who=OPERATOR)
    return path


def lose(house: House) -> None:
    """The disk with the store, but for what is kept apart; and the machine's checkpoint."""
    for path in house.data.iterdir():
        if path.name not in ("kms.toml", "root.key", "credentials"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(house.path / "kms-checkpoint")


@pytest.mark.slow
def test_shares_restore_a_store_and_start_its_server(tmp_path: Path) -> None:
    house = House(tmp_path)
    shares = init_shared(house)
    with house.served("--share-file", shares[0], "--share-file", shares[1]):
        house.must("kms", "namespace", "create", "prod")
        backup = back_up(house)
    lose(house)
    restore = ("restore-store", "--data", house.data, backup)
    assert "needs 2 shares" in house.kms(*restore, stdin=b"").words
    mixed = house.kms(*restore, "--share-file", shares[1], "--share-file", shares[1])
    assert mixed.code != 0
    assert not (house.data / "store.sqlite").exists()
    given = ("--share-file", shares[2], "--share-file", shares[0])
    assert house.must("kms", *restore, *given)["tenants"] == 1
    with house.served(*given):
        assert "prod" in str(house.must("kms", "namespace", "list"))


@pytest.mark.slow
def test_device_restores_a_store_and_its_high_keys_work(tmp_path: Path, softhsm: SoftHsm) -> None:
    house = House(tmp_path, more={"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"]})
    house.init("--root-of-trust", "pkcs11", *device_options(softhsm))
    with house.served():
        open_house(house)
        policy = ("--policy", "prod/everybody", "--sensitivity", "HIGH")
        house.must("kms", "key", "create", "prod/high", *policy, who="prod-worker")
        sealed = house.path / "sealed"
        call = ("encrypt", "prod/high", "-", "--out", sealed)
        house.must("kms", *call, who="prod-worker", stdin=b"kept")
        backup = back_up(house)
    lose(house)
    away, files = house.path / "away", softhsm.files_of("kms")
    files.rename(away)
    restore = ("restore-store", "--data", house.data, backup)
    assert "cannot be reached" in house.kms(*restore).words
    away.rename(files)
    restored = house.must("kms", *restore)
    assert (restored["keys"], restored["rotated_keys"]) == (1, 0)
    assert list(restored["device_versions"].values()) == [1]
    with house.served():
        opened = house.kms("decrypt", "prod/high", sealed, who="prod-worker")
        assert opened.out == b"kept", opened.words
