"""`kms.v1.AuditService`."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from typing import Any, ClassVar

import grpc

from kms.errors import InvalidField
from kms.model.names import TenantName
from kms.server.call import ServicerContext, service_call
from kms.server.convert import (
    enum_number,
    enum_text,
    page_token,
    timestamp_of_text,
    to_last_name,
    to_page_size,
    to_time,
)
from kms.server.servicers.audit_links import Link, checkpoint_message, link_message
from kms.services.audit_log import AuditLog, Filter
from kms.services.guard import ALLOW, DENY, FAIL
from protos.kms.v1 import audit_service_pb2 as pb
from protos.kms.v1.audit_service_pb2_grpc import AuditServiceServicer, add_AuditServiceServicer_to_server

# Links read in one go, in a thread, so that other calls are served meanwhile.
BATCH = 200
MAX_SEQUENCE = 2**53 - 1
# So many exports read at once; the others wait for each other, and nobody else for them.
READING = 2


class AuditServicer(AuditServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["AuditService"].full_name

    def __init__(self, audit_log: AuditLog) -> None:
        self._audit_log = audit_log
        self._reading = asyncio.Semaphore(READING)

    def add_to(self, server: grpc.aio.Server) -> None:
        add_AuditServiceServicer_to_server(self, server)

    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: ServicerContext
    ) -> pb.ListAuditEventsResponse:
        parent = _to_parent(request.parent)
        wanted, after = _to_filter(request.filter), _to_after(request.page_token, parent)
        limit = to_page_size(request.page_size)
        page = await self._audit_log.list(service_call(), parent, wanted, after, limit)
        token = page_token(f"{_prefix(parent)}{page.next_after}" if page.next_after else "")
        return pb.ListAuditEventsResponse(audit_events=map(_to_message, page.events), next_page_token=token)

    async def ExportAuditEvents(
        self, request: pb.ExportAuditEventsRequest, context: ServicerContext
    ) -> AsyncGenerator[pb.ExportAuditEventsResponse]:
        parent, after = _to_parent(request.parent), request.after_sequence
        if not 0 <= after <= MAX_SEQUENCE:
            raise InvalidField("after_sequence", "is not a sequence number")
        links = await self._audit_log.export(service_call(), parent, after)
        while batch := await self._take(links):
            for link in batch:
                yield link_message(link, self._audit_log.public_key)

    async def _take(self, links: Iterator[Link]) -> list[Link]:
        async with self._reading:
            return await asyncio.to_thread(lambda: list(islice(links, BATCH)))

    async def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, context: ServicerContext
    ) -> pb.Checkpoint:
        signed = await self._audit_log.checkpoint(service_call())
        return checkpoint_message(signed, self._audit_log.public_key)


def _to_parent(text: str) -> TenantName | None:
    return TenantName.parse(text, "parent") if text else None


def _prefix(parent: TenantName | None) -> str:
    return "auditEvents/" if parent is None else f"{parent}/auditEvents/"


def _to_after(token: str, parent: TenantName | None) -> int:
    number = to_last_name(token, _prefix(parent)).removeprefix(_prefix(parent))
    if not number:
        return 0
    if not number.isascii() or not number.isdecimal() or len(number) > len(str(MAX_SEQUENCE)):
        raise InvalidField("page_token", "is not a token of this list; begin again without one")
    return int(number)


def _to_filter(message: pb.AuditFilter) -> Filter:
    decision = enum_text(pb.AuditEvent.Decision.DESCRIPTOR, message.decision) if message.decision else ""
    if decision not in ("", ALLOW, DENY, FAIL):
        raise InvalidField("filter.decision", f"must be one of {ALLOW}, {DENY}, {FAIL}")
    has = message.HasField
    return Filter(
        start=to_time(message.start_time, "filter.start_time") if has("start_time") else None,
        end=to_time(message.end_time, "filter.end_time") if has("end_time") else None,
        caller=message.caller,
        action=message.action,
        resource=message.resource,
        decision=decision,
    )


def _to_message(body: dict[str, Any]) -> pb.AuditEvent:
    decision = enum_number(pb.AuditEvent.Decision.DESCRIPTOR, body["decision"])
    return pb.AuditEvent(
        sequence=body["sequence"],
        time=timestamp_of_text(body["time"]),
        action=body["action"],
        caller=body["caller"],
        tenant=body["tenant"],
        resource=body["resource"],
        decision=pb.AuditEvent.Decision.ValueType(decision),
        reason=body["reason"],
        request_id=body["request_id"],
        details=body["details"],
    )
