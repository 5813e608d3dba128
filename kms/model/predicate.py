"""The predicates of a rule as values, with every limit of docs/policies.md.

Each is valid once built, but for what only the engine can judge: the syntax of selectors and regular
expressions, and whether a time zone exists (`kms.authz.compile`). Raises `InvalidField` and
`LimitExceeded` with the path of the field inside the predicate; `within` completes it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from ipaddress import IPv6Network, ip_network

from blindfold.predicates import DAYS, TRANSFORMERS
from kms.errors import InvalidField, LimitExceeded
from kms.model.labels import check_labels
from kms.model.names import check_id

PREFIX_SET = "prefixSets/"

MAX_NAME_BYTES = 256
MAX_EXACT_VALUES = 64
MAX_REGEX_VALUES = 16
MAX_TRANSFORMERS = 9
MAX_EXPRESSIONS = 16
MAX_SELECTOR_CHARACTERS = 4096
MAX_LABEL_KEYS = 16
MAX_AAD_VALUES = 64
MAX_AAD_BYTES = 1024

_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}", re.ASCII)
_MAX_ZONE = 64
_MAPPED = IPv6Network("::ffff:0:0/96")


@contextmanager
def within(path: str) -> Iterator[None]:
    """Put `path` before the field of any `InvalidField` that is raised inside."""
    try:
        yield
    except InvalidField as error:
        dot = "." if error.field and not error.field.startswith("[") else ""
        raise type(error)(f"{path}{dot}{error.field}", error.description) from None


def check_text(text: str, limit: int) -> None:
    """At most `limit` bytes of UTF-8."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = None
    if size is None:
        raise InvalidField("", "is not valid Unicode")
    if size > limit:
        raise LimitExceeded("", f"has {size} bytes, at most {limit} are allowed")


def check_count(values: Sequence[object], limit: int) -> None:
    if len(values) > limit:
        raise LimitExceeded("", f"has {len(values)} items, at most {limit} are allowed")


def check_each(field_name: str, values: Sequence[str], limit: int, check: Callable[[str], object]) -> None:
    """At most `limit` values, each once, each passing `check`."""
    with within(field_name):
        check_count(values, limit)
        seen = set()
        for index, value in enumerate(values):
            with within(f"[{index}]"):
                check(value)
                if value in seen:
                    raise InvalidField("", "is listed twice")
                seen.add(value)


def known(names: Sequence[str]) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value not in names:
            raise InvalidField("", "must be one of " + ", ".join(names))

    return check


def check_name(value: str) -> None:
    """1 to 256 bytes of UTF-8."""
    check_text(value, MAX_NAME_BYTES)
    if not value:
        raise InvalidField("", "must not be empty")


def prefix_set_of(text: str) -> str:
    """The id of the prefix set that stands in the place of a prefix; "" for a prefix."""
    return text.removeprefix(PREFIX_SET) if text.startswith(PREFIX_SET) else ""


def check_prefix_or_set(text: str) -> None:
    """A prefix, as `check_prefix` has it, or a prefix set of the tenant's, as `prefixSets/office`."""
    if text.startswith(PREFIX_SET):
        check_id(text.removeprefix(PREFIX_SET), "")
    else:
        check_prefix(text)


def check_prefix(text: str) -> None:
    """A CIDR prefix in its one canonical text, because a prefix that never matches is a hole in a DENY rule.

    Addresses are looked up with IPv4-mapped ones (RFC 4291, section 2.5.5.2) turned into IPv4.
    """
    try:
        network = ip_network(text, strict=False) if "%" not in text else None
    except ValueError:
        network = None
    if network is None:
        raise InvalidField("", "is not an address prefix such as 10.0.0.0/8 or 2001:db8::/32")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise InvalidField("", "is IPv4-mapped; such callers count as IPv4, so write the IPv4 prefix")
    if str(network) != text:
        raise InvalidField("", f"must be written {network}")


def _check_label_key(key: str) -> None:
    check_labels({key: ""}, "")


@dataclass(frozen=True, slots=True)
class NameMatcher:
    """Holds when a name, after the transformers in order, equals a value or fully matches a regex."""

    exact_values: tuple[str, ...] = ()
    regex_values: tuple[str, ...] = ()
    transformers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.exact_values and not self.regex_values:
            raise InvalidField("", "needs exact_values or regex_values")
        check_each("exact_values", self.exact_values, MAX_EXACT_VALUES, check_name)
        check_each("regex_values", self.regex_values, MAX_REGEX_VALUES, check_name)
        with within("transformers"):
            check_count(self.transformers, MAX_TRANSFORMERS)
            for index, name in enumerate(self.transformers):
                with within(f"[{index}]"):
                    known(TRANSFORMERS)(name)


@dataclass(frozen=True, slots=True)
class ClientSelector:
    """Holds when one of the label selectors does."""

    expressions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.expressions:
            raise InvalidField("", "needs expressions")
        check_each("expressions", self.expressions, MAX_EXPRESSIONS, self._check_expression)
        total = sum(map(len, self.expressions))
        if total > MAX_SELECTOR_CHARACTERS:
            raise LimitExceeded(
                "expressions",
                f"have {total} characters together, at most {MAX_SELECTOR_CHARACTERS} are allowed",
            )

    @staticmethod
    def _check_expression(text: str) -> None:
        check_text(text, 4 * MAX_SELECTOR_CHARACTERS)
        if not text.strip():
            raise InvalidField("", "must not be empty, which would hold for every caller")


@dataclass(frozen=True, slots=True)
class LabelMatcher:
    """Holds when, for every key, caller and resource have the label, with equal values."""

    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys:
            raise InvalidField("", "needs keys")
        check_each("keys", self.keys, MAX_LABEL_KEYS, _check_label_key)


@dataclass(frozen=True, slots=True)
class AadMatcher:
    """Holds when the additional authenticated data equals one of `equals` or starts with one of
    `starts_with` (where either is set), and contains none of `lacks`.

    `equals` may hold the empty value: no additional data was given.
    """

    equals: tuple[bytes, ...] = ()
    starts_with: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not self.equals and not self.starts_with and not self.lacks:
            raise InvalidField("", "needs equals, starts_with or lacks")
        for name, values in (
            ("equals", self.equals),
            ("starts_with", self.starts_with),
            ("lacks", self.lacks),
        ):
            with within(name):
                check_count(values, MAX_AAD_VALUES)
                for index, value in enumerate(values):
                    with within(f"[{index}]"):
                        self._check_value(value, may_be_empty=name == "equals")

    def accepts(self, aad: bytes) -> bool:
        """Whether it holds for this data."""
        asks = bool(self.equals or self.starts_with)
        found = aad in self.equals or aad.startswith(self.starts_with)
        return (found or not asks) and not any(value in aad for value in self.lacks)

    @staticmethod
    def _check_value(value: bytes, *, may_be_empty: bool) -> None:
        if not value and not may_be_empty:
            raise InvalidField("", "must not be empty")
        if len(value) > MAX_AAD_BYTES:
            raise LimitExceeded("", f"has {len(value)} bytes, at most {MAX_AAD_BYTES} are allowed")


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Holds from `not_before` on, until just before `not_after`, on `days`, from `start_time` on, until
    just before `end_time`.

    Days and hours are those of a wall clock in `time_zone` (IANA; UTC if None); an hour that a change of
    the clock repeats counts both times. If `end_time` is before `start_time` the window spans midnight, and
    `days` are those on which it starts. An `end_time` of 00:00 is the end of the day.
    """

    not_before: datetime | None = None
    not_after: datetime | None = None
    days: tuple[str, ...] = ()
    start_time: time | None = None
    end_time: time | None = None
    time_zone: str | None = None

    def __post_init__(self) -> None:
        if not self.not_before and not self.not_after and not self.days and self.start_time is None:
            raise InvalidField("", "needs not_before, not_after, days or start_time")
        for name, moment in (("not_before", self.not_before), ("not_after", self.not_after)):
            if moment is not None and moment.utcoffset() != timedelta(0):
                raise InvalidField(name, "must be in UTC")
        if self.not_before and self.not_after and self.not_before >= self.not_after:
            raise InvalidField("not_after", "must be later than not_before")
        check_each("days", self.days, len(DAYS), known(DAYS))
        if (self.start_time is None) != (self.end_time is None):
            raise InvalidField("end_time", "start_time and end_time need each other")
        if self.start_time is not None and self.start_time == self.end_time:
            raise InvalidField("end_time", "must differ from start_time; leave both out for whole days")
        self._check_zone()

    def _check_zone(self) -> None:
        if self.time_zone is None:
            return
        if len(self.time_zone) > _MAX_ZONE or not _ZONE.fullmatch(self.time_zone):
            raise InvalidField("time_zone", "is not an IANA time zone such as Europe/Prague")
        if not self.days and self.start_time is None:
            raise InvalidField("time_zone", "says nothing without days or hours")
