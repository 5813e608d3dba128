"""The contract of every root of trust, run for each; then what is particular to one."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from device.softhsm import SoftHsm, softhsm

from blindfold.secret import SecretBytes
from kms.crypto.device.device import Device
from kms.crypto.root_of_trust.interface import RootKeyRecord, RootOfTrust, WrongRootMaterial
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.crypto.root_of_trust.passphrase import SENSITIVE, Argon2Limits, Passphrase
from kms.crypto.root_of_trust.pkcs11 import Pkcs11
from kms.crypto.root_of_trust.shamir import Shamir
from kms.errors import ConfigError, InvalidField, StoreTampered

__all__ = ["softhsm"]

ROOT_KEY = SecretBytes(b"the root key, exactly 32 bytes!!")
STORE_ID = b"0123456789abcdef"
QUICK = Argon2Limits(operations=1, memory=8192)

Make = Callable[[], RootOfTrust]


@pytest.fixture
def make_pkcs11(softhsm: SoftHsm) -> Iterator[Make]:
    """Each with a token of its own."""
    with ExitStack() as stack:
        made = iter(range(100))

        def make() -> Pkcs11:
            device = Device(softhsm.new_token(f"token{next(made)}"))
            stack.callback(device.close)
            return Pkcs11(device)

        yield make


@pytest.fixture(params=["keyfile", "passphrase", "shamir", "pkcs11"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Each call gives a provider with other material."""
    if request.param == "pkcs11":
        make: Make = request.getfixturevalue("make_pkcs11")
        return make
    made = iter(range(100))
    makers: dict[str, Make] = {
        "keyfile": lambda: Keyfile.create(tmp_path / f"key{next(made)}"),
        "passphrase": lambda: Passphrase(
            SecretBytes(f"correct horse battery {next(made)}".encode()), limits=QUICK
        ),
        "shamir": lambda: Shamir.create(2, 3)[0],
    }
    return makers[request.param]


def test_what_was_protected_is_unlocked(make: Make) -> None:
    provider = make()
    record = provider.protect(ROOT_KEY, STORE_ID)
    assert provider.unlock(record).reveal() == ROOT_KEY.reveal()
    assert (record.provider, record.store_id) == (provider.provider, STORE_ID)


def test_the_record_survives_being_stored(make: Make) -> None:
    provider = make()
    record = RootKeyRecord.parse(provider.protect(ROOT_KEY, STORE_ID).to_bytes())
    assert provider.unlock(record).reveal() == ROOT_KEY.reveal()


def test_the_record_holds_no_secret(make: Make) -> None:
    body = make().protect(ROOT_KEY, STORE_ID).to_bytes()
    assert ROOT_KEY.reveal() not in body
    assert b"correct horse" not in body


def test_each_record_is_fresh(make: Make) -> None:
    provider = make()
    assert provider.protect(ROOT_KEY, STORE_ID) != provider.protect(ROOT_KEY, STORE_ID)


def test_other_material_is_told_apart_from_a_damaged_record(make: Make) -> None:
    provider, other = make(), make()
    record = provider.protect(ROOT_KEY, STORE_ID)
    with pytest.raises(WrongRootMaterial):
        other.unlock(record)
    damaged = replace(record, wrapped=record.wrapped[:-1] + bytes([record.wrapped[-1] ^ 1]))
    with pytest.raises(StoreTampered):
        provider.unlock(damaged)
    with pytest.raises(WrongRootMaterial):
        provider.unlock(replace(record, check=b"\x00" * 16))


def test_a_record_is_bound_to_its_store(make: Make) -> None:
    provider = make()
    record = provider.protect(ROOT_KEY, STORE_ID)
    with pytest.raises(StoreTampered):
        provider.unlock(replace(record, store_id=b"another store id"))


def test_a_record_of_another_provider_is_a_mistake_of_configuration(make: Make) -> None:
    provider = make()
    record = replace(provider.protect(ROOT_KEY, STORE_ID), provider="another")
    with pytest.raises(ConfigError, match="'another'"):
        provider.unlock(record)


def test_one_root_key_may_be_protected_by_several(make: Make) -> None:
    for provider in (make(), make()):
        assert provider.unlock(provider.protect(ROOT_KEY, STORE_ID)).reveal() == ROOT_KEY.reveal()


RECORD = RootKeyRecord(STORE_ID, "keyfile", b"wrapped", b"check", MappingProxyType({"salt": "00"}))

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "not JSON": lambda body: body[:-1],
    "not canonical": lambda body: body + b" ",
    "a list": lambda _: b"[]",
    "another schema": lambda body: body.replace(b"v1", b"v2"),
    "a field more": lambda body: body.replace(b'{"check"', b'{"also":1,"check"'),
    "a field less": lambda body: body.replace(b'"check":"Y2hlY2s",', b""),
    "a short store id": lambda body: body.replace(STORE_ID.hex().encode(), b"00"),
    "a store id in capitals": lambda body: body.replace(b"6162", b"6162".upper()).replace(b"66", b"6F"),
    "base64 with padding": lambda body: body.replace(b"Y2hlY2s", b"Y2hlY2s="),
    "a parameter that is no text": lambda body: body.replace(b'"salt":"00"', b'"salt":0'),
    "parameters that are no object": lambda body: body.replace(b'{"salt":"00"}', b"[]"),
    "a provider that is no text": lambda body: body.replace(b'"keyfile"', b"1"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_is_refused(damage: Callable[[bytes], bytes]) -> None:
    body = RECORD.to_bytes()
    assert RootKeyRecord.parse(body) == RECORD
    assert damage(body) != body
    with pytest.raises(StoreTampered):
        RootKeyRecord.parse(damage(body))


def test_a_keyfile_is_for_its_owner_only(tmp_path: Path) -> None:
    Keyfile.create(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644])
def test_a_keyfile_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    provider = Keyfile.create(tmp_path / "key")
    record = provider.protect(ROOT_KEY, STORE_ID)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        provider.unlock(record)
    (tmp_path / "key").chmod(0o400)
    assert provider.unlock(record).reveal() == ROOT_KEY.reveal()


def test_a_keyfile_that_is_a_link_is_refused(tmp_path: Path) -> None:
    record = Keyfile.create(tmp_path / "key").protect(ROOT_KEY, STORE_ID)
    (tmp_path / "link").symlink_to(tmp_path / "key")
    with pytest.raises(ConfigError, match="cannot open"):
        Keyfile(tmp_path / "link").unlock(record)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe"])
def test_a_keyfile_that_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    makers = {"missing": lambda path: None, "directory": os.mkdir, "pipe": os.mkfifo}
    makers[kind](tmp_path / "key")
    with pytest.raises(ConfigError):
        Keyfile(tmp_path / "key").protect(ROOT_KEY, STORE_ID)


CONTENTS = {
    "empty": b"",
    "raw bytes": b"\x00" * 32,
    "another prefix": b"kms:v2:keyfile:" + b"A" * 43 + b"\n",
    "without its newline": b"kms:v1:keyfile:" + b"A" * 43,
    "too short": b"kms:v1:keyfile:" + b"A" * 42 + b"\n",
    "two lines": b"kms:v1:keyfile:" + b"A" * 43 + b"\n\n",
    "not base64": b"kms:v1:keyfile:" + b"*" * 43 + b"\n",
    "very long": b"A" * 100_000,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_file_that_is_no_keyfile_is_refused_without_repeating_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    Keyfile.create(path).protect(ROOT_KEY, STORE_ID)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a keyfile") as caught:
        Keyfile(path).protect(ROOT_KEY, STORE_ID)
    assert "AAAA" not in str(caught.value)


def test_a_keyfile_is_never_overwritten(tmp_path: Path) -> None:
    Keyfile.create(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(ConfigError, match="cannot create"):
        Keyfile.create(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_a_keyfile_warns_and_a_passphrase_does_not(tmp_path: Path) -> None:
    assert "development grade" in Keyfile(tmp_path / "key").warning
    assert Passphrase(SecretBytes(b"correct horse battery")).warning == ""


@pytest.mark.parametrize("passphrase", [b"", b"eleven byte"])
def test_a_short_passphrase_protects_nothing(passphrase: bytes) -> None:
    with pytest.raises(InvalidField, match="12 bytes"):
        Passphrase(SecretBytes(passphrase), limits=QUICK).protect(ROOT_KEY, STORE_ID)


def test_the_limits_come_from_the_record(tmp_path: Path) -> None:
    secret = SecretBytes(b"correct horse battery")
    record = Passphrase(secret, limits=Argon2Limits(2, 16384)).protect(ROOT_KEY, STORE_ID)
    assert dict(record.parameters) | {"salt": ""} == {"salt": "", "operations": "2", "memory": "16384"}
    assert Passphrase(secret, limits=QUICK).unlock(record).reveal() == ROOT_KEY.reveal()


PARAMETERS = [
    {"operations": "0"},
    {"operations": "1000000"},
    {"operations": "many"},
    {"memory": "1"},
    {"memory": str(1 << 50)},
    {"salt": "00"},
    {"salt": "zz"},
]


@pytest.mark.parametrize("change", PARAMETERS, ids=str)
def test_parameters_out_of_bounds_are_refused_before_any_work(change: dict[str, str]) -> None:
    provider = Passphrase(SecretBytes(b"correct horse battery"), limits=QUICK)
    record = provider.protect(ROOT_KEY, STORE_ID)
    changed = MappingProxyType({**record.parameters, **change})
    with pytest.raises(StoreTampered, match="parameters"):
        provider.unlock(replace(record, parameters=changed))
    with pytest.raises(StoreTampered, match="parameters"):
        provider.unlock(replace(record, parameters=MappingProxyType({})))


def test_a_weaker_parameter_that_is_in_bounds_gives_another_key() -> None:
    provider = Passphrase(SecretBytes(b"correct horse battery"), limits=Argon2Limits(2, 16384))
    record = provider.protect(ROOT_KEY, STORE_ID)
    with pytest.raises(WrongRootMaterial):
        provider.unlock(
            replace(record, parameters=MappingProxyType({**record.parameters, "operations": "1"}))
        )


NO_MEMORY = """
import resource
from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust.passphrase import Passphrase
from kms.errors import ConfigError
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
try:
    Passphrase(SecretBytes(b"correct horse battery")).protect(SecretBytes(bytes(32)), bytes(16))
except ConfigError as error:
    print(error)
"""


def test_too_little_memory_is_said_plainly() -> None:
    done = subprocess.run([sys.executable, "-c", NO_MEMORY], capture_output=True, text=True, check=True)
    assert done.stdout == "Argon2id needs 1024 MiB of memory, which this machine refuses\n"


@pytest.mark.slow
def test_the_default_limits_are_libsodiums_sensitive_ones() -> None:
    assert Argon2Limits(4, 1 << 30) == SENSITIVE
    provider = Passphrase(SecretBytes(b"correct horse battery"))
    record = provider.protect(ROOT_KEY, STORE_ID)
    assert provider.unlock(record).reveal() == ROOT_KEY.reveal()
