"""Which rows are a tenant's, in the order in which a backup has them (docs/spec/backup.md, "Rows")."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kms.audit.authenticated_store import ROOT_KEY
from kms.crypto.key_hierarchy import AUDIT_KEY, AUTHORITY_KEY, DOCUMENTS_ROOT, TENANT_KEY
from kms.errors import InvalidField
from kms.identity.join_tokens import JoinTokenRecord
from kms.identity.revocation import DenyList
from kms.identity.spiffe import parse_identity_name
from kms.model.identity_authorities import AuthoritiesRecord
from kms.model.names import (
    BlindfoldKeyName,
    JwtIssuerName,
    KeyName,
    KeyVersionName,
    KmsPolicyName,
    KmsPolicyRevisionName,
    NamespaceName,
    PrefixSetName,
    RateLimiterName,
    ResourceName,
    SecretManagementAccessName,
    SecretPolicyName,
    SecretPolicyRevisionName,
    TenantName,
    TrustedAuthorityName,
    UserIdentificationName,
)
from kms.model.policy_records import (
    DigestRecord,
    KmsPolicyRecord,
    KmsPolicyRevisionRecord,
    NamespacePolicyRecord,
    PrefixSetRecord,
    RevisionRecord,
    SecretPolicyRecord,
)
from kms.model.records import (
    BlindfoldKeyRecord,
    DueRecord,
    IdentityRecord,
    ImportKeyRecord,
    JwtIssuerRecord,
    KeyRecord,
    KeyUsersRecord,
    KeyVersionRecord,
    NamespaceRecord,
    PrimaryRecord,
    RateLimiterRecord,
    RemnantRecord,
    RetentionRecord,
    RootSharesRecord,
    RotationRecord,
    SecretManagementAccessRecord,
    SettingsRecord,
    SignerRecord,
    TenantRecord,
    TrustedAuthorityRecord,
    UsedTokenRecord,
    UseRecord,
    UserIdentificationRecord,
)
from kms.services.repository import Stored

NUMBER_SIZE = 10
DIGEST_SIZE = 64


@dataclass(frozen=True, slots=True)
class RowKind:
    """How rows of a kind are read: the record, and the resource that a row's name is of."""

    record: type[Stored]
    name: Callable[[str], ResourceName]


def _numbered(kind: type[ResourceName]) -> Callable[[str], ResourceName]:
    """Names that end in a number as ten digits. Raises `InvalidField`."""

    def parse(row: str) -> ResourceName:
        head, _, digits = row.rpartition("/")
        if len(digits) != NUMBER_SIZE or not digits.isascii() or not digits.isdecimal():
            raise InvalidField("name", "does not end in ten digits")
        return kind.parse(f"{head}/{int(digits)}")

    return parse


def _counted(row: str) -> ResourceName:
    """The key version or, with a digest behind it, the Blindfold key whose uses a row counts."""
    head, _, digest = row.rpartition("/")
    if _is_digest(digest):
        return _numbered(BlindfoldKeyName)(head)
    return _numbered(KeyVersionName)(row)


def _digested(kind: type[ResourceName]) -> Callable[[str], ResourceName]:
    """Names that end in a digest. Raises `InvalidField`."""

    def parse(row: str) -> ResourceName:
        head, _, digest = row.rpartition("/")
        if not _is_digest(digest):
            raise InvalidField("name", "does not end in a digest")
        return kind.parse(head)

    return parse


def _is_digest(text: str) -> bool:
    return len(text) == DIGEST_SIZE and not set(text) - set("0123456789abcdef")


# What a row refers to comes before it, except for what a row is a part of.
KINDS: Mapping[str, RowKind] = MappingProxyType(
    {
        TenantRecord.KIND: RowKind(TenantRecord, TenantName.parse),
        NamespaceRecord.KIND: RowKind(NamespaceRecord, NamespaceName.parse),
        BlindfoldKeyRecord.KIND: RowKind(BlindfoldKeyRecord, _numbered(BlindfoldKeyName)),
        PrimaryRecord.KIND: RowKind(PrimaryRecord, TenantName.parse),
        PrefixSetRecord.KIND: RowKind(PrefixSetRecord, PrefixSetName.parse),
        KmsPolicyRevisionRecord.KIND: RowKind(KmsPolicyRevisionRecord, _numbered(KmsPolicyRevisionName)),
        KmsPolicyRecord.KIND: RowKind(KmsPolicyRecord, KmsPolicyName.parse),
        NamespacePolicyRecord.KIND: RowKind(NamespacePolicyRecord, NamespaceName.parse),
        RevisionRecord.KIND: RowKind(RevisionRecord, _numbered(SecretPolicyRevisionName)),
        SecretPolicyRecord.KIND: RowKind(SecretPolicyRecord, SecretPolicyName.parse),
        DigestRecord.KIND: RowKind(DigestRecord, _digested(TenantName)),
        KeyVersionRecord.KIND: RowKind(KeyVersionRecord, _numbered(KeyVersionName)),
        KeyRecord.KIND: RowKind(KeyRecord, KeyName.parse),
        UseRecord.KIND: RowKind(UseRecord, _counted),
        JwtIssuerRecord.KIND: RowKind(JwtIssuerRecord, JwtIssuerName.parse),
        TrustedAuthorityRecord.KIND: RowKind(TrustedAuthorityRecord, TrustedAuthorityName.parse),
        UsedTokenRecord.KIND: RowKind(UsedTokenRecord, _digested(JwtIssuerName)),
        IdentityRecord.KIND: RowKind(IdentityRecord, parse_identity_name),
        UserIdentificationRecord.KIND: RowKind(UserIdentificationRecord, UserIdentificationName.parse),
        RateLimiterRecord.KIND: RowKind(RateLimiterRecord, RateLimiterName.parse),
        SecretManagementAccessRecord.KIND: RowKind(
            SecretManagementAccessRecord, SecretManagementAccessName.parse
        ),
        DenyList.KIND: RowKind(DenyList, TenantName.parse),
    }
)

_PLATFORM = "the platform's, not a tenant's"
_ONCE = "it serves once, and would serve again"
# Why rows of the other kinds are in no backup of a tenant.
LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        TENANT_KEY: "the payload begins with it, wrapped anew",
        SignerRecord.KIND: "made anew at the next signature, under the documents root of the store",
        ImportKeyRecord.KIND: _ONCE,
        JoinTokenRecord.KIND: _ONCE,
        KeyUsersRecord.KIND: "of alerts alone: after a restore everybody is a stranger",
        DueRecord.KIND: "follows from keys and versions, and is written from them",
        SettingsRecord.KIND: _PLATFORM,
        RetentionRecord.KIND: _PLATFORM,
        RootSharesRecord.KIND: _PLATFORM,
        RotationRecord.KIND: _PLATFORM,
        AuthoritiesRecord.KIND: _PLATFORM,
        RemnantRecord.KIND: _PLATFORM,
        ROOT_KEY: _PLATFORM,
        AUDIT_KEY: _PLATFORM,
        DOCUMENTS_ROOT: _PLATFORM,
        AUTHORITY_KEY: _PLATFORM,
    }
)

# What is in no backup of a store either.
SERVE_ONCE = frozenset(kind for kind, why in LEFT_OUT.items() if why == _ONCE)


def is_within(row: str, scope: ResourceName) -> bool:
    """Whether a row's name is that of the resource, or one below it."""
    return row == str(scope) or row.startswith(f"{scope}/")


def namespace_of(name: ResourceName) -> NamespaceName | None:
    """The namespace that a resource is in; None for what is the tenant's, and for namespaces themselves."""
    parts: Any = name
    if isinstance(name, NamespaceName) or not hasattr(name, "namespace"):
        return None
    return NamespaceName(parts.tenant, parts.namespace)
