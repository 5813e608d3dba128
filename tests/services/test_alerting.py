"""Alerts of a running KMS: told once, and who has used a key is known after a restart."""

import json
import logging
from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from services.conftest import BATCH, KEY_ADMIN, WEB, Kms
from services.test_transfers import NAME, USER, add_key, ready

from kms.audit.alerts import Alert, AlertKind, DenialRate
from kms.errors import Denied
from kms.model.lifecycle import Verb
from kms.model.names import KeyVersionName
from kms.services import alerting
from kms.services.alerting import Alerting
from kms.services.cryptography import Plain, Sealed

__all__ = ["ready"]

FIRST = KeyVersionName("acme", "prod", "orders", 1)


class Ears:
    """What was told."""

    def __init__(self, kms: Kms) -> None:
        self.kms = kms
        self.told: list[tuple[Alert, dict[str, Any]]] = []
        kms.parts.observed.clear()
        self.restart()

    def restart(self) -> None:
        parts = self.kms.parts
        self.alerting = Alerting(parts.guard, parts.repository, parts.observed, DenialRate(3), self.hear)

    def hear(self, alert: Alert, body: bytes) -> None:
        self.told.append((alert, json.loads(body)))

    def kinds(self) -> list[AlertKind]:
        self.kms.run(self.alerting.look())
        heard, self.told = [alert.kind for alert, _ in self.told], []
        return heard


def encrypt(kms: Kms, who: Any = USER) -> bytes:
    [made] = kms.run(kms.parts.cryptography.encrypt(kms.call(who), NAME, [Plain(b"s")]))
    return made.data  # type: ignore[union-attr]


def test_first_use_is_told_once_recorded_and_known_after_a_restart(ready: Kms) -> None:
    add_key(ready)
    ears = Ears(ready)
    encrypt(ready)
    encrypt(ready)
    assert ears.kinds() == [AlertKind.FIRST_USE]
    assert ready.last_event()["action"] == "Kms.FirstUse"
    encrypt(ready)
    assert ears.kinds() == []
    ears.restart()
    encrypt(ready)
    assert ears.kinds() == []
    encrypt(ready, replace(USER, spiffe_id=USER.spiffe_id + "2"))
    assert ears.kinds() == [AlertKind.FIRST_USE]


def test_a_key_that_many_have_used_has_no_strangers(ready: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "MAX_USERS", 1)
    add_key(ready)
    ears = Ears(ready)
    encrypt(ready)
    encrypt(ready, replace(USER, spiffe_id=USER.spiffe_id + "2"))
    assert ears.kinds() == [AlertKind.FIRST_USE]


def test_use_of_a_compromised_and_of_a_dying_version_is_told(ready: Kms) -> None:
    add_key(ready)
    data = encrypt(ready)
    ears = Ears(ready)
    change = ready.parts.key_versions.change
    ready.run(change(ready.call(KEY_ADMIN), FIRST, Verb.MARK_COMPROMISED, ""))
    for knows in (False, True):
        sealed = Sealed(data, allow_compromised=knows)
        ready.run(ready.parts.cryptography.decrypt(ready.call(USER), NAME, [sealed]))
    assert ears.kinds() == [AlertKind.COMPROMISED_USE, AlertKind.COMPROMISED_USE, AlertKind.FIRST_USE]
    ready.run(change(ready.call(KEY_ADMIN), FIRST, Verb.SCHEDULE_DESTROY, ""))
    ready.run(ready.parts.cryptography.decrypt(ready.call(USER), NAME, [Sealed(data)]))
    assert ears.kinds() == [AlertKind.DESTROY_SCHEDULED_USE]


def test_evaluations_are_uses_too(kms: Kms) -> None:
    kms.add_key()
    kms.add_policy()
    sealed = kms.seal(b"secret")
    ears = Ears(kms)
    assert kms.open(sealed, WEB) == b"secret"
    for _ in range(3):
        with pytest.raises(Denied):
            kms.open(sealed, BATCH)
    assert ears.kinds() == [AlertKind.FIRST_USE, AlertKind.DENIALS]


def test_log_and_notice_say_who_and_what_and_nothing_secret(
    ready: Kms, caplog: pytest.LogCaptureFixture
) -> None:
    add_key(ready)
    ears = Ears(ready)
    encrypt(ready)
    with caplog.at_level(logging.WARNING):
        ready.run(ears.alerting.look())
    [(_, body)] = ears.told
    assert caplog.messages == [f"alert first_use: Encrypt of {NAME} by {USER.spiffe_id}"]
    assert body["type"] == "kms.alert.first_use"
    assert body["data"]["caller"] == USER.spiffe_id
    assert set(body) == {"type", "time", "data"}


def test_only_durable_events_are_looked_at(ready: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    add_key(ready)
    ready.vault.close()
    ears = Ears(ready)
    with pytest.raises(Exception, match="closed"):
        encrypt(ready)
    assert ready.parts.observed == deque()
    assert ears.told == []
