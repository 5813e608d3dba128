"""Software tokens for tests: SoftHSM, with a directory of its own for each test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kms.crypto.device.device import Device
from kms.crypto.device.lane import DeviceSettings

PIN, SO_PIN = "a pin of tests", "another pin"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/libsofthsm2.so",
)


@dataclass(frozen=True)
class SoftHsm:
    """`directory` has a file of configuration, which the environment names, and the tokens."""

    module: Path
    directory: Path

    @property
    def tokens(self) -> Path:
        return self.directory / "tokens"

    def new_token(self, label: str = "kms", pin: str = PIN) -> DeviceSettings:
        pins = ["--so-pin", SO_PIN, "--pin", PIN]
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, *pins]
        subprocess.run(command, check=True, capture_output=True)
        pin_file = self.directory / f"{label}.pin"
        pin_file.touch(mode=0o600)
        pin_file.write_text(f"{pin}\n")
        return DeviceSettings(self.module, label, pin_file)

    def files_of(self, label: str) -> Path:
        """Where a token's objects lie."""
        [found] = [
            path for path in self.tokens.iterdir() if label.encode() in (path / "token.object").read_bytes()
        ]
        return found


@pytest.fixture
def given_device() -> Iterator[Device]:
    """Another module's than SoftHSM's, with a token of its own for tests, where one is given."""
    if "TEST_PKCS11_MODULE" not in os.environ:
        pytest.skip("needs TEST_PKCS11_MODULE, TEST_PKCS11_TOKEN and TEST_PKCS11_PIN_FILE")
    module, token, pin_file = (os.environ[f"TEST_PKCS11_{what}"] for what in ("MODULE", "TOKEN", "PIN_FILE"))
    device = Device(DeviceSettings(Path(module), token, Path(pin_file)))
    yield device
    device.close()


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """Without a token yet."""
    modules = [Path(module) for module in MODULES if Path(module).exists()]
    if not modules or shutil.which("softhsm2-util") is None:
        pytest.skip("needs SoftHSM: the Debian package softhsm2")
    directory = tmp_path / "softhsm"
    (directory / "tokens").mkdir(parents=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {directory / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    return SoftHsm(modules[0], directory)
