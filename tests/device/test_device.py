"""A device through its helper processes: what it makes and refuses, how it is lost and found again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from device.softhsm import PIN, SoftHsm, given_device, softhsm

from kms.crypto import rsa_keys, rsa_oaep, rsa_pss
from kms.crypto.aead import NONCE_SIZE
from kms.crypto.device import lane
from kms.crypto.device.device import Device, MadeKey
from kms.crypto.device.lane import DeviceSettings, Lane
from kms.crypto.device.messages import Answer, Item, Operation, Request, Status
from kms.errors import (
    DecryptionFailed,
    DeviceAbsent,
    DeviceFailed,
    DeviceLacksAlgorithm,
    DeviceUnavailable,
    KmsError,
)
from kms.model.algorithms import ALGORITHMS, Family
from kms.model.device_handle import DeviceHandle

__all__ = ["given_device", "softhsm"]

T = TypeVar("T")

LABEL = "kms test"
GCM = "AES_256_GCM"
OAEP = [name for name, algorithm in ALGORITHMS.items() if algorithm.family is Family.RSA_OAEP]


@pytest.fixture
def settings(softhsm: SoftHsm) -> DeviceSettings:
    return softhsm.new_token()


@pytest.fixture
def device(settings: DeviceSettings) -> Iterator[Device]:
    device = Device(settings)
    yield device
    device.close()


def make(device: Device, algorithm: str = GCM) -> MadeKey:
    return device.generate(ALGORITHMS[algorithm], os.urandom(16), LABEL)


def one(device: Device, handle: DeviceHandle, operation: Operation, algorithm: str, item: Item) -> bytes:
    [result] = device.use(handle, operation, algorithm, [item])
    assert isinstance(result, bytes), result
    return result


def seal(device: Device, handle: DeviceHandle, data: bytes = b"data") -> tuple[bytes, bytes]:
    nonce = os.urandom(NONCE_SIZE)
    return nonce, one(device, handle, Operation.SEAL, GCM, Item(data, b"aad", nonce))


@pytest.mark.parametrize("size", [0, 1, 65536])
def test_what_is_sealed_is_unsealed(device: Device, size: int) -> None:
    key, data = make(device).handle, os.urandom(size)
    nonce, sealed = seal(device, key, data)
    assert len(sealed) == size + 16
    assert one(device, key, Operation.UNSEAL, GCM, Item(sealed, b"aad", nonce)) == data


def test_what_does_not_fit_is_refused_item_by_item(device: Device) -> None:
    key = make(device).handle
    nonce, sealed = seal(device, key)
    items = [Item(sealed, b"other", nonce), Item(sealed, b"aad", nonce), Item(bytes(20), b"aad", nonce)]
    first, second, third = device.use(key, Operation.UNSEAL, GCM, items)
    assert second == b"data"
    assert isinstance(first, DecryptionFailed)
    assert isinstance(third, DecryptionFailed)


@pytest.mark.parametrize("name", ["RSA_PSS_2048_SHA256", "RSA_PSS_2048_SHA384", "RSA_PSS_2048_SHA512"])
def test_a_signature_of_the_device_verifies_here(device: Device, name: str) -> None:
    made = make(device, name)
    key = rsa_pss.load_public(ALGORITHMS[name], made.public_key, "public_key")
    digest = rsa_keys.digest(ALGORITHMS[name], b"message")
    assert key.verify(b"message", one(device, made.handle, Operation.SIGN, name, Item(digest))) == b"message"


def test_codes_differ_by_message_and_key(device: Device) -> None:
    keys = [make(device, "HMAC_SHA256").handle for _ in range(2)]
    codes = {
        one(device, key, Operation.MAC, "HMAC_SHA256", Item(message))
        for key in keys
        for message in (b"", b"message")
    }
    assert len(codes) == 4
    assert {len(code) for code in codes} == {32}


def test_softhsm_is_refused_oaep_by_name(device: Device) -> None:
    for name in OAEP:
        with pytest.raises(DeviceLacksAlgorithm, match=f"the device 'kms' cannot do {name}"):
            make(device, name)
    assert not device.find(LABEL)


@pytest.mark.optional
@pytest.mark.parametrize("name", OAEP)
def test_oaep_of_a_device_that_has_it(given_device: Device, name: str) -> None:
    made = make(given_device, name)
    public = rsa_oaep.load_public(ALGORITHMS[name], made.public_key, "public_key")
    for label in (b"", b"label"):
        sealed = public.encrypt(b"data", label)
        items = [Item(sealed, label), Item(sealed, b"other"), Item(sealed[:-1] + b"\0", label)]
        good, *bad = given_device.use(made.handle, Operation.DECRYPT, name, items)
        assert good == b"data"
        assert all(isinstance(refusal, DecryptionFailed) for refusal in bad)
    given_device.destroy(made.handle)


READ_ATTRIBUTES = """
import sys, pkcs11
module, token, pin, key_id = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin)
[key] = session.get_objects({pkcs11.Attribute.ID: bytes.fromhex(key_id)})
print(*(key[pkcs11.Attribute[name]] for name in
        ("SENSITIVE", "ALWAYS_SENSITIVE", "EXTRACTABLE", "NEVER_EXTRACTABLE", "LOCAL", "LABEL")))
"""


@pytest.mark.parametrize("name", [GCM, "HMAC_SHA256", "RSA_PSS_2048_SHA256"])
def test_a_key_is_made_inside_and_never_comes_out(
    device: Device, settings: DeviceSettings, name: str
) -> None:
    handle = make(device, name).handle
    command = [sys.executable, "-c", READ_ATTRIBUTES, settings.module, settings.token, PIN, handle.id.hex()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"True True False True True {LABEL}\n"


def test_a_destroyed_key_is_gone_for_every_helper(device: Device) -> None:
    key = make(device).handle
    with device._lane():
        seal(device, key)
    assert len(device._idle) == 2
    device.destroy(key)
    device.destroy(key)
    for _ in range(2):
        with device._lane():
            [result] = device.use(key, Operation.SEAL, GCM, [Item(b"", b"", bytes(12))])
            assert isinstance(result, DeviceAbsent)
            assert str(key) in str(result)


def test_keys_are_found_by_their_label(device: Device) -> None:
    made = {make(device).handle, make(device, "RSA_PSS_2048_SHA256").handle}
    device.generate(ALGORITHMS[GCM], os.urandom(16), "another label")
    assert device.find(LABEL) == made


def helpers(device: Device) -> list[int]:
    return [lane._process.pid for lane in device._idle]


def test_a_helper_that_was_killed_is_not_noticed(device: Device) -> None:
    key = make(device).handle
    [pid] = helpers(device)
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    nonce, sealed = seal(device, key)
    assert one(device, key, Operation.UNSEAL, GCM, Item(sealed, b"aad", nonce)) == b"data"
    assert helpers(device) != [pid]


def test_helpers_end_with_the_device_and_with_its_process(settings: DeviceSettings) -> None:
    device = Device(settings)
    device.connect()
    [lane] = device._idle
    device.close()
    assert lane._process.poll() is not None
    with pytest.raises(DeviceUnavailable):
        device.connect()


def test_a_removed_token_is_said_and_found_again(device: Device, softhsm: SoftHsm) -> None:
    clock = [0.0]
    device._monotonic = lambda: clock[0]
    key = make(device).handle
    files, away = softhsm.files_of("kms"), softhsm.directory / "away"
    files.rename(away)
    with pytest.raises(DeviceUnavailable, match=r"^the device 'kms' cannot be reached$"):
        seal(device, key)
    assert device.trouble == "0 tokens are called 'kms'; there are: none"
    away.rename(files)
    with pytest.raises(DeviceUnavailable):
        seal(device, key)
    clock[0] = 60.0
    assert seal(device, key)


def test_a_token_that_took_its_place_is_told_apart(device: Device, softhsm: SoftHsm) -> None:
    key = make(device).handle
    shutil.rmtree(softhsm.files_of("kms"))
    softhsm.new_token()
    device._monotonic = iter(range(0, 10_000, 100)).__next__
    with pytest.raises(DeviceAbsent, match=f"serial={key.serial}.*has the serial number (?!{key.serial})"):
        seal(device, key)
    assert make(device)


def test_a_refused_pin_is_not_tried_again(softhsm: SoftHsm) -> None:
    starts: list[DeviceSettings] = []

    def start(settings: DeviceSettings) -> Lane:
        starts.append(settings)
        return Lane.start(settings)

    device = Device(softhsm.new_token(pin="wrong"), start, iter(range(0, 10_000, 100)).__next__)
    for _ in range(3):
        with pytest.raises(DeviceUnavailable):
            device.connect()
        assert device.trouble == "the PIN was refused (PinIncorrect)"
    assert len(starts) == 1
    device.close()


def test_helpers_that_do_not_start_are_waited_for_longer_and_longer(softhsm: SoftHsm) -> None:
    clock, starts = [0], []
    settings = DeviceSettings(softhsm.module, "nobody", softhsm.new_token().pin_file)

    def start(settings: DeviceSettings) -> Lane:
        starts.append(clock[0])
        return Lane.start(settings)

    device = Device(settings, start, lambda: clock[0])
    for clock[0] in range(40):
        with pytest.raises(DeviceUnavailable):
            device.connect()
        assert device.trouble == "0 tokens are called 'nobody'; there are: 'kms'"
    assert starts == [0, 1, 2, 4, 8, 16, 32]
    device.close()


Spoil = Callable[[DeviceSettings], DeviceSettings]


def _open_pin_file(settings: DeviceSettings) -> DeviceSettings:
    settings.pin_file.chmod(0o644)
    return settings


SPOILT: dict[str, tuple[Spoil, str]] = {
    "a PIN file that others may read": (_open_pin_file, "others may read the PIN file"),
    "no PIN file": (
        lambda kept: DeviceSettings(kept.module, kept.token, kept.pin_file.with_name("none")),
        "cannot open the PIN file",
    ),
    "no module": (
        lambda kept: DeviceSettings(Path("/none.so"), kept.token, kept.pin_file),
        "the module /none.so does not load",
    ),
    "a module that is something else": (
        lambda kept: DeviceSettings(Path(__file__), kept.token, kept.pin_file),
        "does not load",
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_is_wrong_with_the_configuration_is_said(settings: DeviceSettings, spoilt: str) -> None:
    spoil, text = SPOILT[spoilt]
    device = Device(spoil(settings))
    with pytest.raises(DeviceUnavailable) as caught:
        device.connect()
    assert text in device.trouble
    assert text not in str(caught.value)
    device.close()


def test_the_pin_is_in_no_argument_and_no_environment(device: Device) -> None:
    device.connect()
    [pid] = helpers(device)
    for what in ("cmdline", "environ"):
        assert PIN.encode() not in Path(f"/proc/{pid}/{what}").read_bytes()


def test_a_token_is_named_by_its_serial_number_too(settings: DeviceSettings) -> None:
    device = Device(settings)
    by_serial = Device(DeviceSettings(settings.module, device.connect(), settings.pin_file))
    assert by_serial.connect() == device.connect()
    device.close()
    by_serial.close()


OTHER_USER = """
import os, socket
from kms.crypto.device.helper.serving import check_peer
here, there = socket.socketpair()
os.setuid(65534)
try:
    check_peer(here)
except PermissionError as error:
    print(error)
"""


@pytest.mark.optional
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_helper_serves_no_other_user() -> None:
    done = subprocess.run([sys.executable, "-c", OTHER_USER], capture_output=True, text=True, check=True)
    assert done.stdout == "the other side is another user's\n"


def test_a_malformed_request_ends_the_helper(settings: DeviceSettings) -> None:
    lane = Lane.start(settings)
    lane._connection.sendall(b"\x00\x00\x00\x01\xff")
    assert lane._connection.recv(1) == b""
    lane.close()


def test_a_lent_key_is_forgotten_with_its_helper(device: Device, settings: DeviceSettings) -> None:
    lane = Lane.start(settings)
    lend = Request(Operation.LEND, GCM, bytes(16), [Item(bytes(32))])
    use = Request(Operation.SEAL, GCM, bytes(16), [Item(b"", b"", bytes(12))])
    assert [answer.status for answer in (*lane.ask(lend), *lane.ask(use))] == [Status.DONE, Status.DONE]
    lane.close()
    [result] = device.use(DeviceHandle(device.connect(), bytes(16)), *_of(use))
    assert isinstance(result, KmsError)


def _of(request: Request) -> tuple[Operation, str, list[Item]]:
    return request.operation, request.algorithm, list(request.items)


def test_keys_that_are_made_at_once_are_seen_by_every_helper(device: Device) -> None:
    """SoftHSM's lists miss some of them, and now and then it dies of so many; then others go on."""

    def make_and_use(_: int) -> DeviceHandle:
        handle = patiently(lambda: make(device)).handle
        assert patiently(lambda: seal(device, handle))[1]
        return handle

    made = set(device.workers.map(make_and_use, range(60)))
    assert len(device._idle) > 1
    assert len(made) == 60
    assert made <= patiently(lambda: device.find(LABEL))


def patiently(ask: Callable[[], T]) -> T:
    """As callers of the KMS do, whom it tells that the device is away."""
    for _ in range(100):
        with suppress(DeviceUnavailable):
            return ask()
        time.sleep(0.05)
    return ask()


def test_a_device_that_does_not_answer_is_given_up(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make(device).handle
    [pid] = helpers(device)
    monkeypatch.setattr(lane, "USE_SECONDS", 0.5)
    os.kill(pid, signal.SIGSTOP)
    assert seal(device, key)
    assert device.trouble == ""
    assert pid not in helpers(device)
    assert not Path(f"/proc/{pid}").exists()


def test_calls_in_flight_end_with_the_device(device: Device) -> None:
    device.connect()
    [pid] = helpers(device)
    os.kill(pid, signal.SIGSTOP)
    waiting = device.workers.submit(device.find, LABEL)
    while device._idle:
        time.sleep(0.01)
    device.close()
    with pytest.raises(DeviceUnavailable):
        waiting.result(10)


@pytest.mark.parametrize("count", [2, 4])
def test_answers_that_are_not_as_many_as_the_items_are_given_to_nobody(
    device: Device, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    key = make(device).handle
    answers = [Answer(Status.DONE, bytes([number])) for number in range(count)]
    monkeypatch.setattr(device._idle[0], "ask", lambda request: answers)
    with pytest.raises(DeviceFailed, match=f"gave {count} answers to 3 items"):
        device.use(key, Operation.UNSEAL, GCM, [Item(b"x" * 16)] * 3)


def test_a_key_that_was_not_asked_for_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.connect()
    numbers = [Answer(Status.DONE, (1 << 1023).to_bytes(128, "big")), Answer(Status.DONE, b"\x01\x00\x01")]
    monkeypatch.setattr(device._idle[0], "ask", lambda request: numbers)
    with pytest.raises(DeviceFailed, match="another key than it was asked for"):
        make(device, "RSA_PSS_2048_SHA256")
