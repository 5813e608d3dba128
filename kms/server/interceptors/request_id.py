"""The id by which a call is found again in answers, logs and audit events."""

import re
from collections.abc import Callable, Iterable

REQUEST_ID_KEY = "x-request-id"

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def request_id(metadata: Iterable[tuple[str, str | bytes]], new_id: Callable[[], str]) -> str:
    """The client's own id if it sent one of 1 to 64 letters, digits, dots, dashes and underscores.

    Otherwise, or if it sent several, a new one.
    """
    sent = [value for key, value in metadata if key == REQUEST_ID_KEY]
    if len(sent) == 1 and isinstance(sent[0], str) and _SANE.fullmatch(sent[0]):
        return sent[0]
    return new_id()
