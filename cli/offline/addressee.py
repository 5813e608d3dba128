"""`kms secret-access addressee`: the name that a vault's credential is sealed with."""

import click

from cli.options import STREAM, json_option
from cli.output import write_json
from cli.secret_io import read_bounded
from kms.errors import InvalidField
from kms.model.endpoint_url import EndpointUrl
from kms.model.secret_management_access import MAX_PEM_BYTES, AccessTls
from kms.model.secret_management_access import addressee as addressee_of


@click.command(
    epilog="""\b
Example:
  kms secret-access addressee https://vault.corp.example:8200
  kms secret-access addressee --ca vault-ca.pem https://vault.corp.example:8200"""
)
@click.option("--ca", metavar="FILE", type=STREAM, help="The access's ca_pem, in PEM.")
@click.option("--server-name", metavar="NAME", default="", help="The access's server_name.")
@click.argument("endpoint", metavar="ENDPOINT")
@json_option
def addressee(ca: str | None, server_name: str, endpoint: str, as_json: bool) -> None:
    """Print the name to seal a credential with.

    It is what an access with this endpoint and these authorities demands of its sealed credentials: for
    `blindfold seal --name`. Nothing is asked of a server: take the file of the vault's authorities from where
    you trust it to be right.
    """
    url = EndpointUrl.parse(endpoint, "ENDPOINT")
    pem = read_bounded(ca, "--ca", MAX_PEM_BYTES).decode("ascii", "replace") if ca else ""
    tls = AccessTls(pem, server_name)
    if url.is_plain and (pem or server_name):
        raise InvalidField("ENDPOINT", "is http, where no authority says anything")
    name = addressee_of(endpoint, tls)
    if as_json:
        write_json({"name": name})
    else:
        click.echo(name)
