"""`kms policy`: KMS policies, which say who may do which operation with which key."""

import click

from cli.online import policy_commands
from cli.online.parameters import etag_option
from cli.online.policy_access import who_can as make_who_can
from cli.online.policy_apply import apply as make_apply
from cli.online.policy_calls import namespace_argument, namespace_name
from cli.online.policy_explain import explain as make_explain
from cli.online.policy_simulate import simulate as make_simulate
from cli.online.session import Session, online
from cli.policy_kind import KMS

create = policy_commands.create(KMS)
get = policy_commands.get(KMS)
list_policies = policy_commands.list_policies(KMS)
update = policy_commands.update(KMS)
delete = policy_commands.delete(KMS)
undelete = policy_commands.undelete(KMS)
revisions = policy_commands.revisions(KMS)
validate = policy_commands.validate(KMS)
explain = make_explain(KMS)
apply = make_apply(KMS)
who_can = make_who_can(KMS)
simulate = make_simulate(KMS)


@click.command(
    "set-namespace",
    epilog="""\b
Example:
  kms policy set-namespace prod shared/baseline prod/all-keys
  kms policy set-namespace prod""",
)
@namespace_argument
@click.argument("policies", metavar="[POLICY]...", nargs=-1)
@etag_option
@online()
def set_namespace(session: Session, namespace: str, policies: tuple[str, ...], etag: str) -> None:
    """Ask a set of policies for every key of a namespace, besides the key's own; none for no set.

    They are asked in this order, and the first that has a rule which matches decides.
    """
    request = {
        "name": namespace_name(session, namespace),
        "kms_policies": [KMS.name(policy, session.tenant) for policy in policies],
        "etag": etag,
    }
    session.show(session.call(KMS.service, "SetNamespacePolicy", {"namespace_policy": request}))
