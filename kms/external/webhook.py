"""Notices to a webhook: signed, repeated while it fails, bounded in every direction.

The form is that of Standard Webhooks: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`,
which is `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`.
"""

import asyncio
import base64
import hmac
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from blindfold.secret import SecretBytes
from kms.errors import ConfigError, Unavailable
from kms.external.endpoint import Endpoint
from kms.external.https import FAULTS, TIMEOUT, exchange

ATTEMPTS = 8
LONGEST_PAUSE = 300.0
MAX_WAITING = 1000
MIN_KEY = 24

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is sent. Repeats have the same `id`, by which a receiver knows them. `time` in Unix seconds."""

    id: str
    time: int
    body: bytes


def signature(key: SecretBytes, notice: Notice) -> str:
    """The value of `webhook-signature`."""
    signed = f"{notice.id}.{notice.time}.".encode() + notice.body
    return "v1," + base64.b64encode(hmac.digest(key.reveal(), signed, "sha256")).decode()


class Webhook:
    """Sends notices one after the other. `count` hears of each outcome: delivered, failed or dropped."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: SecretBytes,
        context: ssl.SSLContext,
        count: Callable[[str], None] = lambda outcome: None,
        *,
        first_pause: float = 1.0,
        seconds: float = TIMEOUT,
    ) -> None:
        if len(key) < MIN_KEY:
            raise ConfigError(f"the webhook's key has {MIN_KEY} bytes or more")
        self._endpoint = endpoint
        self._key = key
        self._context = context
        self._count = count
        self._first_pause = first_pause
        self._seconds = seconds
        self._waiting: asyncio.Queue[Notice] = asyncio.Queue(MAX_WAITING)

    def offer(self, notice: Notice) -> None:
        """Have it sent soon; dropped, and counted, where 1,000 wait already. In the event loop."""
        try:
            self._waiting.put_nowait(notice)
        except asyncio.QueueFull:
            self._count("dropped")

    async def run(self) -> None:
        """Send what is offered, until cancelled."""
        while True:
            notice = await self._waiting.get()
            try:
                await self._deliver(notice)
            except Unavailable as error:
                self._count("failed")
                _log.error("notice %s was not delivered: %s", notice.id, error)
            else:
                self._count("delivered")

    async def _deliver(self, notice: Notice) -> None:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(self._first_pause, LONGEST_PAUSE),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                await self._send(notice)

    async def _send(self, notice: Notice) -> None:
        """One attempt. Raises `Unavailable` for anything but a 2xx; a redirect is none."""
        headers = [
            ("content-type", "application/json"),
            ("webhook-id", notice.id),
            ("webhook-timestamp", str(notice.time)),
            ("webhook-signature", signature(self._key, notice)),
        ]
        try:
            async with exchange(self._endpoint, self._context, self._seconds) as sent:
                await sent.send("POST", headers, notice.body)
                status = await sent.status()
            problem = "" if 200 <= status < 300 else f"it answers {status}"
        except FAULTS as error:
            problem = type(error).__name__
        if problem:
            raise Unavailable(f"the webhook at {self._endpoint.host} cannot take it: {problem}")
