"""Reading a document over HTTPS: bounded in size and time, from allowed hosts alone, never redirected."""

import asyncio
import ssl
from collections.abc import Collection

import h11

from kms.errors import ConfigError, Unavailable
from kms.external.endpoint import Endpoint
from kms.external.getting import TooLong, get

TIMEOUT = 10.0
MAX_DOCUMENT = 64 << 10


class HttpsReader:
    """`context` verifies servers; `seconds` bound a whole reading, names and handshakes included."""

    def __init__(self, hosts: Collection[str], context: ssl.SSLContext, seconds: float = TIMEOUT) -> None:
        self._hosts = frozenset(hosts)
        self._context = context
        self._seconds = seconds

    async def __call__(self, url: str) -> bytes:
        """The body of a plain 200, at most 64 KiB. Raises `Unavailable`, a redirect included."""
        try:
            endpoint = Endpoint.parse(url, self._hosts, "what is to be read")
            async with asyncio.timeout(self._seconds):
                return await self._read(endpoint)
        except ConfigError as error:
            problem = error.message
        except TooLong:
            problem = f"it answers with more than {MAX_DOCUMENT} bytes"
        except (OSError, ValueError, h11.ProtocolError) as error:
            problem = f"{url[:256]} cannot be read: {type(error).__name__}"
        raise Unavailable(problem)

    async def _read(self, endpoint: Endpoint) -> bytes:
        headers = {"host": _authority(endpoint), "accept": "application/json"}
        got = await get(endpoint.host, endpoint.port, endpoint.path, headers, self._context, MAX_DOCUMENT)
        if got.status != 200:
            raise Unavailable(f"it answers {got.status}, not 200")
        return got.body


def _authority(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == 443 else f"{host}:{endpoint.port}"
