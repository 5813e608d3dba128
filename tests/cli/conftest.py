"""The desk that every test of the command line sits at."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import KEY, POLICY, Desk
from house import House, furnish


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    variables = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    for name in ("PROFILE", "SERVER", "CREDENTIALS", "TRUST_KEY", "TENANT"):
        monkeypatch.delenv(f"BLINDFOLD_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    desk = Desk(tmp_path, variables | {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    desk.bundle("tenant.key", KEY)
    desk.bundle("web-tls.policy", POLICY)
    desk.file("secret", b"hunter2 hunter2")
    return desk


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One served KMS for all tests of the online commands; they leave to each other what it began with."""
    house = House(tmp_path_factory.mktemp("house"))
    house.init()
    # A vault that tests are run against may speak it on a loopback address.
    settings = house.data / "kms.toml"
    settings.write_text(settings.read_text().replace("allow_plain_http = false", "allow_plain_http = true"))
    with house.served():
        furnish(house)
        yield house
