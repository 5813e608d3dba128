"""A server without its root key: it tells that it is locked, takes shares, and does nothing else."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns
from typing import Any

from kms.errors import ConfigError
from kms.main.configuration import Configuration
from kms.main.server_certificates import SERVE, UNLOCK, locked_certificate
from kms.main.servicers import SERVICES
from kms.main.unlocking import Lock, Unlocked
from kms.model.random_ids import RandomIds
from kms.model.rate_limit import parse_limit
from kms.server.app import App, Listener, Ports
from kms.server.interceptors.authentication import require_tls_1_3
from kms.server.interceptors.rate_limit import RateLimit
from kms.server.monitoring import Monitoring
from kms.server.servicers.enrolment import EnrolmentServicer
from kms.server.servicers.locked import LockedServicer
from kms.server.servicers.unlock import UnlockServicer
from kms.server.tls import ServerCertificate, enrolment_credentials, main_credentials
from kms.services.rate_limits import RateLimits

# Of strangers, who ask for the lock or give shares.
LIMIT = "ENROL 30/minute burst 20 by address"
# What the answer to the last share takes.
GRACE = 2.0

_log = logging.getLogger(__name__)


async def serve_locked(
    configuration: Configuration, lock: Lock, stop: asyncio.Event, on_ready: Callable[[Ports], None]
) -> Unlocked | None:
    """Until the store is unlocked, or stop is set. Raises `ConfigError`."""
    app = _build(configuration, lock)
    monitoring = Monitoring(lambda: False, lambda: b"")
    ports = await app.start()
    stopping = asyncio.create_task(stop.wait())
    try:
        if configuration.monitoring_listen:
            ports = replace(ports, monitoring=await monitoring.start(configuration.monitoring_listen))
        _log.warning(
            "locked: %d shares are needed on port %d", lock.status(_now()).threshold, ports.enrolment
        )
        on_ready(ports)
        awaited: set[asyncio.Future[Any]] = {stopping, lock.opened}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await app.stop(GRACE)
        await monitoring.stop()
    return await lock.settled()


def _build(configuration: Configuration, lock: Lock) -> App:
    shown, unlocking = _certificates(configuration.directory)
    refusals = [LockedServicer(service) for service in SERVICES]
    limit = RateLimit(RateLimits([parse_limit(LIMIT)], lambda tenant: (), monotonic_ns))
    main = Listener(configuration.listen, main_credentials(lambda: shown), refusals, [require_tls_1_3])
    enrolment = Listener(
        configuration.enrolment_listen,
        enrolment_credentials(lambda: unlocking),
        [UnlockServicer(lock), LockedServicer(EnrolmentServicer.SERVICE)],
        [require_tls_1_3, limit],
    )
    proxy = replace(main, address=configuration.proxy_listen) if configuration.proxy_listen else None
    return App(main, enrolment, _now, RandomIds(), proxy=proxy)


def _certificates(directory: Path) -> tuple[ServerCertificate, ServerCertificate]:
    """What the server shows to callers, and to who unlocks it. Raises `ConfigError`."""
    try:
        shown, _ = locked_certificate(directory, SERVE)
        unlocking, validity = locked_certificate(directory, UNLOCK)
    except ConfigError as error:
        problem = error.message
    else:
        if validity.not_after > _now():
            return shown, unlocking
        problem = f"it ended on {validity.not_after:%Y-%m-%d}"
    raise ConfigError(
        f"the locked server has no certificate to show ({problem}); start with the shares: --share-file"
    )


def _now() -> datetime:
    return datetime.now(UTC)
