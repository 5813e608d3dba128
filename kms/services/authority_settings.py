"""What a tenant decides of an authority of its own (docs/spec/identity.md, "Authorities of tenants")."""

from dataclasses import dataclass
from datetime import datetime

from kms.errors import InvalidField
from kms.identity.admission import Admission
from kms.identity.corporate import DEFAULT_KEY_TYPES, KEY_TYPES, CorporateAuthority, parse_bundle
from kms.identity.trust import TrustBundle
from kms.model.names import TrustedAuthorityName
from kms.model.records import TrustedAuthorityRecord
from kms.services.stored_admission import admission_fields, admission_of


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """Its certificates, which keys its leaves may have (none named: all but RSA_2048), and whom it admits.

    Raises `InvalidField`, `LimitExceeded`.
    """

    certificates_pem: str
    key_types: tuple[str, ...]
    admission: Admission

    def __post_init__(self) -> None:
        _ = self.bundle
        if unknown := set(self.key_types) - set(KEY_TYPES):
            raise InvalidField("key_types", f"{min(unknown)[:80]!r} is none of {', '.join(KEY_TYPES)}")

    @property
    def bundle(self) -> TrustBundle:
        return parse_bundle(self.certificates_pem.encode())

    def authority(self, name: TrustedAuthorityName, trust_domain: str) -> CorporateAuthority:
        key_types = self.key_types or DEFAULT_KEY_TYPES
        return CorporateAuthority(name, trust_domain, self.bundle, key_types, self.admission)

    @classmethod
    def of(cls, record: TrustedAuthorityRecord) -> "AuthoritySettings":
        return cls(record.certificates_pem, record.key_types, admission_of(record))

    def to_record(self, time: datetime, request_id: str) -> TrustedAuthorityRecord:
        return TrustedAuthorityRecord(
            certificates_pem=self.bundle.to_pem().decode(),
            key_types=self.key_types,
            create_time=time,
            update_time=time,
            request_id=request_id,
            **admission_fields(self.admission),
        )
