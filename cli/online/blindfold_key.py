"""`kms blindfold-key`: the tenant's keys that secrets are sealed to."""

import time
import uuid
from typing import Any

import click

from cli.online.names import resolve
from cli.online.parameters import etag_option, span
from cli.online.session import Session, online
from cli.progress import Progress
from kms.model.names import BlindfoldKeyName

SERVICE = "BlindfoldService"
COLUMNS = ("name", "state", "primary", "modulus_bits", "generate_time", "last_used_time")
PENDING = "KEY_VERSION_STATE_PENDING_GENERATION"
POLL_SECONDS = 1.0

_version_argument = click.argument("version", metavar="VERSION")


def key_name(session: Session, version: str) -> str:
    return str(resolve(BlindfoldKeyName, version, session.tenant))


@click.command(
    epilog="""\b
Example:
  kms blindfold-key generate --wait
  kms blindfold-key rotate --wait --bits 4096"""
)
@click.option(
    "--bits", type=click.Choice(["3072", "4096"]), default="3072", show_default=True, help="Modulus size."
)
@click.option(
    "--make-primary/--no-make-primary",
    default=True,
    help="Whether new secrets are sealed to it once it is made; a tenant's first version always is.",
)
@click.option("--wait", is_flag=True, help="Wait until it is made, seconds to minutes.")
@online()
def generate(session: Session, bits: str, make_primary: bool, wait: bool) -> None:
    """Make the tenant's next Blindfold key, and the primary one.

    Older versions go on opening what was sealed to them. The KMS searches for the primes by itself, whether
    or not anybody waits.
    """
    request = {
        "parent": session.parent,
        "modulus_bits": int(bits),
        "make_primary": make_primary,
        "request_id": str(uuid.uuid4()),
    }
    key = session.call(SERVICE, "GenerateBlindfoldKey", request)
    _show(session, _made(session, key) if wait else key)


class Candidates(Progress):
    """A line on standard error about candidates tested."""

    def line(self) -> str:
        return f"{self.done} candidates for its primes tested"


def _made(session: Session, key: dict[str, Any]) -> dict[str, Any]:
    """The key once it is no longer pending."""
    progress = Candidates(None)
    try:
        while key["state"] == PENDING:
            time.sleep(POLL_SECONDS)
            key = session.call(SERVICE, "GetBlindfoldKey", {"name": key["name"]})
            progress.advance(int(key.get("candidates_tested", 0)) - progress.done)
    finally:
        progress.close()
    return key


@click.command(
    epilog="""\b
Example:
  kms blindfold-key get 1"""
)
@_version_argument
@online()
def get(session: Session, version: str) -> None:
    """Show a key version."""
    _show(session, session.call(SERVICE, "GetBlindfoldKey", {"name": key_name(session, version)}))


@click.command(
    "list",
    epilog="""\b
Example:
  kms blindfold-key list""",
)
@online()
def list_keys(session: Session) -> None:
    """List the key versions of the tenant, oldest first."""
    found = session.all_of(SERVICE, "ListBlindfoldKeys", {"parent": session.parent}, "blindfold_keys")
    session.table([_whole(key) for key in found], COLUMNS)


@click.command(
    "set-primary",
    epilog="""\b
Example:
  kms blindfold-key set-primary 2""",
)
@_version_argument
@etag_option
@online()
def set_primary(session: Session, version: str, etag: str) -> None:
    """Make an enabled version the one that new secrets are sealed to.

    It must not be below the primary version: whoever has sealed to that one refuses older ones. To get away
    from a version, generate the next one.
    """
    _show(session, _change(session, "SetPrimaryBlindfoldKey", version, etag))


@click.command(
    epilog="""\b
Example:
  kms blindfold-key enable 2"""
)
@_version_argument
@etag_option
@online()
def enable(session: Session, version: str, etag: str) -> None:
    """Let a disabled version open again."""
    _show(session, _change(session, "EnableBlindfoldKey", version, etag))


@click.command(
    epilog="""\b
Example:
  kms blindfold-key disable 1"""
)
@_version_argument
@etag_option
@online()
def disable(session: Session, version: str, etag: str) -> None:
    """Stop a version from opening, until it is enabled again.

    While the primary version is disabled, nothing can be sealed with new documents.
    """
    _show(session, _change(session, "DisableBlindfoldKey", version, etag))


@click.command(
    "schedule-destroy",
    epilog="""\b
Example:
  kms blindfold-key schedule-destroy 1 --delay 30d""",
)
@_version_argument
@click.option(
    "--delay",
    type=span,
    metavar="TIME",
    default="30d",
    show_default=True,
    help="How long from now: 24h to 120d.",
)
@etag_option
@online()
def schedule_destroy(session: Session, version: str, delay: str, etag: str) -> None:
    """Set the time at which a version is destroyed; what was sealed to it is lost then."""
    _show(session, _change(session, "ScheduleDestroyBlindfoldKey", version, etag, delay=delay))


@click.command(
    "cancel-destroy",
    epilog="""\b
Example:
  kms blindfold-key cancel-destroy 1""",
)
@_version_argument
@etag_option
@online()
def cancel_destroy(session: Session, version: str, etag: str) -> None:
    """Take a scheduled destruction back; the version is then disabled."""
    _show(session, _change(session, "CancelDestroyBlindfoldKey", version, etag))


def _change(session: Session, method: str, version: str, etag: str, **more: str) -> dict[str, Any]:
    return session.call(SERVICE, method, {"name": key_name(session, version), "etag": etag} | more)


def _whole(key: dict[str, Any]) -> dict[str, Any]:
    """Answers leave out what is false."""
    return {"name": "", "state": "", "primary": False} | key


def _show(session: Session, key: dict[str, Any]) -> None:
    session.show(_whole(key))
