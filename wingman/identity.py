"""The identity: enrolled where there is none, renewed in time, and what others are told of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import tenacity

from blindfold.secret import SecretBytes
from kms.client.credentials import CERTIFICATE_FILE, Credentials, CredentialsDirectory
from kms.client.enrolment import enrol, enrol_with_jwt
from kms.client.errors import CallFailed
from kms.client.renewal import renew_if
from kms.errors import ConfigError, KmsError
from kms.model.join_token import JoinToken
from wingman.abandonable import abandonable
from wingman.condition import Condition
from wingman.configuration import Configuration, Enrolment
from wingman.errors import NotReady
from wingman.pauses import growing, reported

LOOK_EVERY = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
# An enrolment begins after a part of so many seconds: those that are started together all have to enrol.
ENROL_WITHIN = 1.0
# Renewal is due at two thirds of a certificate's life, or earlier by up to this part of it, so that many that
# were issued together do not come back together.
SPREAD = 1 / 15

_log = logging.getLogger(__name__)


class IdentityKeeper:
    """Keeps the credentials of the configured directory fresh. For one event loop.

    What it hands out (`Credentials`) is the identity bundle: `key_pem`, `certificate_pem` (leaf, then
    intermediates), `leaf_pem`, `ca_pem` (the roots to verify others with), `validity`.
    """

    def __init__(
        self,
        configuration: Configuration,
        condition: Condition,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._configuration = configuration
        self._condition = condition
        self._now = now
        self._jitter = jitter
        self._sleep = sleep
        self._directory = CredentialsDirectory(configuration.directory)
        self._current: Credentials | None = None
        self._renew_at: datetime | None = None
        self._changed = asyncio.Event()

    @property
    def current(self) -> Credentials:
        """Raises `NotReady`."""
        if self._current is None:
            raise NotReady("there is no identity yet")
        return self._current

    @property
    def tenant(self) -> str:
        """ "" where there is no identity, or its name tells none."""
        return self._current.tenant if self._current else ""

    async def changed(self, seen: Credentials | None = None) -> Credentials:
        """The identity, as soon as there is another one than `seen`."""
        while self._current is None or self._current is seen:
            await self._changed.wait()
        return self._current

    async def run(self) -> None:
        """Look after the identity, until cancelled. What fails is tried again, ever less often."""
        while True:
            retrying = tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type((KmsError, CallFailed, OSError)),
                wait=growing(FIRST_PAUSE, LONGEST_PAUSE),
                before_sleep=reported("look after the identity"),
                sleep=self._sleep,
            )
            async for attempt in retrying:
                with attempt:
                    await self.look()
            await self._sleep(LOOK_EVERY)

    async def look(self) -> None:
        """One look at the directory; what is missing or ends soon is asked for.

        Raises `CallFailed`, `KmsError`, `OSError`.
        """
        try:
            if self._must_enrol():
                await self._sleep(ENROL_WITHIN * self._jitter())
                await abandonable(self._enrol)
            self._accept(await abandonable(self._directory.current))
            if self._is_due(self.current):
                await abandonable(self._renew)
                self._accept(await abandonable(self._directory.current))
        except CallFailed as failure:
            self._condition.heard(failure)
            raise

    def _must_enrol(self) -> bool:
        if self._configuration.enrolment is None:
            return False
        if not (self._configuration.directory / CERTIFICATE_FILE).exists():
            return True
        if self._current is not None and (self._condition.facts.is_refused or self._is_left_behind()):
            return True
        return self._now() > self._directory.current().validity.not_after

    def _is_left_behind(self) -> bool:
        """Whether the KMS is silent, and there is a token of a root that this identity was never told of.

        Then its roots may have been replaced meanwhile, and nothing that it shows can be verified.
        """
        how, current = self._configuration.enrolment, self._current
        if how is None or current is None or self._condition.facts.kms_answers:
            return False
        with suppress(KmsError):
            return named_root(how) not in current.root_fingerprints
        return False

    def _accept(self, credentials: Credentials) -> None:
        if credentials is self._current:
            return
        validity = credentials.validity
        earlier = (validity.not_after - validity.not_before) * SPREAD * self._jitter()
        is_another = self._current is not None and not _is_same(self._current, credentials)
        self._current, self._renew_at = credentials, validity.renewal_time - earlier
        self._condition.has_identity(validity, is_another=is_another)
        self._changed.set()
        self._changed = asyncio.Event()
        _log.info("identity %s until %s", credentials.spiffe_id or "of another authority", validity.not_after)

    def _is_due(self, credentials: Credentials) -> bool:
        """What another authority certifies, it renews; and what has ended cannot be renewed."""
        if not credentials.spiffe_id or self._now() > credentials.validity.not_after:
            return False
        return self._renew_at is not None and self._now() >= self._renew_at

    def _renew(self) -> None:
        at, before = self._configuration, self._current
        renew_if(
            lambda found: before is not None and found.validity == before.validity,
            at.server,
            at.directory,
            at.server_name or None,
        )

    def _enrol(self) -> None:
        at = self._configuration
        if at.enrolment is None:
            raise ConfigError("nothing says how to enrol")
        enrol_as(at.enrolment, at.directory, at.server_name or None)


def _is_same(before: Credentials, after: Credentials) -> bool:
    """Whether both certify one identity. Without a name, nothing says so."""
    return bool(before.spiffe_id) and before.spiffe_id == after.spiffe_id


def enrol_as(how: Enrolment, directory: Path, server_name: str | None) -> Credentials:
    """Raises as `kms.client.enrolment.enrol`, and `ConfigError` for a token that cannot be read."""
    if how.join_token_file:
        token = _read_token(how.join_token_file).reveal().decode("ascii")
        return enrol(how.server, token, directory, server_name=server_name)
    token_of_issuer = _read_token(how.jwt_file)
    return enrol_with_jwt(
        how.server, how.root_fingerprint, how.jwt_issuer, token_of_issuer, directory, server_name=server_name
    )


def named_root(how: Enrolment) -> bytes:
    """The fingerprint of the root that the KMS is to prove to be of. Raises `ConfigError`, `InvalidField`."""
    if how.join_token_file:
        return JoinToken.parse(_read_token(how.join_token_file).reveal().decode("ascii")).ca_fingerprint
    return how.root_fingerprint


def _read_token(name: str) -> SecretBytes:
    try:
        token = Path(name).read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror or 'cannot be read'}") from None
    if not token or not token.isascii():
        raise ConfigError(f"{name} holds no token")
    return SecretBytes(token)
