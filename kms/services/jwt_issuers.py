"""JWT issuers as resources of a tenant: whose tokens enrol, and as whom (docs/spec/identity.md)."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

from kms.errors import InvalidField, LimitExceeded
from kms.identity.admission import Admission
from kms.identity.web_tokens import ALGORITHMS, Expected, parse_jwks
from kms.model.names import JwtIssuerName
from kms.model.records import JwtIssuerRecord
from kms.services.call import Call
from kms.services.granting import check_grantable_to_workloads
from kms.services.guard import Guard
from kms.services.repository import Loaded, Repository
from kms.services.stored_admission import admission_fields, admission_of
from kms.services.tenant_resources import Actions, TenantResources, Written

MAX_ISSUERS = 32
MAX_TEXT = 256


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """What a tenant decides of an issuer. `jwks` is a JSON Web Key Set, "" to discover it (OpenID Connect).

    `issuer` and `audience` are compared to the letter. Raises `InvalidField`, `LimitExceeded`.
    """

    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[str, ...]
    admission: Admission

    def __post_init__(self) -> None:
        for field, text in (("issuer", self.issuer), ("audience", self.audience)):
            if not 0 < len(text.encode()) <= MAX_TEXT:
                raise LimitExceeded(field, f"has 1 to {MAX_TEXT} bytes")
        _ = self.host
        if self.jwks:
            parse_jwks(self.jwks.encode())
        if unknown := set(self.algorithms) - set(ALGORITHMS):
            raise InvalidField("algorithms", f"{min(unknown)[:80]!r} is none of {', '.join(ALGORITHMS)}")

    @property
    def host(self) -> str:
        """The host of the issuer's URL. Raises `InvalidField`."""
        try:
            parts = urlsplit(self.issuer)
            host = parts.hostname if parts.scheme == "https" and parts.port != 0 else None
        except ValueError:
            host = None
        if not host or {"?", "#", "@"} & set(self.issuer):
            raise InvalidField("issuer", "is an https URL without user, query and fragment")
        return host

    @property
    def expected(self) -> Expected:
        return Expected(self.issuer, self.audience, self.algorithms or ALGORITHMS)

    @classmethod
    def of(cls, record: JwtIssuerRecord) -> "IssuerSettings":
        admission = admission_of(record)
        return cls(record.issuer, record.audience, record.jwks, record.algorithms, admission)

    def to_record(self, time: datetime, request_id: str) -> JwtIssuerRecord:
        return JwtIssuerRecord(
            issuer=self.issuer,
            audience=self.audience,
            jwks=self.jwks,
            algorithms=self.algorithms,
            **admission_fields(self.admission),
            create_time=time,
            update_time=time,
            request_id=request_id,
        )


class JwtIssuers(TenantResources[JwtIssuerRecord]):
    """`hosts` are those that keys may be fetched from."""

    def __init__(self, guard: Guard, repository: Repository, hosts: Collection[str]) -> None:
        actions = Actions.of("JwtIssuer", "JwtIssuers", "jwtIssuers")
        super().__init__(guard, repository, JwtIssuerRecord, actions, MAX_ISSUERS)
        self._hosts = frozenset(hosts)

    async def create(
        self, call: Call, name: JwtIssuerName, settings: IssuerSettings, request_id: str
    ) -> Loaded[JwtIssuerRecord]:
        """Raises `AlreadyExists`, `WrongState`, `InvalidField`, and `Denied` for a site."""

        def make() -> Written[JwtIssuerRecord]:
            self._check(call, settings)
            return settings.to_record(call.time, request_id), ()

        return await self._create(call, name, request_id, make)

    async def update(
        self, call: Call, name: JwtIssuerName, settings: IssuerSettings, etag: str
    ) -> Loaded[JwtIssuerRecord]:
        """All of it anew. What is enrolled keeps what it was granted. Raises as `create`, `NotFound`."""

        def change(record: JwtIssuerRecord) -> Written[JwtIssuerRecord]:
            self._check(call, settings)
            made = settings.to_record(call.time, record.request_id)
            return replace(made, create_time=record.create_time), ()

        return await self._update(call, name, etag, change)

    async def delete(self, call: Call, name: JwtIssuerName, etag: str) -> None:
        """Nobody enrols by it from now on, and whom it enrolled renews no more. Raises `NotFound`."""
        await self._delete(call, name, etag)

    def _check(self, call: Call, settings: IssuerSettings) -> None:
        check_grantable_to_workloads(call.caller, settings.admission.roles)
        if not settings.jwks and settings.host not in self._hosts:
            raise InvalidField("issuer", "the operator does not let keys be fetched from its host; give jwks")
