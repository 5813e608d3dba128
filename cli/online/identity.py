"""`kms identity`: who may call, and with which names, labels and roles."""

from pathlib import Path

import click

from blindfold.bundle import print_time
from cli.errors import UsageError
from cli.online.names import identity_parent, resolve, resolve_identity
from cli.online.parameters import comment_option, etag_option, labels_option, span
from cli.online.session import Session, online
from cli.options import out_option
from cli.output_file import PRIVATE, output_file
from kms.client.renewal import renew_now
from kms.model.names import NamespaceName

SERVICE = "IdentityService"

_identity_argument = click.argument("identity", metavar="IDENTITY")


@click.command(
    "create-token",
    epilog="""\b
Example:
  kms identity create-token prod/web --label app=web --out web.token
  kms identity create-token system/author --role policy-author --role key-admin --ttl 1h
  kms identity create-token tenants/acme/sites/lisbon --role enroller@prod --label zone=pt
  kms identity create-token prod/lisbon/camera --label zone=pt
  kms identity create-token operators/olga --role operator""",
)
@_identity_argument
@click.option("--dns-name", "dns_names", multiple=True, metavar="NAME", help="A DNS name; may be repeated.")
@labels_option
@click.option("--role", "roles", multiple=True, help="A role, or role@namespace; may be repeated.")
@click.option(
    "--ttl", type=span, metavar="TIME", default="10m", show_default=True, help="How long it may be used."
)
@out_option
@online()
def create_token(
    session: Session,
    identity: str,
    dns_names: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    roles: tuple[str, ...],
    ttl: str,
    out: Path | None,
) -> None:
    """Make a join token, with which somebody enrols once as an identity.

    IDENTITY is NAMESPACE/ID, NAMESPACE/SITE/ID for a workload of a site, or the whole name. Whoever holds the
    token becomes the identity, with the names, labels and roles given here: hand it over on a channel that
    nobody else reads. It is shown only now.

    A site with the role enroller makes tokens for its own workloads, with what it has itself.
    """
    name = resolve_identity(identity, session.tenant)
    invitation = {
        "identity": str(name),
        "dns_names": list(dns_names),
        "labels": dict(labels),
        "roles": list(roles),
        "ttl": ttl,
    }
    request = {"parent": identity_parent(name), "join_token": invitation}
    answer = session.call(SERVICE, "CreateJoinToken", request)
    if out is None and not session.as_json:
        click.echo(answer["token"])
    elif out is None:
        session.show(answer)
    else:
        with output_file(out, mode=PRIVATE) as file:
            file.write(answer.pop("token").encode("ascii") + b"\n")
        session.show(answer | {"out": str(out)})


@click.command(
    epilog="""\b
Example:
  kms identity renew"""
)
@online()
def renew(session: Session) -> None:
    """Renew the certificate that calls are made with, now.

    Any call does so by itself, once two thirds of the certificate's life are over.
    """
    credentials = renew_now(session.connection.server, session.connection.credentials)
    session.show(
        {"spiffe_id": credentials.spiffe_id, "not_after": print_time(credentials.validity.not_after)}
    )


@click.command(
    epilog="""\b
Example:
  kms identity get prod/web"""
)
@_identity_argument
@online()
def get(session: Session, identity: str) -> None:
    """Show an identity and its certificates."""
    request = {"name": str(resolve_identity(identity, session.tenant))}
    session.show(session.call(SERVICE, "GetIdentity", request))


@click.command(
    "list",
    epilog="""\b
Example:
  kms identity list
  kms identity list prod""",
)
@click.argument("namespace", required=False)
@click.option("--operators", is_flag=True, help="The platform's operators, not a tenant's identities.")
@online()
def list_identities(session: Session, namespace: str | None, operators: bool) -> None:
    """List the identities of a namespace, or of the whole tenant."""
    if operators and namespace:
        raise UsageError("operators are of no namespace")
    if operators:
        parent = ""
    else:
        parent = str(resolve(NamespaceName, namespace, session.tenant)) if namespace else session.parent
    found = session.all_of(SERVICE, "ListIdentities", {"parent": parent}, "identities")
    session.table(found, ("name", "state", "roles", "labels"))


@click.command(
    epilog="""\b
Example:
  kms identity revoke prod/web --comment "host stolen"
  kms identity revoke prod/web --serial 5d41402abc4b2a76b9719d911017c592"""
)
@_identity_argument
@click.option("--serial", default="", metavar="HEX", help="Only the certificate with this serial number.")
@comment_option
@online()
def revoke(session: Session, identity: str, serial: str, comment: str) -> None:
    """Refuse an identity, or one of its certificates, from the next call on.

    There is no way back but to enrol again with a new join token. With the whole identity go the join tokens
    that were made for it, so an identity that has not enrolled yet is revoked to take its token back.
    """
    name = str(resolve_identity(identity, session.tenant))
    request = {"name": name, "serial_number": serial, "comment": comment}
    session.show(session.call(SERVICE, "RevokeIdentity", request))


@click.command(
    epilog="""\b
Example:
  kms identity delete prod/web"""
)
@_identity_argument
@etag_option
@online()
def delete(session: Session, identity: str, etag: str) -> None:
    """Forget a revoked identity, so that its name may be enrolled anew, also by a JWT issuer.

    Its certificates stay refused.
    """
    name = str(resolve_identity(identity, session.tenant))
    session.call(SERVICE, "DeleteIdentity", {"name": name, "etag": etag})
    session.show({"name": name, "deleted": True})
