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
from kms.errors import Unavailable
from kms.external.calls import READING, repeated
from kms.external.endpoint import Endpoint
from kms.external.errors import (
    ExternalFailed,
    LoginRefused,
    NotVerified,
    TimedOut,
    TooLarge,
    Unreachable,
    Unreadable,
)
from kms.external.fetched import Fetched, OpenSecret, chosen_of_bytes
from kms.external.https import Headers, TooLong, exchange
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
        target = "/" + "/".join(filter(None, (self._access.url.path, path))) + query
        status, told, body = await self._asked(target, [("accept", "*/*"), *headers])
        if status != 200:
            raise failure(status, told.get(b"retry-after", b"").decode("latin-1"), _REFUSED)
        return body

    async def _asked(self, target: str, headers: Headers) -> tuple[int, Mapping[bytes, bytes], bytes]:
        access, url = self._access, self._access.url
        most = 2 * access.max_secret_bytes + _AROUND
        at = Endpoint(url.host, url.port, target)
        try:
            async with exchange(at, self._context, access.timeout_seconds, access.tls.server_name) as asked:
                await asked.send("GET", headers)
                status, told = await asked.head()
                return status, told, await asked.body(most) if status == 200 else b""
        except TimeoutError:
            problem: ExternalFailed = TimedOut("the server does not answer in time")
        except ssl.SSLCertVerificationError:
            problem = NotVerified("the server's certificate cannot be verified")
        except TooLong:
            problem = TooLarge(f"the server answers with more than {most} bytes")
        except h11.ProtocolError:
            problem = Unreadable("the server's answer is no HTTP")
        except (OSError, Unavailable) as error:
            problem = Unreachable(f"the server cannot be reached, or hangs up: {type(error).__name__}")
        raise problem


async def _basic(how: BasicAuthentication, open_secret: OpenSecret) -> tuple[Headers, str]:
    pair = how.username.encode() + b":" + (await open_secret(how.password)).reveal()
    return [("authorization", "Basic " + b64encode(pair).decode())], ""


async def _header(how: HeaderAuthentication, open_secret: OpenSecret) -> tuple[Headers, str]:
    return [(how.header, how.prefix + _printable(await open_secret(how.value)))], ""


async def _query(how: QueryAuthentication, open_secret: OpenSecret) -> tuple[Headers, str]:
    return [], "?" + urlencode({how.parameter: (await open_secret(how.value)).reveal()})


def _printable(secret: SecretBytes) -> str:
    """Raises `LoginRefused` for what cannot be in a header."""
    raw = secret.reveal()
    if not all(32 <= byte < 127 for byte in raw):
        raise LoginRefused("the credential is not printable ASCII, which a header needs")
    return raw.decode("ascii")


# From an authentication to headers and the query.
_CREDENTIALS: Mapping[type[Authentication], Callable[[Any, OpenSecret], Awaitable[tuple[Headers, str]]]] = (
    MappingProxyType(
        {BasicAuthentication: _basic, HeaderAuthentication: _header, QueryAuthentication: _query}
    )
)
