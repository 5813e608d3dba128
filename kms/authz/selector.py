"""Kubernetes label selectors: grammar and meaning of apimachinery's `labels.Parse`, without `<` and `>`.

    selector    = [ requirement *( "," requirement ) ]
    requirement = [ "!" ] key | key ( "=" / "==" / "!=" ) [ value ] | key ( "in" / "notin" ) "(" values ")"

Space, tab, CR and LF separate. `in` and `notin` are operators only where an operator can stand. A missing
value is the empty one. Commas in a list of values are read as apimachinery reads them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kms.errors import InvalidField, LimitExceeded
from kms.model.predicate import MAX_SELECTOR_CHARACTERS

_TOKEN = re.compile(r"==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+")
_SYMBOLS = frozenset({"==", "!=", "=", "!", "(", ")", ",", "<", ">"})
_END = ""

_NAME = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_MAX_NAME = 63
_MAX_SUBDOMAIN = 253

EXISTS = "exists"
NOT_EXISTS = "!"
NEGATIVE = frozenset({"!=", "notin"})
_BINARY = ("=", "==", "!=", "in", "notin")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label: `operator` is =, ==, !=, in, notin, ! or exists, `values` are sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """`!=` and `notin` hold also where the label is absent."""
        value = labels.get(self.key)
        if self.operator == EXISTS:
            return value is not None
        if self.operator == NOT_EXISTS:
            return value is None
        if self.operator in NEGATIVE:
            return value not in self.values
        return value in self.values

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == NOT_EXISTS:
            return f"!{self.key}"
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({','.join(self.values)})"
        return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold, sorted by key. Without any it holds for every set of labels."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def parse_selector(text: str, field: str = "selector") -> Selector:
    """Parse the whole of text; the inverse of `str`.

    Raises `InvalidField` with the position of the character at fault, counted from 1; `LimitExceeded`.
    """
    if len(text) > MAX_SELECTOR_CHARACTERS:
        raise LimitExceeded(field, f"at most {MAX_SELECTOR_CHARACTERS} characters are allowed")
    requirements = _Parser(text, field).selector()
    return Selector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, field: str) -> None:
        self._field = field
        tokens = [(token[0], token.start() + 1) for token in _TOKEN.finditer(text)]
        self._tokens = [*tokens, (_END, len(text) + 1)]
        self._next = 0

    def _peek(self) -> str:
        return self._tokens[self._next][0]

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _fail(self, expected: str, back: int = 0) -> InvalidField:
        token, position = self._tokens[self._next - back]
        found = f"found {token[:64]!r}" if token else "the text ends"
        return InvalidField(self._field, f"position {position}: {found}, expected {expected}")

    def _peek_is_word(self) -> bool:
        return self._peek() not in _SYMBOLS and self._peek() != _END

    def selector(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        if self._peek() == _END:
            return requirements
        while True:
            requirements.append(self._requirement())
            if self._peek() == _END:
                return requirements
            if self._peek() != ",":
                raise self._fail("',' or the end")
            self._take()

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._take()
        key = self._key()
        if negated:
            return Requirement(key, NOT_EXISTS)
        if self._peek() in (",", _END):
            return Requirement(key, EXISTS)
        if self._peek() not in _BINARY:
            raise self._fail("one of " + ", ".join(_BINARY))
        operator = self._take()
        values = self._values() if operator in ("in", "notin") else {self._exact_value()}
        return Requirement(key, operator, tuple(sorted(values)))

    def _key(self) -> str:
        if not self._peek_is_word():
            raise self._fail("a label key")
        key = self._take()
        prefix, slash, name = key.rpartition("/")
        prefix_fits = not slash or (len(prefix) <= _MAX_SUBDOMAIN and _SUBDOMAIN.fullmatch(prefix))
        if not prefix_fits or len(name) > _MAX_NAME or not _NAME.fullmatch(name):
            raise self._fail("a label key, [DNS subdomain/]name with a name of 1 to 63 characters", back=1)
        return key

    def _value(self) -> str:
        value = self._take()
        if len(value) > _MAX_NAME or not _NAME.fullmatch(value):
            raise self._fail("a label value of at most 63 letters, digits, '-', '_' and '.'", back=1)
        return value

    def _exact_value(self) -> str:
        if self._peek() in (",", _END):
            return ""
        if not self._peek_is_word():
            raise self._fail("a label value")
        return self._value()

    def _values(self) -> set[str]:
        if self._peek() != "(":
            raise self._fail("'('")
        self._take()
        values = {""} if self._peek() == ")" else self._listed_values()
        self._take()
        return values

    def _listed_values(self) -> set[str]:
        """Up to, not including, the closing parenthesis.

        A comma that opens or ends the list, or follows another, stands for the empty value; the second
        comma of a pair must be followed by something.
        """
        values: set[str] = set()
        while True:
            if self._peek_is_word():
                values.add(self._value())
                if self._peek() == ")":
                    return values
                if self._peek() != ",":
                    raise self._fail("',' or ')'")
            elif self._peek() == ",":
                self._take()
                if not values or self._peek() in (",", ")"):
                    values.add("")
                if self._peek() == ")":
                    return values
                if self._peek() == ",":
                    self._take()
            else:
                raise self._fail("',' or a label value")
