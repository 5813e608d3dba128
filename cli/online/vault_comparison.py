"""The vault and the KMS asked for the same plaintexts."""

import asyncio
import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from blindfold.secret import SecretBytes
from cli.errors import UsageError
from cli.online.crypto import base64_text
from cli.online.session import Session
from cli.online.transit_lines import Line, batches, lines_progress
from kms.client.errors import CallInvalid, CallWrongState
from kms.crypto.aead import split_raw
from kms.errors import InvalidField
from kms.external.errors import NotThere, Refused
from kms.external.shadow import Shadow, Verdict
from kms.external.sources import SecretSources
from kms.external.vault.source import VaultSource
from kms.model.algorithms import Purpose
from kms.model.names import KeyName, SecretManagementAccessName

AT_ONCE = 4
_METHODS: Mapping[Purpose, str] = MappingProxyType(
    {Purpose.RAW_ENCRYPT_DECRYPT: "RawDecrypt", Purpose.ASYMMETRIC_DECRYPT: "AsymmetricDecrypt"}
)


@dataclass(frozen=True, slots=True)
class Both:
    """A transit key at `path`, and the key that its versions were imported to."""

    session: Session
    key: KeyName
    purpose: Purpose
    path: str
    aad: str

    async def compare(
        self, sources: SecretSources, access: SecretManagementAccessName, lines: Iterable[Line]
    ) -> list[tuple[int, Verdict]]:
        """By the numbers of the lines. Raises what asking raises, but for refusals of one ciphertext."""
        if self.purpose not in _METHODS:
            raise UsageError(f"a key for {self.purpose.value} decrypts nothing")
        shadow = Shadow(NotThere, Refused, InvalidField, CallInvalid, CallWrongState)
        try:
            vault = await sources.vault(access)
            verdicts: list[tuple[int, Verdict]] = []
            with lines_progress() as progress:
                for batch in batches(lines):
                    verdicts += await self._batch(shadow, vault, batch)
                    progress.advance(len(batch))
            return verdicts
        finally:
            await sources.close()

    async def _batch(
        self, shadow: Shadow, vault: VaultSource, batch: list[Line]
    ) -> list[tuple[int, Verdict]]:
        free = asyncio.Semaphore(AT_ONCE)

        async def one(line: Line) -> tuple[int, Verdict]:
            async with free:
                verdict = await shadow.compare(
                    lambda: self._by_vault(vault, line), lambda: asyncio.to_thread(self._by_kms, line)
                )
                return line.number, verdict

        return await asyncio.gather(*(one(line) for line in batch))

    async def _by_vault(self, vault: VaultSource, line: Line) -> SecretBytes:
        mount, name = vault.transit_key(self.path)
        text, aad = line.ciphertext.text, base64_text(self.aad)
        opened, _ = await vault.with_token(lambda api: api.decrypt(mount, name, text, aad))
        return SecretBytes(opened)

    def _by_kms(self, line: Line) -> SecretBytes:
        data = line.ciphertext.data
        request: dict[str, Any] = {"name": f"{self.key}/versions/{line.ciphertext.version}"}
        if self.purpose is Purpose.RAW_ENCRYPT_DECRYPT:
            parts = split_raw(data)._asdict() | {"additional_authenticated_data": self.aad.encode()}
            request |= {name: base64.b64encode(value).decode("ascii") for name, value in parts.items()}
        else:
            request["ciphertext"] = base64.b64encode(data).decode("ascii")
        answer = self.session.call("CryptoService", _METHODS[self.purpose], request)
        return SecretBytes(base64.b64decode(answer.get("plaintext", "")))
