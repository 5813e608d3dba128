"""A search of the server's memory finds MEDIUM keys, and not the HIGH keys that it works with."""

import hmac
import os
import subprocess
import sys
from pathlib import Path

import pytest
from device.softhsm import MODULES, PIN
from device_house import device_house, softhsm
from house import House
from killed_house import open_house

from blindfold.secret import SecretBytes
from demo.search import found, memory, needle
from kms.crypto.aead import AeadKey
from kms.crypto.ciphertext import VersionCipher, parse
from kms.model.algorithms import ALGORITHMS
from kms.model.names import KeyVersionName

__all__ = ["device_house", "softhsm"]

WORKER = "prod-worker"
MESSAGE = b"a message of its own"
# Puts keys with bytes that the test knows in the places of those that the device made.
REPLACE = """
import sys, pkcs11
from pkcs11 import Attribute as A, KeyType, ObjectClass
module, pin, aes, mac = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label="kms").open(rw=True, user_pin=pin)
values = {KeyType.AES: bytes.fromhex(aes), KeyType.GENERIC_SECRET: bytes.fromhex(mac)}
for key in list(session.get_objects({A.CLASS: ObjectClass.SECRET_KEY})):
    kind, key_id, label = key[A.KEY_TYPE], key[A.ID], key[A.LABEL]
    key.destroy()
    session.create_object({
        A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: kind, A.VALUE: values[kind], A.ID: key_id,
        A.LABEL: label, A.TOKEN: True, A.PRIVATE: True, A.SENSITIVE: True, A.EXTRACTABLE: False,
        A.ENCRYPT: kind is KeyType.AES, A.DECRYPT: kind is KeyType.AES,
        A.SIGN: kind is not KeyType.AES, A.VERIFY: kind is not KeyType.AES,
    })
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read a server's memory")
def test_a_high_key_s_bytes_are_not_in_the_server(device_house: House, tmp_path: Path) -> None:
    house = device_house
    secrets = {f"{level} {what}": os.urandom(32) for level in ("HIGH", "MEDIUM") for what in ("AES", "MAC")}
    with house.served() as process:
        open_house(house)
        for what, purpose in (("aes", "ENCRYPT_DECRYPT"), ("mac", "MAC")):
            options = ("--purpose", purpose, "--policy", "prod/everybody")
            house.must("kms", "key", "create", f"prod/high-{what}", *options, "--sensitivity", "HIGH")
            house.must("kms", "key", "create", f"prod/medium-{what}", *options, "--import-only")
            material = house.file("material", secrets[f"MEDIUM {what.upper()}"])
            house.must("kms", "key", "import", f"prod/medium-{what}", material, "--primary", who=WORKER)
        replace(secrets)
        for level in ("HIGH", "MEDIUM"):
            use(house, level, secrets)
        # One after the other: of several in one block of memory the search tells the first.
        seen = {name for name, value in secrets.items() if found([needle(name, value)], memory(process.pid))}
        assert seen == {"MEDIUM AES", "MEDIUM MAC"}


def replace(secrets: dict[str, bytes]) -> None:
    [module, *_] = [path for path in MODULES if Path(path).exists()]
    values = [secrets[f"HIGH {what}"].hex() for what in ("AES", "MAC")]
    subprocess.run([sys.executable, "-c", REPLACE, module, PIN, *values], check=True)


def use(house: House, level: str, secrets: dict[str, bytes]) -> None:
    """With both keys of a level; and that these bytes and no others were used."""
    message, out = house.file("message", MESSAGE), house.path / "out"
    house.must("kms", "mac", f"prod/{level.lower()}-mac", message, "--out", out, who=WORKER)
    assert out.read_bytes() == hmac.digest(secrets[f"{level} MAC"], MESSAGE, "sha256")
    house.must("kms", "encrypt", f"prod/{level.lower()}-aes", message, "--out", out, who=WORKER)
    sealed = parse(out.read_bytes())
    name = KeyVersionName("acme", "prod", f"{level.lower()}-aes", sealed.version)
    key = AeadKey(ALGORITHMS["AES_256_GCM"], SecretBytes(secrets[f"{level} AES"]))
    assert VersionCipher(key, name, sealed.uid).decrypt(sealed) == MESSAGE
