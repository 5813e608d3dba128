"""`kms tenant`: for the platform's operators."""

import uuid
from pathlib import Path

import click

from cli.online.names import resolve
from cli.online.parameters import description_option, etag_option, labels_option, span
from cli.online.session import Session, online
from cli.options import out_option
from cli.secret_io import public_sink
from kms.client.audit import receipt_lines
from kms.model.names import TenantName

SERVICE = "TenantService"

_tenant_argument = click.argument("name", metavar="TENANT")


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
@_tenant_argument
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
        session.all_of(SERVICE, "ListTenants", {}, "tenants"), ("name", "state", "create_time", "description")
    )


@click.command(
    epilog="""\b
Example:
  kms tenant enable acme"""
)
@_tenant_argument
@etag_option
@online()
def enable(session: Session, name: str, etag: str) -> None:
    """Let a disabled tenant be served again."""
    _change(session, "EnableTenant", name, etag)


@click.command(
    epilog="""\b
Example:
  kms tenant disable acme"""
)
@_tenant_argument
@etag_option
@online()
def disable(session: Session, name: str, etag: str) -> None:
    """Serve nothing of a tenant but its audit trail."""
    _change(session, "DisableTenant", name, etag)


@click.command(
    epilog="""\b
Example:
  kms tenant destroy acme --delay 30d"""
)
@_tenant_argument
@click.option("--delay", type=span, metavar="TIME", help="24h to 120d; by default 30d.")
@etag_option
@online()
def destroy(session: Session, name: str, delay: str | None, etag: str) -> None:
    """Set the time at which a tenant is destroyed, with all that it holds; it is not served from now on.

    Its key is overwritten then, so that nothing that was encrypted or sealed under its keys ever opens, and
    its name is not used again. Backups hold what they hold: destroy them too. Until then `kms tenant
    cancel-destroy` takes it back.
    """
    _change(session, "ScheduleDestroyTenant", name, etag, **({} if delay is None else {"delay": delay}))


@click.command(
    epilog="""\b
Example:
  kms tenant cancel-destroy acme
  kms tenant enable acme"""
)
@_tenant_argument
@etag_option
@online()
def cancel_destroy(session: Session, name: str, etag: str) -> None:
    """Take a scheduled destruction back; the tenant is disabled then."""
    _change(session, "CancelDestroyTenant", name, etag)


@click.command(
    epilog="""\b
Example:
  kms tenant receipt acme --out acme.receipt
  kms audit verify acme.receipt --audit-key 5f0c..."""
)
@_tenant_argument
@out_option
@online()
def receipt(session: Session, name: str, out: Path | None) -> None:
    """Show the proof that a tenant was destroyed, as JSON lines for `kms audit verify`.

    It is a piece of the audit chain: the event Kms.DestroyTenant of the tenant, between two signed
    checkpoints. There is one when all that the tenant held is erased, within minutes of its destruction.
    """
    lines = receipt_lines(session.api, resolve(TenantName, name, ""))
    with public_sink(out, binary=False) as sink:
        for line in lines:
            sink.write(line.encode() + b"\n")


def _change(session: Session, method: str, name: str, etag: str, **more: str) -> None:
    request = {"name": str(resolve(TenantName, name, "")), "etag": etag, **more}
    session.show(session.call(SERVICE, method, request))
