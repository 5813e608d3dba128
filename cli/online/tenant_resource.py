"""Resources that belong to a tenant as a whole: their commands, as far as these are alike."""

import uuid
from dataclasses import dataclass
from typing import Any

import click

from cli.errors import UsageError
from cli.online.names import resolve
from cli.online.parameters import etag_option, field_mask
from cli.online.session import Session, online
from kms.model.names import ResourceName, TenantName


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource: its command, its service and name in the API, and what a list shows."""

    service: str
    command: str
    noun: str
    name: type[ResourceName]
    items: str
    columns: tuple[str, ...]
    example: str

    @property
    def words(self) -> str:
        return self.command.replace("-", " ")


def create(session: Session, kind: Kind, name: str, resource: dict[str, Any]) -> None:
    """Raises `CallFailed`, `UsageError`."""
    parts = str(resolve(kind.name, name, session.tenant)).split("/")
    field = kind.items.removesuffix("s")
    request = {
        "parent": str(TenantName(parts[1])),
        f"{field}_id": parts[3],
        field: resource,
        "request_id": str(uuid.uuid4()),
    }
    session.show(session.call(kind.service, f"Create{kind.noun}", request))


def update(
    session: Session, kind: Kind, name: str, etag: str, changed: dict[str, Any], cleared: tuple[str, ...]
) -> None:
    """Change some fields, and unset others. Raises `CallFailed`, `UsageError` for nothing of either."""
    mask = [*changed, *cleared]
    if not mask:
        raise UsageError("nothing to change", hint=f"See `kms {kind.command} update --help`.")
    resource = {"name": str(resolve(kind.name, name, session.tenant)), "etag": etag, **changed}
    request = {kind.items.removesuffix("s"): resource, "update_mask": field_mask(mask)}
    session.show(session.call(kind.service, f"Update{kind.noun}", request))


def getting(kind: Kind) -> click.Command:
    @click.command(
        "get",
        help=f"Show a {kind.words}.",
        epilog=f"\b\nExample:\n  kms {kind.command} get {kind.example}",
    )
    @click.argument("name")
    @online()
    def get(session: Session, name: str) -> None:
        request = {"name": str(resolve(kind.name, name, session.tenant))}
        session.show(session.call(kind.service, f"Get{kind.noun}", request))

    return get


def listing(kind: Kind) -> click.Command:
    @click.command(
        "list",
        help=f"List the {kind.words}s of the tenant.",
        epilog=f"\b\nExample:\n  kms {kind.command} list",
    )
    @online()
    def list_all(session: Session) -> None:
        found = session.all_of(kind.service, f"List{kind.noun}s", {"parent": session.parent}, kind.items)
        session.table(found, kind.columns)

    return list_all


def deleting(kind: Kind, help_: str) -> click.Command:
    @click.command("delete", help=help_, epilog=f"\b\nExample:\n  kms {kind.command} delete {kind.example}")
    @click.argument("name")
    @etag_option
    @online()
    def delete(session: Session, name: str, etag: str) -> None:
        whole = str(resolve(kind.name, name, session.tenant))
        session.call(kind.service, f"Delete{kind.noun}", {"name": whole, "etag": etag})
        session.show({"name": whole, "deleted": True})

    return delete
