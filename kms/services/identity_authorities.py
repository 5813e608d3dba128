"""The KMS's own authorities are replaced, while it serves (docs/spec/identity.md, "Replacing an authority").

Every step is one write, and a repeat of one that was done changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kms.crypto.key_hierarchy import AUTHORITY_KEY
from kms.errors import InvalidField, WrongState
from kms.identity.corporate import mark
from kms.identity.rotation import (
    accept_adopted_root,
    accept_intermediate,
    accept_root,
    prepare_intermediate,
    requested_key_sha256,
)
from kms.identity.trust import Certificate, authority_id, fingerprint, key_digest, pem_of, root_id
from kms.model.identity_authorities import (
    AuthoritiesRecord,
    AuthorityEntry,
    AuthorityState,
    AuthorityVerb,
    RootEntry,
)
from kms.model.names import IdentityAuthorityName, IdentityRootName
from kms.model.validity import whole_seconds
from kms.services.call import Call, Outcome
from kms.services.corporate_trust import CorporateTrust
from kms.services.dependants import Dependants, dependants, dependants_of_each
from kms.services.guard import Action, Guard
from kms.services.identity_trust import IdentityTrust, Standing
from kms.services.keyring import Keyring
from kms.services.repository import Repository, found

GET = Action("GetIdentityTrust", "identityAuthorities.get")
PREPARE = Action("PrepareIdentityAuthority", "identityAuthorities.prepare")
ACTIVATE = Action("ActivateIdentityAuthority", "identityAuthorities.activate")
RETIRE = Action("RetireIdentityAuthority", "identityAuthorities.retire")
PUBLISH_ROOT = Action("PublishIdentityRoot", "identityAuthorities.publishRoot")
RETIRE_ROOT = Action("RetireIdentityRoot", "identityAuthorities.retireRoot")


@dataclass(frozen=True, slots=True)
class Overview:
    """All authorities, and by the id of each how many identities depend on it."""

    record: AuthoritiesRecord
    dependants: Mapping[str, int]


class IdentityAuthorities:
    """For operators. None of them can bring an authority in: the offline root signs, or nothing is taken."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        keyring: Keyring,
        trust: IdentityTrust,
        corporate: CorporateTrust,
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._keyring = keyring
        self._trust = trust
        self._corporate = corporate

    async def get(self, call: Call) -> Overview:
        """What there is."""

        def act() -> Outcome[Overview]:
            counts = dependants_of_each(self._repository, call.time)
            return Outcome(Overview(self._trust.current().row.record, counts))

        return await self._guard.perform(call, GET, None, act, in_thread=True)

    async def prepare(self, call: Call) -> AuthorityEntry:
        """A new key, and the request for its certificate; those at hand, if one is prepared already."""

        def act() -> Outcome[AuthorityEntry]:
            standing = self._trust.current()
            prepared = standing.row.record.prepared
            if prepared is not None:
                return Outcome(prepared, (), {"identity_authority": prepared.id})
            key, csr = prepare_intermediate(standing.trust_domain)
            entry = AuthorityEntry(
                id=authority_id(requested_key_sha256(csr)),
                state=AuthorityState.PREPARED.value,
                csr_pem=csr.decode(),
                root="",
                certificate_pem="",
                prepare_time=whole_seconds(call.time),
                activate_time=None,
                retire_time=None,
            )
            with key:
                wrapped = self._keyring.new_root_wrapped(AUTHORITY_KEY, entry.id, key)
            row = standing.row.put(standing.row.record.with_prepared(entry))
            return Outcome(entry, [row, *wrapped], {"identity_authority": entry.id})

        return await self._guard.perform(call, PREPARE, None, act)

    async def activate(self, call: Call, name: IdentityAuthorityName, pem: bytes) -> AuthorityEntry:
        """Issue with it from now on, by the certificate that the offline root signed.

        The key of the one before is destroyed. Raises `NotFound`, `WrongState`, `InvalidField`.
        """

        def act() -> Outcome[AuthorityEntry]:
            standing = self._trust.current()
            record = standing.row.record
            entry = found(record.authority(name.authority), str(name))
            if entry.state == AuthorityState.ACTIVE and entry.certificate_pem.encode() == pem:
                return Outcome(entry)
            entry.after(AuthorityVerb.ACTIVATE)
            key_sha256 = requested_key_sha256(entry.csr_pem.encode())
            certificate, root = accept_intermediate(
                pem, key_sha256, standing.bundle.roots, standing.trust_domain, call.time
            )
            self._check_unclaimed(certificate)
            self._check_known(record, root_id(root), call.time)
            now = whole_seconds(call.time)
            changed = record.with_active(entry, root_id(root), pem_of(certificate), now)
            ended = self._keyring.end_root_wrapped(AUTHORITY_KEY, record.active.id)
            details = {"certificate": fingerprint(certificate).hex(), "root": root_id(root)}
            return Outcome(changed.active, [standing.row.put(changed), ended], details)

        return await self._guard.perform(call, ACTIVATE, name, act, in_thread=True)

    async def retire(self, call: Call, name: IdentityAuthorityName, *, force: bool) -> AuthorityEntry:
        """Refuse all that it issued, from the next call on; or forget one that was only prepared.

        Raises `NotFound`, and `WrongState`: for the one that issues, for the caller's own, and, without
        force, while identities depend on it.
        """

        def act() -> Outcome[AuthorityEntry]:
            standing = self._trust.current()
            entry = found(standing.row.record.authority(name.authority), str(name))
            if entry.state == AuthorityState.RETIRED:
                return Outcome(entry)
            now = whole_seconds(call.time)
            changed = standing.row.record.with_retired(entry, now)
            details = self._let_go(call, frozenset({entry.id}), None, force=force)
            writes = [standing.row.put(changed)]
            if entry.state == AuthorityState.PREPARED:
                ended = self._keyring.end_root_wrapped(AUTHORITY_KEY, entry.id)
                return Outcome(entry.retired(now), [*writes, ended], details)
            return Outcome(entry.retired(now), writes, details)

        return await self._guard.perform(call, RETIRE, name, act, in_thread=True)

    async def publish_root(self, call: Call, pem: bytes) -> RootEntry:
        """Trust a root that a trusted one endorses, and tell clients so. `pem` holds both certificates.

        Raises `InvalidField`, `WrongState`.
        """

        def act() -> Outcome[RootEntry]:
            standing = self._trust.current()
            roots = standing.bundle.roots
            root, endorsement = accept_root(pem, roots, standing.trust_domain, call.time)
            return self._trusting(standing, root, pem_of(endorsement), call.time)

        return await self._guard.perform(call, PUBLISH_ROOT, None, act)

    def adopt_root(self, pem: bytes, now: datetime) -> Outcome[RootEntry]:
        """As `publish_root`, with nobody's endorsement: for who holds the store and its root of trust."""
        standing = self._trust.current()
        return self._trusting(standing, accept_adopted_root(pem, standing.trust_domain, now), "", now)

    def _trusting(
        self, standing: Standing, root: Certificate, endorsement_pem: str, now: datetime
    ) -> Outcome[RootEntry]:
        record = standing.row.record
        known = record.root(root_id(root))
        if known is not None and known.is_trusted:
            return Outcome(known)
        if known is not None:
            raise WrongState(f"{known.id} is retired, for good; make another root")
        self._check_unclaimed(root)
        entry = RootEntry(root_id(root), pem_of(root), endorsement_pem, whole_seconds(now), None)
        details = {"identity_root": entry.id, "certificate": fingerprint(root).hex()}
        return Outcome(entry, [standing.row.put(record.with_root(entry))], details)

    async def retire_root(self, call: Call, name: IdentityRootName, *, force: bool) -> RootEntry:
        """Trust it no more, nor what it signed, from the next call on. Raises as `retire`.

        Who depends on it are also those who were given their roots before the active one was published.
        """

        def act() -> Outcome[RootEntry]:
            standing = self._trust.current()
            record = standing.row.record
            entry = found(record.root(name.root), str(name))
            if not entry.is_trusted:
                return Outcome(entry)
            changed = record.with_root_retired(entry, whole_seconds(call.time))
            below = frozenset(item.id for item in record.trusted_authorities if item.root == entry.id)
            published = record.trusted_roots[0].publish_time
            details = self._let_go(call, below, published, force=force)
            return Outcome(found(changed.root(entry.id), str(name)), [standing.row.put(changed)], details)

        return await self._guard.perform(call, RETIRE_ROOT, name, act, in_thread=True)

    def _let_go(
        self, call: Call, authorities: frozenset[str], before: datetime | None, *, force: bool
    ) -> Mapping[str, str]:
        """What the event says of who depends on them. Raises `WrongState`."""
        if call.caller.authority in authorities:
            raise WrongState("your own certificate depends on it; renew it with `kms identity renew` first")
        counted = dependants(self._repository, authorities, before, call.time)
        if counted.identities and not force:
            raise WrongState(_refusal(counted), identities=str(counted.identities))
        return {"identities": str(counted.identities)}

    def _check_known(self, record: AuthoritiesRecord, root: str, now: datetime) -> None:
        """Whoever cannot tell by an endorsement has been told of the root. Raises `WrongState`."""
        entry = record.root(root)
        if entry is None or entry.endorsement_pem or root == record.active.root:
            return
        counted = dependants(self._repository, frozenset(), entry.publish_time, now)
        if counted.identities:
            raise WrongState(
                f"{counted.identities} identities have not been told of {root}, which nobody endorses; wait "
                f"until they have renewed, at {_text(counted.until)} at the latest",
                identities=str(counted.identities),
            )

    def _check_unclaimed(self, certificate: Certificate) -> None:
        """No tenant has its key or its name. Raises `InvalidField`."""
        for other in self._corporate.others(None):
            if key_digest(certificate) in other.keys or mark(certificate).name in {
                item.name for item in other.marks
            }:
                raise InvalidField(
                    "certificate_pem", f"is, or is named as, an authority of {other.name}; have it deleted"
                )


def _refusal(counted: Dependants) -> str:
    return (
        f"{counted.identities} identities depend on it, the last of them until {_text(counted.until)}; "
        "wait until they have renewed, or use force to cut them off"
    )


def _text(time: datetime | None) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
