"""`kms prefix-set`: named sets of address prefixes, for the rules of policies."""

import click

from cli.online.parameters import description_option, etag_option
from cli.online.session import Session, online
from cli.online.tenant_resource import Kind, deleting, getting, listing
from cli.online.tenant_resource import create as create_resource
from cli.online.tenant_resource import update as update_resource
from kms.model.names import PrefixSetName

PREFIX_SET = Kind(
    service="PrefixSetService",
    command="prefix-set",
    noun="PrefixSet",
    name=PrefixSetName,
    items="prefix_sets",
    columns=("name", "prefixes", "description"),
    example="office",
)

_set_argument = click.argument("name", metavar="SET")


@click.command(
    epilog="""\b
Example:
  kms prefix-set create office 10.1.0.0/16 2001:db8:1::/48"""
)
@_set_argument
@click.argument("prefixes", nargs=-1, required=True, metavar="PREFIX...")
@description_option
@online()
def create(session: Session, name: str, prefixes: tuple[str, ...], description: str) -> None:
    """Give address prefixes a name.

    Rules have it as prefixSets/SET among their prefixes.
    """
    create_resource(session, PREFIX_SET, name, {"prefixes": list(prefixes), "description": description})


@click.command(
    epilog="""\b
Example:
  kms prefix-set update office 10.1.0.0/16 10.2.0.0/16"""
)
@_set_argument
@click.argument("prefixes", nargs=-1, metavar="[PREFIX]...")
@click.option("--description", help="For people.")
@etag_option
@online()
def update(
    session: Session, name: str, prefixes: tuple[str, ...], description: str | None, etag: str
) -> None:
    """Change what is given, and leave the rest.

    It counts from the next call on where KMS policies name the set. Secret policies keep the prefixes that
    they were given when they were written: `apply` them again.
    """
    given = {"prefixes": list(prefixes) or None, "description": description}
    changed = {field: value for field, value in given.items() if value is not None}
    update_resource(session, PREFIX_SET, name, etag, changed, ())


get, list_sets = getting(PREFIX_SET), listing(PREFIX_SET)
delete = deleting(PREFIX_SET, "Remove a prefix set. A KMS policy that names it denies everything.")
