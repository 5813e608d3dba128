"""`kms verify-store`: every invariant of a store, whether a server has it or not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kms.audit.authenticated_store import read_record, unlock_keys
from kms.audit.verify import verify
from kms.crypto.device.device import Device
from kms.main.configuration import Configuration
from kms.main.device import device_of
from kms.main.device_presence import DevicePresence, Presence
from kms.main.root_material import Material, root_of_trust
from kms.model.finding import Finding
from kms.services.store_check import StoreCheck
from kms.services.tombstones import LaterEvents
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.inspection import Authentication, Inspected, Sizes, inspecting

# More findings say nothing new of a store, and are counted.
MAX_FINDINGS = 1000

Begin = Callable[[int], Callable[[int], None]]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at. `findings` are the first thousand of `faults`."""

    live: bool
    sizes: Sizes
    presence: Presence
    findings: tuple[Finding, ...]
    faults: int


def verify_store(
    configuration: Configuration, material: Material, begin: Begin, trails: Sequence[Path] = ()
) -> Verified:
    """Look at all of it. `begin` is told how much there is, and gives what hears of progress.

    `trails` are exports of the audit chain that were kept elsewhere: what they say was destroyed by events
    that the store does not have, being older, must be gone too. Raises `ChainBroken`, `OSError` for them.

    Raises `ConfigError` where there is no store, `StoreTampered` where the store cannot be read as one, or
    its root key's record is damaged, and what the root of trust raises.
    """
    findings: list[Finding] = []
    faults = 0

    def report(finding: Finding) -> None:
        nonlocal faults
        faults += 1
        if len(findings) < MAX_FINDINGS:
            findings.append(finding)

    with device_of(configuration) as device, _inspected(configuration, device) as (store, presence):
        provider = root_of_trust(configuration, read_record(store), material, device)
        keys = unlock_keys(store, provider)
        sizes = store.sizes()
        advance = begin(sizes.rows + sizes.events + sizes.checkpoints)
        authentication = Authentication(keys.record.store_id, keys.store, keys.signer)
        check = StoreCheck(store, authentication, keys.root, report, advance)
        check.run()
        presence.look()
        for finding in presence.missing(check.placed):
            report(finding)
        later = read_trails(trails, keys.signer.public_key, partial(store.has_event, authentication))
        for finding in later.destroyed().broken(partial(store.row, authentication)):
            report(finding)
        return Verified(store.live, sizes, presence.of(check.placed), tuple(findings), faults)


@contextmanager
def _inspected(
    configuration: Configuration, device: Device | None
) -> Iterator[tuple[Inspected, DevicePresence]]:
    presence = DevicePresence(device)
    presence.look()
    with inspecting(configuration.store_path, CheckpointFile(configuration.checkpoint_file)) as store:
        yield store, presence


def read_trails(
    trails: Sequence[Path], public_key: bytes, is_known: Callable[[int, bytes], bool]
) -> LaterEvents:
    """Exports of the audit chain, each verified before it is believed. Raises `ChainBroken`, `OSError`."""
    later = LaterEvents(is_known)
    for trail in trails:
        with trail.open(encoding="utf-8", errors="surrogateescape") as lines:
            verify(lines, public_key)
        with trail.open(encoding="utf-8") as lines:
            later.read(lines)
    return later
