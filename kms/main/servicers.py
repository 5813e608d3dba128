"""Which servicers each listener has, built from the parts."""

from collections.abc import Sequence

from kms.main.parts import Parts
from kms.main.status import StatusReport
from kms.main.unlocking import NotLocked
from kms.scheduler import Scheduler
from kms.server.servicers import Servicer
from kms.server.servicers.audit import AuditServicer
from kms.server.servicers.backups import BackupServicer
from kms.server.servicers.blindfold import BlindfoldServicer
from kms.server.servicers.cryptography import CryptoServicer
from kms.server.servicers.enrolment import EnrolmentServicer
from kms.server.servicers.identities import IdentityServicer
from kms.server.servicers.identity_authorities import IdentityAuthorityServicer
from kms.server.servicers.imports import ImportServicer
from kms.server.servicers.jwt_issuers import JwtIssuerServicer
from kms.server.servicers.keys import KeyServicer
from kms.server.servicers.kms_policies import KmsPolicyServicer
from kms.server.servicers.namespaces import NamespaceServicer
from kms.server.servicers.prefix_sets import PrefixSetServicer
from kms.server.servicers.rate_limits import RateLimitServicer
from kms.server.servicers.root_of_trust import RootOfTrustServicer
from kms.server.servicers.secret_management_accesses import SecretManagementAccessServicer
from kms.server.servicers.secret_policies import SecretPolicyServicer
from kms.server.servicers.status import StatusServicer
from kms.server.servicers.tenants import TenantServicer
from kms.server.servicers.trusted_authorities import TrustedAuthorityServicer
from kms.server.servicers.unlock import UnlockServicer
from kms.services.root_of_trust import RootOfTrustService

# The full names of those of the listener that requires client certificates.
SERVICES = tuple(
    servicer.SERVICE
    for servicer in (
        StatusServicer,
        RootOfTrustServicer,
        TenantServicer,
        NamespaceServicer,
        IdentityServicer,
        JwtIssuerServicer,
        TrustedAuthorityServicer,
        SecretPolicyServicer,
        KmsPolicyServicer,
        PrefixSetServicer,
        KeyServicer,
        ImportServicer,
        CryptoServicer,
        BlindfoldServicer,
        AuditServicer,
        RateLimitServicer,
        BackupServicer,
    )
)


def main_servicers(
    parts: Parts, scheduler: Scheduler, status: StatusReport, root: RootOfTrustService
) -> Sequence[Servicer]:
    """Of the listener that requires client certificates."""
    return (
        StatusServicer(status),
        RootOfTrustServicer(root, parts.root_key_rotation),
        TenantServicer(parts.tenants, parts.tenant_life, parts.audit_log.public_key),
        NamespaceServicer(parts.namespaces),
        IdentityServicer(parts.identities, parts.authenticator.leaf),
        JwtIssuerServicer(parts.jwt_issuers),
        TrustedAuthorityServicer(parts.trusted_authorities),
        IdentityAuthorityServicer(parts.identity_authorities),
        SecretPolicyServicer(parts.secret_policies, parts.access_review, parts.simulations),
        KmsPolicyServicer(parts.kms_policies, parts.access_review, parts.simulations),
        PrefixSetServicer(parts.prefix_sets),
        SecretManagementAccessServicer(parts.secret_management_accesses),
        KeyServicer(parts.keys, parts.key_versions),
        ImportServicer(parts.transfers, parts.key_versions),
        CryptoServicer(parts.cryptography, parts.randomness),
        BlindfoldServicer(parts.blindfold_keys, parts.documents, parts.evaluation, scheduler.progress),
        AuditServicer(parts.audit_log),
        RateLimitServicer(parts.rate_limiters, parts.user_identifications),
        BackupServicer(parts.backups, parts.store_backups, parts.restores),
    )


def enrolment_servicers(parts: Parts) -> Sequence[Servicer]:
    """Of the listener that asks for no certificate."""
    return (
        EnrolmentServicer(parts.identities, parts.jwt_enrolment),
        UnlockServicer(NotLocked(parts.vault)),
    )
