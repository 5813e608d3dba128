"""Resources as files: their kind, name, etag and content, in YAML or JSON.

One directory may hold files of several kinds; each command takes those of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from cli.errors import UsageError
from cli.structured_file import read_one_text, read_texts
from cli.structured_text import StructuredText
from kms.errors import InvalidField

C = TypeVar("C")

# Every kind that a file may be of.
KINDS = ("KmsPolicy", "SecretPolicy", "SecretManagementAccess")
SUFFIXES = (".json", ".yaml", ".yml")

_MEMBERS = ("kind", "name", "etag", "content")


@dataclass(frozen=True, slots=True)
class FileKind(Generic[C]):
    """`word` is one of `KINDS`; `parse` raises `InvalidField`; `schema` is the content's JSON Schema."""

    word: str
    parse: Callable[[Mapping[str, object]], C]
    schema: Mapping[str, object]

    def file_schema(self) -> dict[str, object]:
        """The JSON Schema (2020-12) of a file."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"A file with a resource of the kind {self.word}",
            "type": "object",
            "properties": {
                "kind": {"const": self.word},
                "name": {"type": "string", "description": "NAMESPACE/ID, or the whole resource name"},
                "etag": {"type": "string", "description": "The resource is changed only if this is its etag"},
                "content": self.schema,
            },
            "required": ["kind", "name", "content"],
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class ResourceFile(Generic[C]):
    """A resource as it should be. `name` is as it was written, whole or short, and `etag` may be "".

    `text` is where it was read, for errors that come later.
    """

    name: str
    etag: str
    content: C
    text: StructuredText


def read_content(name: str, kind: FileKind[C]) -> C:
    """The content in a file, alone or with its kind and name. Raises `CliError`, `UsageError`."""
    text = read_one_text(name)
    if isinstance(text.value, Mapping) and "content" in text.value:
        return _resource_file(text, kind).content
    return _content(text, text.value, kind, "")


def read_files(paths: tuple[Path, ...], kind: FileKind[C]) -> list[ResourceFile[C]]:
    """The resources of that kind in files and directories, which may hold others as well.

    A file that is named itself must be of the kind. Raises `CliError`, `UsageError`.
    """
    found = []
    for path in paths:
        names = _files_in(path) if path.is_dir() else [str(path)]
        texts = [text for name in names for text in read_texts(name)]
        if path.is_dir():
            texts = [text for text in texts if _kind_of(text) == kind.word]
        found += [_resource_file(text, kind) for text in texts]
    if not found:
        raise UsageError(f"nothing of the kind {kind.word} was found")
    return found


def _files_in(directory: Path) -> Iterator[str]:
    return (str(path) for path in sorted(directory.iterdir()) if path.suffix in SUFFIXES)


def _kind_of(text: StructuredText) -> str:
    """Raises `CliError` for what is of no kind, lest a resource be forgotten for a misspelt word."""
    kind = text.value.get("kind") if isinstance(text.value, Mapping) else None
    if kind not in KINDS:
        raise text.fault("kind", "must be one of " + ", ".join(KINDS))
    return str(kind)


def _resource_file(text: StructuredText, kind: FileKind[C]) -> ResourceFile[C]:
    if _kind_of(text) != kind.word:
        raise text.fault("kind", f"is {text.value['kind']}, and a {kind.word} is expected")
    for member in text.value:
        if member not in _MEMBERS:
            raise text.fault(str(member), "is not a member of such files")
    name, etag = text.value.get("name"), text.value.get("etag", "")
    for member, value in (("name", name), ("etag", etag)):
        if not isinstance(value, str):
            raise text.fault(member, "must be a string")
    if "content" not in text.value:
        raise text.fault("content", "is missing")
    return ResourceFile(name, etag, _content(text, text.value["content"], kind, "content"), text)


def _content(text: StructuredText, value: Any, kind: FileKind[C], path: str) -> C:
    """The content at that path, checked whole. Raises `CliError` with its place."""
    if not isinstance(value, Mapping):
        raise text.fault(path, "is not an object")
    try:
        return kind.parse(value)
    except InvalidField as error:
        field, problem, reason = error.field, error.description, error.reason
    raise text.fault(".".join(filter(None, [path, field])), problem, reason)
