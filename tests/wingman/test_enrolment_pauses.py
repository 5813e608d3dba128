"""Many that are started together: when each of them asks to be enrolled, first and again."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kms.client.errors import CallExhausted, CallFailed, CallUnavailable
from wingman import identity
from wingman.condition import Condition
from wingman.configuration import parse_configuration
from wingman.identity import ENROL_WITHIN, FIRST_PAUSE, LONGEST_PAUSE, IdentityKeeper

ASKED = "asked"
ATTEMPTS = 12


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[float | str]]:
    """What a Wingman without credentials does before it has asked so often: pauses, and `ASKED`."""

    def write(
        jitter: Callable[[], float], failure: CallFailed, attempts: int = ATTEMPTS
    ) -> list[float | str]:
        done: list[float | str] = []

        def ask(*_: object) -> None:
            done.append(ASKED)
            raise failure

        async def sleep(seconds: float) -> None:
            if done.count(ASKED) == attempts:
                raise asyncio.CancelledError
            done.append(seconds)

        monkeypatch.setattr(identity, "enrol_as", ask)
        enrolment = {"server": "localhost:7444", "join_token_file": str(tmp_path / "token")}
        told = {"server": "localhost:7443", "credentials": str(tmp_path / "none"), "enrolment": enrolment}
        condition = Condition(lambda: datetime.now(UTC))
        keeper = IdentityKeeper(
            parse_configuration(told), condition, lambda: datetime.now(UTC), jitter, sleep
        )
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(keeper.run())
        return done

    return write


def test_thousand_that_boot_at_once_ask_at_moments_of_their_own(
    diary: Callable[..., list[float | str]],
) -> None:
    first = [diary(random.random, CallUnavailable("gone"), attempts=1)[0] for _ in range(1000)]
    assert len(set(first)) > 990
    assert all(0 <= pause <= ENROL_WITHIN for pause in first if isinstance(pause, float))
    assert sum(pause < ENROL_WITHIN / 10 for pause in first if isinstance(pause, float)) < 200


def test_they_ask_again_ever_less_often(diary: Callable[..., list[float | str]]) -> None:
    done = diary(lambda: 0.25, CallUnavailable("gone"))
    starts, asked, again = done[0::3], done[1::3], done[2::3]
    assert (set(starts), set(asked)) == ({0.25 * ENROL_WITHIN}, {ASKED})
    limits = [min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) for number in range(len(again))]
    assert all(0 <= float(pause) <= limit for pause, limit in zip(again, limits, strict=True))
    assert len(set(again)) == len(again)


def test_what_the_kms_says_about_its_rate_is_kept_to(diary: Callable[..., list[float | str]]) -> None:
    done = diary(lambda: 0.0, CallExhausted("too many", reason="RATE_LIMITED", retry_after=7.0), attempts=2)
    assert 7.0 < float(done[2]) <= 7.0 + FIRST_PAUSE
