"""What a restore takes for used, since nobody knows what was used after the backup (docs/spec/backup.md)."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, product

from kms.model.records import UseRecord
from kms.services.backup_check import Facts
from kms.services.evaluation import MAX_EVALUATIONS
from kms.services.key_versions import MAX_INVOCATIONS
from kms.services.use_budget import day_of

# How many evaluations under an exponent a restore counts as made. All of them would close what is sealed
# (docs/adr/0014-backups-of-tenants.md).
COUNTED_EVALUATIONS = MAX_EVALUATIONS >> 1


@dataclass(frozen=True, slots=True)
class SpentUses:
    """Of a tenant's keys, at a time."""

    facts: Facts
    now: datetime

    def raised(self, row: str, body: bytes) -> bytes:
        """What a row of uses says from now on."""
        if row in self.facts.counted:
            return self._record(MAX_INVOCATIONS)
        if row.rpartition("/")[0] in self.facts.evaluating:
            return self._record(max(UseRecord.from_bytes(body).reserved, COUNTED_EVALUATIONS))
        return body

    def uncounted(self, counted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Rows that are not there yet, and what they say."""
        evaluated = map("/".join, product(self.facts.evaluating, self.facts.bindings))
        for row, uses in chain(
            ((row, MAX_INVOCATIONS) for row in self.facts.counted),
            ((row, COUNTED_EVALUATIONS) for row in evaluated),
        ):
            if row not in counted:
                yield row, self._record(uses)

    def _record(self, uses: int) -> bytes:
        return UseRecord(uses, day_of(self.now)).to_bytes()
