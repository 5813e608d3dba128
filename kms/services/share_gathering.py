"""Shares that were given, until they are enough. Half a set does not lie about: it is forgotten in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust.shamir import ShareRepeated, ShareSet
from kms.errors import KmsError

PATIENCE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Given:
    """A share that proved itself, and who gave it: an address or a SPIFFE id."""

    number: int
    share: SecretBytes
    giver: str


class ShareGathering:
    """For one event loop. Time is given to it; after `PATIENCE` without another share all are forgotten.

    `refused` counts what was no share of the set.
    """

    def __init__(self, shares: ShareSet) -> None:
        self._shares = shares
        self._given: dict[int, Given] = {}
        self._expire_time: datetime | None = None
        self.refused = 0

    @property
    def threshold(self) -> int:
        return self._shares.threshold

    def give(self, share: SecretBytes, giver: str, now: datetime) -> bool:
        """Whether they are enough now. Raises `InvalidField`, `WrongShare`, `ShareRepeated`."""
        self._expire(now)
        try:
            number = self._shares.number_of(share)
        except KmsError:
            self.refused += 1
            raise
        if number in self._given:
            raise ShareRepeated
        self._given[number] = Given(number, share, giver)
        self._expire_time = now + PATIENCE
        return len(self._given) >= self._shares.threshold

    def progress(self, now: datetime) -> tuple[int, datetime | None]:
        """How many there are, and when they are forgotten."""
        self._expire(now)
        return len(self._given), self._expire_time

    def take(self) -> Sequence[Given]:
        """All of them; they are the caller's, to be wiped."""
        given, self._given, self._expire_time = list(self._given.values()), {}, None
        return given

    def _expire(self, now: datetime) -> None:
        if self._expire_time is not None and now >= self._expire_time:
            for given in self.take():
                given.share.wipe()
