"""`kms jwt-issuer`: whose tokens enrol, and as whom."""

import uuid
from pathlib import Path
from typing import Any

import click

from cli.online.admission_options import admission_options, as_message, with_options
from cli.online.names import resolve
from cli.online.parameters import etag_option
from cli.online.session import Session, online
from cli.options import FILE
from kms.identity.web_tokens import ALGORITHMS
from kms.model.names import JwtIssuerName, TenantName

SERVICE = "JwtIssuerService"

_issuer_argument = click.argument("name", metavar="ISSUER")
_settings = with_options(
    (
        click.option("--issuer", required=True, metavar="URL", help="The claim iss, to the letter."),
        click.option("--audience", required=True, help="What the claim aud is, or contains."),
        *admission_options("value of the claim sub", "another claim, by its JSON pointer,"),
        click.option(
            "--algorithm",
            "algorithms",
            type=click.Choice(ALGORITHMS),
            multiple=True,
            help="May sign its tokens; may be repeated. By default all of these.",
        ),
        click.option(
            "--jwks",
            type=FILE,
            help="Its keys, as a JSON Web Key Set; by default they are fetched from where it publishes them.",
        ),
    )
)


def _message(settings: dict[str, Any], jwks: Path | None) -> dict[str, Any]:
    """The API's JwtIssuer. Raises `OSError`."""
    return as_message(settings) | {"jwks": "" if jwks is None else jwks.read_text("utf-8")}


@click.command(
    epilog="""\b
Example:
  kms jwt-issuer create cluster --issuer https://oidc.example.com/cluster --audience kms \\
    --subject "system:serviceaccount:prod:*" --namespace /kubernetes.io/namespace \\
    --identity /kubernetes.io/serviceaccount/name --label from=cluster --role key-user@prod"""
)
@_issuer_argument
@_settings
@online()
def create(session: Session, name: str, jwks: Path | None, **settings: Any) -> None:
    """Let an issuer's tokens enrol workloads.

    Namespace, id and the values of labels are words, or begin with / and are the JSON pointer to the claim
    that has them. Whoever can have the issuer sign a token with admitted claims becomes that identity: name
    subjects as narrowly as they are.
    """
    issuer = resolve(JwtIssuerName, name, session.tenant)
    request = {
        "parent": str(TenantName(issuer.tenant)),
        "jwt_issuer_id": issuer.issuer,
        "jwt_issuer": _message(settings, jwks),
        "request_id": str(uuid.uuid4()),
    }
    session.show(session.call(SERVICE, "CreateJwtIssuer", request))


@click.command(
    epilog="""\b
Example:
  kms jwt-issuer get cluster"""
)
@_issuer_argument
@online()
def get(session: Session, name: str) -> None:
    """Show an issuer."""
    request = {"name": str(resolve(JwtIssuerName, name, session.tenant))}
    session.show(session.call(SERVICE, "GetJwtIssuer", request))


@click.command(
    "list",
    epilog="""\b
Example:
  kms jwt-issuer list""",
)
@online()
def list_issuers(session: Session) -> None:
    """List the issuers of the tenant."""
    found = session.all_of(SERVICE, "ListJwtIssuers", {"parent": session.parent}, "jwt_issuers")
    session.table(found, ("name", "issuer", "audience"))


@click.command(
    epilog="""\b
Example:
  kms jwt-issuer update cluster --issuer https://oidc.example.com/cluster --audience kms \\
    --subject system:serviceaccount:prod:web --namespace prod --identity web"""
)
@_issuer_argument
@etag_option
@_settings
@online()
def update(session: Session, name: str, etag: str, jwks: Path | None, **settings: Any) -> None:
    """Replace all of an issuer; what is not given is as in `create`.

    Whom it enrolled before keeps what was granted then.
    """
    issuer = {"name": str(resolve(JwtIssuerName, name, session.tenant)), "etag": etag}
    request = {"jwt_issuer": issuer | _message(settings, jwks)}
    session.show(session.call(SERVICE, "UpdateJwtIssuer", request))


@click.command(
    epilog="""\b
Example:
  kms jwt-issuer delete cluster"""
)
@_issuer_argument
@etag_option
@online()
def delete(session: Session, name: str, etag: str) -> None:
    """Trust an issuer no more: its tokens enrol nobody, and whom it enrolled renews no more.

    Certificates that hold do so until they end, within 24 hours; revoke the identities to end them now.
    """
    issuer = str(resolve(JwtIssuerName, name, session.tenant))
    session.call(SERVICE, "DeleteJwtIssuer", {"name": issuer, "etag": etag})
    session.show({"name": issuer, "deleted": True})
