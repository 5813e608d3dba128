"""Authorities of a tenant's own as resources (docs/spec/identity.md, "Authorities of tenants")."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from kms.errors import InvalidField, Unauthenticated, WrongState
from kms.identity.corporate import CorporateAuthority, mark
from kms.identity.revocation import DenyList
from kms.model.names import TrustedAuthorityName
from kms.model.records import TrustedAuthorityRecord
from kms.services.authority_settings import AuthoritySettings
from kms.services.call import Call, Outcome
from kms.services.corporate_trust import CorporateTrust
from kms.services.deny_lists import DenyLists
from kms.services.granting import check_grantable_to_workloads
from kms.services.guard import Action, Guard
from kms.services.identity_trust import IdentityTrust
from kms.services.repository import Loaded, Repository
from kms.services.tenant_resources import Actions, TenantResources, Written

MAX_AUTHORITIES = 8
MAX_REVOKED = 50_000
# How long such a certificate holds is not known to who revokes it by its number.
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
REVOKE = Action("RevokeCertificate", "trustedAuthorities.revoke")
_SERIAL = re.compile(r"[1-9a-f][0-9a-f]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate, by its serial number in hexadecimal, or itself in PEM or DER: one of the two."""

    serial: str = ""
    certificate: bytes = b""

    def of(self, authority: CorporateAuthority, now: datetime) -> tuple[int, datetime]:
        """The serial number, and until when it is to be refused. Raises `InvalidField`."""
        if bool(self.serial) is bool(self.certificate):
            raise InvalidField("serial_number", "give the serial number, or the certificate, and not both")
        if not self.certificate:
            if not _SERIAL.fullmatch(self.serial):
                raise InvalidField("serial_number", "is hexadecimal, in lower case, without leading zeros")
            return int(self.serial, 16), FOREVER
        try:
            return authority.revocable(self.certificate, now)
        except Unauthenticated as error:
            problem = error.message
        raise InvalidField("certificate", problem)


class TrustedAuthorities(TenantResources[TrustedAuthorityRecord]):
    """`own` are the KMS's own authorities, which no tenant can claim."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        trust: CorporateTrust,
        deny_lists: DenyLists,
        own: IdentityTrust,
        trust_domain: str,
    ) -> None:
        actions = Actions.of("TrustedAuthority", "TrustedAuthorities", "trustedAuthorities")
        super().__init__(guard, repository, TrustedAuthorityRecord, actions, MAX_AUTHORITIES)
        self._trust = trust
        self._deny_lists = deny_lists
        self._own = own
        self._trust_domain = trust_domain

    async def create(
        self, call: Call, name: TrustedAuthorityName, settings: AuthoritySettings, request_id: str
    ) -> Loaded[TrustedAuthorityRecord]:
        """Raises `AlreadyExists`, `WrongState`, `InvalidField`, and `Denied` for a site."""

        def make() -> Written[TrustedAuthorityRecord]:
            self._check(call, name, settings)
            return settings.to_record(call.time, request_id), ()

        return await self._create(call, name, request_id, make)

    async def update(
        self, call: Call, name: TrustedAuthorityName, settings: AuthoritySettings, etag: str
    ) -> Loaded[TrustedAuthorityRecord]:
        """All of it anew, from the next call of everybody on. Raises as `create`, `NotFound`."""

        def change(record: TrustedAuthorityRecord) -> Written[TrustedAuthorityRecord]:
            self._check(call, name, settings)
            made = settings.to_record(call.time, record.request_id)
            return replace(made, create_time=record.create_time), ()

        return await self._update(call, name, etag, change)

    async def delete(self, call: Call, name: TrustedAuthorityName, etag: str) -> None:
        """Its certificates are refused from the next call on. Raises `NotFound`, `EtagMismatch`."""
        await self._delete(call, name, etag)

    async def revoke(
        self, call: Call, name: TrustedAuthorityName, which: Revoked, comment: str
    ) -> Loaded[TrustedAuthorityRecord]:
        """Refuse one certificate of the authority, from the next call on.

        The tenant's list has 50,000 at most; one that was given itself goes from it when it has expired.
        Raises `NotFound`, `InvalidField`, `WrongState`.
        """

        def act() -> Outcome[Loaded[TrustedAuthorityRecord]]:
            loaded = self._found(name)
            authority = AuthoritySettings.of(loaded.record).authority(name, self._trust_domain)
            number, end = which.of(authority, call.time)

            def deny(known: DenyList) -> DenyList:
                left = known.pruned(call.time)
                if len(left.serials) >= MAX_REVOKED:
                    raise WrongState(
                        f"the tenant has {MAX_REVOKED} revoked certificates; replace the authority"
                    )
                return left.with_serial(authority.serial(number), end)

            denied = self._deny_lists.edit(name.tenant, deny)
            details = {"serial": f"{number:x}", "comment": comment[:256]}
            return Outcome(loaded, [denied, loaded.require()], details)

        return await self._guard.perform(call, REVOKE, name, act)

    def _check(self, call: Call, name: TrustedAuthorityName, settings: AuthoritySettings) -> None:
        check_grantable_to_workloads(call.caller, settings.admission.roles)
        own, authority = self._own.current(), settings.authority(name, self._trust_domain)
        if authority.keys & own.keys:
            raise InvalidField("certificates_pem", "holds the KMS's own authority")
        # TLS would look for our own leaves under a namesake, and refuse everybody.
        if {item.name for item in authority.marks} & {mark(item).name for item in own.certificates}:
            raise InvalidField("certificates_pem", "holds an authority with the name of the KMS's own")
        for other in self._trust.others(name):
            if authority.keys & other.keys:
                raise InvalidField(
                    "certificates_pem", "holds an authority that is trusted already by another name"
                )
            if other.name.tenant != name.tenant and _hides(authority, other):
                raise InvalidField(
                    "certificates_pem",
                    "holds an authority that TLS cannot tell from another tenant's: one of the same name and "
                    "key identifier, or of the same name without one",
                )


def _hides(authority: CorporateAuthority, other: CorporateAuthority) -> bool:
    return any(one.hides(two) for one in authority.marks for two in other.marks)
