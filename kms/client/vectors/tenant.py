"""A tenant of a running KMS that is made for vectors alone."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.enrolment import enrol, presented_chain
from kms.client.errors import CallNotFound
from kms.client.vectors.bench import Bench
from kms.model.names import IdentityName, KeyName, KmsPolicyName, NamespaceName, TenantName

# RSA keys of 4,096 bits are checked at import, behind others that wait for the same processors.
TIMEOUT = 300.0
NAMESPACE, POLICY = "vectors", "vectors"
KEEPER, VERIFIER = "keeper", "verifier"
ROLES: Mapping[str, tuple[str, ...]] = {
    KEEPER: (f"policy-author@{NAMESPACE}", f"key-admin@{NAMESPACE}"),
    VERIFIER: (f"key-user@{NAMESPACE}",),
}
USES = ("RAW_DECRYPT", "RAW_ENCRYPT", "DECRYPT", "ENCRYPT", "VERIFY", "MAC", "MAC_VERIFY", "GET_PUBLIC_KEY")
# The shortest that there is.
DELAY = "86400s"
THREADS = 8


@dataclass(frozen=True, slots=True)
class Target:
    """A KMS: `host:port` of its two listeners."""

    server: str
    enrolment: str


class VectorTenant:
    """The tenant, by its administrator; `set_up` makes a bench in it, `retire` ends it, finished or not."""

    def __init__(
        self, name: TenantName, target: Target, directory: Path, admin: Api, channels: ExitStack
    ) -> None:
        """Further identities have their credentials in the directory, and their channels on the stack."""
        self.name = name
        self.admin = admin
        self._target = target
        self._directory = directory
        self._channels = channels
        self._place = NamespaceName(name.tenant, NAMESPACE)
        self._enrolled: list[IdentityName] = []
        self._bench: Bench | None = None

    def set_up(self) -> Bench:
        """Namespace, identities and policy. Raises `CallFailed`, and as `enrol`."""
        namespace = {"parent": str(self.name), "namespace_id": NAMESPACE}
        self.admin.call("NamespaceService", "CreateNamespace", namespace)
        keeper, keeper_id = self._enrol(KEEPER)
        verifier, verifier_id = self._enrol(VERIFIER)
        policy = KmsPolicyName(self.name.tenant, NAMESPACE, POLICY)
        self._bench = Bench(keeper, verifier, self._place, policy)
        _allow(keeper, policy, {keeper_id: ("IMPORT",), verifier_id: USES})
        return self._bench

    def retire(self) -> int:
        """Take all access away, and have every key destroyed in a day; how many versions that are.

        The API deletes no tenants: the name stays, and the rows of keys and events. Raises `CallFailed`.
        """
        destroyed = 0
        if self._bench is not None:
            # The setting up may have ended before it was made.
            with suppress(CallNotFound):
                policy = {"name": str(self._bench.policy)}
                self._bench.keeper.call("KmsPolicyService", "DeleteKmsPolicy", policy)
            with ThreadPoolExecutor(THREADS) as threads:
                keeper = self._bench.keeper
                destroyed = sum(threads.map(lambda key: _destroy(keeper, key), self._bench.keys))
        for identity in (*self._enrolled, _administrator(self.name)):
            request = {"name": str(identity), "comment": "the run of vectors has ended"}
            self.admin.call("IdentityService", "RevokeIdentity", request)
        return destroyed

    def _enrol(self, who: str) -> tuple[Api, str]:
        """How the new identity calls, and its SPIFFE id."""
        identity = IdentityName(self.name.tenant, NAMESPACE, who)
        join_token = {"identity": str(identity), "roles": list(ROLES[who])}
        request = {"parent": str(self._place), "join_token": join_token}
        token = self.admin.call("IdentityService", "CreateJoinToken", request)["token"]
        api, spiffe_id = _enrolled(self._target, token, self._directory / who, self._channels)
        self._enrolled.append(identity)
        return api, spiffe_id


@contextmanager
def vector_tenant(operator: Api, target: Target, tenant_id: str, directory: Path) -> Iterator[VectorTenant]:
    """A new tenant, with the credentials of its identities in the (private) directory.

    `operator` calls as an operator of the platform. Raises `CallFailed`, and as `enrol`.
    """
    # Before anything is made that could not be retired: the listener that all identities need is there.
    presented_chain(target.enrolment)
    about = {"description": "Throw-away, for test vectors."}
    made = operator.call("TenantService", "CreateTenant", {"tenant_id": tenant_id, "tenant": about})
    with ExitStack() as channels:
        admin, _ = _enrolled(target, made["admin_join_token"], directory / "admin", channels)
        yield VectorTenant(TenantName(tenant_id), target, directory, admin, channels)


def _administrator(tenant: TenantName) -> IdentityName:
    """The administrator that every tenant begins with."""
    return IdentityName(tenant.tenant, "system", "admin")


def _enrolled(target: Target, token: str, directory: Path, channels: ExitStack) -> tuple[Api, str]:
    spiffe_id = enrol(target.enrolment, token, directory).spiffe_id
    return Api(channels.enter_context(open_channel(target.server, directory)), TIMEOUT), spiffe_id


def _allow(keeper: Api, policy: KmsPolicyName, operations: Mapping[str, tuple[str, ...]]) -> None:
    """A KMS policy: each identity may do those operations with any key that has it, and nobody else any."""
    rules = [
        {
            "name": spiffe_id.rpartition("/")[2],
            "action": "ACTION_ALLOW",
            "client_name": spiffe_id,
            "operations": [f"OPERATION_{name}" for name in names],
        }
        for spiffe_id, names in operations.items()
    ]
    request = {
        "parent": str(NamespaceName(policy.tenant, policy.namespace)),
        "kms_policy_id": policy.policy,
        "kms_policy": {"content": {"rules": rules}},
    }
    keeper.call("KmsPolicyService", "CreateKmsPolicy", request)


def _destroy(keeper: Api, key: KeyName) -> int:
    """How many versions had bytes to destroy: an import that was refused left none."""
    versions = keeper.call("KeyService", "ListKeyVersions", {"parent": str(key)})["key_versions"]
    enabled = [item["name"] for item in versions if item["state"] == "KEY_VERSION_STATE_ENABLED"]
    for name in enabled:
        keeper.call("KeyService", "ScheduleDestroyKeyVersion", {"name": name, "delay": DELAY})
    return len(enabled)
