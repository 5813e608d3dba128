"""Policies as files: their form, reading and printing them (docs/policies.md, "Policies as files")."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cli.errors import UsageError
from cli.structured_file import read_one_text, read_texts
from cli.structured_text import StructuredText, to_yaml
from kms.authz.compile import read_policy
from kms.errors import InvalidField
from kms.model.policy import PolicyContent, PolicyKind
from kms.model.policy_json import content_schema, to_json

KINDS: Mapping[PolicyKind, str] = MappingProxyType(
    {PolicyKind.KMS: "KmsPolicy", PolicyKind.SECRET: "SecretPolicy"}
)
SUFFIXES = (".json", ".yaml", ".yml")

_MEMBERS = ("kind", "name", "etag", "content")


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy as it should be. `name` is as it was written, whole or short, and `etag` may be "".

    `text` is where it was read, for errors that come later.
    """

    name: str
    etag: str
    content: PolicyContent
    text: StructuredText


def file_schema(kind: PolicyKind) -> dict[str, object]:
    """The JSON Schema (2020-12) of a policy file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A file with a policy of the kind {KINDS[kind]}",
        "type": "object",
        "properties": {
            "kind": {"const": KINDS[kind]},
            "name": {"type": "string", "description": "NAMESPACE/ID, or the whole resource name"},
            "etag": {"type": "string", "description": "The policy is changed only if this is its etag"},
            "content": content_schema(kind),
        },
        "required": ["kind", "name", "content"],
        "additionalProperties": False,
    }


def print_policy(kind: PolicyKind, name: str, content: PolicyContent) -> str:
    """A policy file in YAML."""
    return to_yaml({"kind": KINDS[kind], "name": name, "content": to_json(content)})


def read_content(name: str, kind: PolicyKind) -> PolicyContent:
    """The content in a file that holds it alone, or in a policy file. Raises `CliError`, `UsageError`."""
    text = read_one_text(name)
    if isinstance(text.value, Mapping) and "content" in text.value:
        return _policy_file(text, kind).content
    return _content(text, text.value, kind, "")


def read_policy_files(paths: tuple[Path, ...], kind: PolicyKind) -> list[PolicyFile]:
    """The policies of that kind in files and directories, which may hold others as well.

    A file that is named itself must be of the kind. Raises `CliError`, `UsageError`.
    """
    found = []
    for path in paths:
        names = _files_in(path) if path.is_dir() else [str(path)]
        texts = [text for name in names for text in read_texts(name)]
        if path.is_dir():
            texts = [text for text in texts if _kind_of(text) == KINDS[kind]]
        found += [_policy_file(text, kind) for text in texts]
    if not found:
        raise UsageError(f"no policy of the kind {KINDS[kind]} was found")
    return found


def _files_in(directory: Path) -> Iterator[str]:
    return (str(path) for path in sorted(directory.iterdir()) if path.suffix in SUFFIXES)


def _kind_of(text: StructuredText) -> str:
    """Raises `CliError` for what is not of either kind, lest a policy be forgotten for a misspelt word."""
    kind = text.value.get("kind") if isinstance(text.value, Mapping) else None
    if kind not in KINDS.values():
        raise text.fault("kind", "must be one of " + ", ".join(KINDS.values()))
    return str(kind)


def _policy_file(text: StructuredText, kind: PolicyKind) -> PolicyFile:
    if _kind_of(text) != KINDS[kind]:
        raise text.fault("kind", f"is {text.value['kind']}, and a {KINDS[kind]} is expected")
    for member in text.value:
        if member not in _MEMBERS:
            raise text.fault(str(member), "is not a member of policy files")
    name, etag = text.value.get("name"), text.value.get("etag", "")
    for member, value in (("name", name), ("etag", etag)):
        if not isinstance(value, str):
            raise text.fault(member, "must be a string")
    if "content" not in text.value:
        raise text.fault("content", "is missing")
    return PolicyFile(name, etag, _content(text, text.value["content"], kind, "content"), text)


def _content(text: StructuredText, value: Any, kind: PolicyKind, path: str) -> PolicyContent:
    """The content at that path, checked whole. Raises `CliError` with its place."""
    if not isinstance(value, Mapping):
        raise text.fault(path, "is not an object")
    try:
        return read_policy(value, kind)
    except InvalidField as error:
        field, problem, reason = error.field, error.description, error.reason
    raise text.fault(".".join(filter(None, [path, field])), problem, reason)
