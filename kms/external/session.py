"""HTTP connections that hvac sends over: pooled, verified, to one server, bounded, never redirected."""

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

from kms.external.errors import ExternalFailed, NotVerified, TimedOut, TooLarge, Unreachable

CONNECTIONS = 4
_PIECE = 16 << 10


class _Bounded(HTTPAdapter):
    """`context` verifies, whatever a request asks for; answers have `most` bytes within `seconds`.

    Nothing is decompressed: it was not asked for, and could swell.
    """

    def __init__(self, context: ssl.SSLContext, server_name: str, most: int, seconds: float) -> None:
        self._tls = {"ssl_context": context} | ({"server_hostname": server_name} if server_name else {})
        self._most = most
        self._seconds = seconds
        super().__init__(pool_connections=1, pool_maxsize=CONNECTIONS, pool_block=True)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = True, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **more, **self._tls)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _timed(HTTPConnectionPool, self._seconds),
            "https": _timed(HTTPSConnectionPool, self._seconds),
        }

    def cert_verify(self, *_: object) -> None:
        """The context has the authorities; requests would add those of its own bundle."""

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        end = time.monotonic() + self._seconds
        response = super().send(request, stream=True, timeout=self._seconds)
        raw, body = response.raw, bytearray()
        try:
            while piece := raw.read1(_PIECE, decode_content=False):
                body += piece
                if len(body) > self._most:
                    raise TooLarge(f"the server answers with more than {self._most} bytes")
                if time.monotonic() > end:
                    raise TimedOut("the server does not finish its answer")
        finally:
            # Does nothing to the connection where the answer was read to its end.
            raw.close()
            raw.release_conn()
        response.raw = io.BytesIO(body)
        return response


def _timed(pool: Any, seconds: float) -> Any:
    """The pool's class, with connections that break off where the head of an answer takes longer.

    The socket's own timeout begins anew with each byte.
    """

    class Timed(pool.ConnectionCls):  # type: ignore[misc]
        def getresponse(self) -> Any:
            watch = threading.Timer(seconds, _break_off, (self.sock,))
            watch.daemon = True
            watch.start()
            try:
                return super().getresponse()
            finally:
                watch.cancel()

    return type(pool.__name__, (pool,), {"ConnectionCls": Timed})


def _break_off(connected: socket.socket) -> None:
    with suppress(OSError):
        # Of the socket under TLS: whoever reads at this moment goes on to find its end.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def connect(context: ssl.SSLContext, server_name: str, most: int, seconds: float) -> requests.Session:
    """A session without cookies, proxies, `.netrc` and everything else of the environment."""
    session = requests.Session()
    session.trust_env = False
    session.headers = requests.structures.CaseInsensitiveDict(
        {"accept": "application/json", "accept-encoding": "identity", "user-agent": "blindfold-kms"}
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Bounded(context, server_name, most, seconds))
    return session


def translated(send: Callable[[], requests.Response]) -> requests.Response:
    """Send, with errors that say nothing of URL, headers and body. Raises `ExternalFailed`."""
    try:
        return send()
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
        problem: ExternalFailed = TimedOut("the server does not answer in time")
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        unknown = "CERTIFICATE_VERIFY_FAILED" in str(error)
        what = (
            "the server's certificate cannot be verified" if unknown else "the server and we agree on no TLS"
        )
        problem = NotVerified(what)
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        problem = Unreachable(f"the server cannot be reached, or hangs up: {type(error).__name__}")
    raise problem
