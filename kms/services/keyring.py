"""The keys the server works with: unwrapped when first needed, in this process's memory only.

root key -> tenant key -> everything a tenant owns. Wrapping binds each key to its resource, version,
algorithm and purpose, so that a wrapped key moved to another row does not open.
"""

from blindfold.errors import EvaluationFault
from blindfold.evaluation import Evaluator
from blindfold.private_key import PrivateKey
from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import AuthenticatedStore
from kms.crypto.key_hierarchy import TENANT_KEY, new_tenant_key
from kms.errors import EvaluationFailed, StoreTampered
from kms.model.names import BlindfoldKeyName, KeyVersionName, TenantName
from kms.model.records import BlindfoldKeyRecord, KeyVersionRecord
from kms.services.loaded_keys import LoadedKeys
from kms.services.tenant_key import TenantKey
from kms.storage.interface import MISSING, Delete, Put, Require, Row

MAX_EVALUATORS = 256
MAX_TENANTS = 10_000


class Keyring:
    """Wraps and unwraps keys, and keeps evaluators at hand. Safe for calls from several threads."""

    def __init__(self, vault: AuthenticatedStore) -> None:
        self._vault = vault
        self._tenants: LoadedKeys[str, TenantKey] = LoadedKeys(MAX_TENANTS)
        self._evaluators: LoadedKeys[BlindfoldKeyName, Evaluator] = LoadedKeys(MAX_EVALUATORS)

    def new_root_wrapped(self, kind: str, name: str, key: SecretBytes) -> tuple[Put, Require]:
        """The row of a new key right below the root, and what the unit that writes it includes.

        `kind` is one of `ROOT_WRAPPED`. Both are of the same root key, which another thread may change: taken
        apart they could let a row be stored that no key unwraps.
        """
        root = self._vault.root
        return Put(kind, name, root.keys.wrap(kind, name, key), MISSING), root.requirement

    def end_root_wrapped(self, kind: str, name: str) -> Delete:
        """The end of a key right below the root. Raises `StoreTampered` if its row is missing."""
        return Delete(kind, name, self._row(kind, name).counter)

    def root_wrapped(self, kind: str, name: str) -> SecretBytes:
        """A key right below the root. Raises `StoreTampered`, `WriteConflict` amid a change of the root."""
        return self._vault.unwrap(kind, name)

    def _row(self, kind: str, name: str) -> Row:
        row = self._vault.store.get(kind, name)
        if row is None:
            raise StoreTampered(f"the row {name} of kind {kind} is missing")
        return row

    def new_tenant(self, tenant: str) -> tuple[Put, Require]:
        """The row of a tenant's key, freshly drawn. As `new_root_wrapped`."""
        with new_tenant_key() as key:
            return self.new_root_wrapped(TENANT_KEY, str(TenantName(tenant)), key)

    def of_tenant(self, tenant: str) -> TenantKey:
        """Raises `StoreTampered` if its row is missing or does not open."""
        begun = self._tenants.begin()
        key = self._tenants.get(tenant)
        if key is None:
            key = TenantKey(self.root_wrapped(TENANT_KEY, str(TenantName(tenant))))
            self._tenants.keep(tenant, key, begun)
        return key

    def forget_tenant(self, tenant: str) -> None:
        """Drop the key of a tenant that is destroyed: as `LoadedKeys.forget`."""
        self._tenants.forget(tenant)

    def wrap_key_version(self, name: KeyVersionName, algorithm: str, material: SecretBytes) -> bytes:
        """The stored form of a key version's material."""
        return self.of_tenant(name.tenant).wrap_key_version(name, algorithm, material)

    def unwrap_key_version(self, name: KeyVersionName, record: KeyVersionRecord) -> SecretBytes:
        """The material. Raises `StoreTampered`."""
        return self.of_tenant(name.tenant).unwrap_key_version(name, record)

    def wrap_blindfold_key(self, name: BlindfoldKeyName, key: PrivateKey) -> bytes:
        return self.of_tenant(name.tenant).wrap_blindfold_key(name, key)

    def unwrap_blindfold_key(self, name: BlindfoldKeyName, record: BlindfoldKeyRecord) -> PrivateKey:
        return self.of_tenant(name.tenant).unwrap_blindfold_key(name, record)

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
