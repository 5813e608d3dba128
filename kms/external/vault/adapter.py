"""hvac's way to send, with answers that are JSON objects and errors that are ours."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import requests
from hvac.adapters import RawAdapter

from kms.external import errors
from kms.external.errors import ExternalFailed
from kms.external.session import translated
from kms.external.statuses import failure

_STATUSES: Mapping[int, type[ExternalFailed]] = MappingProxyType(
    {412: errors.NotNow, 472: errors.Redirected, 473: errors.Redirected, 501: errors.Sealed}
)
# What only the text of the answer tells apart. It is compared, and never shown.
_CAUSES: Mapping[tuple[int, str], type[ExternalFailed]] = MappingProxyType(
    {
        (400, "wrapping token is not valid or does not exist"): errors.WrappingTokenSpent,
        (503, "Vault is sealed"): errors.Sealed,
        (503, "OpenBao is sealed"): errors.Sealed,
    }
)


class Adapter(RawAdapter):  # type: ignore[misc]  # hvac has no types
    """Raises `ExternalFailed` for what hvac would raise, or take for success: redirects, other bodies.

    A request that asks for it with `raise_exception` False gets the plain response.
    """

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        raise_exception: bool = True,
        **more: Any,
    ) -> Any:
        send = super().request
        response = translated(lambda: send(method, url, headers, raise_exception=False, **more))
        return answer(response) if raise_exception else response


def answer(response: requests.Response) -> Mapping[str, Any]:
    """The JSON object of a 200, {} for a 204. Raises `ExternalFailed` for every other."""
    if response.status_code == 204:
        return {}
    body = json_object(response)
    if response.status_code != 200:
        raise _failure(response, body)
    if body is None:
        raise errors.Unreadable("the server's answer is no JSON object")
    return body


def json_object(response: requests.Response) -> Mapping[str, Any] | None:
    """None for a body that is none."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _failure(response: requests.Response, body: Mapping[str, Any] | None) -> ExternalFailed:
    status, told = response.status_code, str((body or {}).get("errors"))
    also = dict(_STATUSES) | {code: kind for (code, text), kind in _CAUSES.items() if text in told}
    if _metadata(body):
        also[404] = errors.VersionGone
    return failure(status, response.headers.get("retry-after", ""), also)


def _metadata(body: Mapping[str, Any] | None) -> object:
    """What a 404 of a deleted or destroyed version has."""
    data = (body or {}).get("data")
    return data.get("metadata") if isinstance(data, dict) else None
