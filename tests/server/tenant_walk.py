"""Every method that a listener serves, asked about a tenant that has one of everything."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
from server.asking import OK, Outcome, ask_well
from server.kms_harness import ACME, PROD
from server.made_requests import Attempt, attempts, resource_names
from server.watched_kms import Listener, WatchedKms

from kms.authz.roles import OPERATOR, ROLES
from kms.client.api import Api
from kms.errors import Denied
from kms.identity.grant import Grant
from kms.model.names import IdentityName, SiteName

DAY = timedelta(days=1)
REAL, MISSING = "real", "missing"
ALL_ROLES = frozenset(ROLES) - {OPERATOR}
UNAVAILABLE, UNAUTHENTICATED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED
DENIED = (grpc.StatusCode.PERMISSION_DENIED, Denied().message, Denied.reason)

# What names no tenant and reads nothing of any: whoever has a certificate may ask, and is answered.
OF_NO_TENANT = {
    "/grpc.health.v1.Health/Check": OK,
    "/grpc.health.v1.Health/List": OK,
    "/grpc.health.v1.Health/Watch": OK,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": OK,
    # A checkpoint is of the chain of all tenants, and says hashes alone.
    "/kms.v1.AuditService/GetCheckpoint": OK,
    # About the caller's own certificate; the request has no name, and no field that holds a good CSR here.
    "/kms.v1.IdentityService/RenewCertificate": grpc.StatusCode.INVALID_ARGUMENT,
}
# Any identity of the tenant may have it: what opens a sealed secret needs it, and it is public.
OF_ALL_OF_A_TENANT = {"/kms.v1.BlindfoldService/GetKeyDocument"}


def furnish(watched: WatchedKms) -> None:
    kms = watched.kms
    kms.add_key()
    kms.add_policy(REAL)
    kms.allow_keys(policy_id=REAL)
    kms.make_key(REAL)
    kms.add_access(REAL, f"{PROD}/secretPolicies/{REAL}")
    for grant in (Grant(IdentityName("acme", "prod", REAL)), Grant(SiteName("acme", REAL))):
        kms.issue(grant, kms.directory / "real" / type(grant.identity).__name__)
    everything = Grant(IdentityName("globex", "prod", "mallory"), roles=ALL_ROLES)
    kms.issue(everything, kms.directory / "callers" / "mallory")
    nobody = Grant(IdentityName("acme", "prod", "nobody"))
    kms.issue(nobody, kms.directory / "callers" / "nobody")


def texts(identifier: str) -> tuple[str, ...]:
    namespace = "prod" if identifier == REAL else MISSING
    return (*resource_names("acme", namespace, identifier), identifier, "10.0.0.0/8")


def walk(listener: Listener, identifier: str = REAL) -> list[Attempt]:
    """All methods of a listener, but those of no tenant."""
    assert set(OF_NO_TENANT) <= set(listener.methods), "a method was removed: take it off the table"
    return [
        attempt
        for path, method in listener.methods.items()
        if path not in OF_NO_TENANT
        for attempt in attempts(method, texts(identifier))
    ]


def asked(channel: Any, listener: Listener, identifier: str) -> dict[str, Outcome]:
    """How each method ends for who calls on the channel, all at once."""
    with ThreadPoolExecutor(8) as workers:
        walked = walk(listener, identifier)
        outcomes = workers.map(lambda attempt: ask_well(channel, attempt), walked)
        return dict(zip(map(str, walked), outcomes, strict=True))


def admin(name: str) -> Grant:
    return Grant(IdentityName("acme", "prod", name), roles=ALL_ROLES)


def get_tenant(channel: grpc.Channel) -> None:
    """The connection is there, and its caller is known."""
    assert Api(channel).call("TenantService", "GetTenant", {"name": ACME})["name"] == ACME
