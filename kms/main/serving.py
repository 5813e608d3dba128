"""`kms serve`: one process, one event loop, two listeners, until it is told to stop."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

from kms.audit.authenticated_store import AuthenticatedStore, open_store
from kms.client.credentials import generate_key_pair
from kms.crypto.device.device import Device
from kms.crypto.root_of_trust.interface import RootOfTrust
from kms.crypto.self_test import run_self_test
from kms.external.endpoint import trusting
from kms.external.https import HttpsReader
from kms.identity.csr import verify_csr
from kms.main.configuration import Configuration
from kms.main.device import device_of, device_warning
from kms.main.parts import Parts, ReadPassphrase, assemble, root_of_trust
from kms.main.process_memory import memory_warnings, protect_process_memory
from kms.main.servicers import enrolment_servicers, main_servicers
from kms.main.status import StatusReport
from kms.main.watching import Watch
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.random_ids import RandomIds
from kms.model.validity import Validity
from kms.scheduler import Generate, Scheduler, generate
from kms.server.app import App, Listener, Ports
from kms.server.call import acknowledge
from kms.server.interceptors.authentication import Authentication, require_tls_1_3
from kms.server.interceptors.call_path import Begin
from kms.server.interceptors.forwarding import Forwarding, UnbelievedHeaders
from kms.server.interceptors.rate_limit import RateLimit
from kms.server.tls import ServerCertificate, enrolment_credentials, main_credentials
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

STOP_GRACE = 10.0

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens: where, and what its operator should be warned of."""

    ports: Ports
    warnings: Sequence[str]


async def serve(
    configuration: Configuration,
    read_passphrase: ReadPassphrase,
    *,
    accept_rollback: bool = False,
    on_ready: Callable[[Served], None] = lambda served: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls in flight and close the store.

    Raises `SelfTestFailed`, `ConfigError`, `StoreTampered` (a rolled-back store too), `Unavailable`.
    """
    protect_process_memory()
    run_self_test()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with device_of(configuration) as device:
        provider = root_of_trust(configuration, read_passphrase, device)
        await _serve(configuration, provider, device, stop, accept_rollback, on_ready)


async def _serve(
    configuration: Configuration,
    provider: RootOfTrust,
    device: Device | None,
    stop: asyncio.Event,
    accept_rollback: bool,
    on_ready: Callable[[Served], None],
) -> None:
    loop = asyncio.get_running_loop()
    settings = Settings(
        CheckpointFile(configuration.checkpoint_file), deliver=lambda act: _deliver(loop, act)
    )
    vault = await asyncio.to_thread(
        open_store, configuration.store_path, settings, provider, accept_rollback=accept_rollback
    )
    try:
        with ThreadPoolExecutor(os.cpu_count() or 1, "kms-worker") as workers:
            missing = await asyncio.to_thread(device_warning, device)
            warnings = [text for text in (provider.warning, *memory_warnings(), missing) if text]
            await _run(
                configuration, vault, workers, device, stop, lambda ports: on_ready(Served(ports, warnings))
            )
    finally:
        await asyncio.to_thread(vault.close)


def _deliver(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Resolve a group's futures in the loop; after the loop has ended, here."""
    try:
        loop.call_soon_threadsafe(act)
    except RuntimeError:
        act()


async def _run(
    configuration: Configuration,
    vault: AuthenticatedStore,
    workers: ThreadPoolExecutor,
    device: Device | None,
    stop: asyncio.Event,
    on_ready: Callable[[Ports], None],
) -> None:
    parts = assemble(
        vault,
        workers,
        configuration.dns_names,
        configuration.platform_limits,
        issuer_hosts=configuration.jwt_issuer_hosts,
        fetch=HttpsReader(configuration.jwt_issuer_hosts, trusting(configuration.jwt_issuer_ca_file)),
        allowances=configuration.allowances,
        acknowledge=acknowledge,
        device=device,
    )
    scheduler = make_scheduler(parts, utc_now)
    status = StatusReport(parts.guard, configuration, vault, parts.repository, utc_now())
    watch = Watch(configuration, parts, lambda: status.ready)
    app = build_app(configuration, parts, scheduler, status, watch.observers)
    await _record(parts, "Kms.Start")
    ports = await app.start()
    _spare_the_collector()
    background = asyncio.create_task(_in_background(scheduler, watch))
    stopping = asyncio.create_task(stop.wait())
    try:
        status.ready = True
        await app.set_serving(True)
        ports = replace(ports, monitoring=await watch.start())
        _log.info("serving on port %d, enrolling on port %d", ports.main, ports.enrolment)
        on_ready(ports)
        await asyncio.wait({background, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        status.ready = False
        _log.info("stopping; calls in flight have %g s to end", STOP_GRACE)
        await app.stop(STOP_GRACE)
        for task in (background, stopping):
            task.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await _end(background)
        await parts.refusals.flush(timestamp(utc_now()))
        await watch.stop()
        await _record(parts, "Kms.Stop")


async def _in_background(scheduler: Scheduler, watch: Watch) -> None:
    await asyncio.gather(scheduler.run(), watch.run())


def _spare_the_collector() -> None:
    """Let Python's collector pass over what was loaded at start, which lives as long as the server.

    Otherwise it looks at every row and key again and again, and calls wait for it the longer the more there
    are. What calls leave behind is mostly counted, not collected, so it need not look often either.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _end(background: "asyncio.Task[None]") -> None:
    """Wait for the scheduler. What ended it, if it was not told to, ends the server too."""
    try:
        await background
    except asyncio.CancelledError:
        return


def make_scheduler(parts: Parts, now: Callable[[], datetime], generate_key: Generate = generate) -> Scheduler:
    """Not running."""
    return Scheduler(
        parts.guard,
        parts.blindfold_keys,
        parts.refusals,
        parts.upkeep,
        parts.spent_tokens,
        parts.tenant_destruction,
        now,
        generate_key,
    )


def build_app(
    configuration: Configuration,
    parts: Parts,
    scheduler: Scheduler,
    status: StatusReport,
    observers: Sequence[Begin] = (),
    now: Callable[[], datetime] = utc_now,
) -> App:
    """All listeners, not started. `now` is the clock of the calls."""
    certificates = ServerCertificates(configuration, parts, utc_now)
    limit = RateLimit(parts.rate_limits)
    authentication = Authentication(parts.authenticator.authenticate)
    rules = configuration.proxy_rules
    servicers = main_servicers(parts, scheduler, status)
    unbelieved = UnbelievedHeaders(parts.refusals.count, rules.header)
    main = Listener(
        configuration.listen,
        main_credentials(certificates),
        servicers,
        [require_tls_1_3, authentication, unbelieved, limit],
    )
    enrolment = Listener(
        configuration.enrolment_listen,
        enrolment_credentials(certificates),
        enrolment_servicers(parts),
        [require_tls_1_3, unbelieved, limit],
    )
    proxy = Listener(
        configuration.proxy_listen,
        main_credentials(certificates),
        servicers,
        [require_tls_1_3, Forwarding(parts.authenticator.authenticate, rules), limit],
    )
    return App(
        main,
        enrolment,
        now,
        RandomIds(),
        count_refused=parts.refusals.count,
        proxy=proxy if configuration.proxy_listen else None,
        observers=observers,
    )


class ServerCertificates:
    """The server's own certificate, and whose it accepts.

    Issued anew at two thirds of its life, and when the KMS's authorities change.
    """

    def __init__(self, configuration: Configuration, parts: Parts, now: Callable[[], datetime]) -> None:
        self._names = configuration.server_names
        self._own = parts.identity_trust
        self._trust = parts.corporate_trust
        self._now = now
        self._others = self._trust.certificates_pem()
        self._standing = self._own.current()
        self._certificate, self._validity = self._issue()

    def __call__(self) -> ServerCertificate:
        """The one to show now; the same object until it is replaced."""
        others, self._others = self._others, self._trust.certificates_pem()
        standing = self._own.current()
        if self._validity.renewal_due(self._now()) or standing is not self._standing:
            self._standing = standing
            self._certificate, self._validity = self._issue()
        elif others is not self._others:
            self._certificate = replace(self._certificate, client_authorities_pem=self._authorities())
        return self._certificate

    def _authorities(self) -> bytes:
        """What client certificates may come from: our own authorities, and those of tenants."""
        return self._standing.bundle.to_pem() + self._others

    def _issue(self) -> tuple[ServerCertificate, Validity]:
        pair = generate_key_pair()
        bundle = self._standing.issuer.issue_server(verify_csr(pair.csr), self._names, self._now())
        certificate = ServerCertificate(pair.key_pem, bundle.chain_pem, self._authorities())
        return certificate, Validity(bundle.issued.not_before, bundle.issued.not_after)


async def _record(parts: Parts, action: str) -> None:
    event = AuditEvent(
        time=timestamp(utc_now()),
        action=action,
        caller="",
        tenant="",
        resource="",
        decision="ALLOW",
        details={"version": version("blindfold-kms")},
    )
    await parts.guard.commit([], [event])
