"""Rate limits as values: how many units, of which calls, and of whom (docs/limits.md)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from kms.errors import InvalidField, LimitExceeded

MAX_NUMBER = 1_000_000

_HEADER = re.compile(r"[a-z0-9][-_.a-z0-9]{0,62}", re.ASCII)
# What gRPC reads itself, and what is not text.
_RESERVED = ("grpc-", "-bin")


class OperationClass(StrEnum):
    """Calls that are counted together."""

    ENROL = "ENROL"
    OPEN = "OPEN"
    READ = "READ"
    USE = "USE"
    WRITE = "WRITE"


class Period(StrEnum):
    """What a number of units is counted over."""

    SECOND = "SECOND"
    MINUTE = "MINUTE"
    HOUR = "HOUR"

    @property
    def nanoseconds(self) -> int:
        return {"SECOND": 1, "MINUTE": 60, "HOUR": 3600}[self] * 10**9


@dataclass(frozen=True, slots=True)
class Rate:
    """So many units in each period, and up to `burst` at once. Raises `InvalidField`, `LimitExceeded`."""

    number: int
    period: Period
    burst: int

    def __post_init__(self) -> None:
        for field in ("number", "burst"):
            value = getattr(self, field)
            if value < 1:
                raise InvalidField(
                    field, "must be 1 or more; whoever is to be refused altogether has no role"
                )
            if value > MAX_NUMBER:
                raise LimitExceeded(field, f"at most {MAX_NUMBER} is allowed")


class IdentifierKind(StrEnum):
    """What tells one user from another."""

    IDENTITY = "IDENTITY"
    ADDRESS = "ADDRESS"
    HEADER = "HEADER"


@dataclass(frozen=True, slots=True)
class UserIdentifier:
    """What tells users apart: `header` is the name of a metadata header, "" for the other kinds.

    Raises `InvalidField`.
    """

    kind: IdentifierKind = IdentifierKind.IDENTITY
    header: str = ""

    def __post_init__(self) -> None:
        if (self.kind is IdentifierKind.HEADER) != bool(self.header):
            raise InvalidField("header", "is for the kind HEADER, and for no other")
        prefix, suffix = _RESERVED
        is_reserved = self.header.startswith(prefix) or self.header.endswith(suffix)
        if self.header and (is_reserved or not _HEADER.fullmatch(self.header)):
            raise InvalidField("header", "must be the name of a text header in lower case, such as x-user")


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate for each user, counted apart in each of the classes of operations.

    With a header, `rate` is for all values of one caller together, and `value_rate` for each of them.
    """

    name: str
    operation_classes: frozenset[OperationClass]
    rate: Rate
    identifier: UserIdentifier = UserIdentifier()
    value_rate: Rate | None = None


_LIMIT = re.compile(
    r"(?P<classes>[A-Z]+(?:,[A-Z]+)*) (?P<number>[0-9]{1,7})/(?P<period>second|minute|hour)"
    r"(?: burst (?P<burst>[0-9]{1,7}))?(?: by (?P<kind>identity|address))?",
    re.ASCII,
)


def parse_limit(text: str) -> Limit:
    """A limit such as `USE,OPEN 1000/second burst 2000 by identity`, which is also its name.

    The burst is the number, and the users identities, where nothing else is said. Raises `InvalidField`.
    """
    match = _LIMIT.fullmatch(text)
    classes = frozenset(match["classes"].split(",")) if match else frozenset()
    if match is None or not classes <= set(OperationClass):
        known = ", ".join(OperationClass)
        form = "CLASS[,CLASS] NUMBER/second|minute|hour [burst NUMBER] [by identity|address]"
        raise InvalidField("rate_limits", f"{text[:80]!r} is not {form}, of the classes {known}")
    number = int(match["number"])
    rate = Rate(number, Period(match["period"].upper()), int(match["burst"] or number))
    kind = IdentifierKind((match["kind"] or "identity").upper())
    return Limit(text, frozenset(map(OperationClass, classes)), rate, UserIdentifier(kind))
