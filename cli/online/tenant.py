"""`kms tenant`: for the platform's operators."""

import uuid

import click

from cli.online.names import resolve
from cli.online.parameters import description_option, labels_option
from cli.online.session import Session, online
from kms.model.names import TenantName

SERVICE = "TenantService"


@click.command(
    epilog="""\b
Example:
  kms tenant create globex --description "Globex Corporation" --json"""
)
@click.argument("tenant_id", metavar="ID")
@description_option
@labels_option
@online()
def create(session: Session, tenant_id: str, description: str, labels: tuple[tuple[str, str], ...]) -> None:
    """Make a tenant, and a join token for its first administrator.

    The token, `admin_join_token`, is shown this once and is good for 24 hours: pass it on to whoever will
    administer the tenant, for `kms identity enrol`.
    """
    about = {"description": description, "labels": dict(labels)}
    request = {"tenant_id": tenant_id, "tenant": about, "request_id": str(uuid.uuid4())}
    session.show(session.call(SERVICE, "CreateTenant", request))


@click.command(
    epilog="""\b
Example:
  kms tenant get acme"""
)
@click.argument("name", metavar="TENANT")
@online()
def get(session: Session, name: str) -> None:
    """Show a tenant."""
    session.show(session.call(SERVICE, "GetTenant", {"name": str(resolve(TenantName, name, ""))}))


@click.command(
    "list",
    epilog="""\b
Example:
  kms tenant list""",
)
@online()
def list_tenants(session: Session) -> None:
    """List the tenants."""
    session.table(
        session.all_of(SERVICE, "ListTenants", {}, "tenants"), ("name", "create_time", "description")
    )
