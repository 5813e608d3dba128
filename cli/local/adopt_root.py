"""`kms identity-authority adopt-root`: a new identity root where the key of the one before is lost."""

from pathlib import Path

import click

from cli.local.material import material_options
from cli.local.options import data_option
from cli.options import FILE, json_option
from cli.output import write_fields, write_json
from cli.secret_io import read_bounded
from kms.identity.rotation import MAX_PEM
from kms.main.configuration import Configuration
from kms.main.recovering import adopt_root as adopt
from kms.main.root_material import Material
from kms.model.names import IdentityRootName


@click.command(
    epilog="""\b
Example:
  kms identity-authority new-root --trust-domain kms.example.com --key-out root-key.pem --out root.pem
  kms identity-authority adopt-root --data /var/lib/kms root.pem"""
)
@data_option
@material_options
@json_option
@click.argument("certificate", metavar="FILE", type=FILE)
def adopt_root(data: Path, certificate: Path, material: Material, as_json: bool) -> None:
    """Trust a root that no root before endorses, while the server is stopped.

    For whoever holds the directory and its root of trust, and has lost the identity root's key. FILE is what
    `new-root --trust-domain` made. Clients are told of it at their next renewal; when all have been, within
    24 hours, an intermediate below it can be activated.
    """
    pem = read_bounded(str(certificate), "certificate", MAX_PEM)
    entry = adopt(Configuration.load(data.resolve()), pem, material)
    shown = {"name": str(IdentityRootName(entry.id))}
    (write_json if as_json else write_fields)(shown)
