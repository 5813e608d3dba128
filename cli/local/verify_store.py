"""`kms verify-store`: whether all that a store must be, it is."""

from collections.abc import Callable
from pathlib import Path

import click

from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.local.material import material_options
from cli.local.options import data_option
from cli.options import FILE, json_option
from cli.output import printable, warn, write_fields, write_json
from cli.progress import Progress
from kms.main.configuration import Configuration
from kms.main.root_material import Material
from kms.main.verifying import Verified
from kms.main.verifying import verify_store as verify


@click.command(
    epilog="""\b
Example:
  kms verify-store --data /var/lib/kms
  kms verify-store --data kms-data --passphrase-file passphrase.txt --json"""
)
@data_option
@material_options
@click.option(
    "--trail",
    "trails",
    type=FILE,
    multiple=True,
    help="An exported audit trail newer than the store, such as a copy that was put back: what it says was "
    "destroyed since must be gone; may be repeated, for the trail of each tenant.",
)
@json_option
def verify_store(data: Path, material: Material, trails: tuple[Path, ...], as_json: bool) -> None:
    """Look at every invariant of a store, and name what is wrong.

    That is the file itself; the authentication of every row; the state digest; the audit chain and its
    checkpoints, inside and outside; that every wrapped key opens where it lies and is the one of its public
    key; states, sensitivity levels, and what rows refer to; and that what was destroyed is gone.
    docs/spec/store.md has the list. A device that can be reached is asked whether it holds the HIGH keys; of
    one that cannot, that is said.

    The server may run: what is looked at is then a copy of this moment, kept aside in a temporary file that
    takes as much space as the store. Nothing is changed. Exit code 0 if all is as it must be, 5 if not.
    """
    configuration = Configuration.load(data.resolve())
    progress: Progress | None = None

    def begin(total: int) -> Callable[[int], None]:
        nonlocal progress
        progress = Progress(total, text=lambda count: f"{count} rows, events and checkpoints")
        return progress.advance

    try:
        found = verify(configuration, material, begin, trails)
    finally:
        if progress is not None:
            progress.close()
    _show(found, as_json=as_json)
    if found.faults:
        raise CliError(
            f"{found.faults} things in the store are not as they must be",
            hint="Stop the server, keep a copy of the store as it is, and compare it with a backup.",
            code=ExitCode.DAMAGED,
            reason="STORE_UNSOUND",
        )


def _show(found: Verified, *, as_json: bool) -> None:
    shown: dict[str, object] = {
        "sound": not found.faults,
        "live": found.live,
        "rows": found.sizes.rows,
        "events": found.sizes.events,
        "checkpoints": found.sizes.checkpoints,
        "device_versions": found.presence.looked_for,
        "faults": found.faults,
    }
    if found.presence.not_looked_for:
        shown["device_versions_not_looked_for"] = found.presence.not_looked_for
        warn(f"HIGH versions were not looked for in their device: {found.presence.trouble}")
    if as_json:
        write_json(shown | {"findings": [finding.to_json() for finding in found.findings]})
        return
    write_fields(shown)
    for finding in found.findings:
        click.echo(printable(f"{finding.invariant}: {finding.subject} {finding.problem}"))
    if found.faults > len(found.findings):
        warn(f"only the first {len(found.findings)} are shown")
