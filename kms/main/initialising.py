"""`kms init`: from an empty directory to a KMS that can be served, with its first two identities."""

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import NAME, AuthenticatedStore, create_store
from kms.client.credentials import generate_key_pair, parse_credentials, write_credentials
from kms.crypto.sharing import Sharing
from kms.errors import ConfigError
from kms.identity.authority import create_intermediate, create_root
from kms.identity.grant import Grant
from kms.identity.trust import fingerprint
from kms.main.configuration import FILE, Configuration
from kms.main.device import device_of
from kms.main.parts import Parts, assemble
from kms.main.root_material import Material, new_root_of_trust
from kms.main.server_certificates import ServerCertificates
from kms.model.audit_event import AuditEvent
from kms.model.caller import Caller
from kms.model.chain import timestamp
from kms.model.names import OperatorName, SiteName, TenantName
from kms.model.records import SettingsRecord
from kms.model.validity import whole_seconds
from kms.services.call import Call
from kms.services.identity_trust import first_rows
from kms.services.keyring import Keyring
from kms.services.repository import create
from kms.services.root_of_trust import shares_record
from kms.services.tenants import Description, first_administrator
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

IDENTITY_ROOT = "identity-root.pem"
CREDENTIALS = "credentials"
SHARES = "shares"
OPERATOR = OperatorName("root")
ACTION = "Kms.Init"


@dataclass(frozen=True, slots=True)
class Initialised:
    """What the operator must know and keep; all public but the files that the paths name."""

    documents_root: str
    identity_root: str
    audit_key: str
    identity_root_file: Path
    operator_credentials: Path
    admin_credentials: Path
    warning: str
    shares: tuple[SecretBytes, ...] = ()
    share_files: tuple[Path, ...] = ()


def initialise(
    configuration: Configuration,
    tenant: str,
    material: Material,
    now: datetime | None = None,
    sharing: Sharing | None = None,
) -> Initialised:
    """Make the store, the root of trust, the authorities, the documents root, an operator and a tenant.

    The tenant's administrator may manage all of it but use no key; further identities are enrolled by join
    token. `sharing` is for a root of trust of shares. Raises `ConfigError` if anything is in the directory
    already, `InvalidField` for a bad name, or for shares that cannot be.
    """
    first_tenant = TenantName(tenant)
    directory = configuration.directory
    _make_directory(directory)
    _make_directory(configuration.checkpoint_file.parent, may_hold_files=True)
    if configuration.checkpoint_file.exists():
        raise ConfigError(f"{configuration.checkpoint_file} vouches for another store; move it away")
    try:
        return _initialise(configuration, first_tenant, material, now or datetime.now(UTC), sharing)
    except BaseException:
        _remove(directory, configuration.checkpoint_file)
        raise


def _initialise(
    configuration: Configuration,
    tenant: TenantName,
    material: Material,
    now: datetime,
    sharing: Sharing | None,
) -> Initialised:
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    with device_of(configuration) as device:
        provider, shares = new_root_of_trust(configuration, material, device, sharing)
        if device is not None:
            device.connect()
        with closing(create_store(configuration.store_path, settings, provider)) as vault:
            result = _fill(vault, configuration, tenant, now, provider.warning)
            if sharing is not None:
                result = _hand_out(result, sharing, shares, vault, configuration.directory / SHARES, now)
    (configuration.directory / FILE).write_text(configuration.to_toml())
    return result


def _hand_out(
    result: Initialised,
    sharing: Sharing,
    shares: Sequence[SecretBytes],
    vault: AuthenticatedStore,
    directory: Path,
    now: datetime,
) -> Initialised:
    """With the shares in files, wrapped to their holders; or in clear."""
    if not sharing.holders:
        return replace(result, shares=tuple(shares))
    record = shares_record(sharing, shares, vault.store.store_id)
    event = local_event(ACTION, now, {"shares": str(sharing.count)})
    vault.store.commit([create(NAME, record)], [event]).result()
    directory.mkdir(mode=0o700)
    paths = tuple(directory / f"share-{number}.json" for number in range(1, sharing.count + 1))
    for path, share in zip(paths, record.wrapped, strict=True):
        path.write_text(share + "\n", encoding="ascii")
    return replace(result, share_files=paths)


def _fill(
    vault: AuthenticatedStore, configuration: Configuration, tenant: TenantName, now: datetime, warning: str
) -> Initialised:
    root = create_root(configuration.trust_domain, now)
    authority = create_intermediate(root, now)
    vault.store.commit(
        [
            *first_rows(Keyring(vault), root.certificate, authority, whole_seconds(now)),
            create("kms", SettingsRecord(configuration.trust_domain, now)),
        ],
        [local_event(ACTION, now, {"identity_root": fingerprint(root.certificate).hex()})],
    ).result()
    with ThreadPoolExecutor(1) as workers:
        parts = assemble(vault, workers)
        documents_root = _first_rows(parts, tenant, now)
        operator = Grant(OPERATOR, roles=frozenset({"operator"}))
        administrator = first_administrator(tenant)
        directory = configuration.directory / CREDENTIALS
        paths = [directory / credentials_name(grant) for grant in (operator, administrator)]
        for grant, path in zip((operator, administrator), paths, strict=True):
            first_credentials(parts, grant, path, ACTION, now)
        ServerCertificates(configuration, parts, lambda: now).keep()
    root_file = configuration.directory / IDENTITY_ROOT
    with root.private_key_pem(None) as key:
        _write_secret(root_file, key.reveal() + root.certificate_pem())
    return Initialised(
        documents_root=documents_root,
        identity_root=f"sha256:{fingerprint(root.certificate).hex()}",
        audit_key=vault.audit_public_key.hex(),
        identity_root_file=root_file,
        operator_credentials=paths[0],
        admin_credentials=paths[1],
        warning=warning,
    )


def _first_rows(parts: Parts, tenant: TenantName, now: datetime) -> str:
    """Documents root, tenant and its first namespace; the fingerprint of the documents root."""
    documents_root, row = parts.signing.create_root()
    call = Call(Caller(OPERATOR, "", ()), "", now)
    _, rows = parts.tenants.new(call, tenant, Description(), "")
    rows = [row, *rows]
    details = {"documents_root": documents_root, "tenant": tenant.tenant}
    parts.vault.store.commit(rows, [local_event(ACTION, now, details)]).result()
    return documents_root


def first_credentials(parts: Parts, grant: Grant, directory: Path, action: str, now: datetime) -> None:
    """Issue a certificate without a join token, and write its holder's credentials to the directory."""
    pair = generate_key_pair()
    issued, change = parts.identities.issue_first(pair.csr, grant, now)
    details = {"identity": str(grant.identity), "serial": issued.issued.serial}
    parts.vault.store.commit([change], [local_event(action, now, details)]).result()
    write_credentials(directory, parse_credentials(pair.key_pem, issued.chain_pem, issued.trust_bundle_pem))


def credentials_name(grant: Grant) -> str:
    """The directory for an identity's credentials: `operator`, or `{tenant}-{identity}`."""
    identity = grant.identity
    if isinstance(identity, OperatorName):
        return "operator"
    name = identity.site if isinstance(identity, SiteName) else identity.identity
    return f"{identity.tenant}-{name}"


def local_event(action: str, now: datetime, details: Mapping[str, str]) -> AuditEvent:
    """Of who has the store and its root of trust, and calls nobody."""
    return AuditEvent(
        time=timestamp(now),
        action=action,
        caller="",
        tenant="",
        resource="",
        decision="ALLOW",
        details=details,
    )


def _make_directory(path: Path, *, may_hold_files: bool = False) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not may_hold_files and any(path.iterdir()):
            raise ConfigError(f"{path} is not empty; `kms init` makes a KMS from nothing")
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror}") from None


def _remove(directory: Path, checkpoint_file: Path) -> None:
    """What a failed start left in a directory that was empty before it."""
    checkpoint_file.unlink(missing_ok=True)
    with suppress(OSError):
        checkpoint_file.parent.rmdir()
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
