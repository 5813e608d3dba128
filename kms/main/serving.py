"""`kms serve`: one process, one event loop, two listeners, until it is told to stop."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import AuthenticatedStore, read_record
from kms.crypto.device.device import Device
from kms.crypto.private_process import protect_process_memory
from kms.crypto.root_of_trust.interface import RootOfTrust
from kms.crypto.root_of_trust.shamir import Shamir
from kms.crypto.self_test import run_self_test
from kms.external.endpoint import trusting
from kms.external.https import HttpsReader
from kms.main.configuration import Configuration, with_ports
from kms.main.device import device_of, device_warning, tell_strays
from kms.main.locked_serving import serve_locked
from kms.main.parts import Parts, assemble
from kms.main.process_memory import memory_warnings
from kms.main.root_material import Material, new_root_of_trust, root_of_trust
from kms.main.server_certificates import ServerCertificates
from kms.main.servicers import enrolment_servicers, main_servicers
from kms.main.status import StatusReport
from kms.main.unlocking import Lock, Unlocked
from kms.main.watching import Watch
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.lock_status import UNLOCK_NAME
from kms.model.random_ids import RandomIds
from kms.scheduler import Generate, Scheduler, generate
from kms.server.app import App, Listener, Ports
from kms.server.call import acknowledge
from kms.server.interceptors.authentication import Authentication, require_tls_1_3
from kms.server.interceptors.call_path import Begin
from kms.server.interceptors.forwarding import Forwarding, UnbelievedHeaders
from kms.server.interceptors.rate_limit import RateLimit
from kms.server.servicers import Servicer
from kms.server.tls import enrolment_credentials, main_credentials
from kms.services.root_of_trust import CONSENT, RootOfTrustService, Wanted
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.spare_files import reserve_files
from kms.storage.sqlite import LockedStore, Settings

STOP_GRACE = 10.0
AUTHORITY_NOTICE = timedelta(days=30)
LOCKED_WARNING = (
    "The server is locked: it serves nothing until its operators give their shares (kms operator unlock)."
)

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Ending(Enum):
    """Why serving ended."""

    STOPPED = "stopped"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens: where, and what its operator should be warned of."""

    ports: Ports
    warnings: Sequence[str]


async def serve(
    configuration: Configuration,
    material: Material,
    *,
    accept_rollback: bool = False,
    on_ready: Callable[[Served], None] = lambda served: None,
) -> Ending:
    """Serve until SIGTERM or SIGINT, or until an operator locks the server; finish the calls in flight.

    Where the root of trust is shares and nobody is there to give them, the server is locked at first. Raises
    `SelfTestFailed`, `ConfigError`, `StoreTampered` (a rolled-back store too), `Unavailable`.
    """
    protect_process_memory()
    reserve_files()
    run_self_test()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings = Settings(
        CheckpointFile(configuration.checkpoint_file), deliver=lambda act: _deliver(loop, act)
    )
    with device_of(configuration) as device:
        locked = await asyncio.to_thread(LockedStore.open, configuration.store_path)
        try:
            if is_locked := _waits_for_shares(locked, material):
                lock = Lock(locked, settings, accept_rollback=accept_rollback)
                unlocked, configuration = await _serve_locked(configuration, lock, stop, on_ready)
            else:
                provider = root_of_trust(configuration, read_record(locked), material, device)
                unlocked = await asyncio.to_thread(
                    Unlocked.by, provider, locked, settings, accept_rollback=accept_rollback
                )
        except BaseException:
            locked.close()
            raise
        if unlocked is None:
            locked.close()
            return Ending.STOPPED
        heard = _unheard if is_locked else on_ready
        return await _serve_unlocked(configuration, unlocked, device, stop, heard)


def _waits_for_shares(locked: LockedStore, material: Material) -> bool:
    return read_record(locked).provider == Shamir.provider and material.read_shares is None


def _unheard(served: Served) -> None:
    """Where it listens was told when it was locked."""


async def _serve_locked(
    configuration: Configuration, lock: Lock, stop: asyncio.Event, on_ready: Callable[[Served], None]
) -> tuple[Unlocked | None, Configuration]:
    """What was unlocked, if it was, and the configuration with the ports as they are."""
    found: list[Ports] = []

    def announce(ports: Ports) -> None:
        found.append(ports)
        on_ready(Served(ports, [LOCKED_WARNING, *memory_warnings()]))

    unlocked = await serve_locked(configuration, lock, stop, announce)
    return unlocked, with_ports(configuration, found[0])


async def _serve_unlocked(
    configuration: Configuration,
    unlocked: Unlocked,
    device: Device | None,
    stop: asyncio.Event,
    on_ready: Callable[[Served], None],
) -> Ending:
    vault = unlocked.vault
    try:
        with ThreadPoolExecutor(os.cpu_count() or 1, "kms-worker") as workers:
            missing = await asyncio.to_thread(device_warning, device)
            warnings = [text for text in (vault.root_of_trust.warning, *memory_warnings(), missing) if text]
            return await _run(
                configuration,
                unlocked,
                workers,
                device,
                stop,
                lambda ports: on_ready(Served(ports, warnings)),
            )
    finally:
        await asyncio.to_thread(vault.close)


def _deliver(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Resolve a group's futures in the loop; after the loop has ended, here."""
    try:
        loop.call_soon_threadsafe(act)
    except RuntimeError:
        act()


def _parts(
    configuration: Configuration,
    vault: AuthenticatedStore,
    workers: ThreadPoolExecutor,
    device: Device | None,
) -> Parts:
    return assemble(
        vault,
        workers,
        (*configuration.dns_names, UNLOCK_NAME),
        configuration.platform_limits,
        issuer_hosts=configuration.jwt_issuer_hosts,
        fetch=HttpsReader(configuration.jwt_issuer_hosts, trusting(configuration.jwt_issuer_ca_file)),
        allowances=configuration.allowances,
        acknowledge=acknowledge,
        device=device,
        keep_events=configuration.audit_retention,
    )


async def _run(
    configuration: Configuration,
    unlocked: Unlocked,
    workers: ThreadPoolExecutor,
    device: Device | None,
    stop: asyncio.Event,
    on_ready: Callable[[Ports], None],
) -> Ending:
    parts = _parts(configuration, unlocked.vault, workers, device)
    _warn_of_the_end(parts.identity_trust.current().end)
    scheduler = make_scheduler(parts, utc_now)
    status = StatusReport(parts.guard, unlocked.vault, parts.repository, utc_now())
    watch = Watch(configuration, parts, lambda: status.ready)
    locking = asyncio.Event()
    app = build_app(configuration, parts, scheduler, status, watch.observers, device=device, lock=locking.set)
    parts.observed.extend(unlocked.events)
    await _record(parts, "Kms.Start", {"root_of_trust": unlocked.vault.provider})
    ports = await app.start()
    _spare_the_collector()
    background = asyncio.create_task(_in_background(parts, device, scheduler, watch))
    try:
        status.ready = True
        await app.set_serving(True)
        ports = replace(ports, monitoring=await watch.start())
        _log.info("serving on port %d, enrolling on port %d", ports.main, ports.enrolment)
        on_ready(ports)
        await _first_of(background, stop, locking)
    finally:
        status.ready = False
        _log.info("stopping; calls in flight have %g s to end", STOP_GRACE)
        await app.stop(STOP_GRACE)
        background.cancel()
        await _end(background)
        await parts.refusals.flush(timestamp(utc_now()))
        await watch.stop()
        await _record(parts, "Kms.Stop")
    return Ending.LOCKED if locking.is_set() and not stop.is_set() else Ending.STOPPED


async def _in_background(parts: Parts, device: Device | None, scheduler: Scheduler, watch: Watch) -> None:
    await asyncio.gather(
        tell_strays(parts, device), scheduler.run(), watch.run(), parts.root_key_rotation.run()
    )


async def _first_of(background: "asyncio.Task[None]", *told: asyncio.Event) -> None:
    """Until the background ends, or something is told."""
    waiting = [asyncio.create_task(event.wait()) for event in told]
    try:
        awaited: set[asyncio.Task[Any]] = {background, *waiting}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _spare_the_collector() -> None:
    """Let Python's collector pass over what was loaded at start, which lives as long as the server.

    Otherwise it looks at every row and key again and again, and calls wait for it the longer the more there
    are. What calls leave behind is mostly counted, not collected, so it need not look often either.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _warn_of_the_end(end: datetime) -> None:
    """No certificate outlives the authority that certifies identities: without another one all stops."""
    if end - utc_now() < AUTHORITY_NOTICE:
        _log.warning(
            "the identity authority ends at %s; replace it: kms identity-authority prepare", timestamp(end)
        )


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
        parts.audit_retention,
        now,
        generate_key,
    )


def _listeners(
    configuration: Configuration,
    parts: Parts,
    certificates: ServerCertificates,
    servicers: Sequence[Servicer],
) -> tuple[Listener, Listener, Listener | None]:
    """For callers, for enrolment, and for proxies if there are any."""
    limit = RateLimit(parts.rate_limits)
    authenticate, rules = parts.authenticator.authenticate, configuration.proxy_rules
    unbelieved = UnbelievedHeaders(parts.refusals.count, rules.header)
    main = Listener(
        configuration.listen,
        main_credentials(certificates),
        servicers,
        [require_tls_1_3, Authentication(authenticate), unbelieved, limit],
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
        [require_tls_1_3, Forwarding(authenticate, rules), limit],
    )
    return main, enrolment, proxy if configuration.proxy_listen else None


def _take_consent(path: Path) -> bool:
    """Whether the file is there; it serves once."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


def build_app(
    configuration: Configuration,
    parts: Parts,
    scheduler: Scheduler,
    status: StatusReport,
    observers: Sequence[Begin] = (),
    now: Callable[[], datetime] = utc_now,
    device: Device | None = None,
    lock: Callable[[], None] = lambda: None,
) -> App:
    """All listeners, not started. `now` is the clock of the calls; `lock` is told to lock the server."""
    certificates = ServerCertificates(configuration, parts, utc_now)
    certificates.keep()
    root = RootOfTrustService(
        parts.guard,
        parts.repository,
        parts.vault,
        partial(_new_root, configuration, device),
        certificates.keep,
        lock,
        partial(_take_consent, configuration.directory / CONSENT),
    )
    servicers = main_servicers(parts, scheduler, status, root)
    main, enrolment, proxy = _listeners(configuration, parts, certificates, servicers)
    return App(
        main,
        enrolment,
        now,
        RandomIds(),
        count_refused=parts.refusals.count,
        proxy=proxy,
        observers=observers,
    )


def _new_root(
    configuration: Configuration, device: Device | None, wanted: Wanted
) -> tuple[RootOfTrust, Sequence[SecretBytes]]:
    def passphrase() -> SecretBytes:
        return wanted.passphrase or SecretBytes(b"")

    chosen = replace(configuration, root_of_trust=wanted.provider)
    return new_root_of_trust(chosen, Material(passphrase), device, wanted.sharing)


async def _record(parts: Parts, action: str, details: Mapping[str, str] = MappingProxyType({})) -> None:
    event = AuditEvent(
        time=timestamp(utc_now()),
        action=action,
        caller="",
        tenant="",
        resource="",
        decision="ALLOW",
        details={"version": version("blindfold-kms"), **details},
    )
    await parts.guard.commit([], [event])
