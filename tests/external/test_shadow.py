"""Two places asked the same: what is said of their answers, and what is not kept."""

import asyncio

import pytest

from blindfold.secret import SecretBytes
from kms.errors import NotFound
from kms.external.shadow import Ask, Shadow, Verdict


def saying(answer: bytes) -> Ask:
    async def ask() -> SecretBytes:
        return SecretBytes(answer)

    return ask


def failing(error: Exception) -> Ask:
    async def ask() -> SecretBytes:
        raise error

    return ask


GONE = failing(NotFound("it"))


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (saying(b"a"), saying(b"a"), Verdict.SAME),
        (saying(b""), saying(b""), Verdict.SAME),
        (saying(b"a"), saying(b"b"), Verdict.DIFFERENT),
        (saying(b"a"), saying(b"a\x00"), Verdict.DIFFERENT),
        (saying(b"a"), GONE, Verdict.ONLY_OLD),
        (GONE, saying(b"a"), Verdict.ONLY_NEW),
        (GONE, GONE, Verdict.NEITHER),
    ],
)
def test_answers_are_compared(old: Ask, new: Ask, verdict: Verdict) -> None:
    assert asyncio.run(Shadow(NotFound).compare(old, new)) is verdict


def test_a_failure_that_is_no_refusal_is_no_verdict() -> None:
    with pytest.raises(OSError, match="broken"):
        asyncio.run(Shadow(NotFound).compare(saying(b"a"), failing(OSError("broken"))))


def test_answers_are_wiped() -> None:
    answer = SecretBytes(b"secret")

    async def ask() -> SecretBytes:
        return answer

    asyncio.run(Shadow().compare(ask, saying(b"x")))
    assert answer.reveal() == bytes(6)
