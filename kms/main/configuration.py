"""The configuration of a server: `kms.toml` in its directory, written by `kms init`, read by `kms serve`."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Self

from kms.crypto.device.lane import DeviceSettings
from kms.errors import ConfigError, InvalidField
from kms.identity.authority import ServerNames
from kms.identity.spiffe import SpiffeId
from kms.model.rate_limit import Limit, parse_limit
from kms.model.secret_management_access import Allowances
from kms.server.app import Ports
from kms.server.forwarded import ENVOY_HEADER
from kms.server.interceptors.forwarding import ProxyRules

FILE = "kms.toml"
STORE = "store.sqlite"
KEYFILE = "root.key"
MAX_RETENTION_DAYS = 36_500
PKCS11 = "pkcs11"
PROVIDERS = ("keyfile", "passphrase", "shamir", PKCS11)
SERVER_NAME = "kms"
RATE_LIMITS = ("ENROL 600/minute burst 100 by address",)


@dataclass(frozen=True, slots=True)
class Configuration:
    """`directory` holds store and keyfile. `root_of_trust` is what `kms init` made; what it is now says the
    store. Addresses are `host:port`, port 0 for a free one.

    `dns_names` and `addresses` are what clients reach the server by, `trust_domain` what identities are
    named after. `proxy_listen` is "" or the listener of proxies that end TLS: those with one of the SPIFFE
    ids `proxy_identities`, at one of the prefixes `proxy_addresses` if there are any. `monitoring_listen` is
    "" or where monitors ask, over HTTP; `trace_endpoint` "" or a collector that takes OTLP over HTTP. So many
    denials of a caller in so many seconds are an alert. Audit events are dropped after so many days, 0 for
    never. Alerts go to the log and to `alert_webhook`: "", or
    an https URL on one of `alert_webhook_hosts`. `rate_limits` hold for every tenant (docs/limits.md). Keys
    of JWT issuers are fetched from `jwt_issuer_hosts` alone. Certificates of servers that the KMS connects to
    are verified by those of the `..._ca_file`, by the system's where it is "". Accesses to vaults may have
    credentials in clear, and http on loopback addresses, where `allow_clear_secrets` and `allow_plain_http`
    say so. Raises `ConfigError`.
    are verified by those of the `..._ca_file`, by the system's where it is "". HIGH keys are kept in the
    device that the `device_...` settings name, if any (`DeviceSettings`). Raises `ConfigError`.
    """

    directory: Path
    trust_domain: str
    root_of_trust: str
    listen: str
    enrolment_listen: str
    checkpoint_file: Path
    dns_names: tuple[str, ...] = ("localhost",)
    addresses: tuple[str, ...] = ("127.0.0.1",)
    proxy_listen: str = ""
    proxy_identities: tuple[str, ...] = ()
    proxy_addresses: tuple[str, ...] = ()
    proxy_certificate_header: str = ENVOY_HEADER
    monitoring_listen: str = ""
    rate_limits: tuple[str, ...] = RATE_LIMITS
    trace_endpoint: str = ""
    alert_denials: int = 20
    alert_denials_seconds: int = 60
    audit_retention_days: int = 0
    alert_webhook: str = ""
    alert_webhook_hosts: tuple[str, ...] = ()
    alert_webhook_key_file: str = ""
    alert_webhook_ca_file: str = ""
    jwt_issuer_hosts: tuple[str, ...] = ()
    jwt_issuer_ca_file: str = ""
    allow_clear_secrets: bool = False
    allow_plain_http: bool = False
    device_module: str = ""
    device_token: str = ""
    device_pin_file: str = ""

    def __post_init__(self) -> None:
        if self.root_of_trust not in PROVIDERS:
            raise ConfigError(f"root_of_trust is one of {', '.join(PROVIDERS)}")
        for name in ("listen", "enrolment_listen", "proxy_listen", "monitoring_listen"):
            if name in _OPTIONAL and not getattr(self, name):
                continue
            host, colon, port = getattr(self, name).rpartition(":")
            if not host or not colon or not port.isdecimal() or int(port) > 65535:
                raise ConfigError(f"{name} has the form host:port, such as 127.0.0.1:7443")
        _ = self.server_names, self.platform_limits, self.device
        if min(self.alert_denials, self.alert_denials_seconds) < 1:
            raise ConfigError("alert_denials and alert_denials_seconds are 1 or more")
        if not 0 <= self.audit_retention_days <= MAX_RETENTION_DAYS:
            raise ConfigError(f"audit_retention_days is from 1 to {MAX_RETENTION_DAYS}, or 0 for ever")
        if self.root_of_trust == PKCS11 and self.device is None:
            raise ConfigError("root_of_trust pkcs11 needs device_module, device_token and device_pin_file")
        if not self.proxy_rules.identities and self.proxy_listen:
            raise ConfigError("proxy_listen needs proxy_identities: the SPIFFE ids of the proxies")

    @property
    def store_path(self) -> Path:
        return self.directory / STORE

    @property
    def audit_retention(self) -> timedelta | None:
        """For how long audit events are kept, None for ever."""
        return timedelta(days=self.audit_retention_days) if self.audit_retention_days else None

    @property
    def keyfile_path(self) -> Path:
        return self.directory / KEYFILE

    @property
    def server_names(self) -> ServerNames:
        try:
            return ServerNames(SERVER_NAME, self.dns_names, tuple(map(ip_address, self.addresses)))
        except (InvalidField, ValueError) as error:
            problem = str(error)
        raise ConfigError(f"dns_names or addresses: {problem}")

    @property
    def device(self) -> DeviceSettings | None:
        named = (self.device_module, self.device_token, self.device_pin_file)
        if not any(named):
            return None
        if not all(named):
            raise ConfigError("device_module, device_token and device_pin_file go together")
        return DeviceSettings(Path(self.device_module), self.device_token, Path(self.device_pin_file))

    @property
    def proxy_rules(self) -> ProxyRules:
        try:
            identities = frozenset(str(SpiffeId.parse(text)) for text in self.proxy_identities)
            networks = tuple(map(ip_network, self.proxy_addresses))
        except (InvalidField, ValueError) as error:
            problem = str(error)
        else:
            return ProxyRules(identities, networks, self.proxy_certificate_header.lower())
        raise ConfigError(f"proxy_identities or proxy_addresses: {problem}")

    @property
    def allowances(self) -> Allowances:
        return Allowances(clear_secrets=self.allow_clear_secrets, plain_http=self.allow_plain_http)

    @property
    def platform_limits(self) -> tuple[Limit, ...]:
        try:
            return tuple(map(parse_limit, self.rate_limits))
        except InvalidField as error:
            problem = str(error)
        raise ConfigError(f"rate_limits: {problem}")

    def to_toml(self) -> str:
        lines = ["# Written by `kms init`. `kms serve` reads it at its start."]
        for name, value in self._values().items():
            lines.append(f"{name} = {_toml(value)}")
        return "\n".join(lines) + "\n"

    def _values(self) -> Mapping[str, object]:
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "directory"}

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Raises `ConfigError` for a file that is missing, or holds anything unknown."""
        path = directory / FILE
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path} does not exist; run `kms init` first") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {type(error).__name__}") from None
        known = {item.name for item in fields(cls)} - {"directory"}
        if unknown := sorted(values.keys() - known):
            raise ConfigError(f"{path}: unknown settings: {', '.join(unknown)}")
        typed: dict[str, Any] = {name: _typed(path, name, value) for name, value in values.items()}
        if missing := sorted(
            {item.name for item in fields(cls) if item.default is MISSING} - {"directory", *typed}
        ):
            raise ConfigError(f"{path}: missing settings: {', '.join(missing)}")
        return cls(directory=directory, **typed)


def with_ports(configuration: Configuration, ports: Ports) -> Configuration:
    """With the ports that were found, in the place of 0."""

    def bound(listen: str, port: int) -> str:
        return f"{listen.rpartition(':')[0]}:{port}" if listen else ""

    return replace(
        configuration,
        listen=bound(configuration.listen, ports.main),
        enrolment_listen=bound(configuration.enrolment_listen, ports.enrolment),
        proxy_listen=bound(configuration.proxy_listen, ports.proxy),
        monitoring_listen=bound(configuration.monitoring_listen, ports.monitoring),
    )


_PATHS = ("checkpoint_file",)
_LISTS = (
    "dns_names",
    "addresses",
    "proxy_identities",
    "proxy_addresses",
    "rate_limits",
    "alert_webhook_hosts",
    "jwt_issuer_hosts",
)
_NUMBERS = ("alert_denials", "alert_denials_seconds", "audit_retention_days")
_SWITCHES = ("allow_clear_secrets", "allow_plain_http")
_OPTIONAL = ("proxy_listen", "monitoring_listen")


def _typed(path: Path, name: str, value: object) -> object:
    if name in _LISTS:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{path}: {name} is a list of strings")
    if name in _NUMBERS:
        if type(value) is int:
            return value
        raise ConfigError(f"{path}: {name} is a whole number")
    if name in _SWITCHES:
        if isinstance(value, bool):
            return value
        raise ConfigError(f"{path}: {name} is true or false")
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {name} is a string")
    return Path(value) if name in _PATHS else value


def _toml(value: object) -> str:
    """As JSON has it, whose escapes, numbers and truths are TOML's; an array of strings too."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value if isinstance(value, int) else str(value))
