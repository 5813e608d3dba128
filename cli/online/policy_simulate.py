"""`simulate`: what a draft of a policy of either kind would have decided otherwise."""

from collections.abc import Mapping
from typing import Any

import click

from cli.online.policy_calls import call, content_argument, policy_argument, to_api
from cli.online.session import Session, online
from cli.online.view import person, view
from cli.output import write_json, write_table
from cli.policy_kind import SECRET, Kind
from cli.resource_file import read_content

COLUMNS = ("caller", "operation", "resource", "before", "after", "request_count", "allowing_rules")


def simulate(kind: Kind) -> click.Command:
    text = f"""Say what a draft would have decided otherwise.

    FILE is decided in the place of the {kind.noun}, about the requests in the last audit events. Prints, for
    each caller, what would be allowed or denied; UNKNOWN where additional authenticated data decides, which
    the audit trail does not hold. Names, labels and roles are those that the identities have now. Nothing is
    stored.
    """

    @kind.command("simulate", text, f"{kind.example} draft.yaml", f"{kind.example} draft.yaml --events 10000")
    @policy_argument
    @content_argument
    @click.option(
        "--events",
        type=click.IntRange(1, 10_000),
        default=1000,
        show_default=True,
        help="How many of the tenant's last events to look at.",
    )
    @online()
    def command(session: Session, name: str, content: str, events: int) -> None:
        request = {
            "name": kind.name(name, session.tenant),
            "content": to_api(read_content(content, kind.file)),
            "event_count": events,
        }
        _show(session, kind, call(session, kind, "Simulate", request)["simulation"])

    return command


def _show(session: Session, kind: Kind, simulation: Mapping[str, Any]) -> None:
    shown = view({"changes": []} | dict(simulation))
    if session.as_json:
        write_json(shown)
        return
    columns = [name for name in COLUMNS if kind is not SECRET or name != "operation"]
    changes = [person(change) for change in shown["changes"]]
    write_table([{name: change.get(name, "") for name in columns} for change in changes])
    click.echo(_summary(shown), err=True)


def _summary(shown: Mapping[str, Any]) -> str:
    """Counts that are 0 are not in the answer."""
    requests, unchanged = shown.get("request_count", 0), shown.get("unchanged_count", 0)
    words = f"{unchanged} of {requests} requests are decided as before"
    unknown = shown.get("unknown_caller_count", 0)
    if unknown:
        words += f"; {unknown} came from callers who are not known any more"
    since = f" since {shown['since']}" if "since" in shown else ""
    return f"{words} ({shown.get('event_count', 0)} events{since})"
