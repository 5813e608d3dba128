"""What an audit event says. It never holds a payload, a key, a secret, or a checksum of one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class AuditEvent(NamedTuple):
    """One decided call, or one change. A tuple: each call makes one, and tuples are made quickly.

    `action` is the RPC's name, or `Kms.<Verb>` for the server's own acts (init, start, stop, unlock);
    `caller` the SPIFFE id, or "" for the server; `tenant` "" at platform level; `decision` ALLOW, DENY or
    FAIL; `reason` an error reason or the matched rule; `details` short public strings.
    """

    time: str
    action: str
    caller: str
    tenant: str
    resource: str
    decision: str
    reason: str = ""
    request_id: str = ""
    details: Mapping[str, str] = MappingProxyType({})
