"""A PKCS 11 token through our helper process, beside `python-pkcs11` called in the caller's own process."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pkcs11
from pkcs11 import MGF, Attribute, GCMParams, Mechanism, ObjectClass

from benchmarks.figure import Figure, at_least
from kms.crypto.device.device import Device
from kms.crypto.device.lane import DeviceSettings
from kms.crypto.device.messages import Item, Operation
from kms.model.algorithms import ALGORITHMS
from kms.model.device_handle import DeviceHandle

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, LABEL = "a pin of benchmarks", "bench"
SIGNATURES, BATCHES, BATCH, ROUNDS = 60, 30, 100, 5
SIGN_SHARE, BATCH_SHARE = 1 / 1.3, 1 / 2
PSS, GCM = "RSA_PSS_3072_SHA256", "AES_256_GCM"
PSS_PARAMETERS = (Mechanism.SHA256, MGF.SHA256, 32)


def measure() -> list[Figure]:
    """Needs SoftHSM, and measures nothing without it. Takes some 20 seconds."""
    if not MODULE.exists() or shutil.which("softhsm2-util") is None:
        return []
    with token() as settings:
        device = Device(settings)
        try:
            return compared(settings, device)
        finally:
            device.close()


@contextmanager
def token() -> Iterator[DeviceSettings]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "tokens").mkdir()
        (path / "conf").write_text(f"directories.tokendir = {path / 'tokens'}\n")
        os.environ["SOFTHSM2_CONF"] = str(path / "conf")
        pins = ["--so-pin", PIN, "--pin", PIN]
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", LABEL, *pins],
            check=True,
            capture_output=True,
        )
        (path / "pin").touch(mode=0o600)
        (path / "pin").write_text(PIN)
        yield DeviceSettings(MODULE, LABEL, path / "pin")


def compared(settings: DeviceSettings, device: Device) -> list[Figure]:
    signing, sealing = (
        device.generate(ALGORITHMS[name], os.urandom(16), LABEL).handle for name in (PSS, GCM)
    )
    session = pkcs11.lib(str(settings.module)).get_token(token_label=LABEL).open(user_pin=PIN)
    private = object_of(session, ObjectClass.PRIVATE_KEY, signing)
    secret = object_of(session, ObjectClass.SECRET_KEY, sealing)
    items = [Item(os.urandom(256), os.urandom(80), os.urandom(12)) for _ in range(BATCH)]

    def sign_directly() -> None:
        private.sign(bytes(32), mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=PSS_PARAMETERS)

    def seal_directly() -> None:
        for item in items:
            parameters = GCMParams(item.nonce, item.aad, 128)
            secret.encrypt(item.data, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)

    turns = [
        (
            rate(sign_directly, SIGNATURES),
            rate(lambda: device.use(signing, Operation.SIGN, PSS, [Item(bytes(32))]), SIGNATURES),
            rate(seal_directly, BATCHES) * BATCH,
            rate(lambda: device.use(sealing, Operation.SEAL, GCM, items), BATCHES) * BATCH,
        )
        for _ in range(ROUNDS)
    ]
    # The best of each: what else the machine does can only slow a round down.
    direct_sign, sign, direct_seal, seal = (max(rates) for rates in zip(*turns, strict=True))
    return [
        at_least("RSA-PSS 3072 in a device (SoftHSM)", sign, direct_sign, "1/s", SIGN_SHARE),
        at_least(f"AES-GCM of 256 B in a device, batches of {BATCH}", seal, direct_seal, "1/s", BATCH_SHARE),
    ]


def object_of(session: pkcs11.Session, kind: ObjectClass, handle: DeviceHandle) -> pkcs11.Object:
    [found] = list(session.get_objects({Attribute.CLASS: kind, Attribute.ID: handle.id}))
    return found


def rate(operation: Callable[[], object], count: int) -> float:
    operation()
    start = time.perf_counter()
    for _ in range(count):
        operation()
    return count / (time.perf_counter() - start)
