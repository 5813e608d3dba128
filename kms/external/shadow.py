"""Asking two places the same, to see whether one can replace the other, without keeping what they answer."""

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from blindfold.secret import SecretBytes

Ask = Callable[[], Awaitable[SecretBytes]]


class Verdict(Enum):
    """How two answers compare. A refusal is what `refusals` names; anything else that is raised is raised."""

    SAME = "same"
    DIFFERENT = "different"
    ONLY_OLD = "only the old one answers"
    ONLY_NEW = "only the new one answers"
    NEITHER = "neither answers"


class Shadow:
    """Compares answers by their HMAC under a key of this object, which nobody else has."""

    def __init__(self, *refusals: type[Exception]) -> None:
        self._refusals = refusals
        self._key: Final = secrets.token_bytes(32)

    async def compare(self, old: Ask, new: Ask) -> Verdict:
        """Ask both at once."""
        first, second = await asyncio.gather(self._digest(old), self._digest(new))
        if first is None or second is None:
            return _ONE[first is not None, second is not None]
        return Verdict.SAME if hmac.compare_digest(first, second) else Verdict.DIFFERENT

    async def _digest(self, ask: Ask) -> bytes | None:
        try:
            with await ask() as answer:
                return hmac.digest(self._key, answer.reveal(), "sha256")
        except self._refusals:
            return None


_ONE = {
    (True, False): Verdict.ONLY_OLD,
    (False, True): Verdict.ONLY_NEW,
    (False, False): Verdict.NEITHER,
}
