"""Enrolment by a token of an issuer that the tenant trusts (docs/spec/identity.md, "Tokens of issuers")."""

import logging
from collections.abc import Sequence
from datetime import datetime

from blindfold.secret import SecretBytes
from kms.errors import NotFound, Unauthenticated, Unavailable
from kms.identity.admission import Admitted
from kms.identity.csr import verify_csr
from kms.identity.grant import Grant
from kms.identity.issued import CertificateBundle
from kms.identity.web_tokens import REFUSED, Jwks, VerifiedToken, key_id_of, parse_jwks, verify_token
from kms.model.names import IdentityName, JwtIssuerName
from kms.model.records import JwtIssuerRecord, UsedTokenRecord
from kms.services.guard import ATTEMPTS
from kms.services.identities import Identities, Vouched
from kms.services.issuer_keys import IssuerKeys
from kms.services.jwt_issuers import IssuerSettings
from kms.services.repository import Repository, create
from kms.services.tenant_states import require_place
from kms.storage.interface import Change, Put, Require, WriteConflict

_log = logging.getLogger(__name__)


class JwtEnrolment:
    """A token enrols once, whoever holds it."""

    def __init__(self, repository: Repository, identities: Identities, keys: IssuerKeys) -> None:
        self._repository = repository
        self._identities = identities
        self._keys = keys

    async def enrol(
        self,
        issuer: JwtIssuerName,
        token: SecretBytes,
        csr: bytes,
        *,
        address: str,
        request_id: str,
        now: datetime,
    ) -> CertificateBundle:
        """Exchange a token for a first certificate.

        Raises `Unauthenticated`, `InvalidField` for the signing request, `WrongState` as
        `Identities.admit`, `Unavailable` while the issuer's keys cannot be had.
        """
        public_key = verify_csr(csr)
        key_id = key_id_of(token)
        for _ in range(ATTEMPTS):
            loaded = self._repository.load(JwtIssuerRecord, str(issuer))
            if loaded is None:
                raise Unauthenticated(REFUSED)
            settings = IssuerSettings.of(loaded.record)
            keys = await self._keys_of(settings, key_id)
            if not self._repository.is_current(loaded):
                continue
            verified = verify_token(token, keys, settings.expected, now)
            grant = _grant(issuer.tenant, settings.admission.admit(verified.claims))
            changes: list[Change] = [loaded.require(), *self._place_of(grant)]
            changes += self._use(issuer, verified, grant)
            issued = await self._identities.admit(
                Vouched(grant, issuer),
                public_key,
                changes,
                address=address,
                request_id=request_id,
                now=now,
            )
            if issued is not None:
                return issued
        raise WriteConflict(f"{issuer} is written to by others")

    async def _keys_of(self, settings: IssuerSettings, key_id: str) -> Jwks:
        if settings.jwks:
            return parse_jwks(settings.jwks.encode())
        try:
            return await self._keys.of(settings.issuer, key_id)
        except Unavailable as error:
            _log.warning("keys of a JWT issuer: %r", error.message)
        # What the KMS found where it asked is no business of a stranger's.
        raise Unavailable("the issuer's keys cannot be had now; try again later")

    def _place_of(self, grant: Grant) -> Sequence[Require]:
        try:
            return require_place(self._repository, grant.identity)
        except NotFound:
            pass
        raise Unauthenticated("what is claimed gives no namespace of the KMS")

    def _use(self, issuer: JwtIssuerName, token: VerifiedToken, grant: Grant) -> list[Put]:
        names = [f"{issuer}/{digest}" for digest in token.digests]
        if any(self._repository.load(UsedTokenRecord, name) is not None for name in names):
            raise Unauthenticated("the token was used before; get another one")
        record = UsedTokenRecord(str(grant.identity), token.expires_at)
        return [create(name, record) for name in names]


def _grant(tenant: str, admitted: Admitted) -> Grant:
    name = IdentityName(tenant, admitted.namespace, admitted.identity)
    return Grant(name, labels=admitted.attributes.labels, roles=admitted.attributes.roles)
