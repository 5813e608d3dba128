"""Name matchers: transformers, and the one set of regular expressions of a policy.

Transformers know ASCII alone: letters beyond it have no case and no spaces here, so that a revision that was
written once decides alike under every later version of Unicode.
"""

import base64
import re
import string
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

import re2

from kms.errors import InvalidField, LimitExceeded

_WHITESPACE = " \t\r\n\v\f"
_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_TO_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_NO_WHITESPACE = str.maketrans("", "", _WHITESPACE)
_PERCENT_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)
_TOO_LARGE = "pattern too large"
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


def _url_decode(name: str) -> str:
    """Percent-decoding (RFC 3986, section 2.1), once; a plus sign stays. Raises `ValueError`."""
    if not _PERCENT_ENCODED.fullmatch(name):
        raise ValueError("a percent sign without two hex digits")
    return unquote_to_bytes(name).decode("utf-8")


def _base64_decode(name: str) -> str:
    """Standard base64 with padding (RFC 4648, section 4), canonical, of UTF-8. Raises `ValueError`."""
    decoded = base64.b64decode(name, validate=True)
    if base64.b64encode(decoded).decode("ascii") != name:
        raise ValueError("not canonical")
    return decoded.decode("utf-8")


def _normalize_path(name: str) -> str:
    """Remove dot segments (RFC 3986, section 5.2.4) and repeated slashes, after a scheme and authority."""
    authority = _AUTHORITY.match(name)
    start = authority.end() if authority else 0
    path = name[start:]
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    root = "/" if path.startswith("/") else ""
    ends_in_directory = bool(kept) and segments[-1] in ("", ".", "..")
    return name[:start] + root + "/".join(kept) + "/" * ends_in_directory


TRANSFORMS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "LOWER_CASE": lambda name: name.translate(_TO_LOWER),
        "UPPER_CASE": lambda name: name.translate(_TO_UPPER),
        "TRIM": lambda name: name.strip(_WHITESPACE),
        "TRIM_LEFT": lambda name: name.lstrip(_WHITESPACE),
        "TRIM_RIGHT": lambda name: name.rstrip(_WHITESPACE),
        "REMOVE_WHITESPACE": lambda name: name.translate(_NO_WHITESPACE),
        "URL_DECODE": _url_decode,
        "BASE64_DECODE": _base64_decode,
        "NORMALIZE_PATH": _normalize_path,
    }
)


def transform(name: str, transformers: Iterable[str]) -> str | None:
    """The name after the transformers in order, or None if it does not decode: then it equals nothing."""
    try:
        for transformer in transformers:
            name = TRANSFORMS[transformer](name)
    except ValueError:
        return None
    return name


class RegexFault(Exception):
    """The engine gave up on a text. It says so by reporting no match, which a DENY rule must not trust."""


class RegexSet:
    """All regular expressions of a policy in one RE2 set: linear time, anchored at both ends.

    `.` matches every character, a newline too, so that no name slips past `.*`. The memory, in bytes, that
    one pattern and all together may take bounds the time that compiling and matching take. `instructions` is
    the size of the patterns as programs; a search takes time by it, and by the length of the text.
    """

    MAX_MEMORY = 1 << 20
    MAX_PATTERN_MEMORY = 256 << 10
    _WITNESS = ".*"

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._set = re2.Set.FullMatchSet(_options(self.MAX_MEMORY))
        self._witness = -1
        self.instructions = 0

    def add(self, pattern: str) -> int:
        """The id of the pattern in this set. Raises `InvalidField`, without a path, for a bad pattern."""
        if pattern not in self._ids:
            self.instructions += check_regex(pattern)
            self._ids[pattern] = self._set.Add(pattern)
        return self._ids[pattern]

    def compile(self) -> None:
        """To be called once, after the last `add`. Raises `LimitExceeded`."""
        self._witness = self.add(self._WITNESS)
        try:
            self._set.Compile()
            return
        except re2.error:
            pass
        raise LimitExceeded(
            "rules", f"the regular expressions need more than {self.MAX_MEMORY} bytes together"
        )

    def matches(self, text: str) -> list[int]:
        """The ids of the patterns that match the whole of text.

        Raises `RegexFault` if the engine ran out of memory, known by a pattern that always matches.
        """
        ids: list[int] = self._set.Match(text) or []
        if self._witness not in ids:
            raise RegexFault
        return ids


def check_regex(pattern: str) -> int:
    """The size of the pattern as a program, in instructions.

    Raises `InvalidField`, without a path, if RE2 does not take the pattern; `LimitExceeded` by size.
    """
    limit = RegexSet.MAX_PATTERN_MEMORY
    try:
        return int(re2.compile(pattern, _options(limit)).programsize)
    except re2.error as error:
        fault = error.args[0].decode("utf-8", "replace")
    if fault.startswith(_TOO_LARGE):
        raise LimitExceeded("", f"needs more than {limit} bytes when compiled; shorten its repetitions")
    raise InvalidField("", f"is not a regular expression of RE2: {fault}")


def _options(memory: int) -> "re2.Options":
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    options.dot_nl = True
    options.never_capture = True
    return options
