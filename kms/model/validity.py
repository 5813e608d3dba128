"""The period in which a certificate holds, and when it is to be renewed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kms.errors import InvalidField, Unauthenticated

CLOCK_SKEW = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Validity:
    """From `not_before` to `not_after`, both inclusive (RFC 5280, section 4.1.2.5), both in UTC."""

    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if self.not_before.tzinfo is None or self.not_after.tzinfo is None:
            raise InvalidField("validity", "needs times with a time zone")
        if self.not_after <= self.not_before:
            raise InvalidField("validity", "ends before it begins")

    @property
    def renewal_time(self) -> datetime:
        """Two thirds of the life: a third is left for attempts that fail."""
        return self.not_before + (self.not_after - self.not_before) * 2 / 3

    def renewal_due(self, now: datetime) -> bool:
        return now >= self.renewal_time

    def check(self, now: datetime) -> None:
        """Raise `Unauthenticated` outside the period.

        A certificate may be used 60 s early, because issuer and verifier may be two machines; never late.
        """
        if now > self.not_after:
            raise Unauthenticated(f"the certificate expired at {_text(self.not_after)}")
        if now < self.not_before - CLOCK_SKEW:
            raise Unauthenticated(f"the certificate is not valid before {_text(self.not_before)}")


def whole_seconds(time: datetime) -> datetime:
    """The time in UTC, cut to the second, which is as fine as certificates tell it."""
    return time.astimezone(UTC).replace(microsecond=0)


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
