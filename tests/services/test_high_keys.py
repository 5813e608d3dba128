"""HIGH keys without their device: nothing makes one, nothing moves one, nothing uses one, nothing is lost."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import KEY_ADMIN, Kms, caller
from services.test_transfers import FIRST, KEY, NAME, add_key, import_, ready, wrapped

from kms.crypto.key_handle import generate
from kms.errors import DeviceAbsent, WrongState
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.device_handle import DeviceHandle
from kms.model.lifecycle import Verb, VersionState
from kms.model.names import KeyName
from kms.model.records import KeyRecord, KeyVersionRecord
from kms.model.sensitivity import Sensitivity
from kms.services.cryptography import Message, Plain
from kms.services.keys import KeySettings, version_row

__all__ = ["ready"]

BOTH = caller("both", "key-admin", "key-user")
HANDLE = str(DeviceHandle("DENK0200123", bytes(16)))
SIGNER = KeyName("acme", "prod", "signer")


@pytest.fixture
def high(ready: Kms) -> Kms:
    """The keys `orders` and `signer`, HIGH, as a server with a device would have left them."""
    add_key(ready)
    add_key(ready, SIGNER, Purpose.ASYMMETRIC_SIGN, "RSA_PSS_2048_SHA256")
    for name in (NAME, SIGNER):
        key = ready.parts.repository.require(KeyRecord, str(name))
        version = ready.parts.repository.require(KeyVersionRecord, version_row(name, 1))
        in_device = replace(version.record, sensitivity="HIGH", wrapped_key=b"", handle=HANDLE)
        changes = [key.put(replace(key.record, sensitivity="HIGH")), version.put(in_device)]
        event = ready.call(KEY_ADMIN).event("Test", str(name), "ALLOW")
        ready.vault.store.commit(changes, [event]).result()
    return ready


Attempt = Callable[[Kms], Awaitable[Any]]
REFUSED: dict[str, tuple[Attempt, type[WrongState], str]] = {
    "create": (
        lambda kms: kms.parts.keys.create(
            kms.call(BOTH),
            replace(NAME, key="new"),
            Purpose.MAC,
            "",
            KeySettings(sensitivity=Sensitivity.HIGH),
            "",
        ),
        DeviceAbsent,
        "made inside a device",
    ),
    "rotate": (
        lambda kms: kms.parts.keys.rotate(kms.call(BOTH), NAME),
        DeviceAbsent,
        "made inside a device",
    ),
    "begin an export": (
        lambda kms: kms.parts.transfers.begin_export(kms.call(BOTH), FIRST),
        WrongState,
        "is HIGH; only LOW keys may leave",
    ),
    "copy to a lower key": (
        lambda kms: kms.parts.transfers.copy(kms.call(BOTH), FIRST, _medium(kms), make_primary=False),
        WrongState,
        "holds no private bytes|is not copied",
    ),
    "copy from a lower key": (
        lambda kms: kms.parts.transfers.copy(
            kms.call(BOTH), replace(FIRST, key=_medium(kms).key), NAME, make_primary=False
        ),
        WrongState,
        "takes no bytes from elsewhere",
    ),
}


def _medium(kms: Kms) -> KeyName:
    return add_key(kms, replace(NAME, key="medium"))


@pytest.mark.parametrize("what", REFUSED)
def test_without_the_device_it_is_refused(high: Kms, what: str) -> None:
    attempt, error, text = REFUSED[what]
    with pytest.raises(error, match=text):
        high.run(_awaited(attempt(high)))
    assert high.last_event()["decision"] == "FAIL"


async def _awaited(attempt: Awaitable[Any]) -> Any:
    return await attempt


@pytest.mark.parametrize("public", [False, True])
def test_no_import_into_a_high_key_private_or_public(high: Kms, public: bool) -> None:
    spki = generate(ALGORITHMS["RSA_PSS_2048_SHA256"]).public_key
    source, key = (spki, SIGNER) if public else (wrapped(high, KEY), NAME)
    with pytest.raises(WrongState, match="takes no bytes from elsewhere"):
        import_(high, source, key, make_primary=False)


def test_its_use_is_refused_by_name_of_the_device(high: Kms) -> None:
    [encrypted] = high.run(high.parts.cryptography.encrypt(high.call(BOTH), NAME, [Plain(b"x")]))
    [signed] = high.run(high.parts.cryptography.sign(high.call(BOTH), SIGNER, [Message(b"x")]))
    for refusal in (encrypted, signed):
        assert isinstance(refusal, DeviceAbsent)
        assert HANDLE in str(refusal)


def test_its_states_and_its_primary_can_be_changed(high: Kms) -> None:
    versions = high.parts.key_versions
    for verb, state in (
        (Verb.DISABLE, VersionState.DISABLED),
        (Verb.ENABLE, VersionState.ENABLED),
    ):
        view = high.run(versions.change(high.call(KEY_ADMIN), FIRST, verb, ""))
        assert (view.row.record.state, view.row.record.handle) == (state, HANDLE)
    assert high.run(versions.set_primary(high.call(KEY_ADMIN), FIRST, "")).primary


def test_it_is_not_called_destroyed_while_its_bytes_are_in_the_device(
    high: Kms, caplog: pytest.LogCaptureFixture
) -> None:
    other = replace(FIRST, key=_medium(high).key)
    for name in (FIRST, other):
        high.run(high.parts.key_versions.change(high.call(KEY_ADMIN), name, Verb.SCHEDULE_DESTROY, ""))
    with caplog.at_level(logging.ERROR):
        assert high.run(high.parts.upkeep.destroy_due(high.now + timedelta(days=31))) == 1
    assert "which is not connected" in caplog.text
    states = [
        high.run(high.parts.key_versions.get(high.call(KEY_ADMIN), name)).row.record.state
        for name in (FIRST, other)
    ]
    assert states == [VersionState.DESTROY_SCHEDULED, VersionState.DESTROYED]
