"""`kms verify-store`: every invariant of a store, whether a server has it or not."""

from collections.abc import Callable
from dataclasses import dataclass

from kms.audit.authenticated_store import read_record, store_keys, unlock_keys
from kms.main.configuration import Configuration
from kms.main.device import device_of
from kms.main.root_material import Material, root_of_trust
from kms.model.finding import Finding
from kms.services.store_check import StoreCheck
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.inspection import Authentication, Sizes, inspecting

# More findings say nothing new of a store, and are counted.
MAX_FINDINGS = 1000

Begin = Callable[[int], Callable[[int], None]]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at. `findings` are the first thousand of `faults`."""

    live: bool
    sizes: Sizes
    findings: tuple[Finding, ...]
    faults: int


def verify_store(configuration: Configuration, material: Material, begin: Begin) -> Verified:
    """Look at all of it. `begin` is told how much there is, and gives what hears of progress.

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

    with (
        device_of(configuration) as device,
        inspecting(configuration.store_path, CheckpointFile(configuration.checkpoint_file)) as store,
    ):
        provider = root_of_trust(configuration, read_record(store), material, device)
        record, keys, signer = unlock_keys(store, provider)
        sizes = store.sizes()
        advance = begin(sizes.rows + sizes.events + sizes.checkpoints)
        authentication = Authentication(record.store_id, store_keys(keys), signer)
        StoreCheck(store, authentication, keys, report, advance).run()
        return Verified(store.live, sizes, tuple(findings), faults)
