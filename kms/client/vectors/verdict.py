"""What became of a case, in words; no words if it passed."""

from collections.abc import Collection
from typing import Any

from kms.client.errors import CallFailed
from kms.client.vectors.case import Case, Expect

PASSED = ""


def judge(case: Case, answer: Any, refusals: Collection[str], field: str = "", expected: bytes = b"") -> str:
    """What is wrong with an answer, or with the `CallFailed` that stands in its place.

    An invalid case passes only if it is refused for one of the reasons; any other failure proves nothing.
    With `field`, that field of an answer must be as expected.
    """
    if isinstance(answer, CallFailed):
        told = answer.reason or answer.message
        if case.expect is Expect.VALID:
            return f"refused with {told}"
        return PASSED if answer.reason in refusals else f"refused with {told}, not {' or '.join(refusals)}"
    if case.expect is Expect.INVALID:
        return "not refused"
    if field and getattr(answer, field) != expected:
        return f"another {field}"
    return PASSED
