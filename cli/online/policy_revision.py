"""`kms secret-policy` on revisions: what they are, and who is stopped; and `explain`."""

from typing import Any

import click

from cli.errors import UsageError
from cli.online import parameters
from cli.online.names import resolve_identity, resolve_spiffe_id
from cli.online.parameters import comment_option, etag_option, labels_option
from cli.online.secret_policy import SERVICE, policy_argument, policy_name
from cli.online.session import Session, online
from cli.online.view import view
from cli.output import write_fields, write_json, write_table

_revision_argument = click.argument("revision", type=click.IntRange(1))


@click.command(
    epilog="""\b
Example:
  kms secret-policy revisions prod/web-tls"""
)
@policy_argument
@online()
def revisions(session: Session, name: str) -> None:
    """List the revisions of a secret policy, oldest first."""
    found = session.all_of(SERVICE, "ListRevisions", {"parent": policy_name(session, name)}, "revisions")
    session.table(found, ("name", "create_time", "author", "revoke_time", "denied_identities"))


@click.command(
    epilog="""\b
Example:
  kms secret-policy revoke prod/web-tls 3 --comment "rules too wide" """
)
@policy_argument
@_revision_argument
@comment_option
@etag_option
@online()
def revoke(session: Session, name: str, revision: int, comment: str, etag: str) -> None:
    """Deny everybody what is sealed to a revision, for ever."""
    request = {
        "name": f"{policy_name(session, name)}/revisions/{revision}",
        "etag": etag,
        "comment": comment,
    }
    session.show(session.call(SERVICE, "RevokeRevision", request))


@click.command(
    epilog="""\b
Example:
  kms secret-policy narrow prod/web-tls 3 --deny prod/web --comment "host replaced" """
)
@policy_argument
@_revision_argument
@click.option(
    "--deny",
    "denied",
    multiple=True,
    required=True,
    metavar="IDENTITY",
    help="Identity to deny, as NAMESPACE/ID, whole name or SPIFFE id; may be repeated.",
)
@comment_option
@etag_option
@online()
def narrow(
    session: Session, name: str, revision: int, denied: tuple[str, ...], comment: str, etag: str
) -> None:
    """Deny identities what is sealed to a revision, before its rules are asked, for ever."""
    request = {
        "name": f"{policy_name(session, name)}/revisions/{revision}",
        "denied_identities": [
            resolve_spiffe_id(item, session.tenant, session.trust_domain) for item in denied
        ],
        "etag": etag,
        "comment": comment,
    }
    session.show(session.call(SERVICE, "NarrowRevision", request))


@click.command(
    epilog="""\b
Example:
  kms secret-policy explain prod/web-tls --identity prod/web --address 10.0.0.7
  kms secret-policy explain prod/web-tls --revision 3 --label app=web"""
)
@policy_argument
@click.option("--revision", type=click.IntRange(1), help="Ask this revision instead of the current one.")
@click.option("--identity", metavar="IDENTITY", help="A known identity as the caller.")
@click.option("--name", "names", multiple=True, help="A name of a made-up caller; may be repeated.")
@labels_option
@click.option("--role", "roles", multiple=True, help="A role of a made-up caller; may be repeated.")
@click.option("--address", default="", metavar="IP", help="Where the call would come from.")
@click.option("--time", type=parameters.time, metavar="TIME", help="When it would come; by default now.")
@online()
def explain(
    session: Session,
    name: str,
    revision: int | None,
    identity: str | None,
    names: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    roles: tuple[str, ...],
    address: str,
    time: str | None,
) -> None:
    """Say how a secret policy would decide for a caller, and why.

    The caller is a known identity, or one made up of names, labels and roles.
    """
    if identity and (names or labels or roles):
        raise UsageError("--identity excludes --name, --label and --role")
    policy = policy_name(session, name)
    request: dict[str, Any] = {
        "name": policy if revision is None else f"{policy}/revisions/{revision}",
        "address": address,
        "time": time,
    }
    if identity:
        request["identity"] = str(resolve_identity(identity, session.tenant))
    else:
        request["hypothetical"] = {"names": list(names), "labels": dict(labels), "roles": list(roles)}
    _show(session, view(session.call(SERVICE, "ExplainSecretPolicy", request)))


def _show(session: Session, shown: dict[str, Any]) -> None:
    trace = [{"rule": item["rule"], "matched": False} | item for item in shown.pop("trace", [])]
    if session.as_json:
        write_json(shown | {"trace": trace})
        return
    write_fields(shown)
    if trace:
        click.echo()
        write_table([{"rule": item["rule"], "why": item["text"]} for item in trace])
