"""`kms secret-access`: how workloads reach vaults."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.access_file import FILE, print_access
from cli.errors import CliError, UsageError
from cli.exit_codes import ExitCode
from cli.online.applying import (
    CREATED,
    UNCHANGED,
    UPDATED,
    apply_options,
    diff,
    named,
    show_diff,
    tell,
)
from cli.online.names import resolve
from cli.online.parameters import etag_option
from cli.online.session import Session, online
from cli.online.view import view
from cli.options import STREAM
from cli.output import write_json
from cli.resource_file import ResourceFile, read_content, read_files
from kms.client.accesses import SERVICE, content_of, to_api
from kms.client.errors import CallNotFound
from kms.model.access_json import access_to_json, without_clear
from kms.model.names import NamespaceName, SecretManagementAccessName
from kms.model.secret_management_access import SecretManagementAccess

_Command = TypeVar("_Command", bound=Callable[..., Any])

_access_argument = click.argument("name", metavar="ACCESS")
_content_argument = click.argument("content", metavar="FILE", type=STREAM)


def _command(name: str, *examples: str) -> Callable[[_Command], click.Command]:
    lines = (f"  kms secret-access {name} {example}" for example in examples)
    return click.command(name, epilog="\b\nExample:\n" + "\n".join(lines))


@_command("create", "prod/corp-vault access.yaml", "prod/corp-vault - < access.json")
@_access_argument
@_content_argument
@online()
def create(session: Session, name: str, content: str) -> None:
    """Make an access to a vault.

    ACCESS is NAMESPACE/ID, or the whole name. FILE says where the vault is, for whom, and with which sealed
    credentials, in YAML or JSON: see docs/external-secrets.md.
    """
    _show(session, _create(session, _whole(session, name), read_content(content, FILE)))


@_command("get", "prod/corp-vault", "--yaml prod/corp-vault > access.yaml")
@_access_argument
@click.option("--yaml", "as_yaml", is_flag=True, help="Print a file for `apply`.")
@online()
def get(session: Session, name: str, as_yaml: bool) -> None:
    """Show an access, without what it has in clear."""
    if as_yaml and session.as_json:
        raise UsageError("--yaml excludes --json")
    whole = _whole(session, name)
    answer = session.call(SERVICE, "GetSecretManagementAccess", {"name": str(whole)})
    if as_yaml:
        click.echo(print_access(f"{whole.namespace}/{whole.access}", content_of(answer)), nl=False)
    else:
        _show(session, answer)


@_command("list", "prod")
@click.argument("namespace", metavar="NAMESPACE")
@online()
def list_accesses(session: Session, namespace: str) -> None:
    """List the accesses of a namespace."""
    request = {"parent": str(resolve(NamespaceName, namespace, session.tenant))}
    answers = session.all_of(SERVICE, "ListSecretManagementAccesses", request, "secret_management_accesses")
    if session.as_json:
        write_json([_view(answer) for answer in answers])
    else:
        session.table([_row(_view(answer)) for answer in answers], _COLUMNS)


@_command("update", "prod/corp-vault access.yaml")
@_access_argument
@_content_argument
@etag_option
@online()
def update(session: Session, name: str, content: str, etag: str) -> None:
    """Give an access another content, which counts from the next fetch on."""
    _show(session, _update(session, str(_whole(session, name)), read_content(content, FILE), etag))


@_command("delete", "prod/corp-vault")
@_access_argument
@etag_option
@online()
def delete(session: Session, name: str, etag: str) -> None:
    """Remove an access: nobody fetches it from now on."""
    whole = str(_whole(session, name))
    session.call(SERVICE, "DeleteSecretManagementAccess", {"name": whole, "etag": etag})
    session.show({"name": whole, "deleted": True})


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done for one file. `before` and `etag` are what was read, None and "" for nothing."""

    file: ResourceFile[SecretManagementAccess]
    name: SecretManagementAccessName
    change: str
    before: Mapping[str, Any] | None
    etag: str

    @property
    def diff(self) -> str:
        """From what is there to what the file says; "" where nothing changes."""
        if self.change == UNCHANGED:
            return ""
        old = "" if self.before is None else print_access(str(self.name), self.before)
        new = print_access(str(self.name), without_clear(self.file.content))
        return diff(old, new, str(self.name), self.file.text.source)


@_command("apply", "-f accesses/ --dry-run", "-f corp-vault.yaml")
@apply_options
@online()
def apply(session: Session, paths: tuple[Path, ...], dry_run: bool) -> None:
    """Make accesses what files say.

    Prints what changes as a unified diff. An access that has changed since it was compared is not overwritten
    (exit code 9). All files are read, and all accesses compared, before the first one is written.

    Of a directory the files *.yaml, *.yml and *.json are read. docs/external-secrets.md describes their form.
    """
    files = named(read_files(paths, FILE), lambda name: str(_whole(session, name)))
    steps = [_step(session, SecretManagementAccessName.parse(name), file) for name, file in files]
    if not session.as_json:
        for step in steps:
            show_diff(step.diff)
    done = [_done(session, step, dry_run) for step in steps]
    if session.as_json:
        write_json(done)


def _step(
    session: Session, name: SecretManagementAccessName, file: ResourceFile[SecretManagementAccess]
) -> Step:
    """Raises `CliError` for an access that the file was not written for."""
    try:
        answer = session.call(SERVICE, "GetSecretManagementAccess", {"name": str(name)})
    except CallNotFound:
        answer = {}
    if file.etag and file.etag != answer.get("etag"):
        raise CliError(f"{name} has changed: its etag is not {file.etag}", code=ExitCode.CONFLICT)
    if not answer:
        return Step(file, name, CREATED, None, "")
    # What is there in clear is not shown, so that it cannot be compared either.
    before = content_of(answer)
    same = before == access_to_json(file.content)
    return Step(file, name, UNCHANGED if same else UPDATED, before, answer["etag"])


def _done(session: Session, step: Step, dry_run: bool) -> dict[str, Any]:
    """Do the step. Raises `CallFailed`."""
    etag = step.etag
    if step.change != UNCHANGED and not dry_run:
        if step.change == CREATED:
            answer = _create(session, step.name, step.file.content)
        else:
            answer = _update(session, str(step.name), step.file.content, step.etag)
        etag = answer["etag"]
    if not session.as_json:
        tell(str(step.name), step.change, f"etag {etag or 'none yet'}", dry_run=dry_run)
    return {"name": str(step.name), "change": step.change, "etag": etag, "diff": step.diff}


def _whole(session: Session, name: str) -> SecretManagementAccessName:
    return resolve(SecretManagementAccessName, name, session.tenant)


def _create(
    session: Session, name: SecretManagementAccessName, access: SecretManagementAccess
) -> dict[str, Any]:
    request = {
        "parent": str(NamespaceName(name.tenant, name.namespace)),
        "secret_management_access_id": name.access,
        "secret_management_access": {"content": to_api(access_to_json(access))},
        "request_id": str(uuid.uuid4()),
    }
    return session.call(SERVICE, "CreateSecretManagementAccess", request)


def _update(session: Session, name: str, access: SecretManagementAccess, etag: str) -> dict[str, Any]:
    sent = {"name": name, "content": to_api(access_to_json(access)), "etag": etag}
    return session.call(SERVICE, "UpdateSecretManagementAccess", {"secret_management_access": sent})


def _view(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The content in the form of files."""
    about = {name: value for name, value in answer.items() if name != "content"}
    return view(about) | {"content": content_of(answer)}


def _show(session: Session, answer: Mapping[str, Any]) -> None:
    shown = _view(answer)
    session.show_view(shown if session.as_json else _brief(shown))


def _brief(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Without what no person reads."""
    return {
        name: f"{len(value)} characters"
        if name in _LONG
        else _brief(value)
        if isinstance(value, Mapping)
        else value
        for name, value in shown.items()
    }


_LONG = frozenset({"location", "ca_pem", "client_certificate_pem"})


_COLUMNS = ("name", "provider", "endpoint", "authentication", "where")


def _row(shown: Mapping[str, Any]) -> dict[str, Any]:
    content = shown["content"]
    return {
        "name": shown["name"],
        "provider": content["provider"],
        "endpoint": content["endpoint"],
        "authentication": content["authentication"]["type"],
        "where": " or ".join(content["where"]["expressions"]),
    }
