"""`kms audit`: the trail, out of the KMS; `cli.local.audit_verify` checks a copy of it."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from blindfold._encoding import b64url
from cli.online.parameters import time
from cli.online.session import Session, online
from cli.options import out_option
from cli.output import write_fields, write_json
from cli.secret_io import public_sink
from kms.client.audit import export_lines
from kms.model.names import TenantName

SERVICE = "AuditService"
COLUMNS = ("sequence", "time", "decision", "action", "caller", "resource", "reason")
DECISIONS = ("ALLOW", "DENY", "FAIL")
PAGE = 1000

_platform_option = click.option(
    "--platform", is_flag=True, help="The platform's own events, which operators read, not a tenant's."
)


@click.command(
    "list",
    epilog="""\b
Example:
  kms audit list --action EvaluateBlinded --decision DENY
  kms audit list --json --since 2030-01-01T00:00:00Z --limit 1000""",
)
@click.option("--since", "start_time", type=time, metavar="TIME", help="Decided at this time or later.")
@click.option("--until", "end_time", type=time, metavar="TIME", help="Decided before this time.")
@click.option("--caller", metavar="SPIFFE_ID", help="Of this caller.")
@click.option("--action", metavar="METHOD", help="Of this method, such as EvaluateBlinded.")
@click.option("--resource", metavar="NAME", help="About resources whose name begins so.")
@click.option("--decision", type=click.Choice(DECISIONS), help="Decided so.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, the oldest."
)
@_platform_option
@online()
def list_events(
    session: Session, limit: int, decision: str | None, platform: bool, **filters: str | None
) -> None:
    """List the events of the tenant, oldest first."""
    chosen = filters | {"decision": f"DECISION_{decision}" if decision else None}
    request = {
        "parent": "" if platform else session.parent,
        "page_size": min(limit, PAGE),
        "filter": {name: value for name, value in chosen.items() if value},
    }
    events = session.all_of(SERVICE, "ListAuditEvents", request, "audit_events", limit)
    session.table(events, COLUMNS)


@click.command(
    epilog="""\b
Example:
  kms audit export --out audit.jsonl
  kms audit export --after 4711 >> audit.jsonl"""
)
@click.option(
    "--after",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Go on behind this event, at which there is a checkpoint, such as the one that ended an export.",
)
@_platform_option
@out_option
@online()
def export(session: Session, after: int, platform: bool, out: Path | None) -> None:
    """Export the whole chain as JSON lines, for `kms audit verify`.

    Events of other tenants are in it as digests, without which the chain could not be verified. It ends with
    a fresh checkpoint.
    """
    tenant, count = None if platform else TenantName.parse(session.parent), 0
    with public_sink(out, binary=False) as sink:
        for line in export_lines(session.api, tenant, after):
            sink.write(line.encode() + b"\n")
            count += 1
    if out is not None:
        shown = {"lines": count, "out": str(out)}
        (write_json if session.as_json else write_fields)(shown)


@click.command(
    epilog="""\b
Example:
  kms audit checkpoint --out audit.checkpoint"""
)
@out_option
@online()
def checkpoint(session: Session, out: Path | None) -> None:
    """Make a signed checkpoint of the chain as it stands, one line of JSON.

    Keep it where whoever runs the KMS cannot take it back: `kms audit verify --checkpoint` then proves that
    no other history was put in the place of this one.
    """
    line = checkpoint_line(session.call(SERVICE, "GetCheckpoint", {}))
    with public_sink(out, binary=False) as sink:
        sink.write(line.encode() + b"\n")


def checkpoint_line(answer: Mapping[str, Any]) -> str:
    """{"checkpoint": {...}, "signature": base64url}, canonical (docs/spec/audit.md, "Export")."""
    document = base64.b64decode(answer["document"]).decode()
    signature = b64url(base64.b64decode(answer["signature"]))
    return f'{{"checkpoint":{document},"signature":"{signature}"}}'
