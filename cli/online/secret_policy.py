"""`kms secret-policy`: who may open what is sealed under a policy; and who is stopped from opening it."""

import click

from cli.online import policy_commands
from cli.online.names import resolve_spiffe_id
from cli.online.parameters import comment_option, etag_option
from cli.online.policy_access import who_can as make_who_can
from cli.online.policy_apply import apply as make_apply
from cli.online.policy_calls import policy_argument
from cli.online.policy_explain import explain as make_explain
from cli.online.policy_simulate import simulate as make_simulate
from cli.online.session import Session, online
from cli.policy_kind import SECRET

create = policy_commands.create(SECRET)
get = policy_commands.get(SECRET)
list_policies = policy_commands.list_policies(SECRET)
update = policy_commands.update(SECRET)
delete = policy_commands.delete(SECRET)
undelete = policy_commands.undelete(SECRET)
revisions = policy_commands.revisions(SECRET)
validate = policy_commands.validate(SECRET)
explain = make_explain(SECRET)
apply = make_apply(SECRET)
who_can = make_who_can(SECRET)
simulate = make_simulate(SECRET)

_revision_argument = click.argument("revision", type=click.IntRange(1))


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
        "name": SECRET.name(name, session.tenant, revision),
        "etag": etag,
        "comment": comment,
    }
    session.show(session.call(SECRET.service, "RevokeRevision", request))


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
        "name": SECRET.name(name, session.tenant, revision),
        "denied_identities": [
            resolve_spiffe_id(item, session.tenant, session.trust_domain) for item in denied
        ],
        "etag": etag,
        "comment": comment,
    }
    session.show(session.call(SECRET.service, "NarrowRevision", request))
