"""`kms init` from inside: what is made, what is refused, and that a failure leaves nothing."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import open_store
from kms.client.credentials import read_credentials
from kms.errors import ConfigError, InvalidField, KmsError, NotFound
from kms.main import initialising
from kms.main.configuration import Configuration
from kms.main.initialising import initialise
from kms.main.parts import assemble, root_of_trust
from kms.main.recovering import recover_identity
from kms.model.names import IdentityName, OperatorName
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

ADMIN = IdentityName("acme", "system", "admin")


def no_passphrase() -> SecretBytes:
    raise AssertionError("a keyfile needs no passphrase")


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(
        directory=tmp_path / "kms",
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=tmp_path / "outside" / "checkpoint.json",
    )


def authenticated(configuration: Configuration, directory: Path) -> Any:
    """Whom the credentials in a directory authenticate as."""
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, root_of_trust(configuration, no_passphrase))
    try:
        with ThreadPoolExecutor(1) as workers:
            parts = assemble(vault, workers)
            pem = read_credentials(directory).certificate_pem
            end = b"-----END CERTIFICATE-----\n"
            leaf = pem.partition(end)[0] + end
            return parts.authenticator.authenticate(leaf, "", datetime.now(UTC))
    finally:
        vault.close()


def last_action(configuration: Configuration) -> str:
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, root_of_trust(configuration, no_passphrase))
    try:
        return str(json.loads(vault.store.events(0, 1000)[-1].body)["action"])
    finally:
        vault.close()


def test_operator_and_administrator_can_call_at_once(configuration: Configuration) -> None:
    made = initialise(configuration, "acme", no_passphrase)
    operator = authenticated(configuration, made.operator_credentials)
    admin = authenticated(configuration, made.admin_credentials)
    assert (operator.identity, operator.roles) == (OperatorName("root"), {"operator"})
    assert admin.identity == ADMIN
    assert "key-user" not in admin.roles
    assert Configuration.load(configuration.directory) == configuration


def test_secrets_are_readable_by_the_owner_only(configuration: Configuration) -> None:
    made = initialise(configuration, "acme", no_passphrase)
    private = [
        configuration.keyfile_path,
        configuration.store_path,
        made.identity_root_file,
        made.operator_credentials / "key.pem",
        made.admin_credentials / "key.pem",
    ]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert configuration.directory.stat().st_mode & 0o777 == 0o700


def test_nothing_is_made_over_something(configuration: Configuration) -> None:
    initialise(configuration, "acme", no_passphrase)
    before = configuration.store_path.read_bytes()
    with pytest.raises(ConfigError, match="not empty"):
        initialise(configuration, "acme", no_passphrase)
    assert configuration.store_path.read_bytes() == before


def test_another_store_s_checkpoint_is_not_overwritten(configuration: Configuration) -> None:
    configuration.checkpoint_file.parent.mkdir()
    configuration.checkpoint_file.write_text("another's")
    with pytest.raises(ConfigError, match="vouches for another store"):
        initialise(configuration, "acme", no_passphrase)
    assert configuration.checkpoint_file.read_text() == "another's"


@pytest.mark.parametrize(("tenant", "trust_domain"), [("Not An Id", "kms.test"), ("acme", "Not A Domain")])
def test_bad_names_leave_nothing(configuration: Configuration, tenant: str, trust_domain: str) -> None:
    with pytest.raises(InvalidField):
        initialise(replace(configuration, trust_domain=trust_domain), tenant, no_passphrase)
    assert not configuration.directory.exists() or not list(configuration.directory.iterdir())
    assert not configuration.checkpoint_file.exists()


def test_failure_in_the_middle_leaves_nothing(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(initialising, "write_credentials", fail)
    with pytest.raises(OSError, match="No space"):
        initialise(configuration, "acme", no_passphrase)
    assert not list(configuration.directory.iterdir())
    assert not configuration.checkpoint_file.exists()


def test_passphrase_is_asked_for_and_needed_again(configuration: Configuration) -> None:
    with_passphrase = replace(configuration, root_of_trust="passphrase")
    initialise(with_passphrase, "acme", lambda: SecretBytes(b"a long enough passphrase"))
    assert not configuration.keyfile_path.exists()
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    wrong = root_of_trust(with_passphrase, lambda: SecretBytes(b"another long passphrase"))
    with pytest.raises(KmsError) as caught:
        open_store(with_passphrase.store_path, settings, wrong)
    assert caught.value.reason == "WRONG_ROOT_MATERIAL"


def test_who_was_away_too_long_is_given_new_credentials(configuration: Configuration, tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    made = initialise(configuration, "acme", no_passphrase, long_ago)
    with pytest.raises(KmsError, match="expired"):
        authenticated(configuration, made.admin_credentials)
    recovered = recover_identity(configuration, ADMIN, tmp_path / "again", no_passphrase)
    assert last_action(configuration) == "Kms.RecoverIdentity"
    assert recovered.grant.identity == ADMIN
    assert authenticated(configuration, tmp_path / "again").identity == ADMIN
    with pytest.raises(NotFound):
        recover_identity(configuration, replace(ADMIN, identity="nobody"), tmp_path / "x", no_passphrase)


def test_recovery_needs_the_server_to_be_stopped(configuration: Configuration, tmp_path: Path) -> None:
    initialise(configuration, "acme", no_passphrase)
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    provider = root_of_trust(configuration, no_passphrase)
    vault = open_store(configuration.store_path, settings, provider)
    try:
        with pytest.raises(ConfigError):
            recover_identity(configuration, ADMIN, tmp_path / "again", no_passphrase)
    finally:
        vault.close()
