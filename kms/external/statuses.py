"""What the number of an HTTP answer means here."""

from collections.abc import Mapping
from types import MappingProxyType

from kms.external import errors
from kms.external.errors import ExternalFailed

MAX_RETRY_AFTER = 3600

_FAILURES: Mapping[int, type[ExternalFailed]] = MappingProxyType(
    {
        400: errors.Refused,
        401: errors.Forbidden,
        403: errors.Forbidden,
        404: errors.NotThere,
        405: errors.Refused,
        413: errors.Refused,
        429: errors.ServerLimits,
        503: errors.NotNow,
    }
)


def failure(
    status: int, retry_after: str = "", also: Mapping[int, type[ExternalFailed]] = MappingProxyType({})
) -> ExternalFailed:
    """The error for an answer that is none of 200 and 204, by `also` before the table of all servers.

    `retry_after` is the header's text (RFC 9110, section 10.2.3): seconds count, dates do not.
    """
    fallback = errors.Redirected if status < 400 else errors.ServerFailed
    kind = also.get(status) or _FAILURES.get(status, fallback)
    is_number = retry_after.isascii() and retry_after.isdecimal()
    seconds = float(min(int(retry_after[:8]), MAX_RETRY_AFTER)) if is_number else None
    return kind(f"the server answers {status}", retry_after=seconds)
