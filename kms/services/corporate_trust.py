"""The authorities of all tenants, as callers' certificates are looked up in them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kms.errors import Unauthenticated
from kms.identity.certificates import Vouched
from kms.identity.corporate import Certificate, CorporateAuthority
from kms.model.names import TrustedAuthorityName
from kms.model.records import TrustedAuthorityRecord
from kms.services.authority_settings import AuthoritySettings
from kms.services.repository import Loaded, Repository

# In nanoseconds. Writes are heard of; a restored tenant's authorities are found by looking again.
LOOK_AGAIN = 60_000_000_000


@dataclass(frozen=True, slots=True)
class _Read:
    """An authority, and the row that it was read from."""

    authority: CorporateAuthority
    row: Loaded[TrustedAuthorityRecord]


@dataclass(frozen=True, slots=True)
class _Index:
    """All that are trusted now, and those by the names of issuers. `certificates` are in PEM."""

    read: Mapping[str, _Read] = field(default_factory=dict)
    by_issuer: Mapping[bytes, tuple[_Read, ...]] = field(default_factory=dict)
    certificates: bytes = b""


class CorporateTrust:
    """Reads the authenticated rows, and keeps what it made of them. Safe for calls from several threads.

    `clock` is monotonic, in nanoseconds.
    """

    def __init__(self, repository: Repository, trust_domain: str, clock: Callable[[], int]) -> None:
        self._repository = repository
        self._trust_domain = trust_domain
        self._clock = clock
        self._index = _Index()
        self._looked: int | None = None
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Called when an authority was written; from any thread."""
        self._looked = None

    def knows(self, issuer: bytes) -> bool:
        """Whether an authority has the name, in DER."""
        return issuer in self._current().by_issuer

    def verify(self, certificate: Certificate, now: datetime) -> Vouched:
        """By whichever authority it is of. Raises `Unauthenticated`, also if it is of two tenants'."""
        refusal = Unauthenticated("the certificate is of no authority this KMS trusts")
        found: list[Vouched] = []
        for read in self._current().by_issuer.get(certificate.issuer.public_bytes(), ()):
            try:
                caller, validity = read.authority.verify(certificate, now)
            except Unauthenticated as error:
                refusal = error
            else:
                found.append(Vouched(caller, validity, read.row))
        if len({item.caller.tenant for item in found}) > 1:
            raise Unauthenticated("the certificate's authority is trusted by two tenants")
        if not found:
            raise refusal
        return found[0]

    def is_current(self, vouched: Vouched) -> bool:
        """Whether the row is there, and as it was."""
        return self._repository.is_current(vouched.basis)

    def certificates_pem(self) -> bytes:
        """Of all authorities, for TLS; the same object until they change."""
        return self._current().certificates

    def others(self, name: TrustedAuthorityName | None) -> list[CorporateAuthority]:
        """All authorities but the one of that name; all for None."""
        self.forget()
        reads = self._current().read.values()
        return [read.authority for read in reads if read.authority.name != name]

    def _current(self) -> _Index:
        with self._lock:
            now = self._clock()
            if self._looked is None or now - self._looked >= LOOK_AGAIN:
                # Before it is read: what is written meanwhile is looked at the next time.
                self._looked = now
                self._index = self._renewed(self._index)
            return self._index

    def _renewed(self, before: _Index) -> _Index:
        read: dict[str, _Read] = {}
        for loaded in self._repository.all(TrustedAuthorityRecord):
            known = before.read.get(loaded.name)
            if known is None or known.row != loaded:
                name = TrustedAuthorityName.parse(loaded.name)
                authority = AuthoritySettings.of(loaded.record).authority(name, self._trust_domain)
                known = _Read(authority, loaded)
            read[loaded.name] = known
        if read == before.read:
            return before
        by_issuer: dict[bytes, tuple[_Read, ...]] = {}
        for item in read.values():
            for issuer in item.authority.issuers:
                by_issuer[issuer] = (*by_issuer.get(issuer, ()), item)
        return _Index(read, by_issuer, b"".join(item.authority.bundle.to_pem() for item in read.values()))
