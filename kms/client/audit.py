"""An exported audit chain as the lines that `kms audit verify` reads (docs/spec/audit.md, "Export")."""

from collections.abc import Iterator

from blindfold._encoding import b64url
from kms.client.api import Api
from kms.model.names import TenantName
from protos.kms.v1 import audit_service_pb2 as pb
from protos.kms.v1 import tenant_service_pb2 as tenants


def export_lines(api: Api, tenant: TenantName | None, after: int = 0) -> Iterator[str]:
    """The chain as JSON lines without newlines, the bodies of others' events hidden.

    None is for operators: the events of the platform are shown.

    `after` is 0 or the sequence number of a checkpoint, with which the lines then begin. Nothing is
    verified here. Raises `CallFailed`.
    """
    request = pb.ExportAuditEventsRequest(parent=str(tenant or ""), after_sequence=after)
    yield from map(_line, api.messages("AuditService", "ExportAuditEvents", request))


def receipt_lines(api: Api, tenant: TenantName) -> list[str]:
    """The proof that a tenant was destroyed, as lines that `kms audit verify` reads. Raises `CallFailed`."""
    request = tenants.GetDestructionReceiptRequest(name=str(tenant))
    receipt = api.exchange("TenantService", "GetDestructionReceipt", request, tenants.DestructionReceipt)
    return [_line(link) for link in receipt.links]


def _line(link: pb.ExportAuditEventsResponse) -> str:
    return _checkpoint_line(link.checkpoint) if link.HasField("checkpoint") else _event_line(link.event)


def _event_line(event: pb.ChainedEvent) -> str:
    body = f'"body":{event.body.decode()}' if event.body else f'"body_digest":"{event.body_digest.hex()}"'
    return f'{{{body},"chain_hash":"{event.chain_hash.hex()}","sequence":{event.sequence}}}'


def _checkpoint_line(checkpoint: pb.Checkpoint) -> str:
    return f'{{"checkpoint":{checkpoint.document.decode()},"signature":"{b64url(checkpoint.signature)}"}}'
