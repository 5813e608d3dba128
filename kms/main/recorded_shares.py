"""The shares that a store keeps, wrapped to their holders, where nobody can unlock it without them."""

from collections.abc import Sequence

from kms.audit.authenticated_store import NAME, needed_body
from kms.main.configuration import Configuration
from kms.model.records import RootSharesRecord
from kms.storage.sqlite import LockedStore


def recorded_shares(configuration: Configuration) -> Sequence[str]:
    """As they lie in the store of a server that is stopped. A share that somebody changed does not unwrap.

    Raises `ConfigError` while a server has the store, `StoreTampered` if there are none.
    """
    locked = LockedStore.open(configuration.store_path)
    try:
        body = needed_body(locked, RootSharesRecord.KIND, NAME)
    finally:
        locked.close()
    return RootSharesRecord.from_bytes(body).wrapped
