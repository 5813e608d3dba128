"""Secrets of a plain REST server: a GET of a path, with a password, a header or a parameter."""

import math
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import urlencode

import h11

from blindfold.secret import SecretBytes
from kms.external.calls import READING, repeated, within
from kms.external.errors import (
    ExternalFailed,
    LoginRefused,
    NotVerified,
    TooLarge,
    Unreachable,
    Unreadable,
)
from kms.external.fetched import Fetched, OpenSecret, chosen_of_bytes
from kms.external.getting import Got, TooLong, get
from kms.external.statuses import failure
from kms.external.tls import client_context
from kms.model.secret_management_access import (
    Authentication,
    BasicAuthentication,
    HeaderAuthentication,
    QueryAuthentication,
    SecretManagementAccess,
)
from kms.model.secret_type import VaultSecret

_REFUSED = MappingProxyType({401: LoginRefused})
# Of an answer: twice the secret for its base64, and what is around a member of an object.
_AROUND = 64 << 10


class RestSource:
    """Made by `connect`. The credential is opened for each request, and kept nowhere."""

    due = math.inf

    def __init__(
        self, access: SecretManagementAccess, context: ssl.SSLContext | None, open_secret: OpenSecret
    ) -> None:
        self._access = access
        self._context = context
        self._open = open_secret

    @classmethod
    async def connect(cls, access: SecretManagementAccess, open_secret: OpenSecret) -> Self:
        """Raises `ConfigError`, and what `open_secret` raises for the key of the client certificate."""
        key = await open_secret(access.tls.client_key) if access.tls.client_key is not None else None
        context = None if access.url.is_plain else client_context(access.tls, key)
        return cls(access, context, open_secret)

    async def get(self, secret: VaultSecret) -> Fetched:
        """Raises `ExternalFailed`."""
        access = self._access
        body = await repeated(lambda: self._body(secret.path), READING, access.timeout_seconds)
        value = chosen_of_bytes(body, secret, access.max_secret_bytes)
        return Fetched(value, access.cache_timeout_seconds)

    async def renew_due(self) -> None:
        """Nothing is ever due."""

    async def close(self, *, revoke: bool = True) -> None:
        """Nothing is open between requests."""

    async def _body(self, path: str) -> bytes:
        how = self._access.authentication
        headers, query = await _CREDENTIALS[type(how)](how, self._open)
        url = self._access.url
        target = "/" + "/".join(filter(None, (url.path, path))) + query
        headers = {"host": url.authority, "accept": "*/*"} | headers
        got = await self._sent(target, headers)
        if got.status != 200:
            raise failure(got.status, got.retry_after, _REFUSED)
        return got.body

    async def _sent(self, target: str, headers: Mapping[str, str]) -> Got:
        url, access = self._access.url, self._access
        most = 2 * access.max_secret_bytes + _AROUND
        names = {"server_name": access.tls.server_name}
        try:
            sent = get(url.host, url.port, target, headers, self._context, most, **names)
            return await within(access.timeout_seconds, sent)
        except ssl.SSLCertVerificationError:
            problem: ExternalFailed = NotVerified("the server's certificate cannot be verified")
        except TooLong:
            problem = TooLarge(f"the server answers with more than {most} bytes")
        except h11.ProtocolError:
            problem = Unreadable("the server's answer is no HTTP")
        except OSError as error:
            problem = Unreachable(f"the server cannot be reached, or hangs up: {type(error).__name__}")
        raise problem


async def _basic(how: BasicAuthentication, open_secret: OpenSecret) -> tuple[dict[str, str], str]:
    pair = how.username.encode() + b":" + (await open_secret(how.password)).reveal()
    return {"authorization": "Basic " + b64encode(pair).decode()}, ""


async def _header(how: HeaderAuthentication, open_secret: OpenSecret) -> tuple[dict[str, str], str]:
    return {how.header: how.prefix + _printable(await open_secret(how.value))}, ""


async def _query(how: QueryAuthentication, open_secret: OpenSecret) -> tuple[dict[str, str], str]:
    return {}, "?" + urlencode({how.parameter: (await open_secret(how.value)).reveal()})


def _printable(secret: SecretBytes) -> str:
    """Raises `LoginRefused` for what cannot be in a header."""
    raw = secret.reveal()
    if not all(32 <= byte < 127 for byte in raw):
        raise LoginRefused("the credential is not printable ASCII, which a header needs")
    return raw.decode("ascii")


# From an authentication to headers and the query.
_CREDENTIALS: Mapping[
    type[Authentication], Callable[[Any, OpenSecret], Awaitable[tuple[dict[str, str], str]]]
] = MappingProxyType(
    {BasicAuthentication: _basic, HeaderAuthentication: _header, QueryAuthentication: _query}
)
