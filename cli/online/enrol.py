"""`kms identity enrol`: from a token to credentials."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from blindfold.bundle import print_time
from blindfold.secret import SecretBytes
from cli.errors import CliError, UsageError
from cli.exit_codes import ExitCode
from cli.online.call_errors import reported
from cli.options import CREDENTIALS_ENV, DIRECTORY, STREAM, json_option, profile_option, read_profile
from cli.output import write_fields, write_json
from cli.profile import FINGERPRINT, Profile
from cli.secret_io import read_secret
from kms.client.credentials import CERTIFICATE_FILE, Credentials
from kms.client.enrolment import enrol as enrol_identity
from kms.client.enrolment import enrol_with_jwt

_Command = TypeVar("_Command", bound=Callable[..., Any])


def enrolment_server_option(command: _Command) -> _Command:
    """`server`, for `enrolment_server`."""
    return click.option(
        "--server",
        metavar="HOST:PORT",
        help="Enrolment address of the KMS; by default enrolment_server in the profile.",
    )(command)


def identity_root_option(command: _Command) -> _Command:
    """`identity_root`: SHA-256, or None."""
    return click.option(
        "--identity-root",
        metavar="sha256:HEX",
        callback=lambda context, option, text: _fingerprint(text),
        help="Fingerprint of the KMS's identity root, as `kms init` prints it. A join token has it in it.",
    )(command)


@click.command(
    epilog="""\b
Example:
  kms identity enrol --server kms.example.com:7444 --out credentials web.token
  ssh admin kms identity create-token prod/web | kms identity enrol --out credentials
  kms identity enrol --jwt-issuer tenants/acme/jwtIssuers/cluster --identity-root sha256:... \\
    --out credentials /var/run/secrets/tokens/kms"""
)
@click.argument("token", metavar="[TOKEN_FILE]", type=STREAM, default="-")
@enrolment_server_option
@click.option(
    "--out",
    type=DIRECTORY,
    help="Directory to write key.pem, cert.pem and ca.pem to, replacing those there; by default that of "
    f"{CREDENTIALS_ENV} or the profile, if it holds none yet.",
)
@click.option(
    "--jwt-issuer",
    metavar="NAME",
    help="The token is not a join token but a JWT of this issuer: tenants/TENANT/jwtIssuers/ID.",
)
@identity_root_option
@profile_option
@json_option
def enrol(
    token: str,
    server: str | None,
    out: Path | None,
    jwt_issuer: str | None,
    identity_root: bytes | None,
    profile_path: Path | None,
    as_json: bool,
) -> None:
    """Spend a join token, read from a file or standard input, for credentials; or a JWT.

    The key is made here and never leaves. The token is sent only once the server has proved to be of the
    authority that the token, or --identity-root, names.
    """
    if (jwt_issuer is None) is not (identity_root is None):
        raise UsageError("--jwt-issuer and --identity-root go together")
    settings = read_profile(profile_path)
    server = enrolment_server(server, settings)
    out = out or _usual_directory(settings)
    secret = _read(token)
    with reported():
        if jwt_issuer is None or identity_root is None:
            credentials = enrol_identity(server, secret.reveal().decode("ascii"), out)
        else:
            credentials = enrol_with_jwt(server, identity_root, jwt_issuer, secret, out)
    (write_json if as_json else write_fields)(_fields(credentials, out))


def enrolment_server(server: str | None, settings: Profile) -> str:
    """The address of the listener for strangers. Raises `UsageError`."""
    server = server or settings.enrolment_server
    if not server:
        raise UsageError(
            "the enrolment address of the KMS is not known",
            hint="Give --server HOST:PORT, or enrolment_server in the profile.",
        )
    return server


def _fingerprint(text: str | None) -> bytes | None:
    """Raises `click.BadParameter`."""
    if text is None:
        return None
    if not FINGERPRINT.fullmatch(text):
        raise click.BadParameter("not of the form sha256:<64 lower-case hex digits>")
    return bytes.fromhex(text.removeprefix("sha256:"))


def _usual_directory(settings: Profile) -> Path:
    """Where calls take credentials from. Raises `UsageError` if there are some: they may be another's."""
    usual = os.environ.get(CREDENTIALS_ENV) or settings.credentials
    if not usual:
        raise UsageError("where to put the credentials is not known", hint="Give --out DIR.")
    if (Path(usual) / CERTIFICATE_FILE).exists():
        raise UsageError(f"{usual} holds credentials already", hint="Give --out DIR, of this or another one.")
    return Path(usual)


def _read(name: str) -> SecretBytes:
    token = read_secret(name, "token")
    if not token.reveal().isascii():
        raise CliError("the file holds no token", code=ExitCode.USAGE)
    return token


def _fields(credentials: Credentials, directory: Path) -> dict[str, Any]:
    return {
        "spiffe_id": credentials.spiffe_id,
        "not_after": print_time(credentials.validity.not_after),
        "credentials": str(directory),
    }
