"""Authorities of a tenant's own as resources (docs/spec/identity.md, "Authorities of tenants")."""

import re
from dataclasses import replace
from datetime import UTC, datetime

from kms.errors import InvalidField, WrongState
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
        self, call: Call, name: TrustedAuthorityName, serial: str, comment: str
    ) -> Loaded[TrustedAuthorityRecord]:
        """Refuse one certificate of the authority from the next call on, by its serial number in hexadecimal.

        Raises `NotFound`, `InvalidField`.
        """

        def act() -> Outcome[Loaded[TrustedAuthorityRecord]]:
            loaded = self._found(name)
            if not _SERIAL.fullmatch(serial):
                raise InvalidField("serial_number", "is hexadecimal, in lower case, without leading zeros")
            authority = AuthoritySettings.of(loaded.record).authority(name, self._trust_domain)
            revoked = authority.serial(int(serial, 16))

            def deny(known: DenyList) -> DenyList:
                if len(known.serials) >= MAX_REVOKED:
                    raise WrongState(
                        f"the tenant has {MAX_REVOKED} revoked certificates; replace the authority"
                    )
                return known.pruned(call.time).with_serial(revoked, FOREVER)

            denied = self._deny_lists.edit(name.tenant, deny)
            return Outcome(loaded, [denied, loaded.require()], {"serial": serial, "comment": comment[:256]})

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
