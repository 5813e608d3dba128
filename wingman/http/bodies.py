"""Reading a request's JSON object: bounded in size and in time."""

import asyncio
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request

from kms.model import strict_json

MAX_BODY = 4 << 20
BODY_SECONDS = 10.0
# curl sends what -d names as a form, whatever it is; no type at all is the same to us.
CONTENT_TYPES = ("", "application/json", "application/x-www-form-urlencoded", "text/plain")


class BadBody(Exception):
    """A body that cannot be taken; `status` is the answer's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def read_object(request: Request) -> Mapping[str, object]:
    """Raises `BadBody`."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise BadBody(415, "send JSON")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _read(request)
    except TimeoutError:
        body = None
    except ClientDisconnect:
        raise BadBody(400, "the body is cut off") from None
    if body is None:
        raise BadBody(408, f"the body takes longer than {BODY_SECONDS:g} seconds")
    return _parse(body)


async def _read(request: Request) -> bytes:
    too_large = BadBody(413, f"the body has more than {MAX_BODY} bytes")
    if int(request.headers.get("content-length", 0)) > MAX_BODY:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise too_large
    return bytes(body)


def _parse(body: bytes) -> Mapping[str, object]:
    """Without what is wrong with it, which may quote a secret."""
    try:
        value = strict_json.loads(body.decode())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadBody(400, "the body is not a JSON object")
    return value
