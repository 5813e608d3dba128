"""`kms policy`: KMS policies, which say who may do which operation with which key."""

import uuid

import click

from cli.errors import CliError
from cli.online.names import resolve
from cli.online.parameters import etag_option
from cli.online.policy_content import read_policy
from cli.online.secret_policy import warning_line
from cli.online.session import Session, online
from cli.options import STREAM
from kms.model.names import KmsPolicyName, NamespaceName
from kms.model.policy import PolicyKind

SERVICE = "KmsPolicyService"
COLUMNS = ("name", "revision", "state", "update_time")

_policy_argument = click.argument("name", metavar="POLICY")
_content_argument = click.argument("content", metavar="FILE", type=STREAM)
_namespace_argument = click.argument("namespace", metavar="NAMESPACE")


def policy_name(session: Session, name: str) -> str:
    return str(resolve(KmsPolicyName, name, session.tenant))


@click.command(
    epilog="""\b
Example:
  kms policy create prod/orders orders.json"""
)
@_policy_argument
@_content_argument
@online()
def create(session: Session, name: str, content: str) -> None:
    """Make a KMS policy. FILE holds the rules as JSON: see docs/policies.md."""
    policy = resolve(KmsPolicyName, name, session.tenant)
    request = {
        "parent": str(NamespaceName(policy.tenant, policy.namespace)),
        "kms_policy_id": policy.policy,
        "kms_policy": {"content": read_policy(content, PolicyKind.KMS)},
        "request_id": str(uuid.uuid4()),
    }
    session.show(session.call(SERVICE, "CreateKmsPolicy", request))


@click.command(
    epilog="""\b
Example:
  kms policy get prod/orders"""
)
@_policy_argument
@online()
def get(session: Session, name: str) -> None:
    """Show a KMS policy, deleted ones too."""
    session.show(session.call(SERVICE, "GetKmsPolicy", {"name": policy_name(session, name)}))


@click.command(
    "list",
    epilog="""\b
Example:
  kms policy list prod""",
)
@_namespace_argument
@click.option("--show-deleted", is_flag=True, help="List deleted policies too.")
@online()
def list_policies(session: Session, namespace: str, show_deleted: bool) -> None:
    """List the KMS policies of a namespace."""
    parent = str(resolve(NamespaceName, namespace, session.tenant))
    request = {"parent": parent, "show_deleted": show_deleted}
    session.table(session.all_of(SERVICE, "ListKmsPolicies", request, "kms_policies"), COLUMNS)


@click.command(
    epilog="""\b
Example:
  kms policy update prod/orders orders.json"""
)
@_policy_argument
@_content_argument
@etag_option
@online()
def update(session: Session, name: str, content: str, etag: str) -> None:
    """Give a KMS policy other rules, which hold with the next call."""
    content_ = read_policy(content, PolicyKind.KMS)
    policy = {"name": policy_name(session, name), "content": content_, "etag": etag}
    session.show(session.call(SERVICE, "UpdateKmsPolicy", {"kms_policy": policy}))


@click.command(
    epilog="""\b
Example:
  kms policy delete prod/orders"""
)
@_policy_argument
@etag_option
@online()
def delete(session: Session, name: str, etag: str) -> None:
    """Delete a KMS policy: it denies everything until it is undeleted."""
    request = {"name": policy_name(session, name), "etag": etag}
    session.show(session.call(SERVICE, "DeleteKmsPolicy", request))


@click.command(
    epilog="""\b
Example:
  kms policy undelete prod/orders"""
)
@_policy_argument
@etag_option
@online()
def undelete(session: Session, name: str, etag: str) -> None:
    """Bring a deleted KMS policy back."""
    request = {"name": policy_name(session, name), "etag": etag}
    session.show(session.call(SERVICE, "UndeleteKmsPolicy", request))


@click.command(
    epilog="""\b
Example:
  kms policy validate prod orders.json --strict"""
)
@_namespace_argument
@_content_argument
@click.option("--strict", is_flag=True, help="End with exit code 1 if there is any warning.")
@online()
def validate(session: Session, namespace: str, content: str, strict: bool) -> None:
    """Check the content of a policy without storing it. Prints a line for each warning."""
    parent = str(resolve(NamespaceName, namespace, session.tenant))
    request = {"parent": parent, "content": read_policy(content, PolicyKind.KMS)}
    warnings = session.call(SERVICE, "ValidateKmsPolicy", request).get("warnings", [])
    session.lines(warnings, warning_line)
    if strict and warnings:
        raise CliError(f"{len(warnings)} warnings", hint="docs/policies.md explains them.")


@click.command(
    "set-namespace",
    epilog="""\b
Example:
  kms policy set-namespace prod prod/all-keys
  kms policy set-namespace prod ''""",
)
@_namespace_argument
@click.argument("policy", metavar="POLICY")
@etag_option
@online()
def set_namespace(session: Session, namespace: str, policy: str, etag: str) -> None:
    """Ask a policy for every key of a namespace, besides the key's own; '' for none."""
    request = {
        "name": str(resolve(NamespaceName, namespace, session.tenant)),
        "kms_policy": policy_name(session, policy) if policy else "",
        "etag": etag,
    }
    session.show(session.call(SERVICE, "SetNamespacePolicy", {"namespace_policy": request}))
