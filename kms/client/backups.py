"""Taking backups, and restoring tenants (docs/spec/backup.md). What they hold stays encrypted here."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from blindfold.envelope import Source, read_exactly
from kms.client.api import Api
from kms.client.errors import CallFailed
from kms.model.names import TenantName
from protos.kms.v1 import backup_service_pb2 as pb

SERVICE = "BackupService"
# Of the 4 MiB that a request may have.
PIECE = 3 << 20


@dataclass(frozen=True, slots=True)
class RestoredTenant:
    """What a backup held, all of it verified.

    `device_versions` are the versions in each device, by its serial number; `rotating_keys` the keys that the
    KMS rotates now.
    """

    name: TenantName
    backup_time: datetime
    rows: int
    keys: int
    key_versions: int
    device_versions: Mapping[str, int]
    rotating_keys: int


def backup_tenant(api: Api, name: TenantName) -> Iterator[bytes]:
    """The bytes of a backup, as they come; it is whole once they have ended. Raises `CallFailed`."""
    request = pb.BackupTenantRequest(name=str(name))
    with closing(api.messages(SERVICE, "BackupTenant", request)) as answers:
        for answer in answers:
            yield answer.data


def backup_store(api: Api, since: bytes = b"") -> Iterator[bytes]:
    """As `backup_tenant`, of the whole store; or of what was written since the backup with that header."""
    request = pb.BackupStoreRequest(since=since)
    with closing(api.messages(SERVICE, "BackupStore", request)) as answers:
        for answer in answers:
            yield answer.data


def restore_tenant(
    api: Api, name: TenantName, backup: Source, *, verify_only: bool = False
) -> RestoredTenant:
    """Restore a tenant that is not there; with `verify_only`, write nothing. Raises `CallFailed`."""
    with closing(api.converse(SERVICE, "RestoreTenant", _requests(name, backup, verify_only))) as answers:
        answer = next(answers, None)
    if answer is None:
        raise CallFailed("the KMS did not say what became of the backup")
    return RestoredTenant(
        TenantName.parse(answer.name),
        answer.backup_time.ToDatetime(tzinfo=UTC),
        answer.row_count,
        answer.key_count,
        answer.key_version_count,
        MappingProxyType(dict(answer.device_version_counts)),
        answer.rotating_key_count,
    )


def _requests(name: TenantName, backup: Source, verify_only: bool) -> Iterator[pb.RestoreTenantRequest]:
    yield pb.RestoreTenantRequest(name=str(name), verify_only=verify_only)
    while piece := read_exactly(backup, PIECE):
        yield pb.RestoreTenantRequest(data=piece)
