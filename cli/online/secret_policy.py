"""`kms secret-policy`: who may open what is sealed under a policy."""

import uuid
from collections.abc import Mapping
from typing import Any

import click

from cli.errors import CliError
from cli.online.names import resolve
from cli.online.parameters import etag_option
from cli.online.policy_content import read_policy
from cli.online.session import Session, online
from cli.options import STREAM
from kms.model.names import NamespaceName, SecretPolicyName

SERVICE = "SecretPolicyService"
COLUMNS = ("name", "revision", "state", "binding", "update_time")

policy_argument = click.argument("name", metavar="POLICY")
_content_argument = click.argument("content", metavar="FILE", type=STREAM)


def policy_name(session: Session, name: str) -> str:
    return str(resolve(SecretPolicyName, name, session.tenant))


@click.command(
    epilog="""\b
Example:
  kms secret-policy create prod/web-tls web-tls.json
  kms secret-policy create tenants/acme/namespaces/prod/secretPolicies/web-tls - < web-tls.json"""
)
@policy_argument
@_content_argument
@online()
def create(session: Session, name: str, content: str) -> None:
    """Make a secret policy with its first revision.

    POLICY is NAMESPACE/ID, or the whole name. FILE holds the rules as JSON: see docs/policies.md. What is
    sealed to it is bound to one revision of the rules, unless its binding says POLICY.
    """
    policy = resolve(SecretPolicyName, name, session.tenant)
    request = {
        "parent": str(NamespaceName(policy.tenant, policy.namespace)),
        "secret_policy_id": policy.policy,
        "secret_policy": {"content": read_policy(content)},
        "request_id": str(uuid.uuid4()),
    }
    session.show(session.call(SERVICE, "CreateSecretPolicy", request))


@click.command(
    epilog="""\b
Example:
  kms secret-policy get prod/web-tls
  kms secret-policy get --json prod/web-tls | jq .content > web-tls.json"""
)
@policy_argument
@click.option("--revision", type=click.IntRange(1), help="An older revision instead of the current one.")
@online()
def get(session: Session, name: str, revision: int | None) -> None:
    """Show a secret policy, deleted ones too."""
    policy = policy_name(session, name)
    if revision is None:
        session.show(session.call(SERVICE, "GetSecretPolicy", {"name": policy}))
    else:
        session.show(session.call(SERVICE, "GetRevision", {"name": f"{policy}/revisions/{revision}"}))


@click.command(
    "list",
    epilog="""\b
Example:
  kms secret-policy list prod
  kms secret-policy list --show-deleted prod""",
)
@click.argument("namespace", metavar="NAMESPACE")
@click.option("--show-deleted", is_flag=True, help="List deleted policies too.")
@online()
def list_policies(session: Session, namespace: str, show_deleted: bool) -> None:
    """List the secret policies of a namespace."""
    parent = str(resolve(NamespaceName, namespace, session.tenant))
    request = {"parent": parent, "show_deleted": show_deleted}
    session.table(session.all_of(SERVICE, "ListSecretPolicies", request, "secret_policies"), COLUMNS)


@click.command(
    epilog="""\b
Example:
  kms secret-policy update prod/web-tls web-tls.json"""
)
@policy_argument
@_content_argument
@etag_option
@online()
def update(session: Session, name: str, content: str, etag: str) -> None:
    """Make the next revision of a secret policy.

    What was sealed to an older revision stays with it: revoke or narrow that one, or reseal.
    """
    policy = {"name": policy_name(session, name), "content": read_policy(content), "etag": etag}
    session.show(session.call(SERVICE, "UpdateSecretPolicy", {"secret_policy": policy}))


@click.command(
    epilog="""\b
Example:
  kms secret-policy delete prod/web-tls"""
)
@policy_argument
@etag_option
@online()
def delete(session: Session, name: str, etag: str) -> None:
    """Delete a secret policy: nothing sealed to it can be opened until it is undeleted."""
    request = {"name": policy_name(session, name), "etag": etag}
    session.show(session.call(SERVICE, "DeleteSecretPolicy", request))


@click.command(
    epilog="""\b
Example:
  kms secret-policy undelete prod/web-tls"""
)
@policy_argument
@etag_option
@online()
def undelete(session: Session, name: str, etag: str) -> None:
    """Bring a deleted secret policy back with all its revisions."""
    request = {"name": policy_name(session, name), "etag": etag}
    session.show(session.call(SERVICE, "UndeleteSecretPolicy", request))


@click.command(
    epilog="""\b
Example:
  kms secret-policy validate prod web-tls.json
  kms secret-policy validate --strict prod web-tls.json"""
)
@click.argument("namespace", metavar="NAMESPACE")
@_content_argument
@click.option("--strict", is_flag=True, help="End with exit code 1 if there is any warning.")
@online()
def validate(session: Session, namespace: str, content: str, strict: bool) -> None:
    """Check the content of a policy without storing it.

    Prints a line for everything that is valid but probably not meant; docs/policies.md explains them.
    """
    parent = str(resolve(NamespaceName, namespace, session.tenant))
    request = {"parent": parent, "content": read_policy(content)}
    warnings = session.call(SERVICE, "ValidateSecretPolicy", request).get("warnings", [])
    session.lines(warnings, warning_line)
    if strict and warnings:
        raise CliError(f"{len(warnings)} warnings", hint="docs/policies.md explains them.")


def warning_line(warning: Mapping[str, Any]) -> str:
    return f"{warning.get('field', '')}: {warning['code']}: {warning['message']}"
