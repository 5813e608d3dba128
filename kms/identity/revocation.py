"""Revocation: a deny list looked at in every call (docs/spec/identity.md, "Revocation")."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import ClassVar, Self

from blindfold import _canonical
from blindfold.errors import DocumentInvalid
from kms.errors import InvalidField, StoreTampered, Unauthenticated
from kms.identity.authority import MAX_LEAF_LIFE
from kms.identity.spiffe import SpiffeId
from kms.model.row import dump_row, load_row
from kms.model.validity import CLOCK_SKEW, whole_seconds

_FIELDS = frozenset({"identities", "serials"})
_SERIAL = re.compile(r"[1-9a-f][0-9a-f]{0,39}", re.ASCII)


def _nothing() -> Mapping[str, datetime]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DenyList:
    """Revoked certificates and identities. Times are whole seconds in UTC.

    `serials` maps a serial number, in lower-case hexadecimal, to the end of its certificate's life, after
    which the entry may go. `identities` maps a SPIFFE id to a time: its certificates issued then or before
    are revoked; those of a later enrolment are not. With a site, its workloads are revoked.
    """

    KIND: ClassVar[str] = "denyLists"

    serials: Mapping[str, datetime] = field(default_factory=_nothing)
    identities: Mapping[str, datetime] = field(default_factory=_nothing)

    def check(self, serial: int, spiffe_id: str, issued_at: datetime) -> None:
        """Raise `Unauthenticated` if the certificate, its identity or that one's site is revoked."""
        if self.serials and f"{serial:x}" in self.serials:
            raise Unauthenticated("the certificate is revoked")
        if self.identities:
            self.check_identity(spiffe_id, issued_at)
            # Only a workload of a site has an identity's SPIFFE id above its last four segments.
            self.check_identity(spiffe_id.rsplit("/", 4)[0], issued_at)

    def check_identity(self, spiffe_id: str, since: datetime) -> None:
        """Raise `Unauthenticated` if the identity was revoked at that time or later."""
        revoked_at = self.identities.get(spiffe_id)
        if revoked_at is not None and since <= revoked_at:
            raise Unauthenticated("the certificate is revoked")

    def with_serial(self, serial: int, not_after: datetime) -> "DenyList":
        """The list that also denies one certificate, whose life ends at `not_after`."""
        return DenyList(
            MappingProxyType({**self.serials, f"{serial:x}": whole_seconds(not_after)}), self.identities
        )

    def with_identity(self, spiffe_id: SpiffeId, now: datetime) -> "DenyList":
        """The list that also denies all certificates of an identity issued until now."""
        text = str(spiffe_id)
        moment = whole_seconds(now)
        latest = max(moment, self.identities.get(text, moment))
        return DenyList(self.serials, MappingProxyType({**self.identities, text: latest}))

    def pruned(self, now: datetime) -> "DenyList":
        """The list without what can be of no certificate that still holds.

        Whoever was revoked at a time has certificates issued until then, which end 24 hours later.
        """
        oldest = now - MAX_LEAF_LIFE - CLOCK_SKEW
        return DenyList(
            MappingProxyType({serial: end for serial, end in self.serials.items() if end >= now}),
            MappingProxyType({name: time for name, time in self.identities.items() if time >= oldest}),
        )

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785), times as seconds since 1970. Raises `LimitExceeded` above 8 MiB."""
        return dump_row(
            {"identities": _seconds(self.identities), "serials": _seconds(self.serials)}, self.KIND
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `StoreTampered` for anything `to_bytes` would not have written."""
        try:
            value = load_row(data, "deny list")
            _canonical.expect_fields(value, _FIELDS, "deny list")
            for spiffe_id in value["identities"]:
                SpiffeId.parse(spiffe_id)
            parsed = cls(_times(value["serials"]), _times(value["identities"]))
        except (DocumentInvalid, InvalidField, ValueError, TypeError, AttributeError, OverflowError, OSError):
            raise StoreTampered("a stored deny list cannot be read") from None
        if not all(map(_SERIAL.fullmatch, parsed.serials)) or parsed.to_bytes() != data:
            raise StoreTampered("a stored deny list is not in its canonical form")
        return parsed


def _seconds(times: Mapping[str, datetime]) -> dict[str, int]:
    return {key: int(time.timestamp()) for key, time in times.items()}


def _times(seconds: Mapping[str, int]) -> Mapping[str, datetime]:
    return MappingProxyType({key: datetime.fromtimestamp(value, UTC) for key, value in seconds.items()})
