"""Identities: join tokens, enrolment, renewal, revocation (docs/spec/identity.md)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kms.errors import InvalidField, NotFound, Unauthenticated, WrongState
from kms.identity.certificates import Leaf
from kms.identity.csr import PublicKey, verify_csr
from kms.identity.grant import Grant
from kms.identity.issued import CertificateBundle, IssuedCertificate
from kms.identity.join_tokens import TOKEN_REFUSED, JoinTokenRecord, create_join_token, redeem
from kms.identity.revocation import DenyList
from kms.identity.spiffe import SpiffeId
from kms.model.caller import Caller
from kms.model.join_token import JoinToken
from kms.model.names import Identity, JwtIssuerName, NamespaceName, OperatorName, TenantName
from kms.model.records import IdentityRecord, JwtIssuerRecord
from kms.services.call import Call, Outcome, Page
from kms.services.deny_lists import DenyLists
from kms.services.granting import CREATE_PERMISSION, check_grantable, grant_of, scope_of
from kms.services.guard import ALLOW, ATTEMPTS, Action, Guard, refusal_event
from kms.services.identity_trust import IdentityTrust
from kms.services.repository import Loaded, Repository, create, found, page
from kms.services.tenant_states import require_place
from kms.services.tenants import require_namespace
from kms.storage.interface import MISSING, Change, Require, WriteConflict

SERIAL_BITS = 160
MAX_CERTIFICATES = 64
BY_JOIN_TOKEN = ""

CREATE_JOIN_TOKEN = Action("CreateJoinToken", CREATE_PERMISSION)
GET_IDENTITY = Action("GetIdentity", "identities.get")
LIST_IDENTITIES = Action("ListIdentities", "identities.list")
REVOKE_IDENTITY = Action("RevokeIdentity", "identities.revoke")
DELETE_IDENTITY = Action("DeleteIdentity", "identities.delete")
ENROL = "Enrol"
RENEW = "RenewCertificate"


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whom an issuer vouched for, and what that is granted."""

    grant: Grant
    origin: JwtIssuerName


class Identities:
    """Grants, enrols, renews and revokes."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        trust: IdentityTrust,
        deny_lists: DenyLists,
        server_names: Collection[str] = (),
    ) -> None:
        """`server_names` are the DNS names of the KMS itself, which no identity may have."""
        self._server_names = frozenset(server_names)
        self._guard = guard
        self._repository = repository
        self._trust = trust
        self._deny_lists = deny_lists

    async def create_join_token(
        self, call: Call, grant: Grant, life: timedelta
    ) -> tuple[JoinToken, JoinTokenRecord]:
        """A one-use token, never shown again. Raises `NotFound` for an unknown namespace, `Denied`."""
        scope = scope_of(grant.identity)

        def act() -> Outcome[tuple[JoinToken, JoinTokenRecord]]:
            check_grantable(call.caller, grant)
            self._check_dns_names(grant)
            changes: list[Change] = [*self._deny_lists.check(call.caller)]
            if isinstance(scope, NamespaceName):
                changes.append(require_namespace(self._repository, scope))
            ca_fingerprint = self._trust.current().issuer.root_fingerprint
            token, record = create_join_token(grant, ca_fingerprint, call.time, life)
            changes.append(create(token.token_id.hex(), record))
            details = {"identity": str(grant.identity), "roles": " ".join(sorted(grant.roles))}
            return Outcome((token, record), changes, details)

        return await self._guard.perform(call, CREATE_JOIN_TOKEN, scope, act)

    async def enrol(
        self, token: JoinToken, csr: bytes, *, address: str, request_id: str, now: datetime
    ) -> CertificateBundle:
        """Redeem a token for a first certificate.

        Raises `Unauthenticated` with one text, `InvalidField`, `WrongState` for an identity with 64
        certificates that hold.
        """
        public_key = verify_csr(csr)
        for _ in range(ATTEMPTS):
            loaded = self._repository.load(JoinTokenRecord, token.token_id.hex())
            grant = redeem(None if loaded is None else loaded.record, token, now)
            changes: list[Change] = [*self._place_of(grant.identity)]
            if loaded is not None:
                changes += [loaded.put(loaded.record.spent(now)), self._not_revoked_since(loaded.record)]
            call = Call(self._caller(grant, address), request_id, now)
            issued = await self._try_enrol(call, grant, public_key, changes, BY_JOIN_TOKEN)
            if issued is not None:
                return issued
        raise Unauthenticated(TOKEN_REFUSED)

    def _place_of(self, identity: Identity) -> Sequence[Require]:
        """Where it enrols is there still. Raises `Unauthenticated`."""
        try:
            return require_place(self._repository, identity)
        except NotFound:
            pass
        raise Unauthenticated(TOKEN_REFUSED)

    def _not_revoked_since(self, token: JoinTokenRecord) -> Require:
        """Neither the identity nor its site was revoked since it was made. Raises `Unauthenticated`."""
        try:
            return self._deny_lists.not_revoked(self._spiffe_id(token.grant.identity), token.created_at)
        except Unauthenticated:
            pass
        raise Unauthenticated(TOKEN_REFUSED)

    async def admit(
        self,
        vouched: Vouched,
        public_key: PublicKey,
        changes: Sequence[Change],
        *,
        address: str,
        request_id: str,
        now: datetime,
    ) -> CertificateBundle | None:
        """Enrol who proved otherwise than by a join token who it is; the changes are written with it.

        None if another writer was faster. Raises `WrongState` for an identity that is revoked, came another
        way, or has 64 certificates that hold; `InvalidField` for the KMS's own DNS names.
        """
        call = Call(self._caller(vouched.grant, address), request_id, now)
        return await self._try_enrol(call, vouched.grant, public_key, changes, str(vouched.origin))

    async def _try_enrol(
        self, call: Call, grant: Grant, public_key: PublicKey, changes: Sequence[Change], origin: str
    ) -> CertificateBundle | None:
        """A certificate, written with the changes; None if another writer was faster."""
        self._check_dns_names(grant)
        standing = self._trust.current()
        issued = standing.issuer.issue(public_key, grant, call.time)
        try:
            enrolled = self._enrolled(grant, issued.issued, call.time, origin)
        except WrongState as error:
            await self._guard.commit([], [refusal_event(call, ENROL, str(grant.identity), error)])
            raise
        details = {"serial": issued.issued.serial} | ({"issuer": origin} if origin else {})
        event = call.event(ENROL, str(grant.identity), ALLOW, details=details)
        try:
            await self._guard.commit([enrolled, standing.row.require(), *changes], [event])
        except WriteConflict:
            return None
        return issued

    async def renew(self, call: Call, leaf: Leaf, csr: bytes) -> CertificateBundle:
        """A new certificate for the caller itself, with what its record grants now.

        `leaf` is the caller's own certificate. Raises `Unauthenticated`, `InvalidField`, and `WrongState` for
        an identity with 64 certificates that hold.
        """
        public_key = verify_csr(csr)
        identity = leaf.spiffe_id.identity
        loaded = self._repository.load(IdentityRecord, str(identity))
        if loaded is None or loaded.record.revoke_time is not None:
            raise Unauthenticated("the identity is not enrolled here any more; ask for a join token")
        origin = self._origin(loaded.record)
        grant = grant_of(identity, loaded.record)
        deny_list = self._deny_lists.current(call.caller.tenant)
        standing = self._trust.current()
        issued = standing.issuer.renew(leaf, grant, public_key, call.time, deny_list)
        try:
            record = _with_certificate(loaded.record, issued.issued, call.time)
        except WrongState as error:
            await self._guard.commit([], [refusal_event(call, RENEW, str(identity), error)])
            raise
        event = call.event(RENEW, str(identity), ALLOW, details={"serial": issued.issued.serial})
        # The row of the authorities is named once, as it was when the certificate was issued.
        required = {
            item.kind: item for item in (*self._deny_lists.check(call.caller), standing.row.require())
        }
        await self._guard.commit([loaded.put(record), *required.values(), *origin], [event])
        return issued

    def _origin(self, record: IdentityRecord) -> Sequence[Require]:
        """The issuer that an identity came by is there. Raises `Unauthenticated`."""
        if record.origin == BY_JOIN_TOKEN:
            return ()
        issuer = self._repository.load(JwtIssuerRecord, record.origin)
        if issuer is None:
            raise Unauthenticated("the issuer that vouched for the identity is gone; ask for a join token")
        return (issuer.require(),)

    async def get(self, call: Call, name: Identity) -> Loaded[IdentityRecord]:
        """Raises `NotFound`."""

        def act() -> Outcome[Loaded[IdentityRecord]]:
            return Outcome(found(self._repository.load(IdentityRecord, str(name)), str(name)))

        return await self._guard.perform(call, GET_IDENTITY, scope_of(name), act)

    async def list(
        self, call: Call, parent: NamespaceName | TenantName | None, after: str, limit: int
    ) -> Page[Loaded[IdentityRecord]]:
        """The identities of a namespace or tenant, or the operators (None)."""
        prefix = "operators/" if parent is None else f"{parent}/"

        def act() -> Outcome[Page[Loaded[IdentityRecord]]]:
            return Outcome(page(self._repository.scan(IdentityRecord, prefix, after, limit + 1), limit))

        return await self._guard.perform(call, LIST_IDENTITIES, parent, act)

    async def revoke(self, call: Call, name: Identity, serial: str, comment: str) -> Loaded[IdentityRecord]:
        """Deny an identity's certificates from now on: all of them, or the one with that serial number.

        With all of them go its join tokens, so it may be who has not enrolled yet. Raises `NotFound`,
        and `InvalidField` for a serial number that the identity does not have.
        """
        tenant = None if isinstance(name, OperatorName) else name.tenant

        def act() -> Outcome[Loaded[IdentityRecord]]:
            loaded = self._repository.load(IdentityRecord, str(name)) or self._invited(name, call.time)
            record = loaded.record

            def deny(deny_list: DenyList) -> DenyList:
                if serial:
                    return _deny_serial(deny_list.pruned(call.time), record, serial)
                return deny_list.pruned(call.time).with_identity(SpiffeId.parse(record.spiffe_id), call.time)

            revoked = _without(record, serial) if serial else _revoked(record, call.time)
            changes = [loaded.put(revoked), self._deny_lists.edit(tenant, deny)]
            details = {"serial": serial, "comment": comment[:256]}
            return Outcome(Loaded(loaded.name, revoked, loaded.counter + 1), changes, details)

        return await self._guard.perform(call, REVOKE_IDENTITY, scope_of(name), act)

    def _invited(self, name: Identity, now: datetime) -> Loaded[IdentityRecord]:
        """What would be there of an identity that a join token is out for. Raises `NotFound`."""
        for token in self._repository.all(JoinTokenRecord):
            grant, is_out = token.record.grant, token.record.used_at is None and now < token.record.expires_at
            if grant.identity == name and is_out:
                record = IdentityRecord(
                    spiffe_id=str(self._spiffe_id(name)),
                    dns_names=grant.dns_names,
                    labels=grant.labels,
                    roles=tuple(sorted(grant.roles)),
                    create_time=now,
                    revoke_time=None,
                    certificates=(),
                    origin=BY_JOIN_TOKEN,
                )
                return Loaded(str(name), record, MISSING)
        raise NotFound(str(name))

    async def delete(self, call: Call, name: Identity, etag: str) -> None:
        """Forget a revoked identity. Its certificates stay denied; the name may be enrolled anew.

        Raises `NotFound`, `EtagMismatch`, and `WrongState` for one that is not revoked as a whole.
        """

        def act() -> Outcome[None]:
            loaded = found(self._repository.load(IdentityRecord, str(name)), str(name))
            loaded.check_etag(etag)
            if loaded.record.revoke_time is None:
                raise WrongState(f"{name} is not revoked; revoke it first")
            return Outcome(None, [loaded.delete()])

        await self._guard.perform(call, DELETE_IDENTITY, scope_of(name), act)

    def issue_first(self, csr: bytes, grant: Grant, now: datetime) -> tuple[CertificateBundle, Change]:
        """A certificate without a token, for who holds the root of trust: first start and recovery."""
        issued = self._trust.current().issuer.issue(verify_csr(csr), grant, now)
        return issued, self._enrolled(grant, issued.issued, now, BY_JOIN_TOKEN)

    def _check_dns_names(self, grant: Grant) -> None:
        """An identity under the server's own name could pose as the server. Raises `InvalidField`."""
        for name in grant.dns_names:
            if name in self._server_names:
                raise InvalidField("dns_names", f"{name} is the KMS's own name")

    def _enrolled(self, grant: Grant, issued: IssuedCertificate, now: datetime, origin: str) -> Change:
        """The identity's record, made or brought to what was granted now. Raises `WrongState`."""
        loaded = self._repository.load(IdentityRecord, str(grant.identity))
        if loaded is not None:
            _check_origin(loaded, origin)
        record = IdentityRecord(
            spiffe_id=str(self._spiffe_id(grant.identity)),
            dns_names=grant.dns_names,
            labels=grant.labels,
            roles=tuple(sorted(grant.roles)),
            create_time=now if loaded is None else loaded.record.create_time,
            revoke_time=None,
            certificates=() if loaded is None else loaded.record.certificates,
            origin=origin,
        )
        record = _with_certificate(record, issued, now)
        return create(str(grant.identity), record) if loaded is None else loaded.put(record)

    def _spiffe_id(self, identity: Identity) -> SpiffeId:
        return SpiffeId(self._trust.current().trust_domain, identity)

    def _caller(self, grant: Grant, address: str) -> Caller:
        spiffe_id = str(self._spiffe_id(grant.identity))
        return Caller(grant.identity, spiffe_id, (spiffe_id,), address=address)


def _check_origin(loaded: Loaded[IdentityRecord], origin: str) -> None:
    """Who came by one way would renew into what is granted by another. Raises `WrongState`."""
    if loaded.record.revoke_time is None:
        if loaded.record.origin != origin:
            raise WrongState(f"{loaded.name} was enrolled by other means; who administers it can revoke it")
    elif origin != BY_JOIN_TOKEN:
        raise WrongState(f"{loaded.name} is revoked; who administers it can delete it, to be enrolled anew")


def _with_certificate(record: IdentityRecord, issued: IssuedCertificate, now: datetime) -> IdentityRecord:
    """The record with one certificate more, those that have expired forgotten.

    None is forgotten that still holds, since it could then not be revoked by its serial number. Raises
    `WrongState` for an identity with 64 that hold.
    """
    alive = [text for text in record.certificates if IssuedCertificate.parse(text).not_after >= now]
    if len(alive) >= MAX_CERTIFICATES:
        raise WrongState(
            f"{MAX_CERTIFICATES} certificates of {record.spiffe_id} still hold; wait until one expires, or "
            "have the identity revoked and enrol it again"
        )
    return replace(record, certificates=(*alive, issued.to_text()))


def _without(record: IdentityRecord, serial: str) -> IdentityRecord:
    left = [text for text in record.certificates if IssuedCertificate.parse(text).serial != serial.lower()]
    return replace(record, certificates=tuple(left))


def _revoked(record: IdentityRecord, now: datetime) -> IdentityRecord:
    return replace(record, revoke_time=now, certificates=())


def _deny_serial(deny_list: DenyList, record: IdentityRecord, serial: str) -> DenyList:
    for certificate in map(IssuedCertificate.parse, record.certificates):
        if certificate.serial == serial.lower():
            return deny_list.with_serial(int(certificate.serial, 16), certificate.not_after)
    raise InvalidField("serial_number", "is not of a certificate of this identity that still holds")
