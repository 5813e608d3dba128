"""The credentials that calls are made with: read, found to be alive, and renewed in time."""

from datetime import UTC, datetime
from pathlib import Path

from blindfold.bundle import print_time
from cli.connection import Connection
from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.output import warn
from kms.client.credentials import Credentials, read_credentials
from kms.client.errors import CallFailed
from kms.client.renewal import renew_if
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
    if not credentials.spiffe_id or not _is_due(credentials):
        return
    try:
        renew_if(_is_due, connection.server, connection.credentials)
        return
    except (CallFailed, KmsError) as error:
        reason = error.message
    except OSError as error:
        reason = error.strerror or type(error).__name__
    end = print_time(credentials.validity.not_after)
    warn(f"the credentials in {connection.credentials} end at {end} and could not be renewed: {reason}")


def _is_due(credentials: Credentials) -> bool:
    return credentials.validity.renewal_due(datetime.now(UTC))
