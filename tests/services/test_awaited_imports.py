"""A key that is made for an import: its first version waits, and nothing else takes that version's place."""

from dataclasses import replace
from datetime import timedelta

import pytest
from services.conftest import KEY_ADMIN, PROD, Kms, caller
from services.test_transfers import FIRST, KEY, NAME, USER, add_key, import_, material_of, ready, wrapped

from kms.crypto.key_handle import generate
from kms.errors import InvalidField, WrongState
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.records import KeyVersionRecord
from kms.services.cryptography import Message, Plain
from kms.services.keys import KeyQuery

__all__ = ["ready"]

WRONG_SIZE = KEY[:31]


def first(kms: Kms) -> KeyVersionRecord:
    return kms.run(kms.parts.key_versions.get(kms.call(KEY_ADMIN), FIRST)).row.record


def names(kms: Kms, state: str) -> list[str]:
    page = kms.run(kms.parts.keys.list(kms.call(KEY_ADMIN), PROD, KeyQuery(state=state), "", 10))
    return [key.name for key in page.items]


def test_it_is_listed_by_its_state_and_serves_nobody(ready: Kms) -> None:
    add_key(ready, import_only=True)
    add_key(ready, replace(NAME, key="generated"))
    assert names(ready, "PENDING_IMPORT") == [str(NAME)]
    assert (first(ready).state, first(ready).wrapped_key) == ("PENDING_IMPORT", b"")
    [refused] = ready.run(ready.parts.cryptography.encrypt(ready.call(USER), NAME, [Plain(b"x")]))
    assert isinstance(refused, WrongState)


def test_refused_material_leaves_it_failed_and_audited_and_a_good_one_enables_it(ready: Kms) -> None:
    add_key(ready, import_only=True)
    for _ in range(2):
        with pytest.raises(InvalidField):
            import_(ready, wrapped(ready, WRONG_SIZE))
        event = ready.last_event()
        assert (event["action"], event["decision"]) == ("ImportKeyVersion", "FAIL")
        assert "state_digest" in event
        assert first(ready).state == "IMPORT_FAILED"
    assert import_(ready, wrapped(ready, KEY)) == FIRST
    assert (first(ready).state, first(ready).origin) == ("ENABLED", "IMPORTED")
    assert material_of(ready, FIRST) == KEY
    assert import_(ready, wrapped(ready, KEY)).version == 2


def test_an_import_key_that_is_gone_or_expired_says_nothing_of_the_material(ready: Kms) -> None:
    add_key(ready, import_only=True)
    source = wrapped(ready, KEY)
    ready.pass_time(timedelta(hours=25))
    with pytest.raises(WrongState, match="expired"):
        import_(ready, source)
    assert first(ready).state == "PENDING_IMPORT"


def test_a_failed_import_into_another_version_changes_nothing(ready: Kms) -> None:
    add_key(ready)
    with pytest.raises(InvalidField):
        import_(ready, wrapped(ready, WRONG_SIZE))
    assert "state_digest" not in ready.last_event()
    assert first(ready).state == "ENABLED"


def test_no_generated_bytes_take_the_place_of_imported_ones(ready: Kms) -> None:
    add_key(ready, import_only=True, rotation_period=timedelta(days=1))
    with pytest.raises(WrongState, match="waits for an import"):
        ready.run(ready.parts.keys.rotate(ready.call(KEY_ADMIN), NAME))
    add_key(ready, replace(NAME, key="other"), rotation_period=timedelta(days=1))
    assert ready.run(ready.parts.upkeep.rotate_due(ready.now + timedelta(days=1))) == 1
    assert first(ready).state == "PENDING_IMPORT"


def test_a_public_key_fills_it_and_leaves_the_key_without_primary(ready: Kms) -> None:
    algorithm = "RSA_PSS_2048_SHA256"
    add_key(ready, purpose=Purpose.ASYMMETRIC_SIGN, algorithm=algorithm, import_only=True)
    public = generate(ALGORITHMS[algorithm]).public_key
    assert import_(ready, public, make_primary=False) == FIRST
    assert (first(ready).state, first(ready).origin) == ("ENABLED", "IMPORTED_PUBLIC")
    [refused] = ready.run(ready.parts.cryptography.sign(ready.call(USER), NAME, [Message(b"m")]))
    assert isinstance(refused, WrongState)


def test_a_copy_fills_it_too(ready: Kms) -> None:
    add_key(ready, import_only=True)
    source = replace(FIRST, key=add_key(ready, replace(NAME, key="source")).key)
    both = caller("both", "key-admin", "key-user")
    copying = ready.parts.transfers.copy(ready.call(both), source, NAME, make_primary=True)
    assert ready.run(copying) == FIRST
    assert material_of(ready, FIRST) == material_of(ready, source)
