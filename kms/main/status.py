"""What `GetStatus` answers."""

from datetime import datetime
from importlib.metadata import version

from kms.audit.authenticated_store import AuthenticatedStore
from kms.main.configuration import PKCS11
from kms.model.records import TenantRecord
from kms.model.server_status import Grade, ServerStatus, StoreStatus
from kms.model.tenant_lifecycle import TenantState
from kms.services.call import Call, Outcome
from kms.services.guard import Action, Guard
from kms.services.repository import Repository
from kms.storage.schema import STEPS

GET_STATUS = Action("GetStatus", "status.get")
_GRADES = {
    "keyfile": Grade.DEVELOPMENT,
    "passphrase": Grade.PRODUCTION,
    "shamir": Grade.PRODUCTION,
    PKCS11: Grade.PRODUCTION,
}


class StatusReport:
    """For operators. `ready` is set while calls are served."""

    def __init__(
        self,
        guard: Guard,
        vault: AuthenticatedStore,
        repository: Repository,
        start: datetime,
    ) -> None:
        self._guard = guard
        self._vault = vault
        self._repository = repository
        self._start = start
        self.ready = False

    async def __call__(self, call: Call) -> ServerStatus:
        """Raises `Denied`."""
        return await self._guard.perform(call, GET_STATUS, None, lambda: Outcome(self._status()))

    def _status(self) -> ServerStatus:
        store = self._vault.store
        signed = store.newest_checkpoint()
        time = None if signed is None else datetime.fromisoformat(signed.checkpoint.time)
        return ServerStatus(
            version=version("blindfold-kms"),
            start_time=self._start,
            ready=self.ready,
            locked=False,
            root_of_trust=self._vault.provider,
            grade=_GRADES[self._vault.provider],
            store=StoreStatus("sqlite", len(STEPS), store.last_event(), time),
            tenant_count=sum(
                tenant.record.state != TenantState.DESTROYED for tenant in self._repository.all(TenantRecord)
            ),
            root_key_rotating=store.rekeying() is not None,
        )
