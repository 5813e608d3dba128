"""`apply`: make the policies of the KMS those that files say, and show what that changes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.errors import CliError
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
from cli.online.policy_calls import call, content_of, to_api
from cli.online.policy_commands import create_policy, update_policy
from cli.online.session import Session, online
from cli.online.view import view
from cli.output import write_json
from cli.policy_file import print_policy
from cli.policy_kind import KMS, Kind
from cli.resource_file import ResourceFile, read_files
from kms.authz.prefix_sets import references
from kms.client.errors import CallNotFound
from kms.model.policy import PolicyContent

PolicyFile = ResourceFile[PolicyContent]


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done for one file. `revision` and `etag` are those that were read, 0 and "" for none.

    `after` is what the file says as a revision would have it.
    """

    file: PolicyFile
    name: str
    change: str
    before: PolicyContent | None
    after: PolicyContent
    revision: int
    etag: str

    def diff(self, kind: Kind) -> str:
        """Unified, from what is there to what the file says; "" where nothing changes."""
        if self.change == UNCHANGED:
            return ""
        old = "" if self.before is None else print_policy(kind.policy, self.name, self.before)
        new = print_policy(kind.policy, self.name, self.after)
        return diff(old, new, f"{self.name} revision {self.revision}", self.file.text.source)


def apply(kind: Kind) -> click.Command:
    text = f"""Make {kind.noun[:-1]}ies what files say.

    Prints what changes as a unified diff. A policy that is as its file says gets no new revision; one that
    has changed since it was compared is not overwritten (exit code 9). All files are read, and all policies
    compared, before the first one is written.

    Of a directory the files *.yaml, *.yml and *.json are read. docs/policies.md describes their form.
    """

    @kind.command("apply", text, "-f policies/ --dry-run", "-f rules.yaml")
    @apply_options
    @online()
    def command(session: Session, paths: tuple[Path, ...], dry_run: bool) -> None:
        files = named(read_files(paths, kind.file), lambda name: kind.name(name, session.tenant))
        steps = [_step(session, kind, file, name) for name, file in files]
        if not session.as_json:
            for step in steps:
                show_diff(step.diff(kind))
        done = [_done(session, kind, step, dry_run) for step in steps]
        if session.as_json:
            write_json(done)

    return command


def _step(session: Session, kind: Kind, file: PolicyFile, name: str) -> Step:
    try:
        answer = call(session, kind, "Get", {"name": name})
    except CallNotFound:
        answer = {}
    if file.etag and file.etag != answer.get("etag"):
        raise CliError(f"{name} has changed: its etag is not {file.etag}", code=ExitCode.CONFLICT)
    if not answer:
        return Step(file, name, CREATED, None, file.content, 0, "")
    if view(answer)["state"] == "DELETED":
        raise CliError(f"{name} is deleted; undelete it first", code=ExitCode.CONFLICT)
    before = content_of(answer, kind)
    after = _resolved(session, kind, file, name)
    change = UNCHANGED if before == after else UPDATED
    return Step(file, name, change, before, after, answer["revision"], answer["etag"])


def _resolved(session: Session, kind: Kind, file: PolicyFile, name: str) -> PolicyContent:
    """The content as a revision would have it: a secret policy's has no prefix sets."""
    if kind is KMS or not references(file.content):
        return file.content
    request = {"parent": name.rpartition("/secretPolicies/")[0], "content": to_api(file.content)}
    return content_of(call(session, kind, "Validate", request), kind)


def _done(session: Session, kind: Kind, step: Step, dry_run: bool) -> dict[str, Any]:
    """Do the step. Raises `CallFailed`."""
    revision = step.revision
    if step.change != UNCHANGED and not dry_run:
        if step.change == CREATED:
            answer = create_policy(session, kind, step.name, step.file.content)
        else:
            answer = update_policy(session, kind, step.name, step.file.content, step.etag)
        revision = answer["revision"]
    if not session.as_json:
        tell(step.name, step.change, f"revision {revision or 'none yet'}", dry_run=dry_run)
    return {"name": step.name, "change": step.change, "revision": revision, "diff": step.diff(kind)}
