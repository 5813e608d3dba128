"""What has expired is forgotten: join tokens, what is kept of those of issuers, and import keys."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from kms.identity.join_tokens import JoinTokenRecord
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.records import ImportKeyRecord, UsedTokenRecord
from kms.services.guard import ALLOW, Guard
from kms.services.repository import Repository
from kms.storage.interface import Delete, WriteConflict

ACTION = "Kms.ForgetTokens"
AT_ONCE = 200
# Who asked before a token of an issuer ended may have waited for the issuer's keys since.
KEPT_LONGER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class SpentTokens:
    """Called by the scheduler."""

    guard: Guard
    repository: Repository

    async def forget(self, now: datetime) -> int:
        """Delete the rows of what has expired; how many were. Some wait for the next time."""
        deletions = await asyncio.to_thread(lambda: list(islice(self._expired(now), AT_ONCE)))
        if not deletions:
            return 0
        event = AuditEvent(
            time=timestamp(now),
            action=ACTION,
            caller="",
            tenant="",
            resource="",
            decision=ALLOW,
            details={"number": str(len(deletions))},
        )
        try:
            await self.guard.commit(deletions, [event])
        except WriteConflict:
            return 0
        return len(deletions)

    def _expired(self, now: datetime) -> Iterator[Delete]:
        for token in self.repository.all(JoinTokenRecord):
            if token.record.expires_at <= now:
                yield token.delete()
        for key in self.repository.all(ImportKeyRecord):
            if key.record.expire_time <= now:
                yield key.delete()
        for used in self.repository.all(UsedTokenRecord):
            if used.record.expire_time + KEPT_LONGER <= now:
                yield used.delete()
