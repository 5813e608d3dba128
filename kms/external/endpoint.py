"""Where the KMS may connect to."""

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from kms.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An https URL on one of the hosts that the operator allows."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str, allowed_hosts: Collection[str], what: str) -> Self:
        """`what` is what the URL is of, for the error. Raises `ConfigError`."""
        try:
            parts = urlsplit(url)
            port = 443 if parts.port is None else parts.port
        except ValueError:
            port = 0
        if not port or parts.scheme != "https" or not parts.hostname or parts.username or parts.fragment:
            raise ConfigError(f"{what} is an https URL without user and fragment")
        if parts.hostname not in allowed_hosts:
            raise ConfigError(f"the host {parts.hostname} of {what} is not among the allowed ones")
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.hostname, port, (parts.path or "/") + query)


def trusting(ca_file: str) -> ssl.SSLContext:
    """What verifies servers by the certificates of a PEM file, or by the system's for "".

    Raises `ConfigError` for a file that holds none.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    raise ConfigError(f"{ca_file} cannot be read: {problem}")
