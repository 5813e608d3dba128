"""`kms tenant backup` and `restore`, `kms operator backup`: files encrypted under the root of trust."""

import io
from collections.abc import Iterator
from pathlib import Path

import click

from cli.offline.backup_view import header_fields
from cli.online.names import resolve
from cli.online.session import Session, online
from cli.options import FILE, STREAM
from cli.output import warn, write_fields, write_json
from cli.output_file import PRIVATE, output_file
from cli.progress import Progress, ProgressSource
from cli.secret_io import PrefixedSource, input_stream, remaining_size
from kms.client.backups import RestoredTenant, backup_store, backup_tenant, restore_tenant
from kms.model.backup_header import BackupHeader, StoreBackupHeader, read_header
from kms.model.names import TenantName


@click.command(
    epilog="""\b
Example:
  kms tenant backup acme --out acme.backup"""
)
@click.argument("name", metavar="TENANT")
@click.option("--out", "-o", type=FILE, required=True, help="File to write, of mode 0600.")
@online()
def backup(session: Session, name: str, out: Path) -> None:
    """Take a backup of a tenant, as it is at one moment.

    It is encrypted under the root of trust. What an operator takes can be restored by every store under that
    root of trust; what the tenant's administrator takes, by a store with the same root key.
    """
    tenant = resolve(TenantName, name, session.tenant)
    _write(session, backup_tenant(session.api, tenant), out)


@click.command(
    epilog="""\b
Example:
  kms operator backup --out monday.backup
  kms operator backup --since monday.backup --out tuesday.backup"""
)
@click.option("--out", "-o", type=FILE, required=True, help="File to write, of mode 0600.")
@click.option(
    "--since",
    type=FILE,
    help="An earlier backup of this store: only what was written since is in the new one, which is restored "
    "behind it.",
)
@online()
def backup_whole(session: Session, out: Path, since: Path | None) -> None:
    """Take a backup of the whole store, as it is at one moment.

    It is encrypted under the root of trust, and restored by `kms restore-store` with what the root of trust
    needs. The keyfile, the passphrase, the shares or the device are not in it, nor are `kms.toml` and the
    offline key of the identity root: keep those too, and elsewhere.
    """
    start = b""
    if since is not None:
        with since.open("rb") as file:
            start = StoreBackupHeader.read(file).to_bytes()
    _write(session, backup_store(session.api, start), out)


def _write(session: Session, pieces: Iterator[bytes], out: Path) -> None:
    first = next(pieces, b"")
    header = read_header(io.BytesIO(first))
    progress = Progress(None)
    try:
        with output_file(out, mode=PRIVATE) as file:
            for piece in _counted(first, pieces, progress):
                file.write(piece)
    finally:
        progress.close()
    shown = header_fields(header) | {"size": progress.done, "out": str(out)}
    (write_json if session.as_json else write_fields)(shown)


def _counted(first: bytes, rest: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    yield first
    progress.advance(len(first))
    for piece in rest:
        yield piece
        progress.advance(len(piece))


@click.command(
    epilog="""\b
Example:
  kms tenant restore acme.backup --verify-only
  kms tenant restore acme.backup"""
)
@click.argument("file", metavar="FILE", type=STREAM)
@click.option("--verify-only", is_flag=True, help="Write nothing; the tenant may be there.")
@online()
def restore(session: Session, file: str, verify_only: bool) -> None:
    """Restore a tenant that is gone from a backup, wholly or not at all.

    All of the backup is verified before anything is written. For operators alone.
    """
    with input_stream(file) as stream:
        progress = Progress(remaining_size(stream))
        header = BackupHeader.read(stream)
        source = ProgressSource(PrefixedSource(header.to_bytes(), stream), progress)
        name = TenantName.parse(header.scope, "scope")
        try:
            restored = restore_tenant(session.api, name, source, verify_only=verify_only)
        finally:
            progress.close()
    _show(session, restored, verify_only=verify_only)


def _show(session: Session, restored: RestoredTenant, *, verify_only: bool) -> None:
    shown = {
        "name": str(restored.name),
        "verify_only": verify_only,
        "backup_time": restored.backup_time.isoformat(),
        "rows": restored.rows,
        "keys": restored.keys,
        "key_versions": restored.key_versions,
        "rotating_keys": restored.rotating_keys,
        "device_versions": dict(restored.device_versions),
    }
    if session.as_json:
        write_json(shown)
    else:
        devices = [f"{count} in {serial}" for serial, count in restored.device_versions.items()]
        write_fields(shown | {"device_versions": devices})
    for message in () if verify_only else _warnings(restored):
        warn(message)


def _warnings(restored: RestoredTenant) -> Iterator[str]:
    since = f"{restored.backup_time:%Y-%m-%d %H:%M} UTC"
    yield (
        f"what was revoked, denied, disabled or destroyed after {since} is as it was then; repeat what still "
        "holds, revocations first"
    )
    yield "generate a new Blindfold key: half of what each version may evaluate counts as done"
    if restored.rotating_keys:
        yield (
            f"{restored.rotating_keys} AES keys encrypt nothing for some seconds, until they have been "
            "rotated; older versions go on decrypting"
        )
    for serial, count in restored.device_versions.items():
        yield f"{count} versions work only where the device {serial} is"
