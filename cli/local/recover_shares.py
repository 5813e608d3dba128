"""`kms operator recover-shares`: what a locked store keeps for the holders of its shares."""

from pathlib import Path

import click

from cli.local.options import data_option
from cli.options import DIRECTORY, json_option
from cli.share_files import write_share_files
from kms.main.configuration import Configuration
from kms.main.recorded_shares import recorded_shares


@click.command(
    "recover-shares",
    epilog="""\b
Example:
  kms operator recover-shares --data /var/lib/kms --out shares""",
)
@data_option
@click.option("--out", type=DIRECTORY, required=True, help="Directory to write share-1.json and so on to.")
@json_option
def recover_shares(data: Path, out: Path, as_json: bool) -> None:
    """Get the wrapped shares out of a store that is locked.

    The server must be stopped. This is for when it ended before `kms operator shares` could get them. Nobody
    but their holders can unwrap them.
    """
    write_share_files(recorded_shares(Configuration.load(data.resolve())), out, as_json=as_json)
