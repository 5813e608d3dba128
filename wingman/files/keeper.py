"""Keeps the files what they should be: asks for secrets again in time, and follows the identity."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import tenacity

from blindfold.errors import BlindfoldError
from kms.client.credentials import Credentials
from kms.client.errors import CallFailed
from kms.errors import KmsError
from kms.external.errors import ExternalFailed
from kms.model.secret_type import SecretType
from wingman.errors import ReaderNotTold
from wingman.files.directory import SecretDirectory
from wingman.files.plan import MODES, Files, IdentityFiles
from wingman.files.telling import Tell
from wingman.identity import IdentityKeeper
from wingman.pauses import growing
from wingman.secret_source import Opened, SecretSource

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
# Pauses are longer by up to this part of them, so that many that were started together do not come together.
SPREAD = 0.1

# The name of a file, and what makes its content, which may raise a `KmsError`.
Made = Iterable[tuple[str, Callable[[], bytes]]]
Refusal = KmsError | CallFailed | BlindfoldError | ExternalFailed

_log = logging.getLogger(__name__)


class FileKeeper:
    """`secrets` are all that the configuration names. For one event loop."""

    def __init__(
        self,
        files: Files,
        secrets: Mapping[str, SecretType],
        source: SecretSource,
        identity: IdentityKeeper,
        tell: Tell,
        jitter: Callable[[], float],
    ) -> None:
        """`jitter` gives numbers from 0 to 1. Raises `ConfigError` for a directory that will not do."""
        self._files = files
        self._secrets = secrets
        self._source = source
        self._identity = identity
        self._tell = tell
        self._jitter = jitter
        self._directory = SecretDirectory(Path(files.directory), MODES[files.mode], files.group)
        self._owes_telling = False
        self.complete = asyncio.Event()
        if warning := self._directory.prepare(require_memory=files.require_tmpfs):
            _log.warning("%s", warning)

    async def run(self) -> None:
        """Until cancelled. What fails is tried again, ever less often, and leaves files as they are."""
        while True:
            retrying = tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception(lambda error: isinstance(error, Refusal)),
                wait=growing(FIRST_PAUSE, LONGEST_PAUSE),
            )
            async for attempt in retrying:
                with attempt:
                    written, seconds = await self.refresh()
            await self._until_due(written, seconds)

    async def refresh(self) -> tuple[Credentials, float]:
        """Bring all files up to date, and tell their readers if one has changed.

        Returns the identity that was written, and after how many seconds to come back. One that fails does
        not keep the others back: the first error is raised once they are done, as `SecretSource.get` raises,
        `FileNotWritten`, `TemplateFailed` or `ReaderNotTold`.
        """
        identity = await self._identity.changed()
        opened, failures = await self._open()
        failures += await asyncio.to_thread(self._write, self._plain(opened, identity))
        if not failures and self._files.templates:
            failures += await asyncio.to_thread(self._write, self._rendered(opened, identity))
        failures += await self._tell_readers()
        if failures:
            raise failures[0]
        self.complete.set()
        return identity, self._seconds(opened.values())

    async def _open(self) -> tuple[dict[str, Opened], list[Refusal]]:
        """The secrets that are needed, as far as they open, and why the others do not."""
        names = list(self._secrets if self._files.templates else self._files.secrets)
        asked = [self._source.newest(self._secrets[name]) for name in names]
        results = await asyncio.gather(*asked, return_exceptions=True)
        opened: dict[str, Opened] = {}
        failures: list[Refusal] = []
        for name, result in zip(names, results, strict=True):
            if isinstance(result, Opened):
                opened[name] = result
            elif isinstance(result, Refusal):
                failures.append(_noted(f"the secret {name}", result))
            else:
                raise result
        return opened, failures

    def _plain(self, opened: Mapping[str, Opened], identity: Credentials) -> Made:
        for name in self._files.secrets:
            if name in opened:
                yield name, opened[name].secret.reveal
        if self._files.identity is not None:
            yield from _identity_files(self._files.identity, identity)

    def _rendered(self, opened: Mapping[str, Opened], identity: Credentials) -> Made:
        # It takes some megabytes, from those alone who have templates.
        from wingman.files.templates import render

        values = {name: found.secret.reveal() for name, found in opened.items()}
        for name, source in self._files.templates.items():
            yield name, partial(render, Path(source), values, identity.spiffe_id)

    def _write(self, made: Made) -> list[Refusal]:
        failures: list[Refusal] = []
        for name, make in made:
            try:
                self._owes_telling |= self._directory.write(name, make())
            except KmsError as error:
                failures.append(_noted(f"the file {name}", error))
        return failures

    async def _tell_readers(self) -> list[Refusal]:
        """Again and again until it works: a reader that was not told serves with what is over."""
        if not self._owes_telling:
            return []
        try:
            await self._tell()
        except ReaderNotTold as error:
            return [_noted("on_change", error)]
        self._owes_telling = False
        return []

    def _seconds(self, opened: Iterable[Opened]) -> float:
        now = self._source.clock()
        soonest = min([self._files.refresh_seconds, *(found.refresh_at - now for found in opened)])
        return max(1.0, soonest * (1 + SPREAD * self._jitter()))

    async def _until_due(self, written: Credentials, seconds: float) -> None:
        """So many seconds, or until there is another identity than was written."""
        try:
            async with asyncio.timeout(seconds):
                await self._identity.changed(written)
        except TimeoutError:
            return


def _identity_files(names: IdentityFiles, identity: Credentials) -> Iterator[tuple[str, Callable[[], bytes]]]:
    key, certificate = identity.key_pem.reveal(), identity.certificate_pem
    contents = {
        names.key: key,
        names.certificate: certificate,
        names.ca: identity.ca_pem,
        names.bundle: key + certificate,
    }
    for name, content in contents.items():
        if name:
            yield name, partial(bytes, content)


def _noted(what: str, error: Refusal) -> Refusal:
    _log.warning("%s: %s", what, error if isinstance(error, BlindfoldError) else error.message)
    return error
