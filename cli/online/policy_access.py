"""`who-can`: the identities that a policy of either kind, or what is under one, allows."""

import base64
from typing import Any

import click

from blindfold.exponent import Binding
from cli.errors import CliError, UsageError
from cli.exit_codes import ExitCode
from cli.offline.inspect import read_inspection
from cli.online import parameters
from cli.online.crypto import base64_text
from cli.online.names import resolve
from cli.online.session import Session, online
from cli.options import STREAM
from cli.policy_kind import KMS, SECRET, Kind
from kms.model.names import KeyName, TenantName
from kms.model.policy import OPERATIONS

COLUMNS = ("identity", "verdict", "allowing_rules", "depends_on")

_EXAMPLES = {
    KMS: ("prod/orders --operation ENCRYPT", "--key prod/orders-1 --operation DECRYPT --address 10.0.0.7"),
    SECRET: ("prod/web-tls", "--sealed tls.key.sealed --time 2030-01-31T12:00:00Z"),
}
_OTHERS = {KMS: "a key, by all its policies and by roles", SECRET: "a sealed secret, by its policy"}
_OPTIONS = {
    KMS: (
        click.option("--key", default="", metavar="KEY", help="Ask all policies of this key, and roles."),
        click.option("--operation", type=click.Choice(OPERATIONS), required=True, help="What the calls do."),
        click.option("--aad", metavar="TEXT", help="The additional authenticated data of the calls."),
    ),
    SECRET: (
        click.option(
            "--sealed", type=STREAM, default="", metavar="FILE", help="Ask the policy of this secret."
        ),
    ),
}


def who_can(kind: Kind) -> click.Command:
    text = f"""List who is allowed by a {kind.noun}, or may be.

    POLICY is asked by itself. In its place stands {_OTHERS[kind]}. Of the address, the time and other things
    that are not given nothing is assumed: where they decide, the verdict is UNKNOWN. Names, labels and roles
    are those that the identities were granted last. Whoever is denied is left out.
    """

    @kind.command("who-can", text, *_EXAMPLES[kind])
    @click.argument("name", metavar="[POLICY]", default="")
    @click.option("--revision", type=click.IntRange(1), help="Ask this revision instead of the current one.")
    @click.option("--address", default="", metavar="IP", help="Where the calls come from.")
    @click.option("--time", type=parameters.time, metavar="TIME", help="When the calls come.")
    @online()
    def command(
        session: Session, name: str, revision: int | None, address: str, time: str | None, **more: Any
    ) -> None:
        asked = _of_key(session, **more) if kind is KMS else _of_secret(**more)
        if bool(name) == ("name" in asked):
            raise UsageError(f"give either POLICY or {_OPTIONS_OF_OTHERS[kind]}")
        if revision is not None and not name:
            raise UsageError("--revision needs POLICY")
        policy = {"name": kind.name(name, session.tenant, revision)} if name else {}
        request = {"address": address, "time": time} | asked | policy
        method = f"Review{kind.resource}Access"
        session.table(session.all_of(kind.service, method, request, "identities"), COLUMNS)

    for option in _OPTIONS[kind]:
        option(command)
    return command


_OPTIONS_OF_OTHERS = {KMS: "--key", SECRET: "--sealed"}


def _of_key(session: Session, key: str, operation: str, aad: str | None) -> dict[str, Any]:
    asked = {"operation": f"OPERATION_{operation}"}
    if key:
        asked["name"] = str(resolve(KeyName, key, session.tenant))
    return asked if aad is None else asked | {"additional_authenticated_data": base64_text(aad)}


def _of_secret(sealed: str) -> dict[str, Any]:
    """What a sealed secret says of its policy. Nothing of it is authenticated before the secret is opened."""
    if not sealed:
        return {}
    inspection = read_inspection(sealed)
    if inspection.header is None:
        raise CliError(inspection.problem, code=ExitCode.DAMAGED)
    lock = inspection.header.lock
    if lock.binding is Binding.POLICY and lock.policy is not None:
        return {"name": lock.policy[0]}
    digest = base64.b64encode(lock.binding_value).decode("ascii")
    return {"name": str(TenantName(lock.tenant)), "policy_digest": digest}
