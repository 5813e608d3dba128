"""Links of the audit chain as messages."""

import rfc8785

from kms.model.chain import SignedCheckpoint, body_digest
from kms.server.convert import timestamp_of_text
from kms.services.audit_log import ExportedEvent
from protos.kms.v1 import audit_service_pb2 as pb

Link = ExportedEvent | SignedCheckpoint


def link_message(link: Link, public_key: bytes) -> pb.ExportAuditEventsResponse:
    """An event, its body hidden where it is somebody else's, or a checkpoint under the audit key."""
    if isinstance(link, SignedCheckpoint):
        return pb.ExportAuditEventsResponse(checkpoint=checkpoint_message(link, public_key))
    event = link.event
    return pb.ExportAuditEventsResponse(
        event=pb.ChainedEvent(
            sequence=event.sequence,
            body=event.body if link.visible else b"",
            body_digest=b"" if link.visible else body_digest(event.body),
            chain_hash=event.chain_hash,
        )
    )


def checkpoint_message(signed: SignedCheckpoint, public_key: bytes) -> pb.Checkpoint:
    checkpoint = signed.checkpoint
    return pb.Checkpoint(
        sequence=checkpoint.sequence,
        chain_hash=checkpoint.chain_hash,
        time=timestamp_of_text(checkpoint.time),
        document=rfc8785.dumps(checkpoint.fields()),
        signature=signed.signature,
        public_key=public_key,
    )
