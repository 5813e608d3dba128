"""How a workload reaches a vault: where it is, who may use this, and with which credentials.

The KMS keeps and hands out these values, and connects to none of them: whoever needs a secret connects
itself, after resolving the credentials (docs/external-secrets.md). Every value is valid once built, but for
the syntax of label selectors (`kms.authz.compile`) and for cycles (`kms.model.access_references`). Errors
are `InvalidField` and `LimitExceeded`, with the exact path of the field.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from kms.errors import InvalidField, LimitExceeded
from kms.model.endpoint_url import EndpointUrl, check_path
from kms.model.json_form import BYTES
from kms.model.labels import check_labels
from kms.model.names import check_id
from kms.model.policy import MAX_DECRYPT_CACHE_TIMEOUT, MAX_DESCRIPTION_BYTES
from kms.model.predicate import ClientSelector, check_count, check_text, within
from kms.model.secret_type import ClearSecret, SecretType, VaultSecret

MAX_MOUNTS = 16
MAX_TIMEOUT = 60
MAX_SECRET_BYTES = 1 << 20
MAX_PEM_BYTES = 64 << 10
MAX_CERTIFICATES = 16
MAX_TEXT_BYTES = 256
# Where Kubernetes puts tokens: no access makes a workload send any other of its files away.
JWT_DIRECTORY = "/var/run/secrets/"

_HEADER = re.compile(r"[a-z0-9][-a-z0-9]{0,62}", re.ASCII)
# What frames and routes a request, and what the connection says itself.
_RESERVED_HEADERS = frozenset(
    {"connection", "content-length", "cookie", "expect", "forwarded", "host", "proxy-authorization"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "x-forwarded-for", "x-forwarded-host"}
)
_PARAMETER = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]{0,62}", re.ASCII)
_SERVER_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"
_CERTIFICATE = rf"{_BEGIN}\n(?:[A-Za-z0-9+/=]{{1,76}}\n)+{_END}"
_CERTIFICATES = re.compile(rf"(?:{_CERTIFICATE}\n)*{_CERTIFICATE}\n?", re.ASCII)


class Engine(Enum):
    """What a vault has at a mount."""

    KV_V1 = "KV_V1"
    KV_V2 = "KV_V2"
    DYNAMIC = "DYNAMIC"
    TRANSIT = "TRANSIT"


@dataclass(frozen=True, slots=True)
class Mount:
    """A path of the vault below which secrets may be read, and what is there."""

    path: str
    engine: Engine

    def __post_init__(self) -> None:
        check_path(self.path, "path")

    def rest_of(self, path: str) -> str:
        """What follows the mount in a path, "" for what is not below it."""
        return path.removeprefix(f"{self.path}/") if path.startswith(f"{self.path}/") else ""


@dataclass(frozen=True, slots=True)
class AccessTls:
    """How the vault's server is verified, and what the workload shows it.

    `ca_pem` are the only authorities, "" the system's. `server_name` is the name that the certificate must
    have, "" for the endpoint's host. A client certificate (leaf first) and its key need each other.
    """

    ca_pem: str = ""
    server_name: str = ""
    client_certificate_pem: str = ""
    client_key: SecretType | None = None

    def __post_init__(self) -> None:
        for name in ("ca_pem", "client_certificate_pem"):
            with within(name):
                _check_certificates(getattr(self, name))
        if self.server_name and not _SERVER_NAME.fullmatch(self.server_name):
            raise InvalidField("server_name", "must be a host name in lower case")
        if bool(self.client_certificate_pem) != (self.client_key is not None):
            raise InvalidField("client_key", "client_certificate_pem and client_key need each other")


@dataclass(frozen=True, slots=True)
class TokenAuthentication:
    """A token. If it is `wrapped`, it is a response-wrapping one, of one use, that holds the token."""

    token: SecretType
    wrapped: bool = False


@dataclass(frozen=True, slots=True)
class AppRoleAuthentication:
    """A role and its secret id, `wrapped` as for tokens; `mount` is that of the method, under `auth/`."""

    role_id: str
    secret_id: SecretType
    wrapped: bool = False
    mount: str = "approle"

    def __post_init__(self) -> None:
        _check_word(self.role_id, "role_id")
        check_path(self.mount, "mount")


@dataclass(frozen=True, slots=True)
class KubernetesAuthentication:
    """A role, and a service account's token: in a file, read again at each login, or as a secret."""

    role: str
    jwt_file: str = ""
    jwt: SecretType | None = None
    mount: str = "kubernetes"

    def __post_init__(self) -> None:
        _check_word(self.role, "role")
        check_path(self.mount, "mount")
        if bool(self.jwt_file) == (self.jwt is not None):
            raise InvalidField("jwt", "needs either jwt or jwt_file")
        if self.jwt_file:
            if not self.jwt_file.startswith(JWT_DIRECTORY):
                raise InvalidField("jwt_file", f"must be a file under {JWT_DIRECTORY}")
            check_path(self.jwt_file.removeprefix("/"), "jwt_file")


@dataclass(frozen=True, slots=True)
class CertificateAuthentication:
    """The client certificate of the connection, and the role to ask for, "" for whichever it fits."""

    role: str = ""
    mount: str = "cert"

    def __post_init__(self) -> None:
        if self.role:
            _check_word(self.role, "role")
        check_path(self.mount, "mount")


@dataclass(frozen=True, slots=True)
class BasicAuthentication:
    """Of a plain REST server: HTTP Basic (RFC 7617)."""

    username: str
    password: SecretType

    def __post_init__(self) -> None:
        _check_word(self.username, "username")
        if ":" in self.username:
            raise InvalidField("username", "must not have a colon")


@dataclass(frozen=True, slots=True)
class HeaderAuthentication:
    """Of a plain REST server: a header in lower case, whose value is `prefix`, as `Bearer `, and a secret."""

    header: str
    value: SecretType
    prefix: str = ""

    def __post_init__(self) -> None:
        if not _HEADER.fullmatch(self.header) or self.header in _RESERVED_HEADERS:
            raise InvalidField("header", "must be the name of a header in lower case, such as x-api-key")
        with within("prefix"):
            check_text(self.prefix, MAX_TEXT_BYTES)
            if not (self.prefix.isascii() and self.prefix.isprintable()):
                raise InvalidField("", "must be printable ASCII")


@dataclass(frozen=True, slots=True)
class QueryAuthentication:
    """Of a plain REST server: a parameter of the query. Servers tend to log those."""

    parameter: str
    value: SecretType

    def __post_init__(self) -> None:
        if not _PARAMETER.fullmatch(self.parameter):
            raise InvalidField("parameter", "must be the name of a parameter, such as api_key")


VaultAuthentication: TypeAlias = (
    TokenAuthentication | AppRoleAuthentication | KubernetesAuthentication | CertificateAuthentication
)
RestAuthentication: TypeAlias = BasicAuthentication | HeaderAuthentication | QueryAuthentication
Authentication: TypeAlias = VaultAuthentication | RestAuthentication


def addressee(endpoint: str, tls: AccessTls) -> str:
    """Who gets a credential, as its name inside the sealed file says it (docs/external-secrets.md).

    The endpoint, and behind a # what else proves to be it: `ca-sha256`, SHA-256 of all `ca_pem` in DER one
    behind the other, and `server-name`.
    """
    digest = hashlib.sha256(b"".join(certificates(tls.ca_pem))).hexdigest() if tls.ca_pem else ""
    said = {"ca-sha256": digest, "server-name": tls.server_name}
    proof = "&".join(f"{name}={value}" for name, value in said.items() if value)
    return f"{endpoint}#{proof}" if proof else endpoint


# Which field of an authentication is the credential.
_CREDENTIAL_FIELDS: Mapping[type, str] = MappingProxyType(
    {
        TokenAuthentication: "token",
        AppRoleAuthentication: "secret_id",
        KubernetesAuthentication: "jwt",
        BasicAuthentication: "password",
        HeaderAuthentication: "value",
        QueryAuthentication: "value",
    }
)


@dataclass(frozen=True, slots=True)
class Allowances:
    """What a flag has to allow: credentials in clear, and http on a loopback address.

    `endpoints` are the only ones that accesses may have, () for all. A party that connects sends what is not
    sealed for its endpoint to endpoints that are listed, and to no other.
    """

    clear_secrets: bool = False
    plain_http: bool = False
    endpoints: tuple[str, ...] = ()


NOTHING_ALLOWED = Allowances()


@dataclass(frozen=True, slots=True)
class SecretManagementAccess:
    """Everything of an access but its name.

    `provider` names the vault in logs and metrics. `where` selects who may use the access by its labels.
    `vault_namespace` goes with each request ("" for none). `mounts` are what may be read, none for plain
    REST. `timeout_seconds` bounds each request, `max_secret_bytes` each answer's secret, and
    `cache_timeout_seconds` says how long a sidecar may keep a secret that has no lease.
    """

    provider: str
    where: ClientSelector
    endpoint: str
    authentication: Authentication
    tls: AccessTls = field(default_factory=AccessTls)
    vault_namespace: str = ""
    mounts: tuple[Mount, ...] = ()
    timeout_seconds: int = 10
    max_secret_bytes: int = 64 << 10
    cache_timeout_seconds: int = 0
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    description: str = ""

    def __post_init__(self) -> None:
        check_id(self.provider, "provider")
        EndpointUrl.parse(self.endpoint, "endpoint")
        self._check_kind()
        self._check_tls()
        for name, least, most in (
            ("timeout_seconds", 1, MAX_TIMEOUT),
            ("max_secret_bytes", 1, MAX_SECRET_BYTES),
            ("cache_timeout_seconds", 0, MAX_DECRYPT_CACHE_TIMEOUT),
        ):
            if not least <= getattr(self, name) <= most:
                raise LimitExceeded(name, f"must be a number from {least} to {most}")
        object.__setattr__(self, "labels", check_labels(self.labels))
        with within("description"):
            check_text(self.description, MAX_DESCRIPTION_BYTES)

    def _check_kind(self) -> None:
        if self.is_rest and (self.mounts or self.vault_namespace):
            raise InvalidField("mounts", "mounts and vault_namespace are for vaults, not for plain REST")
        if not self.is_rest and not self.mounts:
            raise InvalidField("mounts", "needs at least one mount: nothing else of the vault is read")
        with within("mounts"):
            check_count(self.mounts, MAX_MOUNTS)
            if len({mount.path for mount in self.mounts}) < len(self.mounts):
                raise InvalidField("", "has a path twice")
        if self.vault_namespace:
            check_path(self.vault_namespace, "vault_namespace")

    def _check_tls(self) -> None:
        shows_certificate = bool(self.tls.client_certificate_pem)
        if isinstance(self.authentication, CertificateAuthentication) and not shows_certificate:
            raise InvalidField("tls.client_certificate_pem", "is needed to authenticate with")
        if self.url.is_plain and (self.tls.ca_pem or self.tls.server_name or shows_certificate):
            raise InvalidField("tls", "says nothing where the endpoint is http")

    @property
    def url(self) -> EndpointUrl:
        return EndpointUrl.parse(self.endpoint, "endpoint")

    @property
    def addressee(self) -> str:
        """Whom a sealed credential is for: `addressee` of the module."""
        return addressee(self.endpoint, self.tls)

    @property
    def is_rest(self) -> bool:
        """Whether it is a plain REST server, and no vault."""
        return isinstance(self.authentication, RestAuthentication)

    @property
    def credentials(self) -> Mapping[str, SecretType]:
        """The secrets that connecting takes, by the paths of their fields."""
        name = _CREDENTIAL_FIELDS.get(type(self.authentication), "")
        found = {
            f"authentication.{name}": getattr(self.authentication, name, None),
            "tls.client_key": self.tls.client_key,
        }
        return {path: secret for path, secret in found.items() if secret is not None}

    def mount_of(self, path: str) -> Mount:
        """The mount that a secret's path is below, the longest of several. Raises `InvalidField`."""
        found = [mount for mount in self.mounts if mount.rest_of(path)]
        if not found:
            raise InvalidField("path", "is below none of the mounts of the access")
        return max(found, key=lambda mount: len(mount.path))

    def check_may_connect(self, allowances: Allowances) -> None:
        """As `check_allowed`, for the party that connects.

        Whoever writes accesses chooses the endpoint. Only a sealed credential says itself where it may go.
        """
        self.check_allowed(allowances)
        if allowances.endpoints:
            return
        unbound = [path for path, secret in self.credentials.items() if isinstance(secret, VaultSecret)]
        if isinstance(self.authentication, KubernetesAuthentication) and self.authentication.jwt_file:
            unbound.append("authentication.jwt_file")
        if unbound:
            raise InvalidField(
                unbound[0],
                "is not sealed for the endpoint: it is sent to vaults that are listed, and none is",
            )

    def check_allowed(self, allowances: Allowances) -> None:
        """Raise `InvalidField` for what needs a flag that is not set."""
        if self.url.is_plain and not allowances.plain_http:
            raise InvalidField("endpoint", "must be https; a flag has to allow http, for tests")
        if allowances.endpoints and self.endpoint not in allowances.endpoints:
            raise InvalidField("endpoint", "is none of those that are allowed here")
        for path, secret in self.credentials.items():
            if isinstance(secret, ClearSecret) and not allowances.clear_secrets:
                raise InvalidField(path, "is in clear; seal it (blindfold seal --location), or set the flag")


def certificates(pem: str) -> list[bytes]:
    """Each in DER. Raises `InvalidField` for base64 that two readers might read in two ways, too."""
    texts = [text.partition(_END)[0].replace("\n", "") for text in pem.split(_BEGIN)[1:]]
    return [BYTES.decode(text) for text in texts]


def _check_certificates(pem: str) -> None:
    check_text(pem, MAX_PEM_BYTES)
    if pem and not _CERTIFICATES.fullmatch(pem):
        raise InvalidField("", "must be certificates in PEM, and nothing else")
    check_count(certificates(pem), MAX_CERTIFICATES)


def _check_word(text: str, field_name: str) -> None:
    """1 to 256 bytes that print, so that they are the same in a log, a header and a body."""
    with within(field_name):
        check_text(text, MAX_TEXT_BYTES)
        if not text or not text.isprintable():
            raise InvalidField("", "must be a printable text")
