"""YAML and JSON that people write, as JSON values of which every error can name its line.

Of YAML that is left which says what it seems to say: strings, whole numbers, `true` and `false`, lists and
mappings. Anchors, tags, merged and repeated keys, and plain words that some reader of YAML takes for
something else than text (`no`, `1.0`, `2030-01-31`, `22:00`, nothing at all) are refused. Text that begins
with `{` is JSON.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml

from cli.errors import CliError
from cli.exit_codes import ExitCode
from kms.model import strict_json

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})", re.ASCII)
# Plain words that are no text to readers of YAML 1.2, or to strict ones of 1.1, beyond what PyYAML knows.
_AMBIGUOUS = re.compile(
    r"[yYnN]|0o[0-7]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII
)
_TEXT = "tag:yaml.org,2002:str"
_TRUTHS: Mapping[str, bool] = MappingProxyType({"true": True, "false": False})
_CALLED: Mapping[str, str] = MappingProxyType(
    {
        "bool": "a boolean in YAML",
        "float": "a number with a fraction in YAML",
        "int": "a number in YAML",
        "merge": "a merge key in YAML",
        "null": "no value at all in YAML",
        "str": "a boolean or a number to some readers of YAML",
        "timestamp": "a date or time in YAML",
    }
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.SafeLoader("")


@dataclass(frozen=True, slots=True)
class StructuredText:
    """A value, and the lines on which its parts begin, by paths such as `rules[3].name`; none for JSON."""

    source: str
    value: Any
    lines: Mapping[str, int]

    def fault(self, path: str, problem: str, reason: str = "") -> CliError:
        """What to raise about what is at that path."""
        return _fault(self.source, self._line(path), path, problem, reason)

    def _line(self, path: str) -> int | None:
        """The line of the innermost part around the path that is known."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


def parse_texts(source: str, data: bytes) -> list[StructuredText]:
    """All documents of a YAML file, or the one value of a JSON file. Raises `CliError`."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _fault(source, None, "", "is not UTF-8") from None
    try:
        if text.lstrip().startswith("{"):
            return [StructuredText(source, _json(source, text), {})]
        return list(_Documents(source, text))
    except RecursionError:
        pass
    raise _fault(source, None, "", "is nested too deeply")


def to_yaml(value: Mapping[str, Any]) -> str:
    """YAML that `parse_texts` reads as this value. What a terminal would obey is escaped."""
    text = _dump(value, allow_unicode=True)
    return text if text.replace("\n", " ").isprintable() else _dump(value, allow_unicode=False)


def _fault(source: str, line: int | None, path: str, problem: str, reason: str = "") -> CliError:
    place = source if line is None else f"{source}:{line}"
    return CliError(
        ": ".join(filter(None, [place, path, problem])),
        hint="docs/policies.md, docs/external-secrets.md and docs/wingman.md describe the forms of files.",
        code=ExitCode.USAGE,
        reason=reason,
    )


def _json(source: str, text: str) -> Any:
    try:
        return strict_json.loads(text)
    except json.JSONDecodeError as error:
        line, problem = error.lineno, f"is not JSON: {error.msg} at column {error.colno}"
    except ValueError as error:
        line, problem = 0, f"is not JSON: {error}"
    raise _fault(source, line or None, "", problem)


class _Documents:
    """The documents of a YAML text, built from the parser's events."""

    def __init__(self, source: str, text: str) -> None:
        self._source = source
        self._text = text
        self._lines: dict[str, int] = {}

    def __iter__(self) -> Iterator[StructuredText]:
        try:
            self._events = yaml.parse(self._text, Loader=_LOADER)
            for event in self._events:
                if isinstance(event, yaml.DocumentStartEvent):
                    self._lines = {}
                    value = self._value(next(self._events), "")
                    yield StructuredText(self._source, value, self._lines)
            return
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "a character that YAML does not allow"
        raise _fault(self._source, mark and mark.line + 1, "", f"is not YAML: {problem}")

    def _value(self, event: Any, path: str) -> Any:
        self._lines[path] = event.start_mark.line + 1
        self._check_plain(event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        if not event.style and event.value in _TRUTHS:
            return _TRUTHS[event.value]
        return self._scalar(event, path)

    def _check_plain(self, event: Any, path: str) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._fault(event, path, "anchors and aliases are refused; write the value out")
        if event.tag is not None:
            raise self._fault(event, path, "tags are refused; leave it out")

    def _mapping(self, path: str) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            if key in members:
                raise self._fault(event, path, f"the key {json.dumps(key[:64])} occurs twice")
            inner = f"{path}.{key}" if path else key
            members[key] = self._value(next(self._events), inner)
            self._lines[inner] = event.start_mark.line + 1
        return members

    def _key(self, event: Any, path: str) -> str:
        self._check_plain(event, path)
        if not isinstance(event, yaml.ScalarEvent):
            raise self._fault(event, path, "a key must be text")
        return str(self._scalar(event, path))

    def _sequence(self, path: str) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, f"{path}[{len(items)}]"))
        return items

    def _scalar(self, event: Any, path: str) -> str | int:
        text = str(event.value)
        if event.style or _is_plain_text(text):
            return text
        if _INTEGER.fullmatch(text):
            return int(text)
        called = _CALLED.get(_tag(text).rpartition(":")[2], "no text")
        raise self._fault(
            event, path, f"{text[:64] or 'what is left empty'} is {called}; quote it if it is text"
        )

    def _fault(self, event: Any, path: str, problem: str) -> CliError:
        return _fault(self._source, event.start_mark.line + 1, path, problem)


def _tag(text: str) -> str:
    return str(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)))


def _is_plain_text(text: str) -> bool:
    """Whether the text, unquoted, is itself to every reader of YAML."""
    return _tag(text) == _TEXT and not _AMBIGUOUS.fullmatch(text)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes every text that is not itself without."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, text: str) -> Any:
        return self.represent_scalar(_TEXT, text, style=None if _is_plain_text(text) else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def _dump(value: Mapping[str, Any], *, allow_unicode: bool) -> str:
    return str(
        yaml.dump(
            dict(value),
            Dumper=_Dumper,
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=allow_unicode,
            width=100,
        )
    )
