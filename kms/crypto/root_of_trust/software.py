"""What providers share whose key is in this process's memory: protecting the root key under 32 bytes."""

import hmac
from collections.abc import Mapping

from blindfold.secret import SecretBytes
from kms.crypto.key_hierarchy import derive
from kms.crypto.root_of_trust.interface import RootKeyRecord, WrongRootMaterial
from kms.crypto.wrapping import unwrap, wrap

_CHECK_SIZE = 16
_PURPOSE = "WRAP_ROOT_KEY"


def protect(
    provider_key: SecretBytes,
    root_key: SecretBytes,
    store_id: bytes,
    provider: str,
    parameters: Mapping[str, str],
) -> RootKeyRecord:
    """Wrap under a key derived from the provider's, bound to the store and the provider."""
    wrapped = wrap(
        derive(provider_key, b"kms/v1 provider wrapping"),
        root_key,
        resource=f"stores/{store_id.hex()}",
        version=1,
        algorithm=provider,
        purpose=_PURPOSE,
    )
    return RootKeyRecord(store_id, provider, wrapped, _check(provider_key), parameters)


def unlock(provider_key: SecretBytes, record: RootKeyRecord) -> SecretBytes:
    """Raises `WrongRootMaterial`, or `UnwrapFailed` if the key is right and the record is not."""
    if not hmac.compare_digest(_check(provider_key), record.check):
        raise WrongRootMaterial(f"this is not the {record.provider} that protects this store")
    return unwrap(
        derive(provider_key, b"kms/v1 provider wrapping"),
        record.wrapped,
        resource=f"stores/{record.store_id.hex()}",
        version=1,
        algorithm=record.provider,
        purpose=_PURPOSE,
    )


def _check(provider_key: SecretBytes) -> bytes:
    """The key check value: it says no more of the key than the wrapping's tag does."""
    return derive(provider_key, b"kms/v1 provider check", _CHECK_SIZE).reveal()
