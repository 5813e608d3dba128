"""`kms verify-store` and the audit verifier after each step of a rotation of the root key."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from services.conftest import OPERATOR, make_kms

from kms.audit.authenticated_store import open_store
from kms.audit.export import export
from kms.audit.verify import verify
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.main.configuration import Configuration
from kms.main.root_material import Material
from kms.main.verifying import verify_store
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.environment import Limits
from kms.storage.sqlite import Settings


def _no_passphrase() -> NoReturn:
    raise AssertionError("a keyfile needs no passphrase")


def _silent(total: int) -> Callable[[int], None]:
    return lambda count: None


def test_nothing_is_wrong_after_any_step(tmp_path: Path) -> None:
    with make_kms(tmp_path) as kms:
        kms.add_key()
        kms.add_policy()
        event = kms.call(OPERATOR).event("Test.Rotate", "", "ALLOW")
    outside = tmp_path / "outside" / "checkpoint.json"
    configuration = Configuration(
        directory=tmp_path / "kms",
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=outside,
    )
    settings = Settings(CheckpointFile(outside), limits=Limits(step_rows=2, step_events=3))
    vault = open_store(configuration.store_path, settings, Keyfile(configuration.keyfile_path))
    vault.begin_rotation(None, lambda details: event)
    steps = 0
    while vault.store.rekeying() is not None:
        found = verify_store(configuration, Material(_no_passphrase), _silent)
        assert found.live
        assert found.findings == ()
        assert verify(export(vault.store), vault.audit_public_key).last == vault.store.last_event()
        vault.step_rotation()
        steps += 1
    vault.close()
    found = verify_store(configuration, Material(_no_passphrase), _silent)
    assert (found.live, found.findings) == (False, ())
    assert steps > 8
