"""`kms namespace`: the folders of a tenant."""

import uuid

import click

from cli.online.names import resolve
from cli.online.parameters import description_option, etag_option, labels_option
from cli.online.session import Session, online
from kms.model.names import NamespaceName, TenantName

SERVICE = "NamespaceService"


@click.command(
    epilog="""\b
Example:
  kms namespace create prod --description "What customers use" """
)
@click.argument("name", metavar="NAMESPACE")
@description_option
@labels_option
@online()
def create(session: Session, name: str, description: str, labels: tuple[tuple[str, str], ...]) -> None:
    """Make a namespace, which holds secret policies and identities."""
    namespace = resolve(NamespaceName, name, session.tenant)
    request = {
        "parent": str(TenantName(namespace.tenant)),
        "namespace_id": namespace.namespace,
        "namespace": {"description": description, "labels": dict(labels)},
        "request_id": str(uuid.uuid4()),
    }
    session.show(session.call(SERVICE, "CreateNamespace", request))


@click.command(
    epilog="""\b
Example:
  kms namespace get prod"""
)
@click.argument("name", metavar="NAMESPACE")
@online()
def get(session: Session, name: str) -> None:
    """Show a namespace."""
    request = {"name": str(resolve(NamespaceName, name, session.tenant))}
    session.show(session.call(SERVICE, "GetNamespace", request))


@click.command(
    "list",
    epilog="""\b
Example:
  kms namespace list""",
)
@online()
def list_namespaces(session: Session) -> None:
    """List the namespaces of the tenant."""
    found = session.all_of(SERVICE, "ListNamespaces", {"parent": session.parent}, "namespaces")
    session.table(found, ("name", "create_time", "description"))


@click.command(
    epilog="""\b
Example:
  kms namespace delete staging"""
)
@click.argument("name", metavar="NAMESPACE")
@etag_option
@online()
def delete(session: Session, name: str, etag: str) -> None:
    """Remove an empty namespace."""
    namespace = str(resolve(NamespaceName, name, session.tenant))
    session.call(SERVICE, "DeleteNamespace", {"name": namespace, "etag": etag})
    session.show({"name": namespace, "deleted": True})
