"""Which certificate a server shows, as time passes and the clock is set."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import open_store
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.main.configuration import Configuration
from kms.main.initialising import initialise
from kms.main.parts import assemble
from kms.main.root_material import Material
from kms.main.server_certificates import ServerCertificates
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    time = START

    def __call__(self) -> datetime:
        return self.time


def no_passphrase() -> SecretBytes:
    raise AssertionError("a keyfile has no passphrase")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def certificates(tmp_path: Path, clock: Clock) -> Iterator[ServerCertificates]:
    configuration = Configuration(
        directory=tmp_path / "kms",
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=tmp_path / "outside" / "checkpoint.json",
    )
    initialise(configuration, "acme", Material(no_passphrase), START)
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, Keyfile(configuration.keyfile_path))
    with ThreadPoolExecutor(1) as workers:
        yield ServerCertificates(configuration, assemble(vault, workers), clock)
    vault.close()


def shown(certificates: ServerCertificates) -> x509.Certificate:
    return x509.load_pem_x509_certificates(certificates().chain_pem)[0]


def test_certificate_is_replaced_at_two_thirds_of_its_life(
    certificates: ServerCertificates, clock: Clock
) -> None:
    first = shown(certificates)
    clock.time += 15 * HOUR
    assert shown(certificates) == first
    clock.time += 2 * HOUR
    assert shown(certificates) != first


def test_certificate_that_was_issued_while_the_clock_ran_ahead_is_replaced(
    certificates: ServerCertificates, clock: Clock
) -> None:
    clock.time += 20 * HOUR
    ahead = shown(certificates)
    clock.time = START
    back = shown(certificates)
    assert back != ahead
    assert back.not_valid_before_utc <= START < back.not_valid_after_utc
    assert shown(certificates) == back
