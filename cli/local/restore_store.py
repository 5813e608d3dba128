"""`kms restore-store`: a store from its backups."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from cli.local.material import material_options
from cli.local.options import data_option
from cli.online.parameters import time
from cli.options import FILE, json_option
from cli.output import warn, write_fields, write_json
from cli.progress import Progress
from kms.main.configuration import Configuration
from kms.main.restoring import Later, RestoredStore
from kms.main.restoring import restore_store as restore
from kms.main.root_material import Material


@click.command(
    epilog="""\b
Example:
  kms restore-store --data /var/lib/kms monday.backup
  kms restore-store --data /var/lib/kms monday.backup tuesday.backup wednesday.backup \\
      --at 2026-03-03T12:00:00Z
  kms restore-store --data /var/lib/kms monday.backup --trail platform.jsonl --trail acme.jsonl
  kms restore-store --data /var/lib/kms monday.backup tuesday.backup --verify-only"""
)
@data_option
@click.argument("files", metavar="FILE...", type=FILE, nargs=-1, required=True)
@click.option(
    "--at",
    type=time,
    metavar="TIME",
    help="Restore the last backup that was taken at this time or before, RFC 3339; else the last one.",
)
@click.option(
    "--trail",
    "trails",
    type=FILE,
    multiple=True,
    help="An audit trail that was exported after the backup: what it says was destroyed is destroyed again; "
    "may be repeated, for the trail of the platform and of each tenant.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    type=FILE,
    multiple=True,
    help="A checkpoint that was kept elsewhere: the trails must tell of all events up to it.",
)
@click.option(
    "--accept-unknown-events",
    "accept_unknown",
    is_flag=True,
    help="Restore although later events are unknown: what they destroyed is there again.",
)
@click.option(
    "--verify-only", is_flag=True, help="Build and verify the store, and leave nothing; one may be there."
)
@material_options
@json_option
def restore_store(
    data: Path,
    files: tuple[Path, ...],
    at: str | None,
    trails: tuple[Path, ...],
    checkpoints: tuple[Path, ...],
    accept_unknown: bool,
    verify_only: bool,
    material: Material,
    as_json: bool,
) -> None:
    """Restore a whole store from backups, where no server runs.

    The files are a full backup that `kms operator backup` wrote and, in order, those that follow it. The
    directory has `kms.toml` and, where the root of trust is a keyfile, `root.key`, and no store: nothing is
    restored over another one. Until everything is verified as `kms verify-store` does, nothing is where a
    server would find it; a restore that was interrupted is begun anew.

    Where the checkpoint file shows that the store went on after the backup, the audit trails since are
    needed, exported by `kms audit export` as an operator and as each tenant.
    """
    configuration = Configuration.load(data.resolve())
    limit = None if at is None else datetime.fromisoformat(at)
    progress = Progress(None, text=lambda count: f"{count} rows and events")
    try:
        restored = restore(
            configuration,
            files,
            material,
            progress.advance,
            at=limit,
            later=Later(trails, checkpoints, accept_unknown),
            verify_only=verify_only,
        )
    finally:
        progress.close()
    _show(restored, verify_only=verify_only, as_json=as_json)


def _show(restored: RestoredStore, *, verify_only: bool, as_json: bool) -> None:
    shown = {
        "store_id": restored.header.store_id.hex(),
        "verify_only": verify_only,
        "backup_time": restored.header.time,
        "sequence": restored.header.sequence,
        "backups": restored.backups,
        "tenants": restored.tenants,
        "keys": restored.keys,
        "key_versions": restored.key_versions,
        "rotated_keys": restored.rotated,
        "destroyed_again": restored.destroyed,
        "unknown_events": restored.unknown,
        "device_versions": dict(restored.devices),
    }
    if as_json:
        write_json(shown)
    else:
        devices = [f"{count} in {serial}" for serial, count in restored.devices.items()]
        write_fields(shown | {"device_versions": devices})
    for message in () if verify_only else _warnings(restored):
        warn(message)


def _warnings(restored: RestoredStore) -> Iterator[str]:
    yield (
        f"what was revoked, denied, disabled or retired after {restored.header.time} is as it was then; "
        "repeat what still holds, revocations first"
    )
    if restored.unknown:
        yield f"{restored.unknown} later events are unknown: what they destroyed is there again, destroy it"
    yield "generate new Blindfold keys: half of what each version may evaluate counts as done"
    for serial, count in restored.devices.items():
        yield f"{count} versions work only where the device {serial} is"
