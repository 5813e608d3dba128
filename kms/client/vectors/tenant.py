"""A tenant of a running KMS that is made for vectors alone."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.enrolment import enrol
from kms.client.vectors.bench import Bench
from kms.model.names import IdentityName, KmsPolicyName, NamespaceName, TenantName

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


@dataclass(frozen=True, slots=True)
class VectorTenant:
    """The tenant, its administrator, and the bench that is set up in it."""

    name: TenantName
    admin: Api
    bench: Bench

    def retire(self) -> int:
        """Take all access away, and have every key destroyed in a day; how many versions that are.

        The API deletes no tenants: the name stays, and the rows of keys and events. Raises `CallFailed`.
        """
        bench = self.bench
        bench.keeper.call("KmsPolicyService", "DeleteKmsPolicy", {"name": str(bench.policy)})
        with ThreadPoolExecutor(THREADS) as threads:
            destroyed = sum(threads.map(self._destroy, map(str, bench.keys)))
        for identity in (VERIFIER, KEEPER):
            self._revoke(IdentityName(self.name.tenant, NAMESPACE, identity))
        self._revoke(IdentityName(self.name.tenant, "system", "admin"))
        return destroyed

    def _destroy(self, key: str) -> bool:
        """Whether there were bytes to destroy: an import that was refused left none."""
        version = {"name": f"{key}/versions/1"}
        state = self.bench.keeper.call("KeyService", "GetKeyVersion", version)["state"]
        if state != "KEY_VERSION_STATE_ENABLED":
            return False
        self.bench.keeper.call("KeyService", "ScheduleDestroyKeyVersion", {**version, "delay": DELAY})
        return True

    def _revoke(self, identity: IdentityName) -> None:
        request = {"name": str(identity), "comment": "the run of vectors has ended"}
        self.admin.call("IdentityService", "RevokeIdentity", request)


@contextmanager
def vector_tenant(operator: Api, target: Target, tenant_id: str, directory: Path) -> Iterator[VectorTenant]:
    """A new tenant, with the credentials of its identities in the (private) directory.

    `operator` calls as an operator of the platform. Raises `CallFailed`, and as `enrol`.
    """
    name, place = TenantName(tenant_id), NamespaceName(tenant_id, NAMESPACE)
    about = {"description": "Throw-away, for test vectors."}
    made = operator.call("TenantService", "CreateTenant", {"tenant_id": tenant_id, "tenant": about})
    with ExitStack() as channels:

        def enrolled(who: str, token: str) -> tuple[Api, str]:
            spiffe_id = enrol(target.enrolment, token, directory / who).spiffe_id
            channel = channels.enter_context(open_channel(target.server, directory / who))
            return Api(channel, TIMEOUT), spiffe_id

        admin, _ = enrolled("admin", made["admin_join_token"])
        namespace = {"parent": str(name), "namespace_id": NAMESPACE}
        admin.call("NamespaceService", "CreateNamespace", namespace)
        keeper, keeper_id = enrolled(KEEPER, _token(admin, place, KEEPER))
        verifier, verifier_id = enrolled(VERIFIER, _token(admin, place, VERIFIER))
        policy = KmsPolicyName(tenant_id, NAMESPACE, POLICY)
        _allow(keeper, place, {keeper_id: ("IMPORT",), verifier_id: USES})
        yield VectorTenant(name, admin, Bench(keeper, verifier, place, policy))


def _token(admin: Api, place: NamespaceName, who: str) -> str:
    identity = IdentityName(place.tenant, place.namespace, who)
    join_token = {"identity": str(identity), "roles": list(ROLES[who])}
    request = {"parent": str(place), "join_token": join_token}
    token: str = admin.call("IdentityService", "CreateJoinToken", request)["token"]
    return token


def _allow(keeper: Api, place: NamespaceName, operations: Mapping[str, tuple[str, ...]]) -> None:
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
        "parent": str(place),
        "kms_policy_id": POLICY,
        "kms_policy": {"content": {"rules": rules}},
    }
    keeper.call("KmsPolicyService", "CreateKmsPolicy", request)
