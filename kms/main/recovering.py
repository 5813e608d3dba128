"""Credentials without a join token, for who holds the store and its root of trust.

Leaf certificates last 24 hours: whoever was away longer, or lost a key, begins again here.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kms.errors import NotFound
from kms.identity.grant import Grant
from kms.main.configuration import Configuration
from kms.main.initialising import first_credentials, local_event
from kms.main.parts import Parts, assemble
from kms.main.root_material import Material, open_vault
from kms.model.identity_authorities import RootEntry
from kms.model.names import Identity, IdentityName, TenantName
from kms.model.records import IdentityRecord
from kms.services.granting import grant_of
from kms.services.tenant_states import check_not_destroyed
from kms.services.tenants import first_administrator

ACTION = "Kms.RecoverIdentity"
ADOPT = "Kms.AdoptIdentityRoot"


@dataclass(frozen=True, slots=True)
class Recovered:
    """Whose credentials were written where."""

    grant: Grant
    directory: Path


def recover_identity(
    configuration: Configuration, identity: Identity, directory: Path, material: Material
) -> Recovered:
    """Issue a certificate for an identity the store knows, with what was granted to it last.

    The server must be stopped: the store is held by one process. The audit chain records it. Raises
    `NotFound` for an unknown identity, `ConfigError` while the server runs, `StoreTampered`.
    """
    with open_vault(configuration, material) as vault, ThreadPoolExecutor(1) as workers:
        parts = assemble(vault, workers)
        grant = _known(parts, identity)
        first_credentials(parts, grant, directory, ACTION, datetime.now(UTC))
        return Recovered(grant, directory)


def adopt_root(configuration: Configuration, pem: bytes, material: Material) -> RootEntry:
    """Trust an identity root that no root before endorses, since the key of that is lost.

    Otherwise as `recover_identity`. Raises `InvalidField`, `WrongState`, `ConfigError`, `StoreTampered`.
    """
    with open_vault(configuration, material) as vault, ThreadPoolExecutor(1) as workers:
        now = datetime.now(UTC)
        outcome = assemble(vault, workers).identity_authorities.adopt_root(pem, now)
        event = local_event(ADOPT, now, outcome.details)
        vault.store.commit(outcome.changes, [event]).result()
        return outcome.value


def _known(parts: Parts, identity: Identity) -> Grant:
    """What an identity was granted last, or a tenant's first administrator that never enrolled."""
    loaded = parts.repository.load(IdentityRecord, str(identity))
    if loaded is not None:
        return grant_of(identity, loaded.record)
    if isinstance(identity, IdentityName):
        tenant = TenantName(identity.tenant)
        grant = first_administrator(tenant)
        if grant.identity == identity:
            check_not_destroyed(parts.repository, tenant)
            return grant
    raise NotFound(str(identity))
