"""The records of the store. Times are UTC; names of rows are resource names unless said otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from kms.model.device_handle import DeviceHandle
from kms.model.lifecycle import WITHOUT_MATERIAL, VersionState
from kms.model.record import Record
from kms.model.sensitivity import Sensitivity
from kms.model.tenant_lifecycle import TenantState


@dataclass(frozen=True, slots=True)
class SettingsRecord(Record):
    """What `kms init` fixed for good. One row, named `kms`."""

    KIND: ClassVar[str] = "settings"
    trust_domain: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class RetentionRecord(Record):
    """Up to which event the audit chain was dropped, and the chain hash there. One row, named `events`."""

    KIND: ClassVar[str] = "auditRetention"
    NAME: ClassVar[str] = "events"
    through: int
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class RotationRecord(Record):
    """A rotation of the root key that is under way. One row, named `current`.

    `wrapped` is the root key before. What is still under it lies behind `row`, a kind and a name, or nothing
    for the end, and up to `event`; `last_event` was the newest at the beginning.
    """

    KIND: ClassVar[str] = "rootRotation"
    NAME: ClassVar[str] = "current"
    wrapped: bytes
    row: tuple[str, ...]
    event: int
    last_event: int
    create_time: datetime

    def __post_init__(self) -> None:
        if len(self.row) not in (0, 2):
            raise ValueError("a row has a kind and a name")


@dataclass(frozen=True, slots=True)
class SignerRecord(Record):
    """A delegated Ed25519 signer of documents, its seed wrapped under its tenant's key.

    Named `tenants/{tenant}/documentSigners/{type}`; `delegation` is canonical JSON.
    """

    KIND: ClassVar[str] = "documentSigners"
    wrapped_seed: bytes
    delegation: str
    delegation_not_after: datetime


@dataclass(frozen=True, slots=True)
class TenantRecord(Record):
    """A tenant; its key is in the row of kind `tenantKey` of the same name.

    Of a DESTROYED one this row stays, so that its name is not used again: `destroy_event_time` is when the
    key was destroyed, `erase_time` when the last of the other rows was, `anchor` the sequence number of the
    checkpoint before the event that says so, 0 before that.
    """

    KIND: ClassVar[str] = "tenants"
    description: str
    labels: Mapping[str, str]
    state: str
    create_time: datetime
    destroy_time: datetime | None
    destroy_event_time: datetime | None
    erase_time: datetime | None
    anchor: int
    request_id: str

    def __post_init__(self) -> None:
        TenantState(self.state)


@dataclass(frozen=True, slots=True)
class NamespaceRecord(Record):
    KIND: ClassVar[str] = "namespaces"
    description: str
    labels: Mapping[str, str]
    create_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class BlindfoldKeyRecord(Record):
    """One version of a tenant's Blindfold key; `wrapped_key` is empty before generation and once destroyed.

    The row's name ends in the version as ten digits, so that rows sort by number.
    """

    KIND: ClassVar[str] = "blindfoldKeys"
    state: str
    modulus_bits: int
    modulus: bytes
    wrapped_key: bytes
    make_primary: bool
    create_time: datetime
    generate_time: datetime | None
    destroy_time: datetime | None
    destroy_event_time: datetime | None
    request_id: str


@dataclass(frozen=True, slots=True)
class PrimaryRecord(Record):
    """Which version is the tenant's primary Blindfold key (0: none), and the last version begun."""

    KIND: ClassVar[str] = "blindfoldPrimaries"
    version: int
    last_version: int


@dataclass(frozen=True, slots=True)
class IdentityRecord(Record):
    """An enrolled identity as it was granted last.

    `certificates` are `serial not_before not_after authority`; `origin` is the name of the JWT issuer that
    it came by, "" for a join token.
    """

    KIND: ClassVar[str] = "identities"
    spiffe_id: str
    dns_names: tuple[str, ...]
    labels: Mapping[str, str]
    roles: tuple[str, ...]
    create_time: datetime
    revoke_time: datetime | None
    certificates: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class JwtIssuerRecord(Record):
    """Whose tokens enrol, and as whom: see `kms.identity.admission`. `jwks` is "" where it is discovered."""

    KIND: ClassVar[str] = "jwtIssuers"
    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[str, ...]
    subjects: tuple[str, ...]
    claims: Mapping[str, str]
    namespace: str
    identity: str
    labels: Mapping[str, str]
    roles: tuple[str, ...]
    create_time: datetime
    update_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class TrustedAuthorityRecord(Record):
    """An authority of a tenant's own, and whom it vouches for: see `kms.identity.corporate`."""

    KIND: ClassVar[str] = "trustedAuthorities"
    certificates_pem: str
    key_types: tuple[str, ...]
    subjects: tuple[str, ...]
    claims: Mapping[str, str]
    namespace: str
    identity: str
    labels: Mapping[str, str]
    roles: tuple[str, ...]
    create_time: datetime
    update_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class UsedTokenRecord(Record):
    """A token of a JWT issuer that enrolled somebody. Named as the issuer, and one of the token's digests."""

    KIND: ClassVar[str] = "usedTokens"
    identity: str
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class KeyRecord(Record):
    """A key: what its versions share. Periods are seconds, 0 for none; version numbers 0 for none.

    `uid` (16 bytes) is in every ciphertext, so that a key made anew under the name is another key. `policy`
    is the resource name of its KMS policy, or "". `sensitivity` is for new versions.
    """

    KIND: ClassVar[str] = "keys"
    uid: bytes
    purpose: str
    algorithm: str
    sensitivity: str
    description: str
    labels: Mapping[str, str]
    policy: str
    primary: int
    last_version: int
    minimum_encrypt_version: int
    minimum_decrypt_version: int
    rotation_period: int
    next_rotation_time: datetime | None
    create_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class KeyVersionRecord(Record):
    """One version. The row's name ends in the version as ten digits.

    `wrapped_key` is empty for a public-only version, for one without material yet and once destroyed;
    `public_key` is an SPKI in DER, empty for symmetric keys; `origin` is GENERATED, IMPORTED, IMPORTED_PUBLIC
    or COPIED; `compromised` stays once it was marked. A HIGH version has a `handle` (the text of a
    `DeviceHandle`) and never a wrapped key, any other the reverse. Raises `ValueError`.
    """

    KIND: ClassVar[str] = "keyVersions"
    state: str
    algorithm: str
    sensitivity: str
    origin: str
    wrapped_key: bytes
    public_key: bytes
    handle: str
    create_time: datetime
    generate_time: datetime | None
    destroy_time: datetime | None
    destroy_event_time: datetime | None
    compromised: bool = False

    def __post_init__(self) -> None:
        if self.handle:
            DeviceHandle.parse(self.handle)
        level, empty = Sensitivity[self.sensitivity], VersionState(self.state) in WITHOUT_MATERIAL
        if self.holds_private and empty:
            raise ValueError(f"a version that is {self.state} holds no bytes")
        in_device = level is Sensitivity.HIGH and not empty
        if (self.wrapped_key and in_device) or bool(self.handle) != in_device:
            raise ValueError(f"the bytes of a {self.sensitivity} version are in the wrong place")

    @property
    def holds_private(self) -> bool:
        """Whether the private or secret bytes are here or in a device."""
        return bool(self.wrapped_key or self.handle)


@dataclass(frozen=True, slots=True)
class RemnantRecord(Record):
    """A key in a device that no key version needs, or not yet. Named `{serial}/{id in hexadecimal}`."""

    KIND: ClassVar[str] = "deviceRemnants"
    create_time: datetime


@dataclass(frozen=True, slots=True)
class UseRecord(Record):
    """How many uses of a key were set aside, and the day of the last one. A crash can only overstate it.

    Named as the key version's row; for a Blindfold key, with the SHA-256 of the binding value behind it.
    """

    KIND: ClassVar[str] = "keyUses"
    reserved: int
    last_used: datetime


@dataclass(frozen=True, slots=True)
class KeyUsersRecord(Record):
    """Who has used a key: of each caller's SPIFFE id the first 16 bytes of its SHA-256. Named as the key."""

    KIND: ClassVar[str] = "keyUsers"
    users: bytes


@dataclass(frozen=True, slots=True)
class ImportKeyRecord(Record):
    """An RSA key that its creator wraps key material under, for so many imports as are left.

    Its private half is wrapped here. `creator` is a SPIFFE id.
    """

    KIND: ClassVar[str] = "importKeys"
    public_key: bytes
    wrapped_key: bytes
    create_time: datetime
    expire_time: datetime
    creator: str
    imports_left: int


@dataclass(frozen=True, slots=True)
class DueRecord(Record):
    """Something to do at a time. The row's name begins with the time, so that what is due first sorts first.

    `what` is `rotate` or `destroy`; `target` the row of the key, or of the key version.
    """

    KIND: ClassVar[str] = "due"
    what: str
    target: str


@dataclass(frozen=True, slots=True)
class SecretManagementAccessRecord(Record):
    """How workloads reach a vault: the JSON object of `kms.model.access_json`, canonical."""

    KIND: ClassVar[str] = "secretManagementAccesses"
    content: bytes
    create_time: datetime
    update_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class UserIdentificationRecord(Record):
    """What tells users apart for the limiters that name it. `kind` is fixed for its life."""

    KIND: ClassVar[str] = "userIdentifications"
    description: str
    kind: str
    header: str
    create_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class RateLimiterRecord(Record):
    """A tenant's own limit. A burst of 0 is as large as its number.

    `user_identification` is a resource name, or "" for callers' identities; `value_number` is 0 where no
    header divides what a caller has.
    """

    KIND: ClassVar[str] = "rateLimiters"
    description: str
    operation_classes: tuple[str, ...]
    number: int
    period: str
    burst: int
    user_identification: str
    value_number: int
    value_burst: int
    create_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class RootSharesRecord(Record):
    """The shares of the root of trust, each wrapped to its holder's key. One row, named `current`.

    `wrapped` are `kms.crypto.wrapped_share.WrappedShare` as text. It is written and replaced in the unit that
    writes the root key's record, so that no set of shares is ever in force and nowhere.
    """

    KIND: ClassVar[str] = "rootShares"
    wrapped: tuple[str, ...]
