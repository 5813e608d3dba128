"""What a Wingman is told: which KMS, who it is there, and where programs reach it (docs/wingman.md)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType

from kms.errors import InvalidField
from kms.model.endpoint_url import EndpointUrl
from kms.model.json_form import BOOLEAN, INTEGER, Form, list_of, map_of, object_of, string
from kms.model.names import KeyName
from kms.model.secret_management_access import Allowances
from kms.model.secret_type import SECRET_TYPE, SecretType
from wingman.files.plan import FILES, Files
from wingman.programs import PROGRAM, Program

SOCKET = "/run/wingman/wingman.sock"
MAX_KEEP = 30 * 86_400
LOCAL_KEY_SECONDS = 3600

_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """How to become an identity where the directory holds none, or one whose certificate has ended.

    `server` is the KMS's enrolment listener, `host:port`. Either a join token lies in `join_token_file`; or
    `jwt_file` has a token of `jwt_issuer`, `tenants/{tenant}/jwtIssuers/{issuer}`, and `identity_root` is the
    fingerprint of the KMS's identity root, `sha256:` and 64 digits. Raises `InvalidField`.
    """

    server: str
    join_token_file: str = ""
    jwt_file: str = ""
    jwt_issuer: str = ""
    identity_root: str = ""

    def __post_init__(self) -> None:
        check_address(self.server, "server")
        by_jwt = (self.jwt_file, self.jwt_issuer, self.identity_root)
        if self.join_token_file and any(by_jwt):
            raise InvalidField("join_token_file", "excludes jwt_file, jwt_issuer and identity_root")
        if not self.join_token_file and not all(by_jwt):
            raise InvalidField("", "needs join_token_file, or jwt_file, jwt_issuer and identity_root")
        if self.identity_root and not _FINGERPRINT.fullmatch(self.identity_root):
            raise InvalidField("identity_root", "has the form sha256:<64 lower-case hex digits>")

    @property
    def root_fingerprint(self) -> bytes:
        return bytes.fromhex(self.identity_root.removeprefix("sha256:"))


@dataclass(frozen=True, slots=True)
class Configuration:
    """`server` is the KMS, `host:port`, `credentials` a directory as `kms identity enrol` writes it.

    `server_name` is that of the server's certificate, if it is not the host. Programs reach Wingman on the
    unix socket `socket`, if they run under its own user id or one of `uids`; and on `listen`, "" or
    `host:port` of this machine. `max_keep_seconds` limits what policies allow.
    `local_keys` are used here for up to `local_key_seconds` at a time, where the KMS exports them.
    `vault_endpoints` are the only vaults that are connected to, () for those of all accesses; the two flags
    are for tests. `secrets` are those that `files` and `program` name. Raises `InvalidField`.
    """

    server: str
    credentials: str
    server_name: str = ""
    enrolment: Enrolment | None = None
    socket: str = SOCKET
    uids: tuple[int, ...] = ()
    listen: str = ""
    max_keep_seconds: int = MAX_KEEP
    local_keys: tuple[KeyName, ...] = ()
    local_key_seconds: int = LOCAL_KEY_SECONDS
    vault_endpoints: tuple[str, ...] = ()
    allow_clear_secrets: bool = False
    allow_plain_http: bool = False
    secrets: Mapping[str, SecretType] = field(default_factory=lambda: MappingProxyType({}))
    files: Files | None = None
    program: Program = field(default_factory=Program)

    def __post_init__(self) -> None:
        check_address(self.server, "server")
        for name in ("credentials", "socket"):
            if not Path(getattr(self, name)).is_absolute():
                raise InvalidField(name, "must be an absolute path")
        # sun_path of <sys/un.h> has 108 bytes, and the socket is made under a longer name first.
        if len(self.socket.encode()) > 90:
            raise InvalidField("socket", "has at most 90 bytes")
        if any(not 0 <= uid < 2**32 - 1 for uid in self.uids):
            raise InvalidField("uids", "are user ids: numbers from 0 on")
        if self.listen:
            _check_loopback(self.listen)
        if not 0 <= self.max_keep_seconds <= MAX_KEEP:
            raise InvalidField("max_keep_seconds", f"is from 0 to {MAX_KEEP}")
        if not 60 <= self.local_key_seconds <= 86_400:
            raise InvalidField("local_key_seconds", "is from 60 to 86400")
        for index, endpoint in enumerate(self.vault_endpoints):
            EndpointUrl.parse(endpoint, f"vault_endpoints[{index}]")
        self._check_names("files.secrets", self.files.secrets if self.files else ())
        self._check_names("program", self.program.secrets)

    def _check_names(self, at: str, names: Collection[str]) -> None:
        if unknown := sorted(set(names) - set(self.secrets)):
            raise InvalidField(at, f"names {unknown[0]}, which is none of secrets")

    @property
    def allowances(self) -> Allowances:
        """What accesses to vaults may be."""
        return Allowances(self.allow_clear_secrets, self.allow_plain_http, self.vault_endpoints)

    @property
    def directory(self) -> Path:
        return Path(self.credentials)


def check_address(text: str, field: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises `InvalidField`."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise InvalidField(field, "has the form host:port, such as kms.example:7443")
    return host.strip("[]"), int(port)


def _check_loopback(listen: str) -> None:
    host, _ = check_address(listen, "listen")
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise InvalidField("listen", "must be an address of this machine alone: 127.0.0.1 or [::1]")


_TEXT = string()
_KEY_NAME = Form(lambda value: KeyName.parse(_TEXT.decode(value), ""), str, _TEXT.schema)
ENROLMENT = object_of(
    Enrolment,
    dict.fromkeys(("server", "join_token_file", "jwt_file", "jwt_issuer", "identity_root"), _TEXT),
    ("server",),
)
_MEMBERS: Mapping[str, Form] = MappingProxyType(
    {
        "server": _TEXT,
        "credentials": _TEXT,
        "server_name": _TEXT,
        "enrolment": ENROLMENT,
        "socket": _TEXT,
        "uids": list_of(INTEGER),
        "listen": _TEXT,
        "max_keep_seconds": INTEGER,
        "local_keys": list_of(_KEY_NAME),
        "local_key_seconds": INTEGER,
        "vault_endpoints": list_of(_TEXT),
        "allow_clear_secrets": BOOLEAN,
        "allow_plain_http": BOOLEAN,
        "secrets": map_of(SECRET_TYPE),
        "files": FILES,
        "program": PROGRAM,
    }
)
CONFIGURATION = object_of(Configuration, _MEMBERS, ("server", "credentials"))


def parse_configuration(value: object) -> Configuration:
    """A configuration from its JSON form. Raises `InvalidField`, which names the field at fault."""
    configuration: Configuration = CONFIGURATION.decode(value)
    return configuration
