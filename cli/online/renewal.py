"""The credentials that calls are made with: read, found to be alive, and renewed in time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from blindfold.bundle import print_time
from cli.connection import Connection
from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.output import warn
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.credentials import Credentials, read_credentials
from kms.client.enrolment import renew
from kms.client.errors import CallFailed
from kms.errors import KmsError

ENROL_AGAIN = (
    "Ask for a join token and run `kms identity enrol`; where the server's store is, `kms recover` will do."
)


def usable_credentials(directory: Path) -> Credentials:
    """Raises `ConfigError`, and `CliError` for a certificate that has expired."""
    credentials = read_credentials(directory)
    end = credentials.validity.not_after
    if datetime.now(UTC) > end:
        raise CliError(
            f"the certificate in {directory} expired at {print_time(end)}",
            hint=ENROL_AGAIN,
            code=ExitCode.UNAUTHENTICATED,
        )
    return credentials


def renew_when_due(connection: Connection) -> None:
    """Renew if two thirds of the life are over. A failure is a warning: the old ones still serve."""
    credentials = read_credentials(connection.credentials)
    # What another authority certifies, it renews.
    if not credentials.spiffe_id or not credentials.validity.renewal_due(datetime.now(UTC)):
        return
    try:
        with suppress(BlockingIOError), _locked(connection.credentials, fcntl.LOCK_EX | fcntl.LOCK_NB):
            # Another process may have done it between the two looks.
            if read_credentials(connection.credentials).validity.renewal_due(datetime.now(UTC)):
                _renew(connection)
        return
    except (CallFailed, KmsError) as error:
        reason = error.message
    except OSError as error:
        reason = error.strerror or type(error).__name__
    end = print_time(credentials.validity.not_after)
    warn(f"the credentials in {connection.credentials} end at {end} and could not be renewed: {reason}")


def renew_now(connection: Connection) -> Credentials:
    """Raises as `kms.client.enrolment.renew`."""
    with _locked(connection.credentials, fcntl.LOCK_EX):
        return _renew(connection)


def _renew(connection: Connection) -> Credentials:
    with open_channel(connection.server, connection.credentials) as channel:
        return renew(Api(channel), connection.credentials)


@contextmanager
def _locked(directory: Path, operation: int) -> Iterator[None]:
    """One process at a time: two that write would mix one's key with the other's certificate."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)
