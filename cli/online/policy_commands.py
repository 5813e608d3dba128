"""The commands that both kinds of policies have: each function makes one, for a kind."""

import uuid
from collections.abc import Mapping
from typing import Any

import click

from cli.errors import CliError, UsageError
from cli.online.parameters import etag_option
from cli.online.policy_calls import (
    call,
    content_argument,
    content_of,
    namespace_argument,
    namespace_name,
    policy_argument,
    to_api,
)
from cli.online.session import Session, online
from cli.policy_file import print_policy
from cli.policy_kind import SECRET, Kind
from cli.resource_file import read_content
from kms.model.names import NamespaceName
from kms.model.policy import PolicyContent

_FILE = "FILE holds the rules, in YAML or JSON: see docs/policies.md."


def create(kind: Kind) -> click.Command:
    bound = " What is sealed to it is bound to one revision of the rules, unless its binding says POLICY."
    text = (
        f"Make a {kind.noun} with its first revision.\n\nPOLICY is NAMESPACE/ID, or the whole name. {_FILE}"
    )
    examples = (f"{kind.example} rules.yaml", f"{kind.example} - < rules.json")

    @kind.command("create", text + bound * (kind is SECRET), *examples)
    @policy_argument
    @content_argument
    @online()
    def command(session: Session, name: str, content: str) -> None:
        session.show(create_policy(session, kind, name, read_content(content, kind.file)))

    return command


def create_policy(session: Session, kind: Kind, name: str, content: PolicyContent) -> dict[str, Any]:
    """The new policy, as the API shows it. Raises `CallFailed`."""
    policy = kind.resolve(name, session.tenant)
    request = {
        "parent": str(NamespaceName(policy.tenant, policy.namespace)),
        f"{kind.field}_id": policy.policy,
        kind.field: {"content": to_api(content)},
        "request_id": str(uuid.uuid4()),
    }
    return call(session, kind, "Create", request)


def update_policy(
    session: Session, kind: Kind, name: str, content: PolicyContent, etag: str
) -> dict[str, Any]:
    """The policy with its next revision, as the API shows it. Raises `CallFailed`."""
    policy = {"name": kind.name(name, session.tenant), "content": to_api(content), "etag": etag}
    return call(session, kind, "Update", {kind.field: policy})


def get(kind: Kind) -> click.Command:
    examples = (kind.example, f"--revision 3 {kind.example}", f"--yaml {kind.example} > rules.yaml")

    @kind.command("get", f"Show a {kind.noun}, deleted ones too.", *examples)
    @policy_argument
    @click.option("--revision", type=click.IntRange(1), help="An older revision instead of the current one.")
    @click.option("--yaml", "as_yaml", is_flag=True, help="Print a policy file, for `apply`.")
    @online()
    def command(session: Session, name: str, revision: int | None, as_yaml: bool) -> None:
        if as_yaml and session.as_json:
            raise UsageError("--yaml excludes --json")
        request = {"name": kind.name(name, session.tenant, revision)}
        if revision is None:
            answer = call(session, kind, "Get", request)
        else:
            answer = session.call(kind.service, kind.revisions[1], request)
        if as_yaml:
            policy = kind.resolve(name, session.tenant)
            text = print_policy(kind.policy, f"{policy.namespace}/{policy.policy}", content_of(answer, kind))
            click.echo(text, nl=False)
        else:
            session.show(answer)

    return command


def list_policies(kind: Kind) -> click.Command:
    @kind.command("list", f"List the {kind.noun[:-1]}ies of a namespace.", "prod", "--show-deleted prod")
    @namespace_argument
    @click.option("--show-deleted", is_flag=True, help="List deleted policies too.")
    @online()
    def command(session: Session, namespace: str, show_deleted: bool) -> None:
        request = {"parent": namespace_name(session, namespace), "show_deleted": show_deleted}
        found = session.all_of(kind.service, f"List{kind.resources}", request, kind.listed)
        session.table(found, kind.columns)

    return command


def update(kind: Kind) -> click.Command:
    text = "Give a KMS policy other rules, which hold with the next call."
    if kind is SECRET:
        text = """Make the next revision of a secret policy.

        What was sealed to an older revision stays with it: revoke or narrow that one, or reseal.
        """

    @kind.command("update", text, f"{kind.example} rules.yaml")
    @policy_argument
    @content_argument
    @etag_option
    @online()
    def command(session: Session, name: str, content: str, etag: str) -> None:
        session.show(update_policy(session, kind, name, read_content(content, kind.file), etag))

    return command


def delete(kind: Kind) -> click.Command:
    effect = "nothing sealed to it can be opened" if kind is SECRET else "it denies everything"
    return _etag_guarded(kind, "Delete", f"Delete a {kind.noun}: {effect} until it is undeleted.")


def undelete(kind: Kind) -> click.Command:
    return _etag_guarded(kind, "Undelete", f"Bring a deleted {kind.noun} back with all its revisions.")


def _etag_guarded(kind: Kind, verb: str, text: str) -> click.Command:
    @kind.command(verb.lower(), text, kind.example)
    @policy_argument
    @etag_option
    @online()
    def command(session: Session, name: str, etag: str) -> None:
        session.show(call(session, kind, verb, {"name": kind.name(name, session.tenant), "etag": etag}))

    return command


def revisions(kind: Kind) -> click.Command:
    @kind.command("revisions", f"List the revisions of a {kind.noun}, oldest first.", kind.example)
    @policy_argument
    @online()
    def command(session: Session, name: str) -> None:
        request = {"parent": kind.name(name, session.tenant)}
        found = session.all_of(kind.service, kind.revisions[0], request, "revisions")
        session.table(found, kind.revision_columns)

    return command


def validate(kind: Kind) -> click.Command:
    text = (
        "Check the content of a policy without storing it.\n\nPrints a line for everything that is valid but "
        "probably not meant; docs/policies.md explains them."
    )

    @kind.command("validate", text, "prod rules.yaml", "--strict prod rules.yaml")
    @namespace_argument
    @content_argument
    @click.option("--strict", is_flag=True, help="End with exit code 1 if there is any warning.")
    @online()
    def command(session: Session, namespace: str, content: str, strict: bool) -> None:
        request = {
            "parent": namespace_name(session, namespace),
            "content": to_api(read_content(content, kind.file)),
        }
        warnings = call(session, kind, "Validate", request).get("warnings", [])
        session.lines(warnings, _warning_line)
        if strict and warnings:
            raise CliError(f"{len(warnings)} warnings", hint="docs/policies.md explains them.")

    return command


def _warning_line(warning: Mapping[str, Any]) -> str:
    return f"{warning.get('field', '')}: {warning['code']}: {warning['message']}"
