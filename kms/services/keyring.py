"""The keys the server works with: unwrapped when first needed, in this process's memory only.

root key -> tenant key -> everything a tenant owns. Wrapping binds each key to its resource, version,
algorithm and purpose, so that a wrapped key moved to another row does not open.
"""

import threading

from blindfold.errors import EvaluationFault
from blindfold.evaluation import Evaluator
from blindfold.private_key import PrivateKey
from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import AuthenticatedStore
from kms.crypto.key_hierarchy import TENANT_KEY, new_tenant_key
from kms.crypto.wrapping import unwrap, wrap
from kms.errors import EvaluationFailed, StoreTampered
from kms.model.names import BlindfoldKeyName, KeyVersionName, TenantName
from kms.model.records import BlindfoldKeyRecord, KeyVersionRecord
from kms.services.loaded_keys import LoadedKeys
from kms.storage.interface import MISSING, Put, Require

MAX_EVALUATORS = 256


class Keyring:
    """Wraps and unwraps keys, and keeps evaluators at hand. Safe for calls from several threads."""

    def __init__(self, vault: AuthenticatedStore) -> None:
        self._vault = vault
        self._tenants: dict[str, SecretBytes] = {}
        self._evaluators: LoadedKeys[BlindfoldKeyName, Evaluator] = LoadedKeys(MAX_EVALUATORS)
        self._lock = threading.Lock()

    def new_root_wrapped(self, kind: str, name: str, key: SecretBytes) -> Put:
        """The row of a new key right below the root. `kind` is one of `ROOT_WRAPPED`.

        The unit that writes it includes `requirement`.
        """
        return Put(kind, name, self._vault.root.keys.wrap(kind, name, key), MISSING)

    @property
    def requirement(self) -> Require:
        """Holds while the root key is the one that rows are wrapped under now."""
        return self._vault.root.requirement

    def root_wrapped(self, kind: str, name: str) -> SecretBytes:
        """A key right below the root. Raises `StoreTampered` if its row is missing or does not open."""
        row = self._vault.store.get(kind, name)
        if row is None:
            raise StoreTampered(f"the row {name} of kind {kind} is missing")
        return self._vault.root.keys.unwrap(kind, name, row.body)

    def new_tenant(self, tenant: str) -> Put:
        """The row of a tenant's key, freshly drawn. As `new_root_wrapped`."""
        with new_tenant_key() as key:
            return self.new_root_wrapped(TENANT_KEY, str(TenantName(tenant)), key)

    def _tenant_key(self, tenant: str) -> SecretBytes:
        with self._lock:
            key = self._tenants.get(tenant)
        if key is None:
            key = self.root_wrapped(TENANT_KEY, str(TenantName(tenant)))
            with self._lock:
                self._tenants[tenant] = key
        return key

    def wrap_for_tenant(
        self, tenant: str, secret: SecretBytes, resource: str, version: int, algorithm: str, purpose: str
    ) -> bytes:
        key = self._tenant_key(tenant)
        return wrap(key, secret, resource=resource, version=version, algorithm=algorithm, purpose=purpose)

    def unwrap_for_tenant(
        self, tenant: str, wrapped: bytes, resource: str, version: int, algorithm: str, purpose: str
    ) -> SecretBytes:
        key = self._tenant_key(tenant)
        return unwrap(key, wrapped, resource=resource, version=version, algorithm=algorithm, purpose=purpose)

    def wrap_key_version(self, name: KeyVersionName, algorithm: str, material: SecretBytes) -> bytes:
        """The stored form of a key version's material."""
        return self.wrap_for_tenant(
            name.tenant, material, str(name.key_name), name.version, algorithm, "key version"
        )

    def unwrap_key_version(self, name: KeyVersionName, record: KeyVersionRecord) -> SecretBytes:
        """The material. Raises `StoreTampered`."""
        return self.unwrap_for_tenant(
            name.tenant, record.wrapped_key, str(name.key_name), name.version, record.algorithm, "key version"
        )

    def wrap_blindfold_key(self, name: BlindfoldKeyName, key: PrivateKey) -> bytes:
        with key.to_bytes() as secret:
            algorithm = _blindfold_algorithm(key.n.bit_length())
            return self.wrap_for_tenant(name.tenant, secret, str(name), name.version, algorithm, "blindfold")

    def unwrap_blindfold_key(self, name: BlindfoldKeyName, record: BlindfoldKeyRecord) -> PrivateKey:
        algorithm = _blindfold_algorithm(record.modulus_bits)
        with self.unwrap_for_tenant(
            name.tenant, record.wrapped_key, str(name), name.version, algorithm, "blindfold"
        ) as secret:
            key = PrivateKey.from_bytes(secret.reveal())
        if int(key.n) != int.from_bytes(record.modulus, "big"):
            raise StoreTampered(f"the private key of {name} is not that of its public key")
        return key

    def evaluator_at_hand(self, name: BlindfoldKeyName) -> Evaluator | None:
        """The evaluator of a key version, if it was made before."""
        return self._evaluators.get(name)

    def begin(self) -> int:
        """To be called before a record is read, and given to `evaluator` with it."""
        return self._evaluators.begin()

    def evaluator(self, name: BlindfoldKeyName, record: BlindfoldKeyRecord, begun: int) -> Evaluator:
        """The evaluator of a key version, tested when it is made: some tens of milliseconds.

        Above 256, the least recently used ones are forgotten; a version that has stopped is served again
        only after this test. Raises `EvaluationFailed`, `StoreTampered`.
        """
        evaluator = self.evaluator_at_hand(name)
        if evaluator is None:
            evaluator = Evaluator(self.unwrap_blindfold_key(name, record))
            _test(evaluator)
            self._evaluators.keep(name, evaluator, begun)
        return evaluator

    def forget(self, name: BlindfoldKeyName) -> None:
        """Drop the evaluator of a version that is stopped or destroyed: as `LoadedKeys.forget`."""
        self._evaluators.forget(name)


def _test(evaluator: Evaluator) -> None:
    try:
        evaluator.self_test()
        return
    except EvaluationFault:
        pass
    raise EvaluationFailed("the key version failed its self-test; it does not serve")


def _blindfold_algorithm(modulus_bits: int) -> str:
    return f"BLINDFOLD_RSA_{modulus_bits}"
