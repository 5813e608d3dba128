"""What looks at a server while it serves: metrics, traces, alerts and the pages for monitors."""

import asyncio
import logging
import os
import secrets
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from blindfold.secret import SecretBytes
from kms.audit.alerts import Alert, DenialRate
from kms.errors import ConfigError, KmsError
from kms.external.endpoint import Endpoint, trusting
from kms.external.webhook import Notice, Webhook
from kms.main.configuration import Configuration
from kms.main.parts import Parts
from kms.server.interceptors.call_path import Begin
from kms.server.metrics import Metrics
from kms.server.monitoring import Monitoring
from kms.server.tracing import Tracing
from kms.services.alerting import Alerting

LOOK_EVERY = 1.0

_log = logging.getLogger(__name__)


class Watch:
    """Built before the listeners, started with them. `is_ready` says whether calls are served."""

    def __init__(self, configuration: Configuration, parts: Parts, is_ready: Callable[[], bool]) -> None:
        """Raises `ConfigError`."""
        self._address = configuration.monitoring_listen
        self._metrics = Metrics(
            is_ready, parts.vault.store.last_event, lambda: parts.identity_trust.current().end
        )
        self._monitoring = Monitoring(is_ready, self._metrics.page)
        self._tracing = Tracing.to(configuration.trace_endpoint) if configuration.trace_endpoint else None
        self._webhook = (
            _webhook(configuration, self._metrics.webhook) if configuration.alert_webhook else None
        )
        rate = DenialRate(configuration.alert_denials, timedelta(seconds=configuration.alert_denials_seconds))
        self._alerting = Alerting(parts.guard, parts.repository, parts.observed, rate, self._tell)

    @property
    def observers(self) -> tuple[Begin, ...]:
        """For the path of calls: none where nobody would read of it."""
        metrics = (self._metrics.begin,) if self._address else ()
        return metrics if self._tracing is None else (*metrics, self._tracing.begin)

    async def start(self) -> int:
        """The port for monitors, 0 for none. Raises `ConfigError` if it is taken."""
        return await self._monitoring.start(self._address) if self._address else 0

    async def run(self) -> None:
        """Look for alerts and send them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_again_and_again())
            if self._webhook is not None:
                tasks.create_task(self._webhook.run())

    async def stop(self) -> None:
        """The last look. Notices that wait still are not sent."""
        await self._look()
        await self._monitoring.stop()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.stop)

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self._look()

    async def _look(self) -> None:
        try:
            await self._alerting.look()
        except KmsError as error:
            _log.error("looking for alerts failed: %s", error.reason)

    def _tell(self, alert: Alert, body: bytes) -> None:
        self._metrics.alert(alert.kind)
        if self._webhook is not None:
            time = int(datetime.fromisoformat(alert.event.time).timestamp())
            self._webhook.offer(Notice(f"msg_{secrets.token_hex(16)}", time, body))


def _webhook(configuration: Configuration, count: Callable[[str], None]) -> Webhook:
    endpoint = Endpoint.parse(configuration.alert_webhook, configuration.alert_webhook_hosts, "the webhook")
    context = trusting(configuration.alert_webhook_ca_file)
    if not configuration.alert_webhook_key_file:
        raise ConfigError(
            "alert_webhook needs alert_webhook_key_file, with the key that notices are signed by"
        )
    return Webhook(endpoint, _webhook_key(configuration.alert_webhook_key_file), context, count)


def _webhook_key(path: str) -> SecretBytes:
    """Raises `ConfigError`, also for a file that others may read."""
    try:
        with Path(path).open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                problem = f"{path} is readable by others; set its mode to 0600"
            else:
                return SecretBytes(file.read())
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or type(error).__name__}"
    raise ConfigError(problem)
