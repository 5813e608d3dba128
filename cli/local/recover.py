"""`kms recover`: credentials for an identity that has none left."""

from pathlib import Path

import click

from cli.local.material import material_options
from cli.local.options import data_option
from cli.options import DIRECTORY, json_option
from cli.output import write_fields, write_json
from kms.identity.spiffe import parse_identity_name
from kms.main.configuration import Configuration
from kms.main.recovering import recover_identity
from kms.main.root_material import Material


@click.command(
    epilog="""\b
Example:
  kms recover --data /var/lib/kms --identity operators/root --out credentials
  kms recover --data kms-data --identity tenants/acme/namespaces/system/identities/admin --out credentials"""
)
@data_option
@click.option("--identity", metavar="NAME", required=True, help="Resource name of an identity it knows.")
@click.option("--out", type=DIRECTORY, required=True, help="Directory to write the credentials to.")
@material_options
@json_option
def recover(data: Path, identity: str, out: Path, material: Material, as_json: bool) -> None:
    """Issue new credentials for a known identity, while the server is stopped.

    For whoever holds the directory and its root of trust: certificates last 24 hours, and who was away for
    longer, or lost a key, begins again here. The audit trail records it.
    """
    name = parse_identity_name(identity, "--identity")
    configuration = Configuration.load(data.resolve())
    recovered = recover_identity(configuration, name, out, material)
    shown = recovered.grant.to_json() | {"credentials": str(recovered.directory)}
    if as_json:
        write_json(shown)
    else:
        write_fields({name: value for name, value in shown.items() if name != "labels"})
