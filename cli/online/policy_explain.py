"""`explain`: how a policy of either kind would decide for a caller, and why."""

from typing import Any

import click

from cli.errors import UsageError
from cli.online import parameters
from cli.online.crypto import aad_option, base64_text
from cli.online.names import resolve_identity
from cli.online.parameters import labels_option
from cli.online.policy_calls import call, policy_argument
from cli.online.session import Session, online
from cli.online.view import view
from cli.output import write_fields, write_json, write_table
from cli.policy_kind import KMS, Kind
from kms.model.policy import OPERATIONS


def explain(kind: Kind) -> click.Command:
    about = " and a key" if kind is KMS else ""
    text = (
        f"Say how a {kind.noun} would decide for a caller{about}, and why.\n\n"
        "The caller is a known identity, or one made up of names, labels and roles."
    )
    asked = " --operation ENCRYPT --key orders" if kind is KMS else ""
    examples = (
        f"{kind.example} --identity prod/web --address 10.0.0.7{asked}",
        f"{kind.example} --revision 3 --label app=web{asked}",
    )

    @kind.command("explain", text, *examples)
    @policy_argument
    @click.option("--revision", type=click.IntRange(1), help="Ask this revision instead of the current one.")
    @click.option("--identity", metavar="IDENTITY", help="A known identity as the caller.")
    @click.option("--name", "names", multiple=True, help="A name of a made-up caller; may be repeated.")
    @labels_option
    @click.option("--role", "roles", multiple=True, help="A role of a made-up caller; may be repeated.")
    @click.option("--address", default="", metavar="IP", help="Where the call would come from.")
    @click.option("--time", type=parameters.time, metavar="TIME", help="When it would come; by default now.")
    @online()
    def command(
        session: Session,
        name: str,
        revision: int | None,
        identity: str | None,
        names: tuple[str, ...],
        labels: tuple[tuple[str, str], ...],
        roles: tuple[str, ...],
        address: str,
        time: str | None,
        **of_key: Any,
    ) -> None:
        request = {"name": kind.name(name, session.tenant, revision), "address": address, "time": time}
        request |= _caller(session, identity, names, labels, roles) | _key(**of_key)
        _show(session, view(call(session, kind, "Explain", request)))

    return _key_options(command) if kind is KMS else command


def _caller(
    session: Session,
    identity: str | None,
    names: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    roles: tuple[str, ...],
) -> dict[str, Any]:
    if identity and (names or labels or roles):
        raise UsageError("--identity excludes --name, --label and --role")
    if identity:
        return {"identity": str(resolve_identity(identity, session.tenant))}
    return {"hypothetical": {"names": list(names), "labels": dict(labels), "roles": list(roles)}}


def _key_options(command: click.Command) -> click.Command:
    """The options about a key, which only KMS policies ask about."""
    for option in (
        click.option("--operation", type=click.Choice(OPERATIONS), required=True, help="What it would do."),
        click.option("--key", default="", metavar="ID", help="The id of the key; none for GENERATE_RANDOM."),
        click.option(
            "--key-label",
            "key_labels",
            type=parameters.pair,
            metavar="KEY=VALUE",
            multiple=True,
            help="A label of the key; may be repeated.",
        ),
        aad_option,
    ):
        option(command)
    return command


def _key(
    operation: str = "", key: str = "", key_labels: tuple[tuple[str, str], ...] = (), aad: str = ""
) -> dict[str, Any]:
    """What the API asks about a key; nothing for a secret."""
    if not operation:
        return {}
    return {
        "operation": f"OPERATION_{operation}",
        "key_id": key,
        "key_labels": dict(key_labels),
        "additional_authenticated_data": base64_text(aad),
    }


def _show(session: Session, shown: dict[str, Any]) -> None:
    trace = [{"rule": item["rule"], "matched": False} | item for item in shown.pop("trace", [])]
    if session.as_json:
        write_json(shown | {"trace": trace})
        return
    write_fields(shown)
    if trace:
        click.echo()
        write_table([{"rule": item["rule"], "why": item["text"]} for item in trace])
