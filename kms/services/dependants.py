"""Who depends on an authority: whose certificates, by what the store knows of them, hold still."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from kms.identity.issued import IssuedCertificate
from kms.model.records import IdentityRecord
from kms.services.repository import Repository


@dataclass(frozen=True, slots=True)
class Dependants:
    """How many identities, and until when the last of them does."""

    identities: int = 0
    until: datetime | None = None


def dependants(
    repository: Repository, authorities: frozenset[str], before: datetime | None, now: datetime
) -> Dependants:
    """The identities that have a certificate of one of the authorities, or one issued at `before` or earlier.

    Reads all identities of all tenants: to be called in a thread.
    """
    ends = [
        item.not_after
        for certificates in _alive(repository, now)
        if (item := _last(certificates, authorities, before)) is not None
    ]
    return Dependants(len(ends), max(ends, default=None))


def dependants_of_each(repository: Repository, now: datetime) -> Mapping[str, int]:
    """How many identities have a certificate of an authority, by its id. As `dependants`."""
    counts: defaultdict[str, int] = defaultdict(int)
    for certificates in _alive(repository, now):
        for authority in {item.authority for item in certificates}:
            counts[authority] += 1
    return counts


def _alive(repository: Repository, now: datetime) -> Iterator[list[IssuedCertificate]]:
    for loaded in repository.all(IdentityRecord):
        certificates = map(IssuedCertificate.parse, loaded.record.certificates)
        yield [item for item in certificates if item.not_after >= now]


def _last(
    certificates: list[IssuedCertificate], authorities: frozenset[str], before: datetime | None
) -> IssuedCertificate | None:
    depending = (
        item
        for item in certificates
        if item.authority in authorities or (before is not None and item.not_before <= before)
    )
    return max(depending, key=lambda item: item.not_after, default=None)
