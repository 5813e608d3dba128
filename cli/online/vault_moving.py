"""A vault's transit key on its way to a key of the KMS, version by version."""

import asyncio
from dataclasses import dataclass

from cli.errors import CliError, UsageError
from cli.online.session import Session
from kms.client import transfers
from kms.client.transfers import ImportKey
from kms.external.sources import SecretSources
from kms.external.vault import transit
from kms.model.algorithms import Purpose
from kms.model.lifecycle import WAITING_FOR_IMPORT
from kms.model.names import KeyName, NamespaceName, SecretManagementAccessName

# The states of the API's JSON.
_WAITING = {f"KEY_VERSION_STATE_{state.value}" for state in WAITING_FOR_IMPORT}


@dataclass(frozen=True, slots=True)
class Moving:
    """From the transit key at `path` to `key`, which is for `purpose`."""

    session: Session
    key: KeyName
    purpose: Purpose
    path: str
    make_primary: bool
    in_clear: bool

    async def run(self, sources: SecretSources, access: SecretManagementAccessName) -> list[int]:
        """The numbers of the versions that were not here yet.

        Raises `ExternalFailed`, `CallFailed`, `CliError`.
        """
        try:
            vault = await sources.vault(access)
            found = await transit.look_up(vault, self.path, self.purpose)
            have = await asyncio.to_thread(self._versions)
            if have > found.versions:
                raise UsageError(f"{self.key} has {have} versions, and the vault's key {found.versions}")
            if have == found.versions:
                return []
            towards = await asyncio.to_thread(self._import_key, found.versions - have)
            export = transit.export_in_clear if self.in_clear else transit.export
            wrapped = await export(vault, found, towards.public_key)
            return await asyncio.to_thread(self._import, found.kind.algorithm, towards, wrapped, have)
        finally:
            await sources.close()

    def _versions(self) -> int:
        """How many versions have their material."""
        request = {"parent": str(self.key)}
        found = self.session.all_of("KeyService", "ListKeyVersions", request, "key_versions")
        return sum(version["state"] not in _WAITING for version in found)

    def _import_key(self, imports: int) -> ImportKey:
        namespace = NamespaceName(self.key.tenant, self.key.namespace)
        return transfers.create_import_key(self.session.api, namespace, imports)

    def _import(self, algorithm: str, towards: ImportKey, wrapped: tuple[bytes, ...], have: int) -> list[int]:
        made = []
        for number, data in enumerate(wrapped[have:], have + 1):
            version = transfers.import_wrapped(
                self.session.api,
                self.key,
                towards.name,
                data,
                algorithm=algorithm,
                make_primary=self.make_primary and number == len(wrapped),
            )
            if version.version != number:
                raise CliError(f"the vault's version {number} is now {version}: somebody else imported too")
            made.append(number)
        return made
