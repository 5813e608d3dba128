"""`kms init` from inside: what is made, what is refused, and that a failure leaves nothing."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blindfold.secret import SecretBytes
from kms.client.credentials import read_credentials
from kms.crypto.sharing import Sharing
from kms.crypto.wrapped_share import WrappedShare, new_key, unwrap_share
from kms.errors import ConfigError, InvalidField, KmsError, NotFound
from kms.main import initialising
from kms.main.configuration import Configuration
from kms.main.initialising import initialise
from kms.main.parts import assemble
from kms.main.recovering import recover_identity
from kms.main.root_material import Material, open_vault
from kms.model.names import IdentityName, OperatorName

ADMIN = IdentityName("acme", "system", "admin")


def no_passphrase() -> SecretBytes:
    raise AssertionError("a keyfile needs no passphrase")


NOTHING = Material(no_passphrase)


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
    with open_vault(configuration, NOTHING) as vault, ThreadPoolExecutor(1) as workers:
        parts = assemble(vault, workers)
        pem = read_credentials(directory).certificate_pem
        end = b"-----END CERTIFICATE-----\n"
        leaf = pem.partition(end)[0] + end
        return parts.authenticator.authenticate(leaf, "", datetime.now(UTC))


def last_action(configuration: Configuration) -> str:
    with open_vault(configuration, NOTHING) as vault:
        return str(json.loads(vault.store.events(0, 1000)[-1].body)["action"])


def test_operator_and_administrator_can_call_at_once(configuration: Configuration) -> None:
    made = initialise(configuration, "acme", NOTHING)
    operator = authenticated(configuration, made.operator_credentials)
    admin = authenticated(configuration, made.admin_credentials)
    assert (operator.identity, operator.roles) == (OperatorName("root"), {"operator"})
    assert admin.identity == ADMIN
    assert "key-user" not in admin.roles
    assert Configuration.load(configuration.directory) == configuration


def test_secrets_are_readable_by_the_owner_only(configuration: Configuration) -> None:
    made = initialise(configuration, "acme", NOTHING)
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
    initialise(configuration, "acme", NOTHING)
    before = configuration.store_path.read_bytes()
    with pytest.raises(ConfigError, match="not empty"):
        initialise(configuration, "acme", NOTHING)
    assert configuration.store_path.read_bytes() == before


def test_another_store_s_checkpoint_is_not_overwritten(configuration: Configuration) -> None:
    configuration.checkpoint_file.parent.mkdir()
    configuration.checkpoint_file.write_text("another's")
    with pytest.raises(ConfigError, match="vouches for another store"):
        initialise(configuration, "acme", NOTHING)
    assert configuration.checkpoint_file.read_text() == "another's"


@pytest.mark.parametrize(("tenant", "trust_domain"), [("Not An Id", "kms.test"), ("acme", "Not A Domain")])
def test_bad_names_leave_nothing(configuration: Configuration, tenant: str, trust_domain: str) -> None:
    with pytest.raises(InvalidField):
        initialise(replace(configuration, trust_domain=trust_domain), tenant, NOTHING)
    assert not configuration.directory.exists() or not list(configuration.directory.iterdir())
    assert not configuration.checkpoint_file.exists()


def test_failure_in_the_middle_leaves_nothing(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(initialising, "write_credentials", fail)
    with pytest.raises(OSError, match="No space"):
        initialise(configuration, "acme", NOTHING)
    assert not list(configuration.directory.iterdir())
    assert not configuration.checkpoint_file.exists()


def test_passphrase_is_asked_for_and_needed_again(configuration: Configuration) -> None:
    with_passphrase = replace(configuration, root_of_trust="passphrase")
    initialise(with_passphrase, "acme", Material(lambda: SecretBytes(b"a long enough passphrase")))
    assert not configuration.keyfile_path.exists()
    wrong = Material(lambda: SecretBytes(b"another long passphrase"))
    with pytest.raises(KmsError) as caught, open_vault(with_passphrase, wrong):
        pass
    assert caught.value.reason == "WRONG_ROOT_MATERIAL"


def test_who_was_away_too_long_is_given_new_credentials(configuration: Configuration, tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    made = initialise(configuration, "acme", NOTHING, long_ago)
    with pytest.raises(KmsError, match="expired"):
        authenticated(configuration, made.admin_credentials)
    recovered = recover_identity(configuration, ADMIN, tmp_path / "again", NOTHING)
    assert last_action(configuration) == "Kms.RecoverIdentity"
    assert recovered.grant.identity == ADMIN
    assert authenticated(configuration, tmp_path / "again").identity == ADMIN
    with pytest.raises(NotFound):
        recover_identity(configuration, replace(ADMIN, identity="nobody"), tmp_path / "x", NOTHING)


def test_recovery_needs_the_server_to_be_stopped(configuration: Configuration, tmp_path: Path) -> None:
    initialise(configuration, "acme", NOTHING)
    with open_vault(configuration, NOTHING), pytest.raises(ConfigError):
        recover_identity(configuration, ADMIN, tmp_path / "again", NOTHING)


def sharing(*holders: bytes) -> Sharing:
    return Sharing(2, 3, holders)


@pytest.fixture
def shared(configuration: Configuration) -> Configuration:
    return replace(configuration, root_of_trust="shamir")


def test_shares_are_given_out_in_clear_once_and_kept_nowhere(shared: Configuration) -> None:
    made = initialise(shared, "acme", NOTHING, sharing=sharing())
    assert [len(share.reveal().split()) for share in made.shares] == [33] * 3
    assert made.share_files == ()
    words = [share.reveal().split()[8] for share in made.shares]
    kept = b"".join(path.read_bytes() for path in shared.directory.rglob("*") if path.is_file())
    assert not any(share.reveal() in kept for share in made.shares)
    assert not all(word in kept for word in words)
    with open_vault(shared, replace(NOTHING, read_shares=lambda threshold: made.shares[:threshold])) as vault:
        assert vault.provider == "shamir"


def test_shares_are_wrapped_to_their_holders(shared: Configuration) -> None:
    keys = [new_key(None) for _ in range(3)]
    made = initialise(shared, "acme", NOTHING, sharing=sharing(*(public for _, public in keys)))
    assert made.shares == ()
    wrapped = [WrappedShare.parse(path.read_bytes().strip()) for path in made.share_files]
    assert [share.header.number for share in wrapped] == [1, 2, 3]
    shares = [unwrap_share(share, private, None) for share, (private, _) in zip(wrapped, keys, strict=True)]
    with open_vault(shared, replace(NOTHING, read_shares=lambda threshold: shares[1:])) as vault:
        assert vault.provider == "shamir"


@pytest.mark.parametrize("holders", [1, 2, 4])
def test_each_share_has_one_holder(holders: int) -> None:
    with pytest.raises(InvalidField, match="one for each share"):
        sharing(*(new_key(None)[1] for _ in range(holders)))
    one = new_key(None)[1]
    with pytest.raises(InvalidField, match="twice"):
        sharing(one, new_key(None)[1], one)


def test_shares_need_to_know_for_whom(shared: Configuration) -> None:
    with pytest.raises(ConfigError, match="how many"):
        initialise(shared, "acme", NOTHING)


def test_store_of_shares_needs_some(shared: Configuration) -> None:
    initialise(shared, "acme", NOTHING, sharing=sharing())
    with (
        pytest.raises(ConfigError, match="2 shares; give them with --share-file"),
        open_vault(shared, NOTHING),
    ):
        pass


def test_the_store_says_what_its_root_of_trust_is(configuration: Configuration) -> None:
    initialise(configuration, "acme", NOTHING)
    with open_vault(replace(configuration, root_of_trust="passphrase"), NOTHING) as vault:
        assert vault.provider == "keyfile"
