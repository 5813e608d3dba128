"""Which of the KMS's own authorities issues now, and which are trusted, as the store says at this moment."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kms.crypto.key_hierarchy import AUTHORITY_KEY
from kms.errors import StoreTampered, Unauthenticated
from kms.identity.authority import CertificateAuthority
from kms.identity.issued import Issuer
from kms.identity.trust import (
    AnchorPolicy,
    Certificate,
    TrustAnchor,
    TrustBundle,
    authority_id,
    key_digest,
    load_authorities,
    pem_of,
    root_id,
)
from kms.model.caller import Caller
from kms.model.identity_authorities import AuthoritiesRecord, AuthorityEntry, AuthorityState, RootEntry
from kms.services.guard import ATTEMPTS
from kms.services.keyring import Keyring
from kms.services.repository import Loaded, Repository, create
from kms.storage.interface import Change, Require

ONLINE = "online"


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """The row, and what was made of it: who issues, and whose leaves are accepted."""

    row: Loaded[AuthoritiesRecord]
    issuer: Issuer
    anchors: tuple[TrustAnchor, ...]

    @property
    def bundle(self) -> TrustBundle:
        """All roots and intermediates that are trusted."""
        return self.anchors[0].bundle

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Of all of them."""
        return (*self.bundle.roots, *self.bundle.intermediates)

    @property
    def keys(self) -> frozenset[bytes]:
        """SHA-256 of the keys of all of them."""
        return frozenset(map(key_digest, self.certificates))

    @property
    def end(self) -> datetime:
        """When nothing is issued any more, unless another one is activated before."""
        return min(
            self.issuer.authority.certificate.not_valid_after_utc, self.bundle.roots[0].not_valid_after_utc
        )

    @property
    def trust_domain(self) -> str:
        return self.issuer.authority.trust_domain


class IdentityTrust:
    """Reads the authenticated row at every call; made anew when it has changed. Safe for threads."""

    def __init__(self, repository: Repository, keyring: Keyring) -> None:
        self._repository = repository
        self._keyring = keyring
        self._standing: Standing | None = None
        self._lock = threading.Lock()

    def current(self) -> Standing:
        """The same object until the row changes. Raises `StoreTampered`, `ConfigError`."""
        loaded = self._repository.require(AuthoritiesRecord, ONLINE)
        with self._lock:
            if self._standing is None or self._standing.row.counter < loaded.counter:
                self._standing = self._made(loaded)
            return self._standing

    def anchors(self) -> Sequence[TrustAnchor]:
        """For the authenticator."""
        return self.current().anchors

    def check(self, caller: Caller) -> tuple[Require, ...]:
        """Hold while the authorities are those by which the caller is known. Raises `Unauthenticated`."""
        if not caller.authority:
            return ()
        row = self.current().row
        if not row.record.trusts(caller.authority):
            raise Unauthenticated("the certificate's authority is retired; enrol again with a join token")
        return (row.require(),)

    def _made(self, loaded: Loaded[AuthoritiesRecord]) -> Standing:
        for _ in range(ATTEMPTS):
            try:
                return self._standing_of(loaded)
            except StoreTampered:
                # The key of an authority goes with the write that replaces it.
                again = self._repository.require(AuthoritiesRecord, ONLINE)
                if again.counter == loaded.counter:
                    raise
                loaded = again
        raise StoreTampered("the identity authorities change faster than they are read")

    def _standing_of(self, loaded: Loaded[AuthoritiesRecord]) -> Standing:
        record = loaded.record
        authority = self._authority(record.active)
        trusted = TrustBundle(_certificates(record.trusted_roots), _certificates(record.trusted_authorities))
        issuer = Issuer(authority, TrustBundle(trusted.roots), _endorsements(record, trusted))
        return Standing(loaded, issuer, (TrustAnchor(trusted, AnchorPolicy(authority.trust_domain)),))

    def _authority(self, entry: AuthorityEntry) -> CertificateAuthority:
        """Kept while the same one issues."""
        before = self._standing
        if before is not None and before.row.record.active.id == entry.id:
            return before.issuer.authority
        with self._keyring.root_wrapped(AUTHORITY_KEY, entry.id) as key:
            return CertificateAuthority.load(entry.certificate_pem.encode(), key)


def first_rows(
    keyring: Keyring, root: Certificate, authority: CertificateAuthority, now: datetime
) -> list[Change]:
    """What a new KMS begins with. The root's key is not among it."""
    of_root = RootEntry(root_id(root), pem_of(root), "", now, None)
    entry = AuthorityEntry(
        id=authority_id(key_digest(authority.certificate)),
        state=AuthorityState.ACTIVE.value,
        csr_pem="",
        root=of_root.id,
        certificate_pem=pem_of(authority.certificate),
        prepare_time=now,
        activate_time=now,
        retire_time=None,
    )
    with authority.private_key_der() as key:
        wrapped = keyring.new_root_wrapped(AUTHORITY_KEY, entry.id, key)
    return [create(ONLINE, AuthoritiesRecord((of_root,), (entry,))), *wrapped]


def _certificates(entries: Sequence[RootEntry | AuthorityEntry]) -> tuple[Certificate, ...]:
    return tuple(item for entry in entries for item in load_authorities(entry.certificate_pem))


def _endorsements(record: AuthoritiesRecord, trusted: TrustBundle) -> tuple[Certificate, ...]:
    """The active root, certified by another one that is trusted still."""
    others = {root.subject for root in trusted.roots[1:]}
    found = load_authorities(record.trusted_roots[0].endorsement_pem)
    return tuple(item for item in found if item.issuer in others)
