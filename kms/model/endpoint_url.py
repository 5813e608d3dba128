"""URLs that secrets are fetched from: in one spelling, so that no two readers see two places in one."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Self
from urllib.parse import urlsplit

from blindfold.envelope import MAX_NAME
from kms.errors import InvalidField

# The name in a sealed file, which an endpoint is for its credentials, has no more.
MAX_URL = MAX_NAME

_CHARACTERS = re.compile(r"[-A-Za-z0-9._~:/\[\]]+", re.ASCII)
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
# The last label of a name is no number: resolvers take `127.1` and `0x7f000001` for addresses.
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!0x)(?=[-a-z0-9]*[a-z]){_LABEL}", re.ASCII)
_SEGMENT = re.compile(r"[-A-Za-z0-9._~@:+=,]+", re.ASCII)
MAX_PATH = 512


def check_path(path: str, field: str) -> str:
    """Return path if it is segments between single slashes, none of them `.` or `..`, of 1 to 512 characters.

    Nothing in it is read as an escape, a query or a fragment. Raises `InvalidField`.
    """
    segments = path.split("/")
    if len(path) > MAX_PATH or not all(
        _SEGMENT.fullmatch(segment) and segment not in (".", "..") for segment in segments
    ):
        raise InvalidField(
            field,
            f"must be a path such as secret/db/password: at most {MAX_PATH} characters, segments of letters, "
            "digits and -._~@:+=, that are neither empty nor . nor ..",
        )
    return path


@dataclass(frozen=True, slots=True)
class EndpointUrl:
    """`https://host[:port][/path]`, or `http` where the host is a loopback address.

    `host` is a name in lower case or an address in its one text, without brackets; `path` has no slash at
    either end, and is "" for none.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """Raises `InvalidField` for any URL that `str` would not have written, too."""
        url = cls._read(text) if len(text) <= MAX_URL and _CHARACTERS.fullmatch(text) else None
        if url is None or str(url) != text:
            raise InvalidField(
                field,
                "must be a URL such as https://vault.corp.example:8200, in lower case, without user, query "
                "and fragment",
            )
        if url.path:
            check_path(url.path, field)
        if url.is_plain and not url.is_loopback:
            raise InvalidField(field, "must be https; http is for loopback addresses")
        return url

    @classmethod
    def _read(cls, text: str) -> Self | None:
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return None
        default = _DEFAULT_PORTS.get(parts.scheme)
        if default is None or port in (0, default) or not (_is_address(host) or _is_name(host)):
            return None
        return cls(parts.scheme, host, port or default, parts.path.removeprefix("/"))

    @property
    def is_plain(self) -> bool:
        """Whether it is http."""
        return self.scheme == "http"

    @property
    def is_loopback(self) -> bool:
        """Whether it names a loopback address; a name is none, whatever it resolves to."""
        return _is_address(self.host) and ip_address(self.host).is_loopback

    @property
    def authority(self) -> str:
        """The host, in brackets where it has to be, and the port if it is not the scheme's."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}" + (f"/{self.path}" if self.path else "")


_DEFAULT_PORTS = {"https": 443, "http": 80}


def _is_address(host: str) -> bool:
    """In its one text; an IPv4-mapped one has another, and an unspecified one means this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    return str(address) == host and not mapped and not address.is_unspecified


def _is_name(host: str) -> bool:
    return len(host) <= 253 and _NAME.fullmatch(host) is not None
