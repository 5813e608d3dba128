"""The parts of a KMS around one unlocked store, wired together; no listener yet."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from time import monotonic_ns

from kms.audit.authenticated_store import AuthenticatedStore
from kms.crypto.device.device import Device
from kms.identity.certificates import Authenticator
from kms.identity.revocation import DenyList
from kms.model.audit_event import AuditEvent
from kms.model.rate_limit import Limit
from kms.model.secret_management_access import NOTHING_ALLOWED, Allowances
from kms.services.access_review import AccessReview
from kms.services.agenda import Agenda
from kms.services.audit_log import AuditLog
from kms.services.audit_retention import AuditRetention
from kms.services.backups import Backups
from kms.services.blindfold_keys import BlindfoldKeys
from kms.services.corporate_trust import CorporateTrust
from kms.services.cryptography import Cryptography
from kms.services.deny_lists import DenyLists
from kms.services.document_signing import DocumentSigning
from kms.services.documents import Documents
from kms.services.evaluation import Evaluation
from kms.services.forgetting import forget_in
from kms.services.fresh_versions import FreshVersions
from kms.services.guard import Acknowledge, Guard
from kms.services.identities import Identities
from kms.services.identity_authorities import IdentityAuthorities
from kms.services.identity_trust import IdentityTrust
from kms.services.issuer_keys import Fetch, IssuerKeys, fetch_nothing
from kms.services.jwt_enrolment import JwtEnrolment
from kms.services.jwt_issuers import JwtIssuers
from kms.services.key_access import KeyAccesses
from kms.services.key_handles import KeyHandles
from kms.services.key_policies import KeyPolicies
from kms.services.key_versions import KeyVersions
from kms.services.keyring import Keyring
from kms.services.keys import Keys
from kms.services.kms_policies import KmsPolicies
from kms.services.operations import Operations
from kms.services.policy_documents import PolicyDocuments
from kms.services.prefix_sets import PrefixSets
from kms.services.randomness import Randomness
from kms.services.rate_limiters import RateLimiters, UserIdentifications, limits_of
from kms.services.rate_limits import RateLimits
from kms.services.refusals import Refusals
from kms.services.repository import Repository
from kms.services.restores import Restores
from kms.services.root_key_rotation import RootKeyRotation
from kms.services.secret_management_accesses import SecretManagementAccesses
from kms.services.secret_policies import SecretPolicies
from kms.services.simulation import Simulations
from kms.services.spent_tokens import SpentTokens
from kms.services.store_backups import StoreBackups
from kms.services.tenant_destruction import TenantDestruction
from kms.services.tenant_life import TenantLife
from kms.services.tenant_states import TenantStates
from kms.services.tenants import Namespaces, Tenants
from kms.services.transfers import Transfers
from kms.services.trusted_authorities import TrustedAuthorities
from kms.services.upkeep import Upkeep
from kms.services.use_budget import UseBudget

# Events that wait to be looked at for alerts. Above it the oldest are passed over: the audit trail has them.
MAX_OBSERVED = 20_000


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that servicers, the scheduler and the local commands call. `observed`: see `Alerting`."""

    vault: AuthenticatedStore
    guard: Guard
    repository: Repository
    keyring: Keyring
    root_key_rotation: RootKeyRotation
    signing: DocumentSigning
    identity_trust: IdentityTrust
    authenticator: Authenticator
    refusals: Refusals
    spent_tokens: SpentTokens
    rate_limits: RateLimits
    rate_limiters: RateLimiters
    user_identifications: UserIdentifications
    tenants: Tenants
    tenant_life: TenantLife
    tenant_destruction: TenantDestruction
    audit_retention: AuditRetention
    namespaces: Namespaces
    identities: Identities
    corporate_trust: CorporateTrust
    trusted_authorities: TrustedAuthorities
    identity_authorities: IdentityAuthorities
    jwt_issuers: JwtIssuers
    jwt_enrolment: JwtEnrolment
    secret_policies: SecretPolicies
    blindfold_keys: BlindfoldKeys
    keys: Keys
    key_versions: KeyVersions
    kms_policies: KmsPolicies
    prefix_sets: PrefixSets
    secret_management_accesses: SecretManagementAccesses
    access_review: AccessReview
    simulations: Simulations
    cryptography: Cryptography
    randomness: Randomness
    transfers: Transfers
    upkeep: Upkeep
    fresh: FreshVersions
    documents: Documents
    evaluation: Evaluation
    audit_log: AuditLog
    backups: Backups
    store_backups: StoreBackups
    restores: Restores
    observed: deque[AuditEvent]


def assemble(
    vault: AuthenticatedStore,
    workers: Executor,
    server_names: Collection[str] = (),
    platform_limits: Sequence[Limit] = (),
    clock: Callable[[], int] = monotonic_ns,
    issuer_hosts: Collection[str] = (),
    fetch: Fetch = fetch_nothing,
    allowances: Allowances = NOTHING_ALLOWED,
    acknowledge: Acknowledge = lambda request_id, receipt: None,
    device: Device | None = None,
    keep_events: timedelta | None = None,
) -> Parts:
    """Wire the parts. `workers` run private operations; `server_names` are the server's DNS names.

    `platform_limits` hold for every tenant; `clock` is monotonic, in nanoseconds. `fetch` reads
    the keys of JWT issuers on those hosts. `allowances` are for accesses to vaults. `device` keeps HIGH
    keys, if there is one. Audit events are dropped after `keep_events`, None for never.
    """
    store = vault.store
    repository, keyring = Repository(store), Keyring(vault)
    handles = KeyHandles(keyring, device)
    observed: deque[AuditEvent] = deque(maxlen=MAX_OBSERVED)
    rate_limits = RateLimits(platform_limits, partial(limits_of, repository), clock)
    own, states = IdentityTrust(repository, keyring), TenantStates(repository)
    trust_domain = own.current().trust_domain
    trust = CorporateTrust(repository, trust_domain, clock)
    accesses = KeyAccesses(repository)
    forget = forget_in(repository, keyring, handles, accesses, rate_limits, trust)
    guard = Guard(store, forget, observed.extend, states.serving, acknowledge)
    deny_lists, documents = DenyLists(repository, own.check), PolicyDocuments()
    signing = DocumentSigning(repository, keyring)
    identities = Identities(guard, repository, own, deny_lists, server_names)
    issuer_keys = IssuerKeys(fetch, clock)
    budget = UseBudget(guard, repository)
    agenda = Agenda(repository)
    fresh = FreshVersions(guard, repository, workers, device, device_label(vault))
    keys = Keys(guard, repository, keyring, agenda, fresh)
    versions = KeyVersions(guard, repository, agenda, budget)
    policies = KeyPolicies(repository)
    operations = Operations(guard, repository, handles, policies, accesses, budget, workers)
    upkeep = Upkeep(guard, repository, agenda, keys, versions, fresh)
    operations.wants_rotation = upkeep.want
    return Parts(
        vault=vault,
        guard=guard,
        repository=repository,
        keyring=keyring,
        root_key_rotation=RootKeyRotation(guard, vault),
        signing=signing,
        identity_trust=own,
        authenticator=Authenticator(
            own.anchors, partial(_deny_list, states, deny_lists), others=trust, revision=repository.revision
        ),
        refusals=Refusals(store),
        spent_tokens=SpentTokens(guard, repository),
        rate_limits=rate_limits,
        rate_limiters=RateLimiters(guard, repository),
        user_identifications=UserIdentifications(guard, repository),
        tenants=Tenants(guard, repository, keyring, own),
        tenant_life=TenantLife(guard, repository, store),
        tenant_destruction=TenantDestruction(guard, repository, store),
        audit_retention=AuditRetention(guard, repository, store, keep_events),
        namespaces=Namespaces(guard, repository),
        identities=identities,
        corporate_trust=trust,
        trusted_authorities=TrustedAuthorities(guard, repository, trust, deny_lists, own, trust_domain),
        identity_authorities=IdentityAuthorities(guard, repository, keyring, own, trust),
        jwt_issuers=JwtIssuers(guard, repository, issuer_hosts),
        jwt_enrolment=JwtEnrolment(repository, identities, issuer_keys),
        secret_policies=SecretPolicies(guard, repository, documents),
        blindfold_keys=BlindfoldKeys(guard, repository, keyring),
        keys=keys,
        key_versions=versions,
        kms_policies=KmsPolicies(guard, repository),
        prefix_sets=PrefixSets(guard, repository),
        secret_management_accesses=SecretManagementAccesses(guard, repository, allowances),
        access_review=AccessReview(guard, repository, deny_lists, policies, documents),
        simulations=Simulations(guard, repository, store, policies, documents),
        cryptography=Cryptography(operations),
        randomness=Randomness(guard, policies),
        transfers=Transfers(guard, repository, keyring, policies, budget, deny_lists, workers),
        upkeep=upkeep,
        fresh=fresh,
        documents=Documents(guard, repository, documents, signing),
        evaluation=Evaluation(guard, repository, deny_lists, documents, keyring, budget, workers),
        audit_log=AuditLog(guard, store, vault.audit_public_key),
        backups=Backups(guard, vault, repository, keyring),
        store_backups=StoreBackups(guard, vault, repository),
        restores=Restores(guard, vault, repository, keyring, agenda, upkeep.want, rate_limits.forget),
        observed=observed,
    )


def device_label(vault: AuthenticatedStore) -> str:
    """What keys in the device are labelled with, that belong to this store."""
    return f"kms {vault.recorded_keys()[1].store_id.hex()}"


def _deny_list(states: TenantStates, deny_lists: DenyLists, tenant: str | None) -> DenyList:
    """What is in force for a tenant's identities, or for operators. Raises `Unauthenticated`."""
    if tenant is not None:
        states.check_exists(tenant)
    return deny_lists.current(tenant)
