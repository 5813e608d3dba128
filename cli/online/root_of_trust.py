"""`kms operator lock`, `rekey`, `rotation`, `approve`, `shares`: the root of trust of an unlocked server."""

import base64
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from blindfold.secret import SecretBytes
from cli.errors import UsageError
from cli.online.session import Answer, Session, online
from cli.options import DIRECTORY, STREAM
from cli.output import write_json
from cli.progress import Progress
from cli.secret_io import read_secret
from cli.share_files import write_share_files
from cli.sharing import read_share_key, share_key_option, threshold_option
from kms.client.errors import CallFailed
from kms.errors import NotFound
from kms.main.configuration import PROVIDERS

SERVICE = "RootOfTrustService"
ASK_EVERY = 1.0


@click.command(
    epilog="""\b
Example:
  kms operator lock --credentials /var/lib/kms/credentials/operator"""
)
@online()
def lock(session: Session) -> None:
    """Lock the server.

    It ends the calls in flight, begins anew without its keys, and waits for shares. Only where the root of
    trust is shares.
    """
    session.call(SERVICE, "LockServer", {})
    if session.as_json:
        write_json({})


@click.command(
    epilog="""\b
Example:
  kms operator rekey
  kms operator rekey --root-of-trust passphrase --passphrase-file new.txt
  kms operator rekey --root-of-trust shamir --threshold 2 \\
      --share-key olga.pub --share-key peter.pub --share-key quinn.pub"""
)
@click.option("--root-of-trust", type=click.Choice(PROVIDERS), help="What is to protect the root key.")
@threshold_option
@share_key_option
@click.option(
    "--passphrase-file",
    type=STREAM,
    metavar="FILE",
    help="File with the new passphrase, - for standard input.",
)
@click.option(
    "--present-passphrase-file",
    type=STREAM,
    metavar="FILE",
    help="File with the passphrase that is the root of trust now, if it is one.",
)
@online()
def rekey(
    session: Session,
    root_of_trust: str | None,
    threshold: int | None,
    share_keys: tuple[Path, ...],
    passphrase_file: str | None,
    present_passphrase_file: str | None,
) -> None:
    """Draw a new root key, or change what protects the root key.

    Without --root-of-trust a new root key is drawn, and the keys below it are wrapped anew, in steps between
    which the server serves; key versions stay as they are. It goes on to its end by itself, after a crash as
    well: `kms operator rotation` tells how far it is.

    With it the same root key is protected by another root of trust, or by new shares or another passphrase.
    Whoever changes it shows the present one: its passphrase, or shares, which `kms operator approve` gives.
    One that nobody shows, a keyfile or a device, is changed with the consent of who runs the server: an
    empty file `change-root-of-trust` in its directory, which is used up.
    Copies and backups of the store that were made before open with the old one.
    """
    request = {
        "root_of_trust": root_of_trust,
        "threshold": threshold,
        "share_keys": [read_share_key(path).decode("utf-8", "replace") for path in share_keys],
        "passphrase": _read(passphrase_file, "passphrase"),
        "present_passphrase": _read(present_passphrase_file, "present passphrase"),
    }
    given = {name: value for name, value in request.items() if value}
    if root_of_trust is None:
        if given:
            raise UsageError("what is given is for --root-of-trust", hint="Say which root of trust is meant.")
        _rotate(session)
        return
    session.show(session.call(SERVICE, "ChangeRootOfTrust", given))


@click.command(
    epilog="""\b
Example:
  kms operator approve
  kms operator unwrap-share --key olga.pem share-1.json | kms operator approve --change 3f9a... -"""
)
@click.argument("share", metavar="[SHARE_FILE]", type=STREAM, required=False)
@click.option("--change", "change_id", metavar="ID", default="", help="The change that is meant.")
@online()
def approve(session: Session, share: str | None, change_id: str) -> None:
    """Give a share of the present set for a change that waits.

    Without a share the change is shown: to what, whose keys get the new shares, and who asked for it. Look at
    it, then name it. The share that makes them enough makes the change; 15 minutes without one, and all
    are forgotten.
    """
    if share is None:
        session.show(session.call(SERVICE, "GetRootOfTrustChange", {}))
        return
    if not change_id:
        raise UsageError("which change is meant?", hint="`kms operator approve` shows it; give --change ID.")
    request = {"change_id": change_id, "share": _encoded(read_secret(share, "share"))}
    session.show(session.call(SERVICE, "ApproveRootOfTrustChange", request))


@click.command(
    epilog="""\b
Example:
  kms operator shares --out shares"""
)
@click.option("--out", type=DIRECTORY, required=True, help="Directory to write share-1.json and so on to.")
@online()
def shares(session: Session, out: Path) -> None:
    """Get the shares, each wrapped to its holder.

    The server keeps them; nobody but their holders can unwrap them. Shares that were printed in clear are
    nowhere.
    """
    found = session.call(SERVICE, "ListShares", {}).get("shares", [])
    write_share_files(found, out, as_json=session.as_json)


@click.command(
    epilog="""\b
Example:
  kms operator rotation
  kms operator rotation --wait"""
)
@click.option("--wait", is_flag=True, help="Come back when it is done.")
@online()
def rotation(session: Session, wait: bool) -> None:
    """Show how far the rotation of the root key is that is under way.

    Where there is none this is NOT_FOUND; with --wait that is what is waited for.
    """
    if wait:
        _follow(session, _asked(session))
    else:
        session.show(session.call(SERVICE, "GetRootKeyRotation", {}))


def _asked(session: Session) -> Iterator[Answer]:
    """How far it is, until there is none."""
    while True:
        try:
            yield session.call(SERVICE, "GetRootKeyRotation", {})
        except CallFailed as error:
            if error.reason != NotFound.reason:
                raise
            return
        time.sleep(ASK_EVERY)


def _rotate(session: Session) -> None:
    _follow(session, session.api.stream(SERVICE, "RotateRootKey", {}))


def _follow(session: Session, rotation: Iterable[Answer]) -> None:
    progress: Progress | None = None
    told: Answer = {}
    try:
        for told in rotation:
            total, count = int(told.get("total_count", 0)), int(told.get("done_count", 0))
            if progress is None and total:
                progress = Progress(total, text=lambda number: f"{number} rows and events")
            if progress is not None:
                progress.advance(count - progress.done)
    finally:
        if progress is not None:
            progress.close()
    session.show({"total_count": told.get("total_count", "0")})


def _read(name: str | None, what: str) -> str:
    return "" if name is None else _encoded(read_secret(name, what))


def _encoded(secret: SecretBytes) -> str:
    return base64.b64encode(secret.reveal()).decode("ascii")
